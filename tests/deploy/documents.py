"""Read what ``deploy/`` and its page say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from tests.processes import ROOT

DEPLOY = ROOT / "deploy"
PAGE = (ROOT / "docs" / "deploying.md").read_text()


def read_yaml(name: str) -> Any:
    """Return the first document of a file below ``deploy/``."""
    return read_all_yaml(name)[0]


def read_all_yaml(name: str) -> list[Any]:
    """Return each document of a file below ``deploy/``; a key twice is an error."""
    return list(yaml.load_all((DEPLOY / name).read_text(), Loader=StrictLoader))


class StrictLoader(yaml.SafeLoader):
    """Refuses a key that a mapping has already."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if key.value != "<<"]
        assert len(keys) == len(set(keys)), f"a key twice: {node.start_mark}"
        return super().construct_mapping(node, deep)


def read_unit(name: str) -> list[tuple[str, str]]:
    """Return the settings of a systemd unit, in order."""
    lines = (DEPLOY / "systemd" / name).read_text().splitlines()
    settings = [each.partition("=") for each in lines if re.match(r"[A-Za-z]+=", each)]
    return [(key, value) for key, _, value in settings]


def read_example(language: str) -> str:
    """Return the only example in a language on the page."""
    (example,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(example)


def list_files() -> list[Path]:
    """Return the files below ``deploy/``."""
    return sorted(each for each in DEPLOY.rglob("*") if each.suffix != ".pyc" and each.is_file())
