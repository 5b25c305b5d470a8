"""Trying ports on real sockets: what is free, what is refused, and who wins a race."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from metrics_commands.ports.address import Address
from metrics_commands.ports.probe import Claim, NoPortFreeError, Probe, State, claim, look
from tests.processes import clean_environment, started, wait_until

from .sockets import address, bound, listening, needs_ipv6, needs_root, run_python

LOOPBACK = address("127.0.0.1")
NOT_OURS = "192.0.2.1"


@contextmanager
def claimed(addresses: Sequence[Address], ports: Sequence[int]) -> Iterator[Claim]:
    """Claim a port, and give it back."""
    won = claim(addresses, ports)
    with ExitStack() as stack:
        for each in won.sockets:
            stack.enter_context(each)
        yield won


def state_of(host: str, port: int) -> State:
    """Return what checkports would find."""
    [found] = look([address(host)], [port])
    return found.state


@pytest.mark.parametrize(
    ("holder", "dual_stack", "wanted", "state"),
    [
        ("127.0.0.1", False, "127.0.0.1", State.TAKEN),
        ("127.0.0.1", False, "0.0.0.0", State.TAKEN),
        ("0.0.0.0", False, "127.0.0.1", State.TAKEN),
        pytest.param("::1", False, "::", State.TAKEN, marks=needs_ipv6),
        pytest.param("::", False, "::1", State.TAKEN, marks=needs_ipv6),
        pytest.param("::", True, "127.0.0.1", State.TAKEN, marks=needs_ipv6),
        pytest.param("::", True, "0.0.0.0", State.TAKEN, marks=needs_ipv6),
        pytest.param("::", False, "127.0.0.1", State.FREE, marks=needs_ipv6),
        pytest.param("0.0.0.0", False, "::", State.FREE, marks=needs_ipv6),
        pytest.param("127.0.0.1", False, "::1", State.FREE, marks=needs_ipv6),
    ],
)
def test_a_port_is_taken_where_a_listener_would_get_its_connections(
    holder: str, dual_stack: bool, wanted: str, state: State
) -> None:
    """Looking and claiming agree on who is in whose way, whatever the families."""
    with listening(holder, dual_stack=dual_stack) as port:
        assert state_of(wanted, port) is state
        if state is State.FREE:
            with claimed([address(wanted)], [port]) as won:
                assert won.port == port
        else:
            with pytest.raises(NoPortFreeError) as caught:
                claim([address(wanted)], [port])
            [refusal] = caught.value.refusals
            assert (refusal.state, str(refusal.address), refusal.port) == (state, wanted, port)


def test_a_port_that_is_bound_without_listening_is_taken() -> None:
    """A program that has reserved a port but does not listen yet is not pushed aside."""
    with bound("127.0.0.1") as opened:
        assert state_of("127.0.0.1", opened.getsockname()[1]) is State.TAKEN


def test_a_range_moves_on_and_tells_what_it_skipped() -> None:
    """The first free port of a range serves, and the taken ones before it are known."""
    with (
        listening("127.0.0.1") as first,
        listening("127.0.0.1") as second,
        claimed([LOOPBACK], [first, second, 0]) as won,
    ):
        assert won.port not in (0, first, second)
        skipped = [(each.port, each.state) for each in won.skipped]
        assert skipped == [(first, State.TAKEN), (second, State.TAKEN)]
        socket.create_connection(("127.0.0.1", won.port)).close()


def test_connections_in_time_wait_do_not_refuse_the_port() -> None:
    """An exporter that is restarted gets its port back at once."""
    with claimed([LOOPBACK], [0]) as won:
        port = won.port
        [server] = won.sockets
        server.setblocking(True)
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            accepted.close()
            assert client.recv(1) == b""

    def is_waiting() -> bool:
        return any(
            each.status == psutil.CONN_TIME_WAIT and each.laddr[1:] == (port,)
            for each in psutil.net_connections("tcp")
        )

    wait_until(is_waiting)
    assert state_of("127.0.0.1", port) is State.FREE
    with claimed([LOOPBACK], [port]) as again:
        assert again.port == port


LOOK_FOR_EVER = """
import sys
from metrics_commands.ports.address import resolve
from metrics_commands.ports.probe import State, look
addresses, ports, states = resolve("127.0.0.1"), [int(sys.argv[1])], set()
while True:
    states.add(look(addresses, ports)[0].state)
    if len(states) == 2:
        print("saw it free and taken", flush=True)
        states.add(None)
"""


def test_looking_never_makes_a_starting_exporter_fail(tmp_path: Path) -> None:
    """Whoever runs checkports in a loop does not keep an exporter from its port."""
    with claimed([LOOPBACK], [0]) as won:
        port = won.port
    command = [sys.executable, "-c", LOOK_FOR_EVER, str(port)]
    with started(command, clean_environment(tmp_path)) as looker:

        def claim_often() -> bool:
            for _ in range(3000):
                claim([LOOPBACK], [port]).sockets[0].close()
            return "free and taken" in looker.output

        wait_until(claim_often)
        assert claim_often()


def race(contenders: Sequence[Callable[[], Claim]]) -> list[Claim]:
    """Let all claim at the same instant; return those who won, their sockets closed."""
    start = threading.Barrier(len(contenders))

    def run(contender: Callable[[], Claim]) -> Claim | None:
        start.wait()
        try:
            return contender()
        except NoPortFreeError:
            return None

    with ThreadPoolExecutor(len(contenders)) as pool:
        won = [each for each in pool.map(run, contenders) if each]
    for each in won:
        for opened in each.sockets:
            opened.close()
    return won


@pytest.mark.parametrize("hosts", [["127.0.0.1"], ["127.0.0.1", "::1"], ["0.0.0.0", "::"]])
def test_of_two_exporters_at_the_same_instant_one_gets_the_port(hosts: list[str]) -> None:
    """Two exporters never share a port, and never refuse it to each other."""
    with claimed([LOOPBACK], [0]) as won:
        port = won.port
    for _ in range(40):
        assert len(race([lambda: claim([*map(address, hosts)], [port])] * 2)) == 1


def test_exporters_that_start_together_spread_over_a_range() -> None:
    """Where there are as many ports as exporters, each finds one of its own."""
    with claimed([LOOPBACK], [0]) as one, claimed([LOOPBACK], [0]) as two:
        ports = [one.port, two.port]
    for _ in range(40):
        assert {each.port for each in race([lambda: claim([LOOPBACK], ports)] * 2)} == {*ports}


@needs_ipv6
def test_port_zero_is_one_port_on_all_addresses() -> None:
    """A port that the kernel chooses is the same for IPv4 and IPv6."""
    with claimed([LOOPBACK, address("::1")], [0]) as won:
        assert [each.getsockname()[:2] for each in won.sockets] == [
            ("127.0.0.1", won.port),
            ("::1", won.port),
        ]


@pytest.mark.parametrize("port", [0, None], ids=["kernel's port", "fixed port"])
@pytest.mark.parametrize("missing_first", [True, False])
def test_all_addresses_do_without_a_missing_family(port: int | None, missing_first: bool) -> None:
    """On a machine without one family the other serves, also on a port of the kernel's."""
    if port is None:
        with claimed([LOOPBACK], [0]) as won:
            port = won.port
    missing = Address(socket.AF_INET, NOT_OURS, required=False)
    addresses = [missing, LOOPBACK] if missing_first else [LOOPBACK, missing]
    with claimed(addresses, [port]) as won:
        assert [each.getsockname() for each in won.sockets] == [("127.0.0.1", won.port)]


@needs_ipv6
def test_a_port_is_had_on_all_addresses_or_on_none() -> None:
    """What is refused on one address is not left occupied on the other."""
    with listening("::1") as port:
        with pytest.raises(NoPortFreeError) as caught:
            claim([LOOPBACK, address("::1")], [port])
        assert [str(each) for each in caught.value.refusals] == [f"[::1]:{port}"]
        with listening("127.0.0.1", port):
            pass


def test_looking_leaves_the_port_free() -> None:
    """After checkports the port is free for any program, however strictly it binds."""
    with claimed([LOOPBACK], [0]) as won:
        port = won.port
    assert state_of("127.0.0.1", port) is State.FREE
    with listening("127.0.0.1", port):
        pass


@pytest.mark.parametrize("port", [0, 8001])
def test_an_address_of_another_machine_is_named(port: int) -> None:
    """An address that is not here has its own sentence, from both commands."""
    [seen] = look([address(NOT_OURS)], [port])
    with pytest.raises(NoPortFreeError) as caught:
        claim([address(NOT_OURS)], [port])
    assert caught.value.refusals == (seen,)
    assert seen.state is State.NOT_HERE
    assert seen.reason == "192.0.2.1 is not an address of this machine"


def test_an_address_that_cannot_be_had_is_told_once() -> None:
    """No other port of the range would help, and fifty lines would say the same."""
    addresses, ports = [LOOPBACK, address(NOT_OURS)], range(8001, 8051)
    assert [each.port for each in look(addresses, ports)] == [8001, 8001]
    with pytest.raises(NoPortFreeError) as caught:
        claim([address(NOT_OURS)], ports)
    assert [(each.port, each.state) for each in caught.value.refusals] == [(8001, State.NOT_HERE)]


@needs_ipv6
def test_a_refusal_that_has_no_name_is_told_in_the_systems_words() -> None:
    """An address that the system refuses for a rare reason still gets a sentence."""
    [seen] = look([address("::ffff:127.0.0.1")], [0])
    assert seen.state is State.FAILED
    assert seen.reason == "the system refused: Invalid argument"


@needs_root
@pytest.mark.parametrize(
    ("first_unprivileged", "port", "reason"),
    [
        (1024, 1023, "port 1023 needs privileges that this user has not"),
        (9000, 8001, "keeps this user from port 8001"),
    ],
)
def test_a_port_that_needs_privileges_says_so(
    first_unprivileged: int, port: int, reason: str
) -> None:
    """EACCES is explained, and no port is recommended that is just as forbidden."""
    setting = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
    said = run_python(
        f"[seen] = look(resolve('0.0.0.0'), [{port}]); print(seen.state.value, seen.reason)",
        prefix=("unshare", "--net"),
        before=f"print({first_unprivileged}, file=open('{setting}', 'w'), flush=True)\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n",
    )
    assert said.startswith("not permitted ")
    assert reason in said
    assert ("1024" in said) == (port < 1024)


@pytest.mark.parametrize(("family", "name"), [(socket.AF_INET6, "IPv6"), (socket.AF_INET, "IPv4")])
def test_a_missing_family_is_named(family: socket.AddressFamily, name: str) -> None:
    """A machine without a family hears which one it lacks."""
    assert Probe(Address(family, "::"), 1, State.NO_FAMILY).reason == f"this system has no {name}"
