"""Parsers of settings' values: plain in, typed out, ValueError saying what it should be."""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Sequence
from itertools import islice, pairwise
from pathlib import Path

HIGHEST_PORT = 65535
AN_ADDRESS = "an IP address, a host name, or '' for all addresses, without a port"
A_PORT = f"a whole number from 1 to {HIGHEST_PORT}, or 0 to let the kernel choose"
A_RANGE = (
    f"ports from 1 to {HIGHEST_PORT}, as '8001-8050' (end included), range(8001, 8051) or [8001]"
)
A_TARGET = (
    f"HOST or HOST:PORT by which Prometheus reaches it, with a port from 1 to {HIGHEST_PORT}, no"
    " scheme, no path, and not the address for all addresses"
)
A_TARGET_FILE = (
    "an absolute path whose name ends in '.json', from which Prometheus takes the format: JSON is"
    " written, not YAML"
)
HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")
PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+/?")
LONGEST_PATH = 200
LONGEST_SHOWN = 80
MOST_BUCKETS = 1000


def shorten(value: object) -> str:
    """Show a wrong value in an error: quoted, escaped and of bounded length."""
    try:
        shown = ascii(value)
    except Exception:  # its repr() failed, or it is a number of more digits than Python shows
        shown = f"a {type(value).__name__} that cannot be shown"
    return shown if len(shown) <= LONGEST_SHOWN else shown[: LONGEST_SHOWN - 1] + "…"


def parse_addresses(value: object) -> tuple[str, ...]:
    """Accept one address, or several as a list or with commas between; each once, in order."""
    if isinstance(value, str):
        given: Sequence[object] = value.split(",") if value.strip() else [value]
    elif isinstance(value, list | tuple) and value:
        given = value
    else:
        raise ValueError(AN_ADDRESS)
    return tuple(dict.fromkeys(parse_address(each) for each in given))


def parse_address(value: object) -> str:
    """Accept an IP address, a host name, or '' for all addresses. Names are not looked up."""
    if not isinstance(value, str):
        raise ValueError(AN_ADDRESS)
    if not value:
        return ""
    address = value.strip()
    if re.fullmatch(r"\[.*:.*\]", address):
        address = address[1:-1]
    try:
        number = ipaddress.ip_address(address)
    except ValueError:
        if not HOST_NAME.fullmatch(address) or re.fullmatch(r"[0-9.]+", address):
            raise ValueError(AN_ADDRESS) from None
        return address
    # An IPv6 scope may be anything to ipaddress, a null byte included.
    if not re.fullmatch(r"[!-~]+", address):
        raise ValueError(AN_ADDRESS)
    mapped = number.ipv4_mapped if isinstance(number, ipaddress.IPv6Address) else None
    if mapped:
        # The system would refuse it: our IPv6 sockets are for IPv6 alone.
        number, address = mapped, str(mapped)
    if number.is_multicast or address == "255.255.255.255":
        # The system binds it, and no connection ever arrives.
        raise ValueError(f"{AN_ADDRESS}, and this one belongs to no single machine")
    return address


def _whole_number(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value.strip()):
        return int(value)
    return None


def parse_port(value: object) -> int:
    """Accept a port as a number or in digits; 0 means that the kernel chooses."""
    port = _whole_number(value)
    if port is None or not 0 <= port <= HIGHEST_PORT:
        raise ValueError(A_PORT)
    return port


def parse_port_range(value: object) -> tuple[int, ...]:
    """Accept 'FIRST-LAST' with both ends, or a sequence of numbers; in order, without repeats."""
    if isinstance(value, str):
        ends = re.fullmatch(r"\s*([0-9]{1,9})\s*-\s*([0-9]{1,9})\s*", value)
        if ends is None:
            raise ValueError(A_RANGE)
        first, last = int(ends[1]), int(ends[2])
        if first > last:
            raise ValueError(f"{A_RANGE}, and this one is reversed")
        ports: Sequence[object] = range(first, min(last, HIGHEST_PORT + 1) + 1)
    elif isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        ports = value
    else:
        raise ValueError(A_RANGE)
    if not ports:
        raise ValueError(f"{A_RANGE}, and this one is empty")
    try:
        if len(ports) > HIGHEST_PORT + 1:
            raise ValueError(A_RANGE)
    except OverflowError:
        raise ValueError(A_RANGE) from None
    chosen: dict[int, None] = {}
    for port in ports:
        if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= HIGHEST_PORT:
            raise ValueError(A_RANGE)
        chosen[port] = None
    return tuple(chosen)


def parse_wait(value: object) -> float:
    """Accept seconds, zero or more, or 'forever' (``math.inf``)."""
    expected = "a number of seconds, 0 or more, or 'forever'"
    if isinstance(value, str) and value.strip().lower() == "forever":
        return math.inf
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(expected)
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        raise ValueError(expected) from None
    if not 0 <= seconds < math.inf:
        raise ValueError(expected)
    return seconds


def parse_directory(value: object) -> Path:
    """Accept the path of a directory; nothing is looked up. A relative one starts at the cwd."""
    if not isinstance(value, str | os.PathLike):
        raise ValueError("the path of a directory")
    path = os.fspath(value)
    if not isinstance(path, str) or not path.strip() or "\0" in path:
        raise ValueError("the path of a directory")
    return Path(os.path.abspath(path))


def parse_telemetry_path(value: object) -> str:
    """Accept the path of a page, beside the status page, its files and the health pages."""
    expected = "a path such as '/metrics', of plain characters, not below '/-/' or '/status.'"
    if not isinstance(value, str) or not PATH.fullmatch(value) or len(value) > LONGEST_PATH:
        raise ValueError(expected)
    # A browser resolves dots before it asks, and would never arrive.
    if value.startswith(("/-/", "/status.")) or {".", ".."} & set(value.split("/")):
        raise ValueError(expected)
    return value


def parse_names(value: object) -> tuple[str, ...]:
    """Accept a list of names, or one string of them with commas between."""
    names: object = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple | set | frozenset):
        raise ValueError("a list of names")
    if not all(isinstance(name, str) for name in names):
        raise ValueError("a list of names")
    return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))


def parse_count(value: object) -> int:
    """Accept a whole number from 1 to a million."""
    number = _whole_number(value)
    if number is None or not 1 <= number <= 1_000_000:
        raise ValueError("a whole number from 1 to 1000000")
    return number


def parse_limit(value: object) -> int:
    """Accept a whole number from 0, which means no limit, to a million."""
    number = _whole_number(value)
    if number is None or not 0 <= number <= 1_000_000:
        raise ValueError("a whole number from 0 (no limit) to 1000000")
    return number


def parse_switch(value: object) -> bool:
    """Accept True and False, and in the environment 1, true, yes, on and their opposites."""
    word = value.strip().lower() if isinstance(value, str) else value
    if word in (True, "1", "true", "yes", "on"):
        return True
    if word in (False, "0", "false", "no", "off"):
        return False
    raise ValueError("True or False, in the environment 1 or 0")


def parse_log_format(value: object) -> str:
    """Accept 'text' or 'json'."""
    if value not in ("text", "json"):
        raise ValueError("'text' or 'json'")
    return str(value)


def parse_namespace(value: object) -> str:
    """Accept '' or the beginning of a metric name."""
    if not isinstance(value, str) or not re.fullmatch(r"([A-Za-z_][A-Za-z0-9_]*)?", value):
        raise ValueError("'' or the beginning of a metric name, of letters, digits and '_'")
    return value


def parse_buckets(value: object) -> tuple[float, ...]:
    """Accept ascending numbers; the last bound becomes infinity where it is not."""
    expected = f"a list of 1 to {MOST_BUCKETS} ascending numbers of seconds, 0 or more"
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise ValueError(expected)
    # A range() may be longer than anybody can wait for.
    given = list(islice(value, MOST_BUCKETS + 1))
    if not 1 <= len(given) <= MOST_BUCKETS:
        raise ValueError(expected)
    if not all(isinstance(bound, int | float) and not isinstance(bound, bool) for bound in given):
        raise ValueError(expected)
    try:
        bounds = tuple(float(bound) for bound in given)
    except OverflowError:
        raise ValueError(expected) from None
    ascending = all(low < high for low, high in pairwise(bounds))
    if not ascending or not 0 <= bounds[0] < math.inf:
        raise ValueError(expected)
    return bounds if bounds[-1] == math.inf else (*bounds, math.inf)


def parse_file(value: object) -> Path:
    """Accept the path of a file, below the working directory if relative; nothing is looked up."""
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(path, str) or not path or not path.isprintable():
        raise ValueError("the path of a file")
    return Path(os.path.abspath(path))


def parse_sd_file(value: object) -> Path:
    """Accept the absolute path of a file whose name ends in '.json'; nothing is looked up."""
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    # What is not printable is no path, such as a null byte, or could not be shown in an error.
    if not isinstance(path, str) or not path.isprintable() or not os.path.isabs(path):
        raise ValueError(A_TARGET_FILE)
    if not path.endswith(".json"):
        raise ValueError(A_TARGET_FILE)
    return Path(path)


def parse_advertise(value: object) -> tuple[str, int | None]:
    """Accept HOST or HOST:PORT, with brackets around IPv6 where a port follows."""
    written = value.strip() if isinstance(value, str) else ""
    parts = re.fullmatch(r"(\[[^\[\]\s]+\]|[^:\[\]\s]+)(?::([0-9]{1,5}))?", written)
    # What has colons but no brackets is an IPv6 address as a whole.
    host, digits = parts.groups() if parts else (written, None)
    port = int(digits) if digits else None
    try:
        address = parse_address(host)
    except ValueError:
        raise ValueError(A_TARGET) from None
    # An IPv6 scope names an interface of this machine alone.
    if not address or "%" in address or _is_for_all(address):
        raise ValueError(A_TARGET)
    if port is not None and not 1 <= port <= HIGHEST_PORT:
        raise ValueError(A_TARGET)
    return address, port


def _is_for_all(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_unspecified
    except ValueError:
        return False
