"""Put the server together: what it serves, who may ask, and under which names."""

from __future__ import annotations

import logging
import os

from .. import conf
from ..server.activity import Activity
from ..server.connections import Connections
from ..server.door import Door
from ..server.gate import Gate
from ..server.handlers import Service
from ..server.hosts import Hosts
from ..server.telemetry import Telemetry

logger = logging.getLogger("metrics_commands")

HEALTH = "/-/healthy"


def make_service(
    config: conf.Config, door: Door, telemetry: Telemetry, activity: Activity, advertised: str
) -> Service:
    """Return what the server needs; ``advertised`` is the name or address given to Prometheus."""
    hosts = Hosts([*config.addresses, advertised])
    gate = Gate(door, hosts, config.telemetry_path, (HEALTH,) if config.open_health else ())
    return Service(telemetry, gate, activity, Connections(), config.max_requests, config.access_log)


def announce_door(door: Door) -> None:
    """Tell how the door is kept."""
    if os.geteuid() == 0:
        logger.warning("Running as root, which nothing here needs; use the web process's user.")
    configuration = door.configuration
    if configuration is None:
        return
    kept = [
        *(["TLS"] if configuration.tls else []),
        *(["users with passwords"] if configuration.users else []),
        *(["a rate limit"] if configuration.rate.interval else []),
    ]
    if kept:
        logger.info("The web configuration file asks for %s.", " and ".join(kept))


def reload_door(door: Door) -> None:
    """Read the web configuration file again, because somebody asks; the door says what is wrong."""
    door.reload()
    if not door.problem:
        logger.info("Reloaded.")
