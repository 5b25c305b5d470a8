"""Read what a ``gunicorn.conf.py`` binds from its syntax tree, without running it."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from .file import UnreadableError, read_text

LARGEST = 100_000
DEEPEST = 50
LONGEST = 1_000
# Anything else, such as a width of a billion, would have to be computed to be known.
PLAIN_PERCENT = re.compile(r"(?:[^%]|%%|%(?:\([A-Za-z_]\w*\))?[sd])*")
PLAIN_FORMAT = re.compile(r"(?:[^{}]|\{\{|\}\}|\{(?:[0-9]{1,2}|[A-Za-z_]\w*)?\})*")

Scalar = str | int | None
Value = Scalar | tuple[Scalar, ...]


class Bind(NamedTuple):
    """One address of a configuration file, its line from 1, and that line as it stands there."""

    address: str
    line: int
    text: str


class UnknownError(Exception):
    """An expression cannot be told without running the file."""


def read_binds(path: Path, environment: Mapping[str, str]) -> list[Bind] | None:
    """Return what a file binds, [] where it sets no bind, None where that cannot be told.

    Of several assignments the last that can be told counts, in whatever branch it stands.
    """
    source = read_text(path)
    if len(source) > LARGEST:
        raise UnreadableError(f"it has more than {LARGEST:,} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UnreadableError("it is not valid Python") from None
    evaluator = _Evaluator(environment)
    binds: list[tuple[str, int]] | None = []
    for name, node in _list_assignments(tree.body):
        evaluator.assign(name, node)
        if name == "bind":
            binds = _list_addresses(evaluator.names.get(name), node) or binds or None
    lines = re.split(r"\r\n|\r|\n", source)
    if binds is None:
        return None
    return [
        Bind(address, line, lines[line - 1].strip() if line <= len(lines) else "")
        for address, line in binds
    ]


def _list_addresses(value: Value, node: ast.expr | None) -> list[tuple[str, int]]:
    line = getattr(node, "lineno", 1)
    if isinstance(value, str):
        return [(value.strip(), line)] if value else []
    if not isinstance(value, tuple):
        return []
    elements = node.elts if isinstance(node, ast.List | ast.Tuple) else []
    lines = [each.lineno for each in elements] or [line] * len(value)
    pairs = zip(value, lines, strict=False)
    return [(each.strip(), at) for each, at in pairs if isinstance(each, str)]


def _list_assignments(statements: Sequence[ast.stmt]) -> Iterator[tuple[str, ast.expr | None]]:
    """Yield each name that a module assigns and its expression; None where it has none."""
    waiting = list(reversed(statements))
    while waiting:
        statement = waiting.pop()
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                yield from _pair(target, statement.value)
        elif isinstance(statement, ast.AnnAssign) and statement.value:
            yield from _pair(statement.target, statement.value)
        elif isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
            name = ast.copy_location(ast.Name(statement.target.id, ast.Load()), statement)
            whole = ast.BinOp(name, statement.op, statement.value)
            yield statement.target.id, ast.copy_location(whole, statement)
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            yield from (((each.asname or each.name), None) for each in statement.names)
        elif not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            waiting += reversed(_list_bodies(statement))


def _list_bodies(statement: ast.AST) -> list[ast.stmt]:
    bodies = [getattr(statement, name, []) for name in ("body", "orelse", "finalbody")]
    handlers = [each.body for each in getattr(statement, "handlers", [])]
    parts = [bodies[0], *handlers, *bodies[1:]]
    return [each for part in parts for each in part if isinstance(each, ast.stmt)]


def _pair(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr | None]]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple | ast.List):
        several = isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts)
        values = value.elts if several and isinstance(value, ast.Tuple | ast.List) else None
        for number, each in enumerate(target.elts):
            if isinstance(each, ast.Name):
                yield each.id, values[number] if values else None


def _dotted(node: ast.expr, depth: int = 3) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and depth:
        return f"{_dotted(node.value, depth - 1)}.{node.attr}"
    return ""


class _Evaluator:
    """Evaluates expressions of constants, earlier names and environment variables."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.names: dict[str, Value] = {}

    def assign(self, name: str, node: ast.expr | None) -> None:
        try:
            if node is None:
                raise UnknownError
            self.names[name] = self.evaluate(node)
        except (UnknownError, ArithmeticError, LookupError, TypeError, ValueError):
            self.names.pop(name, None)

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
