"""The documentation as a site: it builds strictly, asks no other host, and says what is so."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from http.client import responses
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import django
import pytest
import yaml

from tests.processes import ROOT, clean_environment, exporter, free_port, run, run_manage

DOCS = ROOT / "docs"
PAGES = sorted(path.name for path in DOCS.glob("*.md"))
TROUBLESHOOTING = (DOCS / "troubleshooting.md").read_text()
# Of elements that a browser fetches unasked, or before anybody follows a link.
FETCHED = {"src", "srcset", "poster", "data"}
# What stands for any text: of the three kinds of placeholder, and in the documentation.
PLACEHOLDER = re.compile(r"%\.?\d*[sdrf]|\{[^{}]*\}|…")
LEAST_LETTERS = 10


@dataclass
class Page(HTMLParser):
    """What matters of a built page: its anchors, what it links to, what it fetches, its text."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    paragraphs: list[str] = field(default_factory=list)
    _inside: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        self.fetched += [given[name] for name in FETCHED if name in given]
        if tag == "link":
            self.fetched.append(given.get("href", ""))
        elif "href" in given:
            self.links.append(given["href"])
        if tag == "p":
            self.paragraphs.append("")
        self._inside.add(tag)

    def handle_endtag(self, tag: str) -> None:
        self._inside.discard(tag)

    def handle_data(self, data: str) -> None:
        if "p" in self._inside and "code" not in self._inside:
            self.paragraphs[-1] += data


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the site, built as continuous integration builds it."""
    pytest.importorskip("material")
    home = tmp_path_factory.mktemp("site")
    folder = home / "pages"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = run(command, clean_environment(home, NO_MKDOCS_2_WARNING="1"))
    assert built.returncode == 0, built.stderr
    return folder


@cache
def parse(path: Path) -> Page:
    """Return what a built page holds."""
    page = Page()
    page.feed(path.read_text())
    return page


def read_navigation() -> list[str]:
    """Return the pages that mkdocs.yml lists."""
    configuration = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    return [page for entry in configuration["nav"] for page in entry.values()]


def test_every_page_is_in_the_navigation_once() -> None:
    """No page can be found by its address alone."""
    assert sorted(read_navigation()) == PAGES


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(site: Path, name: str) -> None:
    """Each link to another page, or to a heading, has that page and that heading."""
    path = site / name.replace(".md", ".html")
    assert parse(path).links
    for link in map(urlsplit, parse(path).links):
        if link.scheme or link.netloc:
            continue
        target = (path.parent / unquote(link.path)).resolve() if link.path else path
        target = target / "index.html" if target.is_dir() else target
        assert target.is_file(), link
        if link.fragment:
            assert unquote(link.fragment) in parse(target).anchors, link


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fetches_nothing_from_elsewhere(site: Path, name: str) -> None:
    """Reading the documentation tells no other host, and works without a network."""
    fetched = parse(site / name.replace(".md", ".html")).fetched
    assert fetched
    assert [each for each in fetched if urlsplit(each).scheme or urlsplit(each).netloc] == []


def test_every_picture_is_shown_and_light(site: Path) -> None:
    """No picture is left over, and none keeps a reader waiting."""
    pictures = {path.name: path.stat().st_size for path in (DOCS / "images").iterdir()}
    fetched = [each for page in site.glob("*.html") for each in parse(page).fetched]
    shown = {urlsplit(each).path for each in fetched if each.startswith("images/")}
    assert shown == {f"images/{name}" for name in pictures}
    assert {"status-light.png", "status-dark.png"} <= pictures.keys()
    assert max(pictures.values()) < 300_000


def test_styles_fetch_nothing_from_elsewhere(site: Path) -> None:
    """Neither do style sheets: no font, no image, no other sheet."""
    sheets = list(site.rglob("*.css"))
    assert sheets
    for sheet in sheets:
        text = sheet.read_text()
        assert re.findall(r"url\(\s*[\"']?(?:https?:)?//[^)]*|@import[^;]*//[^;]*", text) == []


@pytest.mark.parametrize("name", PAGES)
def test_no_markup_is_left_in_the_text(site: Path, name: str) -> None:
    """Lists, tables and code are rendered, and do not end up in a paragraph as they were typed."""
    paragraphs = parse(site / name.replace(".md", ".html")).paragraphs
    marks = re.compile(r"```|\*\*|^\||^[-*] |^[1-9]\. ", re.MULTILINE)
    assert [each for each in paragraphs if marks.search(each)] == []


def list_quoted() -> list[str]:
    """Return each message that the troubleshooting page quotes."""
    blocks = re.findall(r"^```text\n(.*?)^```", TROUBLESHOOTING, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@cache
def list_messages() -> list[re.Pattern[str]]:
    """Return what the code may say, and Django's runserver, with any text for placeholders."""
    runserver = Path(django.__file__).parent / "core" / "management" / "commands" / "runserver.py"
    found = []
    for path in (runserver, *(ROOT / "metrics_commands").rglob("*.py")):
        for text in list_texts(ast.parse(path.read_text())):
            parts = PLACEHOLDER.split(text)
            if sum(map(len, parts)) >= LEAST_LETTERS:
                found.append(re.compile(".*".join(map(re.escape, parts)), re.DOTALL))
    return found


def list_texts(tree: ast.AST) -> Iterator[str]:
    """Yield the texts that a module writes down, with ``…`` for what an f-string puts in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (each.value if isinstance(each, ast.Constant) else "…" for each in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("message", list_quoted())
def test_quoted_messages_are_those_of_the_code(message: str) -> None:
    """Who searches the page for a line of the log finds it, word for word."""
    assert any(each.fullmatch(message) for each in list_messages())


def as_pattern(message: str) -> str:
    """Return what finds a quoted message in real output."""
    return ".*".join(re.escape(each) for each in message.split("…"))


def find_quoted(output: str) -> set[str]:
    """Return the beginnings of the quoted messages that are in some output."""
    return {each.split("…")[0] for each in list_quoted() if re.search(as_pattern(each), output)}


def test_real_troubles_are_on_the_page(tmp_path: Path) -> None:
    """What a taken port, a second exporter and a strange address say is what the page quotes."""
    environment = clean_environment(tmp_path)
    apart = ["--port-wait", "0", "--metrics-dir", str(tmp_path / "other")]
    with exporter(environment, "--port", str(free_port())) as (process, url):
        port = str(urlsplit(url).port)
        again = run_manage(environment, "runmetrics", "--port-wait", "0")
        taken = run_manage(environment, "runmetrics", "--port", port, *apart)
    strange = run_manage(environment, "runmetrics", "--address", "192.0.2.1", *apart)
    assert (
        "No process has written there yet. Start the web process; if it runs already, see that"
        " its settings call use_metrics_directory() with this path." in find_quoted(process.output)
    )
    assert find_quoted(again.stderr) == {"This metrics directory is served already, by pid "}
    assert re.search(as_pattern("… is taken by …"), taken.stderr)
    assert re.search(as_pattern("… is not an address of this machine"), strange.stderr)
    assert "… is taken by …" in list_quoted()


def list_statuses() -> set[int]:
    """Return each status from 400 up that the server's code answers with."""
    found = set()
    for path in (ROOT / "metrics_commands" / "server").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                status: Any = node.args[0].value
                if name in {"HTTPError", "set_status", "_refuse"} and status in responses:
                    found.add(int(status))
    return {each for each in found if each >= 400}


def test_every_status_is_explained() -> None:
    """Whatever refusal the exporter answers with, the page has its row."""
    rows = re.findall(r"^\| (\d{3}) \|", TROUBLESHOOTING, re.MULTILINE)
    assert {int(each) for each in rows} == list_statuses()


def test_the_five_minute_start_leads_to_numbers(tmp_path: Path) -> None:
    """Who follows the page in a new project, block by block, has a clean check and a scrape."""
    directory, ends = re.findall(
        r"^```python\n(.*?)^```", (DOCS / "start.md").read_text(), re.MULTILINE | re.DOTALL
    )
    environment = clean_environment(tmp_path, PYTHONPATH=str(ROOT))
    made = run(
        [sys.executable, "-m", "django", "startproject", "mysite", "."], environment, cwd=tmp_path
    )
    assert made.returncode == 0, made.stderr
    settings = tmp_path / "mysite" / "settings.py"
    before, line, after = settings.read_text().partition(
        "BASE_DIR = Path(__file__).resolve().parent.parent\n"
    )
    settings.write_text(f"{before}{line}\n{directory}{after}\n{ends}")
    manage = [sys.executable, "manage.py"]
    check = run(
        [*manage, "check", "--tag", "metrics", "--fail-level", "INFO"], environment, cwd=tmp_path
    )
    assert (check.returncode, check.stderr) == (0, "")
    asked = "from django.test import Client; Client(SERVER_NAME='localhost').get('/nowhere')"
    run([*manage, "shell", "-c", asked], environment, cwd=tmp_path)
    page = run([*manage, "runmetrics", "--once"], environment, cwd=tmp_path).stdout
    assert 'django_http_responses_total_by_status_total{status="404"} 1.0' in page
