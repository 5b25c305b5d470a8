"""Basic authentication by bcrypt: no user can be told from another, and nobody waits for a flood.

User and password are compared as the bytes that were sent, as UTF-8 has them in the configuration.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial

from ..errors import ExporterError
from .background import run_in_thread
from .web_document import INSTALL

CHALLENGE = 'Basic realm="metrics", charset="UTF-8"'
# The salt has 128 bits in 22 characters, so that the last has only two bits to say.
HASH = re.compile(r"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
LONGEST_HEADER = 1024
# Of a longer password bcrypt sees only the beginning, so that many others would do as well.
LONGEST_PASSWORD = 72
MOST_OUTCOMES = 100
MOST_WAITING = 32
MOST_WAITING_PER_PEER = 4


class Verdict(Enum):
    """What to do with a request: answer it, with 401, or with 429 as too many wait."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    BUSY = "busy"


class Authenticator:
    """Check credentials against bcrypt hashes; where there are no users, everybody may enter.

    Credentials cost one bcrypt, off the event loop, and none when they come again. So do those of
    nobody, at the highest configured cost: only users whose hash has a lower one differ in time.
    """

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users: dict[bytes, bytes] = {}
        self._decoy = b""
        self._secret = secrets.token_bytes(32)
        self._outcomes = Outcomes()
        self._queue = Queue()
        self.update(users)

    def update(self, users: Mapping[str, str]) -> None:
        """Replace the users; outcomes are kept where nothing has changed.

        Raises ExporterError, and keeps the users it had, where a hash cannot be used.
        """
        costs = [read_cost(each) for each in users.values()]
        # YAML can spell a surrogate, which is no reason to fail: nobody can be called so.
        encoded = {
            user.encode(errors="surrogatepass"): hashed.encode() for user, hashed in users.items()
        }
        if encoded == self._users:
            return
        self._decoy = make_decoy(max(costs)) if costs else b""
        self._users = encoded
        self._outcomes = Outcomes()

    async def check(self, header: str | None, peer: str) -> Verdict:
        """Judge an Authorization header that came from an address."""
        if not self._users:
            return Verdict.ACCEPTED
        credentials = read_credentials(header)
        if credentials is None:
            return Verdict.REFUSED
        user, password = credentials
        hashed = self._users.get(user, self._decoy)
        key = self._make_key(user, hashed, password)
        matched = self._outcomes.get(key)
        if matched is None:
            matched = await self._queue.run(key, peer, partial(matches, password, hashed))
            if matched is None:
                return Verdict.BUSY
            self._outcomes.put(key, matched)
        # Asked again, since the users may have changed meanwhile; the decoy is nobody's.
        right = matched and self._users.get(user) == hashed
        return Verdict.ACCEPTED if right else Verdict.REFUSED

    def _make_key(self, *parts: bytes) -> bytes:
        # Lengths first, so that no two credentials have one key; keyed, so that it tells no more.
        framed = b"".join(len(each).to_bytes(8, "big") + each for each in parts)
        return hmac.digest(self._secret, framed, "sha256")


class Outcomes:
    """Which credentials have matched and which not: the latest, and the good ones longest."""

    def __init__(self) -> None:
        self._matched: dict[bytes, bool] = {}

    def __len__(self) -> int:
        return len(self._matched)

    def get(self, key: bytes) -> bool | None:
        """Return whether these have matched, or None where that is not known."""
        return self._matched.get(key)

    def put(self, key: bytes, matched: bool) -> None:
        """Remember an outcome, and forget the oldest where there are too many."""
        self._matched[key] = matched
        if len(self._matched) > MOST_OUTCOMES:
            # However many guesses come, who has the right password need not wait again.
            wrong = (each for each, good in self._matched.items() if not good)
            del self._matched[next(wrong, next(iter(self._matched)))]


class Queue:
    """Work done in the order in which it came, one at a time; little may wait, less per peer."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._waiting: dict[bytes, tuple[str, asyncio.Task[bool]]] = {}

    async def run(self, key: bytes, peer: str, work: Callable[[], bool]) -> bool | None:
        """Return the result of work, done once for all who wait for it; None if too much waits."""
        if key not in self._waiting:
            own = sum(each == peer for each, _ in self._waiting.values())
            if own >= MOST_WAITING_PER_PEER or len(self._waiting) >= MOST_WAITING:
                return None
            task = asyncio.create_task(self._run_in_turn(work))
            self._waiting[key] = (peer, task)
            task.add_done_callback(lambda _: self._waiting.pop(key))
        # Others may wait for the same: who leaves must not cancel it.
        return await asyncio.shield(self._waiting[key][1])

    async def _run_in_turn(self, work: Callable[[], bool]) -> bool:
        async with self._turn:
            return await run_in_thread("authentication", work)


def read_credentials(header: str | None) -> tuple[bytes, bytes] | None:
    """Return user and password from an Authorization header, or None if it has none."""
    if header is None or len(header) > LONGEST_HEADER:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(token.strip(" "), validate=True)
    except ValueError:
        return None
    user, colon, password = decoded.partition(b":")
    return (user, password) if colon else None


def matches(password: bytes, hashed: bytes) -> bool:
    """Tell whether a password has this hash, in the same time for every password."""
    import bcrypt

    # bcrypt takes "a" and "a\0a" for the same password.
    possible = len(password) <= LONGEST_PASSWORD and b"\0" not in password
    return bcrypt.checkpw(password if possible else b"", hashed) and possible


def read_cost(hashed: str) -> int:
    """Return the cost of a bcrypt hash, or raise ExporterError if it is none."""
    found = HASH.fullmatch(hashed)
    if found is None:
        raise ExporterError(
            "The password hash of a user is not a bcrypt hash.",
            "Make one with: htpasswd -nBC 10 USER",
            exit_code=2,
        )
    return int(found[1])


def make_decoy(cost: int) -> bytes:
    """Return a hash of this cost that no password has."""
    load_bcrypt()
    import bcrypt

    return bcrypt.gensalt(cost) + b"." * 31


def load_bcrypt() -> None:
    """Import bcrypt, or raise ExporterError where it is not installed, or broken."""
    try:
        import bcrypt  # noqa: F401
    except ImportError as error:
        message = f"Basic authentication needs bcrypt, which is not installed, or broken: {error}."
        raise ExporterError(message, INSTALL, exit_code=2) from None
