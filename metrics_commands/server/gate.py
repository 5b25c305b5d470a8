"""Decide of each request whether it is answered at all, for every address in one place."""

from __future__ import annotations

import ssl
from collections.abc import Collection, Mapping

from tornado.httputil import HTTPServerRequest
from tornado.iostream import IOStream
from tornado.web import HTTPError

from .authentication import Authenticator, Verdict
from .door import Door
from .hosts import Hosts
from .rate_limit import RateLimit
from .tls import is_allowed
from .web_configuration import WebConfiguration


class Gate:
    """Check requests by the web configuration file of the moment, and by the name they ask for.

    The telemetry path answers to every name, since Prometheus may know us by any; all others only
    to ours, so that no page of a stranger reads them through a browser that we trust (DNS
    rebinding). ``open_paths`` need no user.
    """

    def __init__(
        self, door: Door, hosts: Hosts, telemetry_path: str, open_paths: Collection[str] = ()
    ) -> None:
        self._door = door
        self._hosts = hosts
        self._telemetry_path = telemetry_path
        self._open_paths = open_paths
        self._known: WebConfiguration | None = None
        self._limit = RateLimit(0.0, 0)
        self._authenticator = Authenticator({})

    @property
    def headers(self) -> Mapping[str, str]:
        """Return what the file adds to every answer."""
        return self._known.headers if self._known else {}

    @property
    def asks_for_password(self) -> bool:
        """Tell whether who was admitted last had to give one; asked by any thread."""
        return bool(self._known and self._known.users)

    def is_outdated(self, stream: IOStream) -> bool:
        """Tell whether a connection was made by rules of TLS that hold no more."""
        made_by = stream.socket.context if isinstance(stream.socket, ssl.SSLSocket) else None
        return made_by is not self._door.context

    async def admit(self, request: HTTPServerRequest) -> None:
        """Raise HTTPError for a request that must not go on.

        Whoever may not ask costs as little as can be: the rate limit comes before passwords.
        """
        configuration = self._find_configuration()
        if not self._limit.allow():
            raise HTTPError(429)
        self._check_certificate(request, configuration)
        if request.path not in self._open_paths:
            header = request.headers.get("Authorization")
            verdict = await self._authenticator.check(header, request.remote_ip or "")
            if verdict is Verdict.BUSY:
                raise HTTPError(429)
            if verdict is not Verdict.ACCEPTED:
                raise HTTPError(401)
        if request.path != self._telemetry_path and not self._knows_name(request):
            raise HTTPError(421)

    def _find_configuration(self) -> WebConfiguration:
        configuration = self._door.configuration
        if configuration is None:
            raise HTTPError(500)
        if configuration is not self._known:
            self._authenticator.update(configuration.users)
            self._limit = RateLimit(configuration.rate.interval, configuration.rate.burst)
            # At last: where the users cannot be used, the next request finds that out as well.
            self._known = configuration
        return configuration

    def _check_certificate(
        self, request: HTTPServerRequest, configuration: WebConfiguration
    ) -> None:
        if configuration.tls and configuration.tls.allowed_sans:
            certificate = request.get_ssl_certificate()
            shown = certificate if isinstance(certificate, dict) else None
            if not is_allowed(shown, configuration.tls.allowed_sans):
                raise HTTPError(403)

    def _knows_name(self, request: HTTPServerRequest) -> bool:
        named = request.headers.get_list("Host")
        return self._hosts.allows(",".join(named) if named else None)
