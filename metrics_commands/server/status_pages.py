"""The status page as the server is given it: made in a thread, once for all who ask meanwhile."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tornado.httputil import HTTPHeaders, HTTPServerRequest

from .background import run_in_thread

# Nobody waits for longer: what is asked of a page that hangs is to leave the others alone.
MAKE_SECONDS = 10.0
# What proxies add, each its own: behind one on this machine every client comes from loopback.
FORWARDED = {"forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip"}
FORWARDED_PREFIX = "x-forwarded-"


class Shared:
    """What takes a while to make; who asks while it is being made gets the same."""

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make = make
        self._task: asyncio.Task[bytes] | None = None

    async def get(self) -> bytes:
        """Return it; raise asyncio.TimeoutError where that takes too long."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(run_in_thread("status page", self._make))
            # Known to asyncio as seen, also where all who waited have gone.
            self._task.add_done_callback(lambda done: done.cancelled() or done.exception())
        # Others wait for the same: who leaves must not cancel it.
        return await asyncio.wait_for(asyncio.shield(self._task), MAKE_SECONDS)


@dataclass
class StatusPages:
    """``make_page`` and ``make_document`` (as JSON) run in a thread.

    ``asks_for_password`` tells whether who gets here has given one; ``files`` are what the page
    asks for besides, by path: content type and content.
    """

    make_page: Callable[[], bytes]
    make_document: Callable[[], bytes]
    asks_for_password: Callable[[], bool] = lambda: False
    files: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)
    page: Shared = field(init=False)
    document: Shared = field(init=False)

    def __post_init__(self) -> None:
        self.page, self.document = Shared(self.make_page), Shared(self.make_document)

    def may_see(self, request: HTTPServerRequest) -> bool:
        """Tell whether a request that was admitted gets the whole page."""
        if is_near(request.remote_ip, request.headers):
            return True
        # Who was admitted without, just before users were added, has sent none.
        return "Authorization" in request.headers and self.asks_for_password()


def is_near(peer: str | None, headers: HTTPHeaders) -> bool:
    """Tell whether a request comes from this machine itself, and through no proxy that says so."""
    names = {name.lower() for name in headers}
    if names & FORWARDED or any(name.startswith(FORWARDED_PREFIX) for name in names):
        return False
    try:
        address = ipaddress.ip_address(peer or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
