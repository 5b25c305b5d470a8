"""The page says what the document says, and nothing in it can be more than text."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import jsonschema
import pytest

from metrics_commands.status.course import describe_course
from metrics_commands.status.document import (
    CollectorState,
    Counted,
    FamilySize,
    Findings,
    Found,
    FoundChange,
    Role,
    Served,
    SettingInForce,
    Status,
    TriedPort,
    ValueFiles,
)
from metrics_commands.status.history import History
from metrics_commands.status.page import read_files, write_json, write_page
from metrics_commands.status.totals import Totals
from metrics_commands.status.words import write_seconds
from tests.processes import ROOT
from tests.status.test_history import BOUNDS, START, make_counts

SCHEMA = json.loads((ROOT / "docs" / "status.schema.json").read_text())
EVIL = "\"><script>alert(1)</script><b a='"
VOID = {"meta", "link"}


def make_history(view: str) -> History:
    """Return a history with some requests to one view."""
    history = History()
    history.add(START, Totals(bounds=BOUNDS))
    views = make_counts({view: [10, 5, 8, 2, 0], "": [10, 5, 8, 2, 0]})
    history.add(START + 5, Totals(10, 2, 0.25, BOUNDS, views))
    return history


def make_status(text: str, history: History | None = None) -> Status:
    """Return a document that has a text wherever one can be."""
    course = describe_course((history or make_history(text)).list_steps(START + 6))
    return Status(
        time="2026-01-02T03:04:05+00:00",
        served=Served(
            (text,), text, "https", text, "2026-01-02T03:04:05+00:00", text, True, {"200": 2}
        ),
        counted=Counted(10, 10, 5),
        last_minute=course.last_minute,
        scrape_seconds=course.scrape_seconds,
        all_views=course.all_views,
        views=course.views,
        charts=course.charts,
        value_files=ValueFiles(text, text, {"live": 1}, {text: 2}, 1000, 3, 4, None, 0.5),
        roles=(Role(text, 1, 2, 1),),
        collectors=(CollectorState(text, "failed", 0.1, 3.0, 60.0, 7, 1, text, 5.0),),
        series=1234,
        families=(FamilySize(text, "gauge", 1234, text),),
        ports=(TriedPort("::1", 8001, "taken", text, 12, text),),
        settings=(
            SettingInForce(text, "--x", text, "option", text),
            SettingInForce(text, "", text, "default", text),
        ),
        findings=Findings(2.0, (Found(text, "error", text, text, (FoundChange(text, text),)),)),
    )


class Reader(HTMLParser):
    """Collect the elements of a page, and check that each is closed where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID | {"wbr"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(status: Status) -> Reader:
    """Return what is in the page."""
    reader = Reader()
    reader.feed(write_page(status).decode())
    assert reader.open == []
    return reader


def test_no_text_becomes_markup() -> None:
    """Neither a view's name nor a program's, nor what a file says, can do anything on the page."""
    evil, harmless = read(make_status(EVIL)), read(make_status("harmless"))
    assert evil.seen == harmless.seen
    assert evil.seen.count("script") == 1
    assert evil.attributes == harmless.attributes
    assert not {"style", "onclick", "onload"} & harmless.attributes


@pytest.mark.parametrize("text", ["harmless", EVIL])
def test_the_document_is_as_the_schema_says(text: str) -> None:
    """A program can rely on each field."""
    jsonschema.validate(json.loads(write_json(make_status(text))), SCHEMA)


def test_every_field_is_described() -> None:
    """Whoever reads the schema need not read the code."""
    for name, described in {"": SCHEMA, **SCHEMA["$defs"]}.items():
        silent = [key for key, each in described["properties"].items() if "description" not in each]
        assert silent == [], name


def test_a_deployment_without_anything_has_a_page_too() -> None:
    """Without a metrics directory, requests, scrapes and findings, the page says that much."""
    empty = replace(
        make_status("harmless", History()),
        value_files=None,
        roles=(),
        collectors=(),
        families=(),
        ports=(),
        settings=(),
        findings=Findings(),
    )
    page = write_page(empty).decode()
    assert "No request in the last 15 minutes." in page
    assert "Without a metrics directory nothing is known of requests." in page
    assert "<svg" not in page
    read(empty)
    jsonschema.validate(json.loads(write_json(empty)), SCHEMA)


def test_the_page_has_the_numbers_of_the_document() -> None:
    """What a person reads and what a program reads is the same."""
    page = write_page(make_status("shop:index")).decode()
    for text in ("50 %", "1,234", "shop:index", "125 ms", "[::1]:8001", "pid 12", "W"):
        assert text in page


def test_a_chart_of_several_lines_names_them() -> None:
    """Who looks at a chart need not search another table for what a line is about."""
    page = write_page(make_status("shop:index")).decode().replace("<wbr>", "")
    (legend,) = re.findall(r'<ul class="legend">(.*?)</ul>', page, re.DOTALL)
    drawn = re.findall(r"line-(\d)\".*?</svg>(.*?)</li>", legend)
    assert drawn == [("0", "all requests"), ("1", "shop:index")]


def test_every_line_of_the_charts_is_there_as_numbers() -> None:
    """Who cannot see or point at a chart reads it, the lines of views included."""
    status = make_status("shop:index")
    page = write_page(status).decode()
    (table,) = re.findall(r'<table id="moments".*?</table>', page, re.DOTALL)
    head, row = (re.findall(r"<t[hd][^>]*>(.*?)</t", line) for line in table.split("<tr>")[1:])
    assert head == ["When", "Requests per second", "Errors", "p95", "Scrape", "p95 of shop:index"]
    p95 = write_seconds(status.charts.latency[1].points[-1])
    assert row == ["now", "2", "50 %", p95, "125 ms", p95]


def test_the_scrape_job_can_be_pasted() -> None:
    """A person without Prometheus finds the lines for it, with what this exporter needs."""
    page = write_page(make_status("/odd-path")).decode()
    assert "    scheme: https\n" in page
    assert "    metrics_path: /odd-path\n" in page
    assert "      - targets: [&quot;/odd-path&quot;]" in page or '["/odd-path"]' in page


def test_files_of_the_page_need_nothing_from_elsewhere() -> None:
    """No style sheet, script or image asks another host."""
    for kind, content in read_files().values():
        assert kind
        harmless = rb"(?m)^// .+$|http://www\.w3\.org/2000/svg"
        assert b"//" not in re.sub(harmless, b"", content)
