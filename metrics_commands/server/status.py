"""Answer ``/``: all there is to know for who may know it, and a few links for everyone else."""

from __future__ import annotations

import asyncio
import html

from tornado.web import HTTPError

from .handlers import PlainHandler
from .status_pages import Shared, StatusPages

HTML = "text/html; charset=utf-8"
# The pages have no style and no script but those of their own files.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
START_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Django metrics</title>
<link rel="icon" href="/status.svg" type="image/svg+xml">
<link rel="stylesheet" href="/status.css">
</head>
<body>
<main>
<h1>Django metrics</h1>
<p>One process serves the metrics of every worker of a Django project.</p>
<nav aria-label="Pages">
<ul>
<li><a href="{path}">Metrics</a></li>
<li><a href="/-/healthy">Health</a></li>
<li><a href="/-/ready">Readiness</a></li>
</ul>
</nav>
</main>
</body>
</html>
"""


class PageHandler(PlainHandler):
    """What the pages for people have in common."""

    async def prepare(self) -> None:
        await super().prepare()
        # Not before: a refusal tells nobody which paths there are.
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")
        self.set_header("Referrer-Policy", "no-referrer")
        if "Content-Security-Policy" not in self.service.gate.headers:
            self.set_header("Content-Security-Policy", POLICY)

    def find_pages(self) -> StatusPages | None:
        """Return the pages where there are any, and who asks may see them."""
        pages = self.service.status
        return pages if pages and pages.may_see(self.request) else None

    async def send_made(self, content_type: str, made: Shared) -> None:
        """Send what is made in a thread; a HEAD is answered without, so without a length."""
        self.set_header("Content-Type", content_type)
        if self.request.method == "HEAD":
            await self.flush()
            return
        try:
            body = await made.get()
        except (asyncio.TimeoutError, asyncio.CancelledError):
            # Only the end of the server cancels; Tornado before 6.6 logs that as an error.
            raise HTTPError(503) from None
        self.finish(body)


class StatusHandler(PageHandler):
    """Show a person what goes on, or only where to go; the latter gathers nothing."""

    async def get(self) -> None:
        pages = self.find_pages()
        if pages is not None:
            await self.send_made(HTML, pages.page)
            return
        self.set_header("Content-Type", HTML)
        self.finish(START_PAGE.format(path=html.escape(self.service.telemetry.path)))

    head = get


class DocumentHandler(PageHandler):
    """Show a machine the same."""

    async def get(self) -> None:
        if self.service.status is None:
            raise HTTPError(404)
        pages = self.find_pages()
        if pages is None:
            raise HTTPError(403)
        await self.send_made("application/json", pages.document)

    head = get


class FileHandler(PageHandler):
    """Serve a style sheet, a script, an image: they are the same for everyone."""

    def get(self) -> None:
        files = self.service.status.files if self.service.status else {}
        content_type, content = files[self.request.path]
        self.set_header("Content-Type", content_type)
        self.finish(content)

    head = get
