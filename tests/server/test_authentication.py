"""Who may enter: real bcrypt, whose calls are counted, and held up where order matters."""

from __future__ import annotations

import asyncio
import base64
import statistics
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import bcrypt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_commands.errors import ExporterError
from metrics_commands.server.authentication import (
    LONGEST_HEADER,
    MOST_OUTCOMES,
    MOST_WAITING,
    MOST_WAITING_PER_PEER,
    Authenticator,
    Outcomes,
    Verdict,
    read_credentials,
)
from tests.processes import TIMEOUT, clean_environment, run

ACCEPTED, REFUSED, BUSY = Verdict
PEER = "192.0.2.1"
LONG = b"x" * 72


def make_hash(password: bytes | str, cost: int = 4) -> str:
    """Return a bcrypt hash."""
    raw = password.encode() if isinstance(password, str) else password
    return bcrypt.hashpw(raw, bcrypt.gensalt(cost)).decode()


USERS = {
    "alice": make_hash("wonder:land"),
    "bob": make_hash("builder").replace("$2b$", "$2y$"),
    "zoë": make_hash("pässword"),
    "bytes": make_hash(b"\xff\xfe"),
    "long": make_hash(LONG),
    "short": make_hash("a"),
    "empty": make_hash(""),
}


def basic(user: str | bytes, password: str | bytes) -> str:
    """Return an Authorization header."""
    parts = [each.encode() if isinstance(each, str) else each for each in (user, password)]
    return f"Basic {base64.b64encode(b':'.join(parts)).decode()}"


ALICE = basic("alice", "wonder:land")


def check(authenticator: Authenticator, header: str | None) -> Verdict:
    """Judge one header in an event loop of its own."""
    return asyncio.run(authenticator.check(header, PEER))


@dataclass
class Spy:
    """The real checkpw, which keeps what hashes it was given, and waits until it may go on."""

    costs: list[int] = field(default_factory=list)
    entered: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)
    alone: threading.Lock = field(default_factory=threading.Lock)
    threads: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._checkpw = bcrypt.checkpw
        self.opened.set()

    def __call__(self, password: bytes, hashed: bytes) -> bool:
        """Check a password, and that nobody else does meanwhile."""
        assert self.alone.acquire(blocking=False), "two at a time"
        try:
            self.costs.append(int(hashed[4:6]))
            self.threads.add(threading.get_ident())
            self.entered.set()
            opened = self.opened.wait(TIMEOUT)
            # Where a test has failed, those that come next need not wait as long.
            self.opened.set()
            assert opened
            return self._checkpw(password, hashed)
        finally:
            self.alone.release()

    async def wait_until_entered(self) -> None:
        """Wait until a password is being checked, without holding up the event loop."""
        assert await asyncio.to_thread(self.entered.wait, TIMEOUT)


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    """Look on while bcrypt works."""
    looking = Spy()
    monkeypatch.setattr(bcrypt, "checkpw", looking)
    return looking


@pytest.mark.parametrize(
    ("header", "verdict"),
    [
        (ALICE, ACCEPTED),
        (ALICE.replace("Basic ", "bAsIc  "), ACCEPTED),
        (f"{ALICE} ", ACCEPTED),
        (basic("bob", "builder"), ACCEPTED),
        (basic("zoë", "pässword"), ACCEPTED),
        (basic("bytes", b"\xff\xfe"), ACCEPTED),
        (basic("long", LONG), ACCEPTED),
        (basic("empty", ""), ACCEPTED),
        (basic("alice", "builder"), REFUSED),
        (basic("alice", ""), REFUSED),
        (basic("Alice", "wonder:land"), REFUSED),
        (basic("alice:wonder", "land"), ACCEPTED),
        (basic("zoë".encode("latin-1"), "pässword".encode("latin-1")), REFUSED),
        (basic("long", LONG + b"x"), REFUSED),
        (basic("short", b"a\0a"), REFUSED),
        (basic("empty", b"\0"), REFUSED),
        (basic("empty", b"x" * 73), REFUSED),
        (basic("nobody", "fakepassword"), REFUSED),
        (basic("", ""), REFUSED),
        (basic("a" * 60, "b" * 700), REFUSED),
    ],
)
def test_only_the_right_password_of_a_user_enters_and_all_cost_one_bcrypt(
    header: str, verdict: Verdict, spy: Spy
) -> None:
    """Cold or remembered, the answer is the same; what fits no user takes no less time."""
    authenticator = Authenticator(USERS)
    assert [check(authenticator, header) for _ in range(3)] == [verdict] * 3
    assert len(spy.costs) == 1


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic ",
        ALICE.removeprefix("Basic "),
        ALICE.replace(" ", ""),
        ALICE.replace(" ", "\t"),
        ALICE.replace("Basic", "Bearer"),
        f"{ALICE}!",
        f"{ALICE}\n",
        f"{ALICE},{ALICE}",
        f"{ALICE} {ALICE}",
        ALICE.rstrip("="),
        ALICE.replace("Y", "Ÿ"),
        f"Basic {base64.b64encode(b'alice').decode()}",
        basic("alice", "wonder:land" * LONGEST_HEADER),
    ],
    ids=lambda header: str(header)[:30],
)
def test_a_header_without_credentials_is_refused_without_work(header: str | None, spy: Spy) -> None:
    """Garbage costs nothing, since it tells nothing about the users."""
    assert check(Authenticator(USERS), header) is REFUSED
    assert spy.costs == []


@pytest.mark.parametrize("header", [None, "", ALICE, "Bearer x"])
def test_without_users_everybody_enters(header: str | None, spy: Spy) -> None:
    """Who configures no users wants no passwords."""
    assert check(Authenticator({}), header) is ACCEPTED
    assert spy.costs == []


def test_only_users_need_bcrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server starts without the extra, and with users it says which one is missing."""
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    assert check(Authenticator({}), None) is ACCEPTED
    with pytest.raises(ExporterError, match=r"(?s)needs bcrypt.*\[secure\]") as caught:
        Authenticator(USERS)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "topsecret",
        USERS["bob"][:-1],
        USERS["bob"] + "\n",
        USERS["bob"].replace("$2y$04$", "$2y$03$"),
        USERS["bob"].replace("$2y$04$", "$2y$32$"),
        USERS["bob"].replace("$2y$04$", "$2y$0\u0664$"),
        USERS["bob"].replace("$2y$04$", "$1$"),
        USERS["bob"][:28] + "/" + USERS["bob"][29:],
    ],
)
def test_what_is_no_bcrypt_hash_is_an_error_that_discloses_nothing(text: str) -> None:
    """A password that was written in the place of its hash is not repeated in a log."""
    with pytest.raises(ExporterError) as caught:
        Authenticator({"carol": text})
    assert caught.value.exit_code == 2
    assert "carol" not in str(caught.value)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("costs", [(4,), (6,), (4, 6, 5)])
def test_an_unknown_user_takes_as_long_as_the_slowest_known(
    costs: tuple[int, ...], spy: Spy
) -> None:
    """Nobody learns from the time of an answer whether a user exists."""
    authenticator = Authenticator({f"user{each}": make_hash("p", each) for each in costs})
    check(authenticator, basic("nobody", "guess"))
    check(authenticator, basic(f"user{max(costs)}", "guess"))
    assert spy.costs == [max(costs)] * 2


def test_known_and_unknown_users_are_refused_in_the_same_time() -> None:
    """The clock agrees with the count."""
    authenticator = Authenticator({"alice": make_hash("wonderland", 7)})
    seconds: dict[str, list[float]] = {"alice": [], "nobody": []}
    for number in range(15):
        for user, taken in seconds.items():
            start = time.perf_counter()
            assert check(authenticator, basic(user, f"guess{number}")) is REFUSED
            taken.append(time.perf_counter() - start)
    known, unknown = (statistics.median(each) for each in seconds.values())
    assert 1 / 3 < known / unknown < 3


def test_many_at_once_are_all_answered_rightly(spy: Spy) -> None:
    """Credentials that wait for the same result share it, also from one address."""

    async def check_all() -> Counter[Verdict]:
        authenticator = Authenticator(USERS)
        headers = [ALICE, basic("alice", "wrong")] * 150
        return Counter(await asyncio.gather(*[authenticator.check(each, PEER) for each in headers]))

    assert asyncio.run(check_all()) == {ACCEPTED: 150, REFUSED: 150}
    assert len(spy.costs) == 2


def test_no_refusal_can_be_made_to_stand_for_another_user() -> None:
    """What was remembered of strange credentials is never found for others (CVE-2022-46146)."""
    authenticator = Authenticator(USERS)
    decoy = authenticator._decoy.decode()
    for user, password in [
        (f"alice{USERS['alice']}", "fakepassword"),
        ("alice", f"{decoy}fakepassword"),
        ("alice", "fakepassword"),
        (f"alice{decoy}", "wonder:land"),
    ]:
        assert check(authenticator, basic(user, password)) is REFUSED
    assert check(authenticator, ALICE) is ACCEPTED


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=4), min_size=6, max_size=6), st.data())
def test_no_two_credentials_have_one_key(parts: list[bytes], data: st.DataObject) -> None:
    """However the same bytes are divided, they are remembered apart."""
    authenticator = Authenticator({})
    ends = sorted(data.draw(st.lists(st.integers(0, 6), min_size=2, max_size=2)))
    one = (b"".join(parts[:2]), b"".join(parts[2:4]), b"".join(parts[4:]))
    other = tuple(b"".join(parts[a:b]) for a, b in ((0, ends[0]), (ends[0], ends[1]), (ends[1], 6)))
    same = authenticator._make_key(*one) == authenticator._make_key(*other)
    assert same == (one == other)


def test_guesses_do_not_drive_out_what_was_right(spy: Spy) -> None:
    """Memory is bounded, and under a flood of guesses Prometheus is answered without a bcrypt."""
    authenticator = Authenticator(USERS)
    assert check(authenticator, ALICE) is ACCEPTED
    for number in range(2 * MOST_OUTCOMES):
        check(authenticator, basic("alice", f"guess{number}"))
        assert len(authenticator._outcomes) <= MOST_OUTCOMES
    spy.costs.clear()
    assert check(authenticator, ALICE) is ACCEPTED
    assert check(authenticator, basic("alice", f"guess{number}")) is REFUSED
    assert spy.costs == []
    check(authenticator, basic("alice", "guess0"))
    assert spy.costs == [4]


def test_more_right_credentials_than_are_remembered_replace_the_oldest() -> None:
    """Also who has a thousand users has a bounded memory."""
    outcomes = Outcomes()
    for number in range(MOST_OUTCOMES + 1):
        outcomes.put(str(number).encode(), matched=True)
    outcomes.put(b"wrong", matched=False)
    assert len(outcomes) == MOST_OUTCOMES
    assert [outcomes.get(each) for each in (b"0", b"1", b"100", b"wrong")] == [
        None, True, True, None,
    ]  # fmt: skip


def test_while_one_is_checked_others_are_answered(spy: Spy) -> None:
    """A bcrypt holds up neither the event loop nor those whose outcome is known."""

    async def check_beside() -> None:
        authenticator = Authenticator(USERS)
        assert await authenticator.check(ALICE, PEER) is ACCEPTED
        spy.entered.clear()
        spy.opened.clear()
        slow = asyncio.create_task(authenticator.check(basic("bob", "builder"), PEER))
        await spy.wait_until_entered()
        assert await authenticator.check(ALICE, PEER) is ACCEPTED
        assert await authenticator.check(None, PEER) is REFUSED
        assert not slow.done()
        spy.opened.set()
        assert await slow is ACCEPTED

    asyncio.run(check_beside())
    assert threading.get_ident() not in spy.threads


def test_a_flood_from_one_address_does_not_keep_others_from_entering(spy: Spy) -> None:
    """An address may have a few guesses wait, the rest is turned away; its neighbour enters."""

    async def flood() -> None:
        authenticator = Authenticator(USERS)
        spy.opened.clear()
        guesses = [
            asyncio.create_task(authenticator.check(basic("alice", f"guess{each}"), PEER))
            for each in range(500)
        ]
        await spy.wait_until_entered()
        neighbour = asyncio.create_task(authenticator.check(ALICE, "192.0.2.2"))
        spy.opened.set()
        assert await neighbour is ACCEPTED
        verdicts = Counter(await asyncio.gather(*guesses))
        assert verdicts == {REFUSED: MOST_WAITING_PER_PEER, BUSY: 500 - MOST_WAITING_PER_PEER}
        assert await authenticator.check(basic("bob", "builder"), PEER) is ACCEPTED

    asyncio.run(flood())
    assert len(spy.costs) == MOST_WAITING_PER_PEER + 2


def test_a_flood_from_many_addresses_is_bounded_and_what_was_right_still_enters(spy: Spy) -> None:
    """However many attack, work does not pile up, and who entered before enters again."""

    async def flood() -> None:
        authenticator = Authenticator(USERS)
        assert await authenticator.check(ALICE, PEER) is ACCEPTED
        spy.entered.clear()
        spy.opened.clear()
        guesses = [
            asyncio.create_task(authenticator.check(basic("alice", f"guess{each}"), f"::{each}"))
            for each in range(300)
        ]
        await spy.wait_until_entered()
        assert await authenticator.check(ALICE, "::ffff") is ACCEPTED
        assert await authenticator.check(basic("bob", "builder"), "::ffff") is BUSY
        spy.opened.set()
        verdicts = Counter(await asyncio.gather(*guesses))
        assert verdicts == {REFUSED: MOST_WAITING, BUSY: 300 - MOST_WAITING}
        assert await authenticator.check(basic("bob", "builder"), "::ffff") is ACCEPTED

    asyncio.run(flood())


def test_who_leaves_does_not_spoil_it_for_those_who_wait_for_the_same(spy: Spy) -> None:
    """Prometheus gets its answer though another client with its password has gone."""

    async def leave() -> None:
        authenticator = Authenticator(USERS)
        spy.opened.clear()
        first, second = (
            asyncio.create_task(authenticator.check(ALICE, each)) for each in (PEER, "192.0.2.2")
        )
        await spy.wait_until_entered()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        spy.opened.set()
        assert await second is ACCEPTED

    asyncio.run(leave())
    assert len(spy.costs) == 1


def test_new_users_count_at_once_and_the_same_ones_are_not_asked_again(spy: Spy) -> None:
    """A password that was changed or withdrawn no longer enters, also where it is being checked."""

    async def replace() -> None:
        authenticator = Authenticator(USERS)
        assert await authenticator.check(ALICE, PEER) is ACCEPTED
        authenticator.update(dict(USERS))
        assert await authenticator.check(ALICE, PEER) is ACCEPTED
        assert len(spy.costs) == 1
        spy.entered.clear()
        spy.opened.clear()
        late = asyncio.create_task(authenticator.check(basic("bob", "builder"), PEER))
        await spy.wait_until_entered()
        authenticator.update({"alice": make_hash("new")})
        assert len(authenticator._outcomes) == 0
        spy.opened.set()
        assert await late is REFUSED
        assert await authenticator.check(ALICE, PEER) is REFUSED
        assert await authenticator.check(basic("alice", "new"), PEER) is ACCEPTED
        authenticator.update({})
        assert await authenticator.check(None, PEER) is ACCEPTED

    asyncio.run(replace())


def test_users_that_cannot_be_used_change_nothing() -> None:
    """A mistake in the configuration opens no door and closes none."""
    authenticator = Authenticator(USERS)
    with pytest.raises(ExporterError):
        authenticator.update({"carol": make_hash("c"), "alice": "plain"})
    assert check(authenticator, ALICE) is ACCEPTED
    assert check(authenticator, basic("carol", "c")) is REFUSED


def test_neither_users_nor_passwords_are_shown_or_kept(caplog: pytest.LogCaptureFixture) -> None:
    """A log or a dump of what is remembered gives no password away."""
    caplog.set_level(0)
    authenticator = Authenticator(USERS)
    check(authenticator, ALICE)
    check(authenticator, basic("nobody", "guess"))
    check(authenticator, "Basic guess")
    shown = f"{authenticator!r} {vars(authenticator._outcomes)} {caplog.text}"
    for secret in ("wonder", "guess", "alice", "nobody", USERS["alice"]):
        assert secret not in shown


def test_a_user_that_cannot_be_sent_is_no_error() -> None:
    """Others enter though the configuration names somebody with half a character."""
    authenticator = Authenticator({**USERS, "\ud800": make_hash("x")})
    assert check(authenticator, ALICE) is ACCEPTED


def test_a_password_that_is_being_checked_does_not_keep_the_process_from_ending(
    tmp_path: Path,
) -> None:
    """The exporter ends in time, also where one bcrypt would take a day."""
    program = f"""
import asyncio
from metrics_commands.server.authentication import Authenticator
authenticator = Authenticator({{"alice": {USERS["alice"].replace("$04$", "$31$")!r}}})
async def check():
    await asyncio.wait_for(authenticator.check({ALICE!r}, "peer"), 0.1)
try:
    asyncio.run(check())
except asyncio.TimeoutError:
    print("ends")
"""
    done = run([sys.executable, "-c", program], clean_environment(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "ends\n", "")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=100).filter(lambda user: b":" not in user), st.binary(max_size=100))
def test_all_credentials_are_read_as_they_were_sent(user: bytes, password: bytes) -> None:
    """Whatever bytes a client sends, they are neither changed nor divided elsewhere."""
    assert read_credentials(basic(user, password)) == (user, password)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.text(),
        st.text().map("Basic {}".format),
        st.binary().map(lambda raw: f"basic {base64.b64encode(raw).decode()}"),
        st.text(st.characters(max_codepoint=255), max_size=20).map(ALICE.__add__),
        st.integers(0, len(ALICE) - 1).map(lambda cut: ALICE[:cut] + ALICE[cut + 1 :]),
    ).filter(lambda header: header.rstrip(" ") != ALICE)
)
def test_no_other_header_enters(header: str) -> None:
    """Whatever is sent, it is refused and nothing fails."""
    assert check(Authenticator({"alice": USERS["alice"]}), header) is REFUSED
