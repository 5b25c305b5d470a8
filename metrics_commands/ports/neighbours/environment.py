"""What the environment and a gunicorn.conf.py say, for a server that no file starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ...finding import Finding, Place
from . import gunicorn
from .bind import Address, make_address
from .line import Span, show
from .neighbour import Neighbour, Survey
from .options import WrongUsageError
from .position import locate

Found = list[Address | Finding | None]


def read_environment(environment: Mapping[str, str], folder: Path) -> Survey:
    """Return what a server started by hand in ``folder`` would be told to listen on."""
    survey = Survey()
    found = _list_configured(environment, folder)
    variable = Place(f"environment variable {gunicorn.VARIABLE}")
    for index, each in enumerate(found):
        if isinstance(each, Finding):
            survey.findings.append(each)
        elif each and each.place:
            survey.neighbours.append(
                Neighbour("gunicorn", each.place, each.text, each.host, each.port, span=each.span)
            )
        elif each:
            text, span = show(
                environment[gunicorn.VARIABLE], _locate(index, found, environment, folder)
            )
            survey.neighbours.append(
                Neighbour("gunicorn", variable, text, each.host, each.port, span=span)
            )
    address = make_address("0.0.0.0", environment.get("PORT", ""))
    if address and not survey.neighbours:
        what, place = "the environment variable PORT", Place("environment variable PORT")
        text = f"PORT={address.port}"
        survey.neighbours.append(
            Neighbour(
                what, place, text, address.host, address.port, span=(5, len(text)), presumed=True
            )
        )
    return survey


def _list_configured(environment: Mapping[str, str], folder: Path) -> Found:
    nothing = gunicorn.OPTIONS.parse([])
    try:
        found = gunicorn.list_configured(nothing, environment, folder, folder)
    except WrongUsageError:
        return []
    return list(dict.fromkeys(found or []))


def _locate(index: int, found: Found, environment: Mapping[str, str], folder: Path) -> Span:
    """Return where the port of one of the addresses stands in gunicorn's variable."""
    address = found[index]
    if not isinstance(address, Address):
        return None

    def moves(changed: Sequence[str], other: str) -> bool:
        moved = address._replace(port=int(other))
        again = _list_configured({**environment, gunicorn.VARIABLE: changed[0]}, folder)
        return again == [*found[:index], moved, *found[index + 1 :]]

    position = locate([environment[gunicorn.VARIABLE]], str(address.port), moves)
    return (position.start, position.end) if position else None
