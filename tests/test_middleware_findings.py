"""W009: which of the two middlewares is missing, doubled or misplaced, and no false alarm."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.core import checks
from django.test import override_settings

from metrics_commands.middleware import PrometheusAfterMiddleware, PrometheusBeforeMiddleware

BEFORE = "metrics_commands.middleware.PrometheusBeforeMiddleware"
AFTER = "metrics_commands.middleware.PrometheusAfterMiddleware"
SECURITY = "django.middleware.security.SecurityMiddleware"
WHITENOISE = "whitenoise.middleware.WhiteNoiseMiddleware"
CSRF = "django.middleware.csrf.CsrfViewMiddleware"


class TenantMiddleware(PrometheusAfterMiddleware):
    """The README's own example, in short."""

    extra_labels = ("tenant",)


class Outermost(PrometheusBeforeMiddleware):
    """A subclass of the other one."""


TENANT = f"{__name__}.{TenantMiddleware.__qualname__}"
OUTERMOST = f"{__name__}.{Outermost.__qualname__}"


def check(*middleware: object) -> list[checks.CheckMessage]:
    """Return what 'manage.py check' finds with these middlewares."""
    with override_settings(MIDDLEWARE=list(middleware)):
        return checks.run_checks(tags=["metrics"])


@pytest.mark.parametrize(
    ("middleware", "level", "said"),
    [
        ([], checks.WARNING, "MIDDLEWARE has neither PrometheusBeforeMiddleware nor "),
        ([CSRF], checks.WARNING, "MIDDLEWARE has neither PrometheusBeforeMiddleware nor "),
        ([BEFORE, CSRF], checks.WARNING, "Before… but not PrometheusAfterMiddleware"),
        ([CSRF, AFTER], checks.WARNING, "After… but not PrometheusBeforeMiddleware"),
        ([TENANT], checks.WARNING, "After… but not PrometheusBeforeMiddleware"),
        ([AFTER, CSRF, BEFORE], checks.WARNING, "After… comes before PrometheusBeforeMiddleware"),
        ([BEFORE, BEFORE, AFTER], checks.WARNING, "has Before… more than once"),
        ([BEFORE, TENANT, AFTER], checks.WARNING, "has After… more than once"),
        ([CSRF, BEFORE, AFTER], checks.INFO, f"Before… is not the first in MIDDLEWARE: {CSRF}"),
        ([BEFORE, AFTER, CSRF], checks.INFO, f"After… is not the last in MIDDLEWARE: {CSRF}"),
    ],
)
def test_what_is_wrong_is_named(middleware: list[str], level: int, said: str) -> None:
    """Each mistake has words of its own; an order that only misses something is no warning."""
    (found,) = check(*middleware)
    assert (found.id, found.level) == ("metrics_commands.W009", level)
    shown = said.replace("…", "Middleware").replace("After", "PrometheusAfter")
    shown = shown.replace("Before", "PrometheusBefore").replace(
        "PrometheusPrometheus", "Prometheus"
    )
    assert shown in found.msg
    assert BEFORE in str(found.hint)
    assert AFTER in str(found.hint)


@pytest.mark.parametrize(
    "middleware",
    [
        [BEFORE, AFTER],
        [BEFORE, SECURITY, CSRF, AFTER],
        [BEFORE, CSRF, TENANT],
        [OUTERMOST, CSRF, TENANT],
        [SECURITY, WHITENOISE, BEFORE, CSRF, AFTER],
        [WHITENOISE, BEFORE, AFTER],
    ],
)
def test_an_order_that_is_documented_is_not_mentioned(middleware: list[str]) -> None:
    """Subclasses take the place of ours; static files and redirects to HTTPS need no count."""
    assert check(*middleware) == []


def test_both_ends_are_told() -> None:
    """Who put both into the middle hears of both, with all that is outside."""
    first, last = check(SECURITY, CSRF, BEFORE, AFTER, CSRF, SECURITY)
    assert f"{SECURITY}, {CSRF} come before it" in first.msg
    assert f"{CSRF}, {SECURITY} come after it" in last.msg


def test_who_wants_no_request_counted_is_left_alone() -> None:
    """Without URLs nobody asks; and the hint says how to silence it, and that nothing is lost."""
    (found,) = check(CSRF)
    assert "SILENCED_SYSTEM_CHECKS: nothing else needs them" in str(found.hint)
    with override_settings():
        del settings.ROOT_URLCONF
        assert check() == []


@pytest.mark.parametrize("broken", ["raise RuntimeError('no words')", "raise SystemExit(3)", "1 +"])
def test_a_middleware_that_cannot_be_imported_is_django_s_to_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """The check says nothing of it, and stops no command."""
    (tmp_path / "broken_middleware.py").write_text(broken)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names = ("broken_middleware.Middleware", "nowhere.Middleware", "nodots", __name__, 7)
    assert check(BEFORE, *names, AFTER) == []
    assert len(check(*names)) == 1


def test_django_prometheus_s_are_findings_of_their_own() -> None:
    """While it counts, or half-way, nobody is told twice."""
    theirs = [each.replace("metrics_commands", "django_prometheus") for each in (BEFORE, AFTER)]
    ids = {str(each.id)[-4:] for each in check(theirs[0], CSRF, theirs[1])}
    assert "W009" not in ids
    with override_settings():
        settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "django_prometheus"]
        assert "W009" not in {str(each.id)[-4:] for each in check(CSRF)}
