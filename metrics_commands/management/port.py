"""Find a port to serve on: the one of the last time if it can be had, and never a silent move."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from .. import conf
from ..errors import ExporterError
from ..multiprocess.lock import Holder, find_exporter
from ..ports import report
from ..ports.activation import take_sockets
from ..ports.address import join, resolve_all
from ..ports.owner import Owner
from ..ports.probe import Claim, NoPortFreeError, Probe, claim
from ..server.shutdown import Shutdown
from .patience import Patience

logger = logging.getLogger("metrics_commands")

# Nobody who still drains, and no connection in TIME_WAIT, stays longer.
LONGEST_WAIT_FOR_PREDECESSOR = 60.0


def claim_port(config: conf.Config, predecessor: Holder | None, shutdown: Shutdown) -> Claim:
    """Return listening sockets, waiting as long as configured, or raise ExporterError."""
    given = take_sockets(os.environ)
    if given is not None:
        logger.info("Sockets come from systemd; addresses and ports of the settings are unused.")
        return given
    ports = order_ports(config.ports, predecessor)
    patience = Patience(config.port_wait, shutdown)
    if predecessor and ports[0] == predecessor.port:
        claimed = claim_again(config, predecessor, patience)
        if claimed is not None:
            return claimed
    while True:
        try:
            return claim(patience.run(partial(resolve_all, config.addresses)), ports)
        except NoPortFreeError as refused:
            probes, error = refused.refusals, None
        except ExporterError as unknown:
            probes, error = (), unknown
        passes = any(each.passes_by_itself for each in probes)
        explanation = partial(explain, probes, error, config.metrics_directory)
        if not (passes or config.port_wait == math.inf) or not patience.wait(
            partial(announce_wait, explanation, config.port_wait), partial(remind, explanation)
        ):
            raise explanation()


def order_ports(ports: Sequence[int], predecessor: Holder | None) -> tuple[int, ...]:
    """Return the ports to try, the one of the last time first where it is among them."""
    last = predecessor.port if predecessor else 0
    if last in ports or (last and 0 in ports):
        return tuple(dict.fromkeys((last, *ports)))
    return tuple(ports)


def claim_again(config: conf.Config, predecessor: Holder, patience: Patience) -> Claim | None:
    """Return the port of the last time; None where somebody else has it, or it stays refused."""
    end = time.monotonic() + LONGEST_WAIT_FOR_PREDECESSOR
    while time.monotonic() < end:
        try:
            return claim(patience.run(partial(resolve_all, config.addresses)), [predecessor.port])
        except NoPortFreeError as refused:
            refusals = refused.refusals
        except ExporterError:
            return None
        if not was_ours(refusals, predecessor):
            return None
        if not patience.wait(
            lambda: f"Waiting for port {predecessor.port}, which this exporter had last time."
        ):
            break
    return None


def was_ours(refusals: Sequence[Probe], predecessor: Holder) -> bool:
    """Tell whether no other process listens there: the predecessor does, or its traces do."""
    for each in report.add_owners(refusals):
        if not each.probe.passes_by_itself:
            return False
        ended = isinstance(each.owner, Owner) and each.owner.pid == predecessor.pid
        if each.listener is not None and not (ended and predecessor.is_running):
            return False
    return True


def announce_wait(explanation: partial[ExporterError], seconds: float) -> str:
    """Say in one line why there is no port yet, and how long that is waited for."""
    error = explanation()
    what = "one of them" if "\n" in error.message else "it"
    limit = "" if seconds == math.inf else f" up to {seconds:g} s"
    return f"{list_reasons(error)}; waiting for {what}{limit}."


def remind(explanation: partial[ExporterError]) -> str:
    """Say in one line that there is still no port, why, and what to do."""
    error = explanation()
    return f"Still without a port, trying on: {list_reasons(error)}. {error.hint}"


def list_reasons(error: ExporterError) -> str:
    """Return what has happened in one line, without its full stop."""
    return "; ".join(error.message.rstrip(".").splitlines()).replace(":; ", ": ", 1)


def explain(
    probes: Sequence[Probe], error: ExporterError | None, directory: Path | None
) -> ExporterError:
    """Turn refused ports into one line per port and what to do."""
    if error is not None:
        return error
    findings = report.add_owners(probes)
    exporter = find_exporter(directory) if directory else None
    lines = [report.describe(each, exporter.pid if exporter else None) for each in findings]
    if len(lines) > 1:
        lines.insert(0, "None of the ports is free:")
    return ExporterError("\n".join(lines), report.advise(findings))


def list_urls(telemetry_path: str, claimed: Claim, scheme: str = "http") -> list[str]:
    """Return where the metrics are served, one URL per address."""
    names = [each.getsockname() for each in claimed.sockets]
    return [f"{scheme}://{join(str(name[0]), name[1])}{telemetry_path}" for name in names]


def announce_port(claimed: Claim, predecessor: Holder | None) -> None:
    """Tell which ports were skipped, and that the port is another than the last time."""
    skipped = report.add_owners(claimed.skipped)
    for each in skipped:
        logger.info("Skipped a port: %s.", report.describe(each))
    last = predecessor.port if predecessor else 0
    if last and not claimed.given and last != claimed.port:
        logger.warning(
            "The port has moved from %d to %d: whoever scrapes the old one, such as a"
            " static_configs target, misses this exporter.",
            last,
            claimed.port,
        )
    if any(each.getsockname()[0] in ("0.0.0.0", "::") for each in claimed.sockets):
        logger.warning(
            "Listening on all addresses: whoever reaches this machine reads the metrics."
        )
