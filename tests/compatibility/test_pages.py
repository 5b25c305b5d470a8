"""The same traffic through django-prometheus and through us: the pages differ as documented."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.processes import ROOT, Samples, fetch, parse_samples, scrape, wait_until

from .differences import DIFFERENCES, sum_differences
from .pages import find_differences, make_comparable
from .project import Project, come_over, exporting, serving
from .traffic import send_traffic

SERVERS = {"gunicorn": "wsgi", "uvicorn": "asgi"}
# All but django_cache_get_fail_total, which is there where a cache is Redis.
FAMILIES = 33


def name_family(sample: str) -> str:
    """Return the family of a sample of a histogram, or the sample's own name."""
    return re.sub("_(bucket|sum|count)$", "", sample)


def read_peer(project: Project, server: str) -> Samples:
    """Return the peer's page after the traffic."""
    with serving(project, server, f"peer_page:{SERVERS[server]}") as url:
        send_traffic(url)
        status, _, page = fetch(f"{url}/peer-page")
    assert status == 200
    return parse_samples(page.decode())


def read_ours(project: Project, server: str) -> Samples:
    """Return the exporter's page after the traffic, once it has looked at the migrations."""
    with serving(project, server, f"kennel.{SERVERS[server]}:application") as url:
        send_traffic(url)
        with exporting(project) as page:

            def look() -> Samples | None:
                samples = scrape(page)
                names = {name for name, _ in samples}
                return samples if "django_migrations_applied_total" in names else None

            return wait_until(look)


@pytest.mark.e2e
@pytest.mark.parametrize("server", SERVERS)
def test_pages_differ_as_documented_and_nowhere_else(
    copy: Callable[[str], Project], server: str
) -> None:
    """Names, labels, bounds and values are django-prometheus's, but for the known differences."""
    ours = copy("ours")
    come_over(ours)
    theirs = read_peer(copy("theirs"), server)
    families = {name_family(name) for name, _ in theirs}
    assert len(families) == FAMILIES
    mine = {
        key: value
        for key, value in read_ours(ours, server).items()
        if name_family(key[0]) in families
    }
    assert find_differences(make_comparable(theirs), make_comparable(mine)) == sum_differences()


def test_each_difference_is_documented_and_none_else() -> None:
    """docs/migrating.md has one row for each difference, in their order."""
    text = (ROOT / "docs" / "migrating.md").read_text()
    section = text.split("\n## What counts otherwise\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| .+ \|$", section, re.MULTILINE)
    assert rows[0] == "here"
    assert rows[1:] == list(DIFFERENCES)
