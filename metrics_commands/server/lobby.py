"""Keep new connections outside until their first request has come, so that few cost much.

What an accept filter does in FreeBSD's kernel: a client that says nothing, or little by little,
is a socket and a timer here, where a stream would have buffers, timers and a coroutine.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# From the connection to the end of the first request's headers, a TLS handshake included.
FIRST_REQUEST_SECONDS = 10.0
MOST_REQUEST_BYTES = 32 * 1024
# As Tornado ends headers.
ENDS = (b"\n\r\n", b"\n\n")


@dataclass(eq=False)
class Guest:
    """A client that has not asked yet; it has to by ``deadline``, and ``seen`` bytes have come."""

    socket: socket.socket
    address: Any
    deadline: float
    leave: Callable[[Guest], None]
    seen: int = 0

    @property
    def seconds(self) -> float:
        """Return how long it may still take."""
        return max(0.0, self.deadline - asyncio.get_running_loop().time())

    def close(self) -> None:
        """End its connection."""
        self.leave(self)
        self.socket.close()


class Lobby:
    """All guests; ``admit`` takes one whose request has come, ``leave`` is told of each that goes.

    Where ``is_encrypted`` says so the first bytes are enough: the rest is a handshake's.
    """

    def __init__(
        self,
        admit: Callable[[Guest], None],
        leave: Callable[[Guest], None],
        is_encrypted: Callable[[], bool],
    ) -> None:
        self._admit = admit
        self._leave = leave
        self._is_encrypted = is_encrypted
        self._timers: dict[Guest, asyncio.TimerHandle] = {}

    def enter(self, client: socket.socket, address: Any) -> Guest:
        """Watch a connection that was accepted."""
        loop = asyncio.get_running_loop()
        guest = Guest(client, address, loop.time() + FIRST_REQUEST_SECONDS, self._let_go)
        self._timers[guest] = loop.call_at(guest.deadline, guest.close)
        # By its number: of an object that it does not know yet asyncio asks the whole description.
        loop.add_reader(client.fileno(), self._look, guest)
        return guest

    def close(self) -> None:
        """Send all guests away."""
        for guest in list(self._timers):
            guest.close()

    def _let_go(self, guest: Guest) -> None:
        self._timers.pop(guest).cancel()
        asyncio.get_running_loop().remove_reader(guest.socket.fileno())
        self._leave(guest)

    def _look(self, guest: Guest) -> None:
        try:
            request = guest.socket.recv(MOST_REQUEST_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            request = b""
        if request and (self._is_encrypted() or any(end in request for end in ENDS)):
            self._let_in(guest)
        elif not request or len(request) == MOST_REQUEST_BYTES or has_left(guest.socket):
            guest.close()
        elif len(request) == guest.seen or not wait_for_more(guest.socket, len(request)):
            # This kernel would call us for what is there already, again and again.
            self._let_in(guest)
        else:
            guest.seen = len(request)

    def _let_in(self, guest: Guest) -> None:
        self._let_go(guest)
        if guest.seen:
            wait_for_more(guest.socket, 0)
        self._admit(guest)


def wait_for_more(client: socket.socket, seen: int) -> bool:
    """Let a socket be ready only when more than so many bytes have come; tell whether it can."""
    try:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, seen + 1)
    except OSError:
        return False
    return True


def has_left(client: socket.socket) -> bool:
    """Tell whether the other side has ended what it sends, where the system tells that."""
    if not hasattr(select, "POLLRDHUP"):
        return False
    poll = select.poll()
    poll.register(client, select.POLLRDHUP)
    return bool(poll.poll(0))
