"""The status page in a real browser, of a real deployment."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import jsonschema
import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page, expect

from tests.e2e.status_page import (
    SCHEMES,
    Deployment,
    Scheme,
    count_by_view,
    deployed,
    read_rows,
)
from tests.e2e.traffic import Kind, send
from tests.processes import ROOT, fetch, scrape, wait_until

SCHEMA = json.loads((ROOT / "docs" / "status.schema.json").read_text())
ABOUT = Kind("GET", "/about/", 200, "shop:about")
NARROW, WIDE = 360, 1280
LATER = 6_000

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Deployment]:
    """Run a shop and an exporter."""
    home = tmp_path_factory.mktemp("status")
    shutil.copy(migrated, home / "db.sqlite3")
    with deployed(home) as running:
        yield running


@pytest.fixture
def open_page(browser: Browser, deployment: Deployment) -> Iterator[Open]:
    """Return what opens the page; nothing may be complained of in the console."""
    complaints: list[str] = []
    contexts = []

    def open_page(width: int = WIDE, scheme: Scheme = "light", *, scripts: bool = True) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme=scheme,
            java_script_enabled=scripts,
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if scripts:
            # Time passes when a test says so.
            page.clock.install()
        page.goto(deployment.page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_anybody_can_read_it(open_page: Open, width: int, scheme: Scheme) -> None:
    """By light and dark, on a phone and on a desk, axe finds nothing to object to."""
    page = open_page(width, scheme)
    for summary in page.locator("summary").all():
        summary.click()
    result = Axe().run(page)
    assert result.violations_count == 0, result.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", background)))
    assert (brightness > 600) == (scheme == "light")


def test_a_long_name_leaves_room_for_the_numbers(open_page: Open) -> None:
    """However long a view's name is, all its numbers are in sight; on a phone, the first is."""
    name = "catalogue.api.v2:product-recommendation-detail" * 3
    for width, numbers in ((WIDE, 6), (NARROW, 1)):
        page = open_page(width)
        table = page.get_by_role("region", name="Views")
        table.locator("tbody th").last.evaluate("(cell, name) => cell.textContent = name", name)
        seen = table.bounding_box()
        number = table.locator("tbody tr").last.locator("td").nth(numbers - 1).bounding_box()
        assert seen
        assert number
        assert number["x"] + number["width"] <= seen["x"] + seen["width"] + 1


def test_strangers_can_read_what_they_get(browser: Browser, deployment: Deployment) -> None:
    """Neither axe nor the console objects to the small page, which has all that it asks for."""
    complaints: list[str] = []
    with browser.new_context(extra_http_headers={"X-Forwarded-For": "192.0.2.1"}) as context:
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(deployment.page)
        expect(page.get_by_role("main").get_by_role("link")).to_have_count(3)
        result = Axe().run(page)
        assert result.violations_count == 0, result.generate_report()
    assert complaints == []


def test_its_numbers_are_those_of_a_scrape(open_page: Open, deployment: Deployment) -> None:
    """What a person reads, a program reads, and Prometheus reads is the same."""
    samples = scrape(deployment.url)
    page = open_page(scripts=False)
    shown = {row[0]: int(row[1].replace(",", "")) for row in read_rows(page, "views")}
    counted = count_by_view(samples)
    assert shown == {"all requests": sum(counted.values()), **counted}
    assert page.locator("#n-requests").inner_text() == str(sum(counted.values()))
    roles = {row[0]: int(row[1]) for row in read_rows(page, "roles")[1:]}
    living = {
        dict(labels)["role"]: value
        for (name, labels), value in samples.items()
        if name == "django_workers"
    }
    assert roles == living
    assert roles["web"] == 2
    for name, collector, series in read_rows(page, "sizes"):
        family = re.compile(rf"{name}(_total|_bucket|_count|_sum)?")
        there = sum(bool(family.fullmatch(each)) for each, _ in samples)
        assert (collector, int(series)) == ("value_files", there), name


def test_the_same_is_there_for_programs(deployment: Deployment) -> None:
    """The document is as its schema says, and has the totals of a scrape."""
    document = json.loads(fetch(f"{deployment.page}/status.json")[2])
    jsonschema.validate(document, SCHEMA)
    counted = count_by_view(scrape(deployment.url))
    assert document["counted"]["responses"] == sum(counted.values())
    assert document["counted"]["errors"] == counted["shop:broken"]
    assert {each["view"]: each["responses"] for each in document["views"]} == counted
    # A new step may have begun since the last look, of which nothing is known yet.
    assert any(document["charts"]["requests_per_second"]["points"])
    assert document["value_files"]["states"]["dead"] == 0
    assert all(each["state"] == "works" for each in document["collectors"])
    sources = {each["name"]: each["source"] for each in document["settings"]}
    assert sources["PROMETHEUS_METRICS_EXPORT_PORT_RANGE"] == "option"
    assert sources["PROMETHEUS_METRICS_TELEMETRY_PATH"] == "default"


def test_everything_is_there_without_a_script(open_page: Open, deployment: Deployment) -> None:
    """Ports that were tried, settings and the scrape job can be read in any browser."""
    page = open_page(scripts=False)
    expect(page.get_by_role("img", name=re.compile("^Requests, per second"))).to_be_visible()
    expect(page.get_by_role("button")).to_have_count(0)
    tried = page.get_by_role("row", name=re.compile(f"127.0.0.1:{deployment.taken_port}"))
    expect(tried).to_contain_text(re.compile(r"taken: .+, pid \d+"))
    expect(page.locator("pre")).to_contain_text(re.sub("http://", "", deployment.page))
    page.get_by_text("that nobody has set").click()
    expect(page.get_by_text("Path under which Prometheus finds the metrics.")).to_be_visible()
    expect(page.get_by_text("Looking…")).to_have_count(0)


def test_it_renews_itself_without_a_reload(open_page: Open, deployment: Deployment) -> None:
    """New numbers appear, and what was opened or scrolled stays as it was."""
    page = open_page()
    page.evaluate("window.same = true")
    page.get_by_text("The charts as numbers").click()
    page.evaluate("scrollTo(0, 200)")
    before = count_by_view(scrape(deployment.url))["shop:about"]
    assert send(deployment.web_port, ABOUT) == 200
    page.clock.run_for(LATER)
    row = page.locator("#views tr", has_text="shop:about")
    expect(row.locator("td").first).to_have_text(str(before + 1))
    assert page.evaluate("window.same")
    expect(page.locator("details").first).to_have_attribute("open", "")
    assert page.evaluate("scrollY") == 200


def test_another_exporter_has_a_page_of_its_own(open_page: Open, deployment: Deployment) -> None:
    """After a restart nothing of the one before is left, such as its settings and its port."""
    page = open_page()
    page.evaluate("window.same = true")
    since = page.locator("#since")
    before = since.get_attribute("datetime")
    assert before
    after = fetch(deployment.page)[2].decode().replace(before, "2099-01-01T00:00:00+00:00")
    page.route(f"{deployment.page}/", lambda route: route.fulfill(body=after))
    page.clock.run_for(LATER)
    expect(since).to_have_attribute("datetime", "2099-01-01T00:00:00+00:00")
    assert page.evaluate("window.same") is None


def test_what_is_marked_stays(open_page: Open, deployment: Deployment) -> None:
    """A number that somebody is about to copy is not taken away, while others are renewed."""
    page = open_page()
    table, counted = page.locator("#views"), page.locator("#n-requests")
    page.evaluate("getSelection().selectAllChildren(document.getElementById('views'))")
    marked = page.evaluate("String(getSelection())")
    before, requests = table.inner_text(), int(counted.inner_text().replace(",", ""))
    assert send(deployment.web_port, ABOUT) == 200
    page.clock.run_for(LATER)
    expect(counted).to_have_text(f"{requests + 1:,}")
    assert (table.inner_text(), page.evaluate("String(getSelection())")) == (before, marked)
    page.evaluate("getSelection().removeAllRanges()")
    page.clock.run_for(LATER)
    expect(table).not_to_have_text(before)


def test_it_can_be_paused(open_page: Open, deployment: Deployment) -> None:
    """Who reads a number in peace is not disturbed."""
    page = open_page()
    asked: list[str] = []
    page.get_by_role("button", name="Pause").click()
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(10 * LATER)
    assert f"{deployment.page}/" not in asked
    page.get_by_role("button", name="Resume").click()
    # Only while it is asked something does the browser tell what it does.
    wait_until(lambda: page.evaluate("true") and f"{deployment.page}/" in asked)
    expect(page.get_by_role("button", name="Pause")).to_be_visible()


def test_it_says_when_nobody_answers(browser: Browser, deployment: Deployment) -> None:
    """Numbers that have become old are not taken for those of now."""
    with browser.new_context() as context:
        page = context.new_page()
        page.clock.install()
        page.goto(deployment.page)
        context.set_offline(True)
        page.clock.run_for(LATER)
        expect(page.get_by_role("status")).to_have_text("No answer; trying again.")
        context.set_offline(False)
        page.clock.run_for(LATER)
        expect(page.get_by_role("status")).to_have_text("")


def test_the_keyboard_reaches_everything_in_the_order_of_the_page(open_page: Open) -> None:
    """Whoever has no mouse sees where they are, and comes from the top to the bottom."""
    page = open_page(NARROW)
    tops: list[float] = []
    names: list[str] = []
    outlines: set[str] = set()
    describe = """() => {
        const at = document.activeElement, box = at.getBoundingClientRect();
        return [at.innerText.trim().split("\\n")[0], box.top + scrollY, at.tagName,
                getComputedStyle(at).outlineStyle];
    }"""
    while True:
        page.keyboard.press("Tab")
        name, top, tag, outline = page.evaluate(describe)
        if tag == "BODY":
            break
        names.append(name)
        tops.append(top)
        outlines.add(outline)
    assert names[0] == "Pause"
    assert names[-1] == "Readiness"
    assert {"Settings", "The charts as numbers", "This page as JSON"} <= set(names)
    # What stands in one line has not quite one height.
    assert all(after > before - 20 for before, after in pairwise(tops))
    assert outlines == {"solid"}


def test_nothing_can_be_slipped_in(browser: Browser, deployment: Deployment) -> None:
    """The policy that is sent lets no script and no style run but the page's own."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(deployment.page)
        blocked = page.evaluate("""() => new Promise(resolve => {
            const seen = new Set();
            document.addEventListener("securitypolicyviolation", event => {
                seen.add(event.effectiveDirective);
                if (seen.size === 3) resolve([...seen].sort());
            });
            const script = document.createElement("script");
            script.textContent = "window.slipped = true";
            document.head.append(script);
            document.body.setAttribute("style", "display: none");
            new Image().src = "http://127.0.0.2:9/elsewhere.png";
        })""")
        assert blocked == ["img-src", "script-src-elem", "style-src-attr"]
        assert page.evaluate("window.slipped") is None
        assert page.evaluate("getComputedStyle(document.body).display") == "block"
