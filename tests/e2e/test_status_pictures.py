"""Pictures of the status page, of a real shop in real Chromium: ``make screenshots`` keeps them."""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.customers import customers, scraping
from tests.e2e.status_page import SCHEMES, Scheme
from tests.e2e.traffic import wait_for_web
from tests.processes import (
    BIN,
    ROOT,
    TIMEOUT,
    clean_environment,
    fetch,
    free_port,
    started,
    wait_until,
)

# Where the pictures of the documentation are to be kept; without, a few steps are enough.
FOLDER = os.environ.get("SCREENSHOTS")
STEPS = 59 if FOLDER else 2
PORT = "8001" if FOLDER else "0"
WIDTH = 1280
LARGEST = 300_000
READ_PIXELS = """async address => {
    const image = new Image();
    image.src = address;
    await image.decode();
    const {width, height} = image;
    const context = new OffscreenCanvas(width, height).getContext("2d");
    context.drawImage(image, 0, 0);
    const {data} = context.getImageData(0, 0, width, height), colours = new Set();
    let sum = 0;
    for (let at = 0; at < data.length; at += 4) {
        colours.add((data[at] << 16) | (data[at + 1] << 8) | data[at + 2]);
        sum += data[at] + data[at + 1] + data[at + 2];
    }
    return [width, height, colours.size, sum / (3 * width * height)];
}"""


class Looks(NamedTuple):
    """What can be measured of a picture; ``brightness`` is from 0 to 255."""

    width: int
    height: int
    colours: int
    brightness: float


@pytest.fixture(scope="module")
def page_url(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[str]:
    """Run the shop with customers, and an exporter that remembers enough of them."""
    home = tmp_path_factory.mktemp("pictures")
    shutil.copy(migrated, home / "db.sqlite3")
    # The time on a picture is nobody's local one.
    environment = clean_environment(home, TZ="UTC")
    port = free_port()
    web: list[str | Path] = [BIN / "gunicorn", "project.wsgi", "--workers", "4"]
    web += ["--bind", f"127.0.0.1:{port}"]
    command = [sys.executable, "-m", "tests.e2e.time_lapse", "runmetrics", "--port", PORT]
    with started(web, environment):
        wait_for_web(port)
        with customers(port), started(command, environment) as exporter:
            metrics = exporter.wait_for(r"Serving (http://\S+)")[1]
            url = metrics.removesuffix("metrics")
            with scraping(metrics):
                wait_until(lambda: knows_enough(url), seconds=TIMEOUT + STEPS)
                yield url


def knows_enough(url: str) -> bool:
    """Wait a little, since looking costs as much as a scrape; tell whether there is enough."""
    threading.Event().wait(0.5)
    charts = json.loads(fetch(f"{url}status.json")[2])["charts"]
    lines = charts["requests_per_second"], charts["scrape_seconds"]
    return all(any(each is not None for each in line["points"][:-STEPS]) for line in lines)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return where the pictures go."""
    path = ROOT / FOLDER if FOLDER else tmp_path
    path.mkdir(parents=True, exist_ok=True)
    return path


def take(browser: Browser, url: str, scheme: Scheme) -> bytes:
    """Return a picture of the header, the charts and the views, which name nothing of a machine."""
    with browser.new_context(
        viewport={"width": WIDTH, "height": 800}, color_scheme=scheme
    ) as context:
        page = context.new_page()
        page.goto(url)
        assert page.evaluate("document.documentElement.scrollWidth") == WIDTH
        views = page.locator("main > section", has=page.locator("#views"))
        box = views.bounding_box()
        assert box
        clip = {"x": 0.0, "y": 0.0, "width": float(WIDTH), "height": box["y"] + box["height"] + 12}
        return page.screenshot(full_page=True, clip=clip)  # type: ignore[arg-type]


def measure(page: Page, picture: bytes) -> Looks:
    """Let the browser read a picture's pixels."""
    address = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    return Looks(*page.evaluate(READ_PIXELS, address))


def test_pictures_for_the_documentation(browser: Browser, page_url: str, folder: Path) -> None:
    """Light and dark, there is something on each, and all of its width."""
    pictures = {scheme: take(browser, page_url, scheme) for scheme in SCHEMES}
    with browser.new_context() as context:
        page = context.new_page()
        looks = {scheme: measure(page, picture) for scheme, picture in pictures.items()}
    for scheme, picture in pictures.items():
        (folder / f"status-{scheme}.png").write_bytes(picture)
        assert len(picture) < LARGEST
        assert looks[scheme].width == WIDTH
        assert looks[scheme].height > 700
        assert looks[scheme].colours > 100
    assert looks["light"].brightness > looks["dark"].brightness + 150
