"""Rules of Prometheus, and the files that they stand in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import dedent, indent
from typing import Any, Protocol

import yaml

# The one place for where the project lives: alerts link to their runbooks there.
REPOSITORY = "https://github.com/django-runmetrics/django-runmetrics"
RUNBOOKS = f"{REPOSITORY}/blob/main/docs/alerts.md"
CRITICAL, WARNING = "critical", "warning"
# A line that is folded in the middle of a template is hard to read.
WIDEST = 1000


class Rule(Protocol):
    """A rule of either kind."""

    def describe(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Recording:
    """A query whose result is kept under a name, ``level:metric:operation``."""

    name: str
    expression: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def describe(self) -> Mapping[str, Any]:
        """Return the rule as Prometheus reads it."""
        rule: dict[str, Any] = {"record": self.name, "expr": dedent(self.expression).strip()}
        return rule | ({"labels": dict(self.labels)} if self.labels else {})


@dataclass(frozen=True)
class Alert:
    """A query that must have no result for longer than ``wait``."""

    name: str
    severity: str
    wait: str
    expression: str
    summary: str
    description: str

    def describe(self) -> Mapping[str, Any]:
        """Return the rule as Prometheus reads it."""
        return {
            "alert": self.name,
            "expr": dedent(self.expression).strip(),
            "for": self.wait,
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{RUNBOOKS}#{self.name.lower()}",
            },
        }


@dataclass(frozen=True)
class Group:
    """A file with one group of rules; ``says`` is the comment at its top."""

    name: str
    says: str
    rules: Sequence[Rule]


class Dumper(yaml.SafeDumper):
    """Write texts of several lines as they are."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Dumper.add_representer(str, _represent_text)


def render_group(group: Group) -> str:
    """Return a file of rules as Prometheus reads it."""
    content = {
        "groups": [
            {
                "name": f"django-{group.name}",
                "rules": [rule.describe() for rule in group.rules],
            }
        ]
    }
    comment = indent(dedent(group.says).strip(), "# ")
    return f"{comment}\n{yaml.dump(content, Dumper=Dumper, sort_keys=False, width=WIDEST)}"
