"""The rooms depend on each other one way: read from the imports, not from good intentions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import ROOT

APP = ROOT / "metrics_commands"
PLAIN_ROOMS = ("ports", "multiprocess", "exposition", "server", "discovery")
LONGEST_FILE = 300
LONGEST_FUNCTION = 50


def list_modules() -> list[Path]:
    """Return the app's modules."""
    return sorted(APP.rglob("*.py"))


def room_of(path: Path) -> str:
    """Return the first part of a module's path below the app, without its ending."""
    return path.relative_to(APP).parts[0].removesuffix(".py")


def list_imports(path: Path) -> Iterator[str]:
    """Yield the absolute names of all modules that a file imports, also inside functions."""
    package = ["metrics_commands", *path.relative_to(APP).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def imports_of_rooms(path: Path) -> set[str]:
    """Return the rooms of the app that a file imports."""
    parts = [name.split(".") for name in list_imports(path)]
    found = {each[1] for each in parts if each[0] == "metrics_commands" and len(each) > 1}
    return found - {"__version__"}


@pytest.mark.parametrize("path", list_modules(), ids=lambda path: str(path.relative_to(APP)))
def test_imports_go_one_way(path: Path) -> None:
    """Each room imports only what the design lets it."""
    room, rooms = room_of(path), imports_of_rooms(path)
    outside = {name.split(".")[0] for name in list_imports(path)}
    assert not any("management.commands." in name for name in list_imports(path))
    if room in PLAIN_ROOMS:
        assert "django" not in outside
        assert rooms <= {room, "errors", "finding"}
    if room == "status":
        assert "django" not in outside
        assert rooms <= {room}
    if room == "instrumentation":
        assert rooms <= {
            room, "conf", "directory", "exporter_settings", "multiprocess", "worker_settings",
        }  # fmt: skip
        assert not outside & {"psutil", "tornado", "yaml"}
    if room == "collectors":
        assert rooms <= {room, "conf", "errors", "exporter_settings", "parsers", "setting"}
    if room in {"errors", "finding", "parsers", "log"}:
        assert rooms == set()
        assert "django" not in outside
    if room in {
        "directory", "apps", "conf", "exporter_settings", "middleware", "setting",
        "worker_settings",
    }:  # fmt: skip
        assert rooms <= {
            "checks", "conf", "directory", "errors", "exporter_settings", "instrumentation",
            "multiprocess", "parsers", "setting", "worker_settings",
        }  # fmt: skip
    if room in {"checks", "coming_over", "middleware_findings", "unknown_settings", "wishes"}:
        # What two commands and the system checks share; of the ports only what needs no I/O.
        assert rooms <= {
            "coming_over", "conf", "directory", "errors", "exporter_settings", "finding",
            "instrumentation", "middleware_findings", "models", "parsers", "ports", "setting",
            "unknown_settings", "wishes",
        }  # fmt: skip


@pytest.mark.parametrize("path", list_modules(), ids=lambda path: str(path.relative_to(APP)))
def test_files_and_functions_stay_short(path: Path) -> None:
    """A file can be read in one sitting, a function in one glance."""
    assert len(path.read_text().splitlines()) <= LONGEST_FILE
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < LONGEST_FUNCTION, node.name
