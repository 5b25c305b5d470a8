"""The addresses that servers are given, in the forms that they understand."""

from __future__ import annotations

import re
from typing import NamedTuple

from ...finding import Place
from .line import Span
from .shell import UNKNOWN

HIGHEST_PORT = 65535
DIGITS = re.compile(r"\s*[0-9]{1,5}\s*")
HOST = re.compile(r"[\w.:%*-]{0,253}")
COLON = re.compile(r"(?<!\\):")
TCP_ENDPOINTS = {"tcp": "0.0.0.0", "tcp4": "0.0.0.0", "tcp6": "::", "ssl": "0.0.0.0"}


class Address(NamedTuple):
    """A host and a port; where they stand in a file of their own, its place and its line.

    ``text`` is that line as it may be shown, and ``span`` the port in it.
    """

    host: str
    port: int
    place: Place | None = None
    text: str = ""
    span: Span = None


def make_address(host: str, port: str) -> Address | None:
    """Return an address; None where it cannot be told, or where the kernel chooses the port."""
    if not DIGITS.fullmatch(port) or not HOST.fullmatch(host) or UNKNOWN in host:
        return None
    if not 1 <= int(port) <= HIGHEST_PORT:
        return None
    return Address("0.0.0.0" if host in ("", "0") else host.lower(), int(port))


def parse_bind(text: str, default_port: int) -> Address | None:
    """Read HOST, HOST:PORT, :PORT, [HOST]:PORT; None for anything but TCP."""
    if text.startswith(("unix:", "fd://")):
        return None
    text = text.removeprefix("tcp://")
    if bracketed := re.fullmatch(r"\[([^]]*)\](?::(.*))?", text):
        return make_address(bracketed[1], bracketed[2] or str(default_port))
    host, colon, port = text.rpartition(":")
    return make_address(host, port) if colon else make_address(text, str(default_port))


def parse_endpoint(text: str) -> Address | None:
    """Read an endpoint as Twisted describes it, such as ``tcp:port=80:interface=127.0.0.1``."""
    kind, *parts = COLON.split(text)
    if kind not in TCP_ENDPOINTS:
        return None
    positional = [part for part in parts if "=" not in part]
    named = dict(part.split("=", 1) for part in parts if "=" in part)
    host = named.get("interface", "").replace("\\:", ":") or TCP_ENDPOINTS[kind]
    return make_address(host, named.get("port") or "".join(positional[:1]))
