"""What the environment and a gunicorn.conf.py say, for a server that no file starts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...finding import Finding, Place
from . import gunicorn
from .bind import make_address
from .neighbour import Neighbour, Survey
from .options import WrongUsageError


def read_environment(environment: Mapping[str, str], folder: Path) -> Survey:
    """Return what a server started by hand in ``folder`` would be told to listen on."""
    survey = Survey()
    nothing = gunicorn.OPTIONS.parse([])
    try:
        found = gunicorn.list_configured(nothing, environment, folder, folder) or []
    except WrongUsageError:
        found = []
    variable = Place(f"environment variable {gunicorn.VARIABLE}")
    for each in dict.fromkeys(found):
        if isinstance(each, Finding):
            survey.findings.append(each)
        elif each:
            place, text = each.place or variable, each.text or environment[gunicorn.VARIABLE]
            survey.neighbours.append(Neighbour("gunicorn", place, text, each.host, each.port))
    address = make_address("0.0.0.0", environment.get("PORT", ""))
    if address and not survey.neighbours:
        what, place = "the environment variable PORT", Place("environment variable PORT")
        text = f"PORT={address.port}"
        survey.neighbours.append(Neighbour(what, place, text, address.host, address.port))
    return survey
