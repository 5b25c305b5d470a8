"""Find the line of ``settings.py`` that sets something, for messages that name it."""

from __future__ import annotations

import ast
import os
import sys
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

from ..finding import Place
from ..wishes import in_settings

LARGEST_FILE = 1024 * 1024


def find_place(name: str) -> Place:
    """Return file and line of the last assignment of a setting; without line where none is seen."""
    main = sys.modules.get(os.environ.get("DJANGO_SETTINGS_MODULE", ""))
    for module in _follow_imports(main):
        path = module.__file__ or ""
        lines = [
            node.lineno
            for node in ast.walk(_parse(path))
            if isinstance(node, ast.Assign | ast.AnnAssign) and name in _list_targets(node)
        ]
        if lines:
            return Place(_shorten(path), max(lines))
    return in_settings(name)


def _follow_imports(main: ModuleType | None) -> Iterator[ModuleType]:
    """Yield the settings module and those that it takes everything from."""
    waiting, seen = [main], set[str]()
    while waiting:
        module = waiting.pop(0)
        path = getattr(module, "__file__", None)
        if module is None or not path or path in seen:
            continue
        seen.add(path)
        yield module
        for node in ast.walk(_parse(path)):
            if isinstance(node, ast.ImportFrom) and any(each.name == "*" for each in node.names):
                package = (module.__package__ or "").split(".")
                base = package[: len(package) - node.level + 1] if node.level else []
                full = ".".join([*base, *([node.module] if node.module else [])])
                waiting.append(sys.modules.get(full))


@cache
def _parse(path: str) -> ast.Module:
    try:
        if os.path.getsize(path) > LARGEST_FILE:
            return ast.Module([], [])
        with warnings.catch_warnings():
            # Python has warned of what stands there, when it imported the module.
            warnings.simplefilter("ignore")
            return ast.parse(Path(path).read_bytes())
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return ast.Module([], [])


def _list_targets(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _shorten(path: str) -> str:
    """Return a path as a person who stands in the project would write it."""
    try:
        relative = os.path.relpath(path)
    except FileNotFoundError:  # the working directory is gone
        return path
    return path if relative.startswith("..") else relative
