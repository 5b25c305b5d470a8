"""Whether the two middlewares stand where they see all of a request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.conf import settings
from django.utils.module_loading import import_string

from .coming_over import PEER
from .finding import Finding, make_id

BEFORE = "metrics_commands.middleware.PrometheusBeforeMiddleware"
AFTER = "metrics_commands.middleware.PrometheusAfterMiddleware"
SHORT = {each: each.rpartition(".")[2] for each in (BEFORE, AFTER)}
ADVICE = f"Let MIDDLEWARE begin with {BEFORE!r} and end with {AFTER!r}."
# WhiteNoise wants to stand right behind Django's own, and before all others: redirects to HTTPS
# and static files are then no requests of the application.
MAY_COME_FIRST = {
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
}


def find_about_middleware() -> Iterator[Finding]:
    """Yield a middleware that is missing, or stands where it does not see all of a request."""
    if PEER in settings.INSTALLED_APPS or not hasattr(settings, "ROOT_URLCONF"):
        # django-prometheus counts; or no request is ever answered.
        return
    names = [str(name) for name in settings.MIDDLEWARE]
    if any(name.startswith(f"{PEER}.middleware.") for name in names):
        # They are left over, and findings of their own.
        return
    kinds = [find_kind(name) for name in names]
    wrong, why = find_wrong(kinds)
    if wrong:
        yield Finding(make_id(9), "warning", wrong, why)
        return
    first, last = names[: kinds.index(BEFORE)], names[kinds.index(AFTER) + 1 :]
    if not MAY_COME_FIRST.issuperset(first):
        yield Finding(
            make_id(9),
            "info",
            f"{SHORT[BEFORE]} is not the first in MIDDLEWARE: {join(first)} before it.",
            f"What is answered there is not counted, and its time is not measured. {ADVICE}",
        )
    if last:
        yield Finding(
            make_id(9),
            "info",
            f"{SHORT[AFTER]} is not the last in MIDDLEWARE: {join(last)} after it.",
            "What comes after it is measured as part of the view, and exceptions that are handled"
            f" there are not counted. {ADVICE}",
        )


def find_kind(name: str) -> str:
    """Return which of ours a middleware is, or is a subclass of; or nothing."""
    if name in SHORT:
        return name
    if name.startswith("django."):
        return ""
    try:
        made_of = import_string(name).__mro__
    except (Exception, SystemExit):
        # A function; or Django itself will say why it cannot be had.
        return ""
    ancestors = [f"{each.__module__}.{each.__qualname__}" for each in made_of]
    return next((each for each in ancestors if each in SHORT), "")


def find_wrong(kinds: Sequence[str]) -> tuple[str, str]:
    """Return what is missing, there too often or in the wrong order, and why; or nothing."""
    ours = [kind for kind in kinds if kind in SHORT]
    if not ours:
        what = f"MIDDLEWARE has neither {SHORT[BEFORE]} nor {SHORT[AFTER]}."
        silence = f"If none is to be, put {make_id(9)!r} into SILENCED_SYSTEM_CHECKS"
        return what, f"So no request is counted. {ADVICE} {silence}: nothing else needs them."
    for kind, other in ((BEFORE, AFTER), (AFTER, BEFORE)):
        if other not in ours:
            what = f"MIDDLEWARE has {SHORT[kind]} but not {SHORT[other]}."
            return what, f"Each counts what the other cannot see. {ADVICE}"
    for kind in (BEFORE, AFTER):
        if ours.count(kind) > 1:
            what = f"MIDDLEWARE has {SHORT[kind]} more than once, itself or a subclass."
            return what, f"Each of them counts every request. {ADVICE}"
    if ours == [AFTER, BEFORE]:
        return f"In MIDDLEWARE {SHORT[AFTER]} comes before {SHORT[BEFORE]}.", ADVICE
    return "", ""


def join(names: Sequence[str]) -> str:
    """Return names as the subject of a sentence."""
    return f"{', '.join(names)} {'comes' if len(names) == 1 else 'come'}"
