"""Clients that mean harm; as a program, many of one kind, apart from whom they would slow."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import socket
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from time import monotonic

from metrics_commands.server.lobby import FIRST_REQUEST_SECONDS

SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
OK = b"HTTP/1.1 200"
HELLO = b"\x16\x03\x01\x02\x00\x01\x00"
PATHS = ("/", "/nowhere", "/-/healthy", "/-/ready", "/favicon.ico", "/metrics/", "/%00", "/..")
LARGEST = "django_http_requests_latency_seconds_by_view_method_bucket"
DROPS = 20
SPREAD_SECONDS = 4.0
STEP = 1.0
GRACE = 30.0


@dataclass
class Outcome:
    """What became of the attack, as its clients saw it.

    ``closed`` connections were ended by the server, ``longest`` is how many seconds the longest of
    all lasted, and ``whole`` pages had arrived in the end for clients that did not read them.
    """

    opened: int = 0
    closed: int = 0
    longest: float = 0.0
    whole: int = 0


@dataclass
class Attack:
    """What the clients share: where they go, how many they are, and until when they stay."""

    port: int
    clients: int
    seconds: float
    outcome: Outcome = field(default_factory=Outcome)

    def __post_init__(self) -> None:
        self._end = monotonic() + self.seconds
        # Who has to be thrown out within the attack stays until that happens, also if it is late.
        self._last = self._end + (GRACE if self.seconds > FIRST_REQUEST_SECONDS else 0.0)

    @property
    def left(self) -> float:
        """Return how many seconds are left."""
        return max(0.0, self._end - monotonic())

    async def linger(self, first: bytes, then: bytes = b"") -> None:
        """Send something, and a little more each second, until thrown out; come again later."""
        async with self.connect() as client:
            data, closed = first, False
            while not closed and monotonic() < self._last:
                # One that was closed already is known by what it receives.
                with suppress(OSError):
                    await send(client, data)
                closed, data = await self.is_closed(client, STEP), then
        await self.pause(2 * STEP)

    @asynccontextmanager
    async def connect(self, receive_buffer: int | None = None) -> AsyncIterator[socket.socket]:
        """Open a connection; announce the attack when half of the clients have one."""
        with socket.socket() as client:
            client.setblocking(False)
            if receive_buffer is not None:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            connecting = asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", self.port))
            await asyncio.wait_for(connecting, max(self.left, GRACE))
            start = monotonic()
            self.outcome.opened += 1
            if self.outcome.opened == self.clients // 2:
                say("attacking")
            try:
                yield client
            finally:
                self.outcome.longest = max(self.outcome.longest, monotonic() - start)

    async def is_closed(self, client: socket.socket, seconds: float) -> bool:
        """Forget what the server sends for so long; tell whether it has closed the connection."""
        try:
            while await receive(client, seconds):
                pass
        except asyncio.TimeoutError:
            return False
        except OSError:
            # Reset, since there was something that the server has not read.
            pass
        self.outcome.closed += 1
        return True

    async def pause(self, seconds: float) -> None:
        """Wait, but not beyond the end."""
        await asyncio.sleep(max(0.0, min(seconds, self.left)))


def say(line: str) -> None:
    """Tell who started us."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def receive(client: socket.socket, seconds: float, most: int = 65536) -> bytes:
    """Return what comes next."""
    loop = asyncio.get_running_loop()
    return await asyncio.wait_for(loop.sock_recv(client, most), seconds)


async def send(client: socket.socket, data: bytes) -> None:
    """Send all of it, unless the other side does not take it."""
    await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(client, data), STEP)


async def drip(attack: Attack) -> None:
    """Send a header that never ends, a byte a second; come again when thrown out."""
    await attack.linger(SCRAPE + b"X-Slow: ", b"x")


async def keep_silent(attack: Attack) -> None:
    """Send nothing, or the beginning of a TLS handshake; come again when thrown out."""
    await attack.linger(random.choice((b"", HELLO)))


async def leave_unread(attack: Attack) -> None:
    """Ask for the page and do not read it before the end, where the rest of it must be missing."""
    # Not all at once: beyond the limit of concurrent requests nobody would get a page to leave.
    await attack.pause(random.random() * SPREAD_SECONDS)
    async with attack.connect(receive_buffer=4096) as client:
        await send(client, SCRAPE + b"Connection: close\r\n\r\n")
        answer = bytearray(await receive(client, GRACE, len(OK)))
        if answer != OK:
            return
        await attack.pause(attack.left)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        with suppress(OSError, asyncio.TimeoutError):
            while part := await receive(client, GRACE):
                answer += part
        head, _, body = bytes(answer).partition(b"\r\n\r\n")
        attack.outcome.whole += b"Content-Length: %d" % len(body) in head.split(b"\r\n")


async def drop(attack: Attack) -> None:
    """Connect and leave at once, in any of four ways, in step with all others; so many times."""
    for number in range(1, DROPS + 1):
        async with attack.connect() as client:
            await send(client, random.choice((b"", SCRAPE)))
            if random.random() < 0.5:
                # Leaves with a reset.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await attack.pause(attack.left - attack.seconds * (1 - number / DROPS))


async def babble(attack: Attack) -> None:
    """Send random bytes, some after the beginning of a request; come again when thrown out."""
    async with attack.connect() as client:
        await send(client, random.choice((b"", SCRAPE, b"POST / HTTP/1.1\r\n")))
        while attack.left:
            await send(client, random.randbytes(random.randrange(1, 20_000)))
            if await attack.is_closed(client, 0.1):
                break
    await attack.pause(random.random() * STEP)


async def flood(attack: Attack) -> None:
    """Ask for other paths, one after the other, as fast as they are answered."""
    async with attack.connect() as client:
        while attack.left:
            path, host = random.choice(PATHS), random.choice(("localhost", "evil.example"))
            await send(client, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            if not await receive(client, GRACE):
                return


async def choose(attack: Attack) -> None:
    """Ask for most of the metrics, each time for others, so that no two can have the same page."""
    names = f"name[]={LARGEST}&name[]=x{random.getrandbits(60)}"
    question = SCRAPE.replace(b"/metrics", f"/metrics?{names}".encode())
    async with attack.connect() as client:
        await send(client, question + b"Accept-Encoding: gzip\r\nConnection: close\r\n\r\n")
        while await receive(client, GRACE):
            pass


KINDS: dict[str, Callable[[Attack], Awaitable[None]]] = {
    each.__name__: each for each in (drip, keep_silent, leave_unread, drop, babble, flood, choose)
}


async def persist(attack: Attack, act: Callable[[Attack], Awaitable[None]]) -> None:
    """Be one client, again and again until the end."""
    while attack.left:
        try:
            await act(attack)
        except (OSError, asyncio.TimeoutError):
            await attack.pause(STEP)


async def run(kind: str, attack: Attack) -> None:
    """Let all clients act at once."""
    await asyncio.gather(*(persist(attack, KINDS[kind]) for _ in range(attack.clients)))


def main(kind: str, port: str, clients: str, seconds: str) -> None:
    """Attack, and print the outcome."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    attack = Attack(int(port), int(clients), float(seconds))
    asyncio.run(run(kind, attack))
    say(f"outcome {json.dumps(asdict(attack.outcome))}")


if __name__ == "__main__":
    main(*sys.argv[1:])
