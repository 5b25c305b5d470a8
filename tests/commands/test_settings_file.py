"""The line of a setting, found in real modules that are imported as settings are."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from metrics_commands.finding import Place
from metrics_commands.management.settings_file import LARGEST_FILE, find_place

NOWHERE = Place("settings.py")


@pytest.fixture(autouse=True)
def _modules_end_with_the_test(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def load(monkeypatch: pytest.MonkeyPatch, name: str, **files: str) -> None:
    """Write modules, by their paths without suffix, and import one as the settings."""
    for module, content in files.items():
        path = Path(f"{module}.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    importlib.invalidate_caches()
    importlib.import_module(name)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", name)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("PORT = 1\n", 1),
        ("# PORT = 0\nX = 'PORT = 2'\nPORT = 1\n", 3),
        ("PORT = 1\nif True:\n    PORT = 2\nelse:\n    OTHER = 3\n", 3),
        ("PORT: int = 1\n", 1),
        ("A = PORT = 1\n", 1),
        ("x = {}\nx['PORT'] = 1\n", 0),
        ("globals()['PORT'] = 1\n", 0),
        ("\ufeffPORT = 1\n", 1),
        ("", 0),
    ],
)
def test_the_last_assignment_is_found(
    monkeypatch: pytest.MonkeyPatch, content: str, line: int
) -> None:
    """A message names the line that decides; where none is seen, the file alone."""
    load(monkeypatch, "single", single=content)
    assert find_place("PORT") == (Place("single.py", line) if line else NOWHERE)


@pytest.mark.parametrize("how", ["from .base import *", "from site_.settings.base import *"])
def test_settings_that_are_split_are_followed(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """What 'from .base import *' takes over is found where it stands."""
    files = {"base": "A = 1\nPORT = 1\nOTHER = 2\n", "production": f"{how}\nOTHER = 3\n"}
    inside = {f"site_/settings/{name}": content for name, content in files.items()}
    load(monkeypatch, "site_.settings.production", **inside)
    assert find_place("PORT") == Place("site_/settings/base.py", 2)
    assert find_place("OTHER") == Place("site_/settings/production.py", 2)


def test_modules_that_import_each_other_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A circle of settings modules is walked once."""
    load(monkeypatch, "one", one="from two import *\n", two="from one import *\nPORT = 1\n")
    assert find_place("PORT") == Place("two.py", 2)


@pytest.mark.parametrize("content", [b"PORT = (", b"PORT = 1\n\0", b"\xff", b"(" * 5000, None])
def test_a_file_that_changed_meanwhile_is_no_error(
    monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    """What can no longer be read, or is no Python any more, costs the line and nothing else."""
    load(monkeypatch, "changed", changed="PORT = 1\n")
    if content is None:
        Path("changed.py").unlink()
    else:
        Path("changed.py").write_bytes(content)
    assert find_place("PORT") == NOWHERE


def test_a_huge_file_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A settings module of data costs no seconds."""
    load(monkeypatch, "huge", huge="PORT = 1\n")
    with Path("huge.py").open("a") as file:
        file.write("#" * LARGEST_FILE)
    assert find_place("PORT") == NOWHERE


def test_a_file_elsewhere_is_named_in_full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever stands in another folder, or in one that is gone, can open what is named."""
    load(monkeypatch, "single", single="PORT = 1\n")
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    assert find_place("PORT") == Place(str(tmp_path / "single.py"), 1)
    gone.rmdir()
    assert find_place("PORT") == Place(str(tmp_path / "single.py"), 1)


@pytest.mark.parametrize("name", ["", "not.imported"])
def test_without_a_settings_module_there_is_no_line(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Settings that come from settings.configure() are no error."""
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", name)
    assert find_place("PORT") == NOWHERE
