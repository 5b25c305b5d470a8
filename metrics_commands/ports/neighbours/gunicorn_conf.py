"""Read what a ``gunicorn.conf.py`` binds from its syntax tree, without running it."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from .expression import Evaluator, Value
from .file import UnreadableError

LARGEST = 100_000
MOST_BRANCHES = 100

# A name and its expression; None where that is not seen.
Assignment = tuple[str, ast.expr | None]
# Addresses with their lines; None where they cannot be told.
Binds = list[tuple[str, int]] | None


class Bind(NamedTuple):
    """One address of a configuration file, its line from 1, and that line as it stands there."""

    address: str
    line: int
    text: str


def parse_binds(source: str, environment: Mapping[str, str]) -> list[Bind] | None:
    """Return what a file with this source binds, [] for nothing, None where that cannot be told.

    Of several assignments the last that can be told counts; of branches between which nothing but
    running can choose, each.
    """
    if len(source) > LARGEST:
        raise UnreadableError(f"it has more than {LARGEST:,} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UnreadableError("it is not valid Python") from None
    binds = _Execution(environment).run(tree.body, [])
    if binds is None:
        return None
    lines = re.split(r"\r\n|\r|\n", source)
    return [
        Bind(address, line, lines[line - 1].strip() if line <= len(lines) else "")
        for address, line in binds
    ]


class _Execution:
    """Follows the assignments of a module, and both branches where it cannot choose one."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.evaluator = Evaluator(environment)
        self.branches = 0

    def run(self, statements: Sequence[ast.stmt], binds: Binds) -> Binds:
        """Return the binds after some statements; None where they cannot be told."""
        for step in _list_steps(statements):
            if isinstance(step, ast.If):
                binds = self.run_branches(step, binds)
                continue
            name, node = step
            self.evaluator.assign(name, node)
            if name == "bind":
                value = self.evaluator.names.get(name)
                binds = _list_addresses(value, node) or binds or None
        return binds

    def run_branches(self, statement: ast.If, binds: Binds) -> Binds:
        self.branches += 1
        if self.branches > MOST_BRANCHES:
            return binds
        taken = self.evaluator.test(statement.test)
        if taken is not None:
            return self.run(statement.orelse if taken is False else statement.body, binds)
        before = dict(self.evaluator.names)
        first = self.run(statement.body, binds)
        after = self.evaluator.names
        self.evaluator.names = before
        second = self.run(statement.orelse, binds)
        names = self.evaluator.names
        self.evaluator.names = {
            name: value for name, value in names.items() if after.get(name, ()) == value
        }
        if first is None or second is None:
            return first or second
        return list(dict.fromkeys([*first, *second]))


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


def _list_steps(statements: Sequence[ast.stmt]) -> Iterator[Assignment | ast.If]:
    """Yield each name that a module assigns and its expression, and each choice between two."""
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
        elif isinstance(statement, ast.If):
            yield statement
        elif not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            waiting += reversed(_list_bodies(statement))


def _list_bodies(statement: ast.AST) -> list[ast.stmt]:
    bodies = [getattr(statement, name, []) for name in ("body", "orelse", "finalbody")]
    handlers = [each.body for each in getattr(statement, "handlers", [])]
    parts = [bodies[0], *handlers, *bodies[1:]]
    return [each for part in parts for each in part if isinstance(each, ast.stmt)]


def _pair(target: ast.expr, value: ast.expr) -> Iterator[Assignment]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple | ast.List):
        several = isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts)
        values = value.elts if several and isinstance(value, ast.Tuple | ast.List) else None
        for number, each in enumerate(target.elts):
            if isinstance(each, ast.Name):
                yield each.id, values[number] if values else None
