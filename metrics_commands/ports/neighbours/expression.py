"""Evaluate expressions of constants, earlier names and environment variables; nothing is run."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping

DEEPEST = 50
LONGEST = 1_000
# Anything else, such as a width of a billion, would have to be computed to be known.
PLAIN_PERCENT = re.compile(r"(?:[^%]|%%|%(?:\([A-Za-z_]\w*\))?[sd])*")
PLAIN_FORMAT = re.compile(r"(?:[^{}]|\{\{|\}\}|\{(?:[0-9]{1,2}|[A-Za-z_]\w*)?\})*")

Scalar = str | int | None
Value = Scalar | tuple[Scalar, ...]


class UnknownError(Exception):
    """An expression cannot be told without running the file."""


def _dotted(node: ast.expr, depth: int = 3) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and depth:
        return f"{_dotted(node.value, depth - 1)}.{node.attr}"
    return ""


FAILURES = (UnknownError, ArithmeticError, LookupError, TypeError, ValueError)


class Evaluator:
    """Evaluates expressions of constants, earlier names and environment variables."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.names: dict[str, Value] = {}

    def assign(self, name: str, node: ast.expr | None) -> None:
        """Give a name the value of an expression; take it away where that cannot be told."""
        try:
            if node is None:
                raise UnknownError
            self.names[name] = self.evaluate(node)
        except FAILURES:
            self.names.pop(name, None)

    def test(self, node: ast.expr) -> bool | None:
        """Return whether a condition holds; None where that cannot be told."""
        try:
            return bool(self.evaluate(node))
        except FAILURES:
            return None

    def evaluate(self, node: ast.expr, depth: int = 0) -> Value:
        """Return the value of an expression, or raise UnknownError, or what it would raise."""
        if depth > DEEPEST:
            raise UnknownError
        if isinstance(node, ast.Name):
            return self.names[node.id]
        if isinstance(node, ast.Constant) and isinstance(node.value, str | int | None):
            return self.bounded(node.value)
        evaluation = self.EVALUATIONS.get(type(node))
        if evaluation is None:
            raise UnknownError
        return self.bounded(evaluation(self, node, depth + 1))

    def bounded(self, value: Value) -> Value:
        if isinstance(value, str | tuple) and len(value) > LONGEST:
            raise UnknownError
        if isinstance(value, int) and value.bit_length() > 64:
            raise UnknownError
        return value

    def scalar(self, node: ast.expr, depth: int) -> Scalar:
        value = self.evaluate(node, depth)
        if isinstance(value, tuple):
            raise UnknownError
        return value

    def elements(self, node: ast.List | ast.Tuple, depth: int) -> Value:
        return tuple(self.scalar(each, depth) for each in node.elts)

    def joined(self, node: ast.JoinedStr, depth: int) -> Value:
        parts = []
        for each in node.values:
            if not isinstance(each, ast.FormattedValue):
                parts.append(str(self.scalar(each, depth)))
            elif each.format_spec or each.conversion not in (-1, ord("s")):
                raise UnknownError
            else:
                parts.append(str(self.scalar(each.value, depth)))
        return "".join(parts)

    def binary(self, node: ast.BinOp, depth: int) -> Value:
        left, right = self.evaluate(node.left, depth), self.evaluate(node.right, depth)
        if isinstance(node.op, ast.Add):
            return left + right  # type: ignore[operator]
        if isinstance(node.op, ast.Sub) and isinstance(left, int) and isinstance(right, int):
            return left - right
        if isinstance(node.op, ast.Mod) and isinstance(left, str):
            if not PLAIN_PERCENT.fullmatch(left) or left.count("%") > DEEPEST:
                raise UnknownError
            return left % right
        raise UnknownError

    def chosen(self, node: ast.BoolOp, depth: int) -> Value:
        wanted = isinstance(node.op, ast.Or)
        value: Value = None
        for each in node.values:
            value = self.evaluate(each, depth)
            if bool(value) == wanted:
                break
        return value

    def conditional(self, node: ast.IfExp, depth: int) -> Value:
        return self.evaluate(node.body if self.evaluate(node.test, depth) else node.orelse, depth)

    def subscript(self, node: ast.Subscript, depth: int) -> Value:
        if _dotted(node.value) not in ("os.environ", "environ"):
            raise UnknownError
        return self.environment[str(self.scalar(node.slice, depth))]

    def called(self, node: ast.Call, depth: int) -> Value:
        arguments = [self.scalar(each, depth) for each in node.args]
        named = {each.arg or "": self.scalar(each.value, depth) for each in node.keywords}
        if isinstance(node.func, ast.Attribute) and node.func.attr == "format":
            return self.formatted(self.scalar(node.func.value, depth), arguments, named)
        if not 1 <= len(arguments) <= 2:
            raise UnknownError
        function = _dotted(node.func)
        if function in ("os.environ.get", "environ.get", "os.getenv", "getenv"):
            default = arguments[1] if len(arguments) == 2 else named.get("default")
            return self.environment.get(str(arguments[0]), default)
        if function == "str" and not named:
            return str(*arguments)
        if function == "int" and not named:
            return int(*arguments)  # type: ignore[arg-type]
        raise UnknownError

    def formatted(
        self, template: Scalar, arguments: list[Scalar], named: dict[str, Scalar]
    ) -> Value:
        if not isinstance(template, str) or not PLAIN_FORMAT.fullmatch(template):
            raise UnknownError
        if template.count("{") > DEEPEST:
            raise UnknownError
        return template.format(*arguments, **named)

    EVALUATIONS: Mapping[type[ast.expr], Callable[..., Value]] = {
        ast.BinOp: binary,
        ast.BoolOp: chosen,
        ast.Call: called,
        ast.IfExp: conditional,
        ast.JoinedStr: joined,
        ast.List: elements,
        ast.Subscript: subscript,
        ast.Tuple: elements,
    }
