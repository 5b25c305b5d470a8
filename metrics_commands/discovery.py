"""Tell Prometheus where the exporter is: a file of targets that follows it to another port."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import stat
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .errors import ExporterError, name_user

MARKER = "__meta_django_exporter"
MARK = "runmetrics"
LARGEST = 64 * 1024
# A pattern of Prometheus takes hidden files too, but has to end in .json, .yml or .yaml.
DRAFT_PREFIX, DRAFT_SUFFIX = ".runmetrics-", ".tmp"
# Kept free for documentation (RFC 5737, RFC 3849): the way there is the way to everybody else.
FAR_AWAY = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
ANOTHER_FILE = "Give the exporter a file of its own with --sd-file, in a folder it may write to."


@dataclass(frozen=True)
class Target:
    """What Prometheus scrapes, and what tells it from the exporters of other projects."""

    host: str
    port: int
    project: str
    hostname: str
    telemetry_path: str = "/metrics"
    scheme: str = "http"


def make_document(target: Target) -> bytes:
    """Return a target as JSON for ``file_sd_configs``.

    Prometheus keeps an ``instance`` that is given and makes one of host and port only where none
    is; ours has no port, so that a series goes on when the port changes. Labels that begin with
    ``__meta_`` are known to relabelling and dropped after it, so the marker is in no series.
    Source: "relabel_config" and "file_sd_config" in Prometheus' configuration reference; seen so
    with Prometheus 2.42.
    """
    host = f"[{target.host}]" if ":" in target.host else target.host
    labels = {
        MARKER: MARK,
        "instance": f"{target.hostname}/{target.project}",
        "host": target.hostname,
        "project": target.project,
    }
    if target.telemetry_path != "/metrics":
        labels["__metrics_path__"] = target.telemetry_path
    if target.scheme != "http":
        labels["__scheme__"] = target.scheme
    groups = [{"targets": [f"{host}:{target.port}"], "labels": labels}]
    return json.dumps(groups, indent=2).encode() + b"\n"


def is_ours(document: bytes) -> bool:
    """Tell whether each group of targets carries our marker, and there is one."""
    try:
        groups = json.loads(document)
        return bool(groups) and all(each["labels"][MARKER] == MARK for each in groups)
    except (ValueError, TypeError, LookupError, RecursionError):
        return False


class TargetFile:
    """The file that Prometheus watches; whoever else's file it may be is left alone.

    It stays when the exporter ends: the target is then down, which an alert can tell, instead of
    gone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def examine(self) -> None:
        """Raise ExporterError where the file could not be written; change nothing."""
        try:
            document = self._read()
            folder = os.stat(self.path.parent)
            if document is not None and not _may_replace(os.lstat(self.path), folder):
                raise self._refuse("another user wrote it, in a folder where each keeps their own")
        except FileNotFoundError:
            raise self._refuse("its folder does not exist") from None
        except NotADirectoryError:
            raise self._refuse("what should be its folder is something else") from None
        except OSError as error:
            raise self._refuse(f"it cannot be examined: {_explain(error)}") from None
        if not os.access(self.path.parent, os.W_OK | os.X_OK):
            raise self._refuse(
                f"user {name_user()} may not write into its folder, or its disk is read-only"
            )

    def write(self, target: Target) -> bool:
        """Replace the file as a whole, and tell whether that was necessary."""
        document = make_document(target)
        try:
            if self._read() == document:
                return False
            self._replace(document)
        except OSError as error:
            raise ExporterError(
                f"The target file {self.path} cannot be written: {_explain(error)}.", ANOTHER_FILE
            ) from None
        self._sync_folder()
        return True

    def _read(self) -> bytes | None:
        """Return what the file holds, None where there is none; refuse what is not ours."""
        try:
            # Opening a pipe would wake its writer, and opening a device might do anything.
            if not stat.S_ISREG(os.lstat(self.path).st_mode):
                raise self._refuse("it is not a regular file")
            descriptor = os.open(
                self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            )
        except FileNotFoundError:
            return None
        with open(descriptor, "rb") as file:
            document = file.read(LARGEST + 1)
        if len(document) > LARGEST or not is_ours(document):
            raise self._refuse(f"no exporter wrote it (it lacks the label {MARKER})")
        return document

    def _replace(self, document: bytes) -> None:
        descriptor, draft = tempfile.mkstemp(DRAFT_SUFFIX, DRAFT_PREFIX, self.path.parent)
        try:
            with open(descriptor, "wb") as file:
                file.write(document)
                # Prometheus is another user, whatever umask ours has.
                os.fchmod(descriptor, 0o644)
                file.flush()
                os.fsync(descriptor)
            # Somebody may have put a file there meanwhile.
            self._read()
            os.replace(draft, self.path)
        except BaseException:
            with suppress(OSError):
                os.unlink(draft)
            raise

    def _sync_folder(self) -> None:
        # The file is in place; what a power loss undoes now, the next start writes again.
        with suppress(OSError):
            descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _refuse(self, reason: str) -> ExporterError:
        message = f"The target file {self.path} cannot be used: {reason}."
        return ExporterError(message, ANOTHER_FILE, exit_code=2)


def choose_host(address: str | Sequence[str]) -> str:
    """Return the one host at which Prometheus reaches an exporter that listens there.

    It is an address or name to listen on, '' for all addresses, or several. One target only:
    two would count every number twice.
    """
    listening = [address] if isinstance(address, str) else address
    found = [reached for each in listening for reached in _find_reachable(each)]
    return min(found, key=_distance, default=socket.gethostname())


def _find_reachable(host: str) -> list[str]:
    """Return the host itself, or this machine's own address where it stands for all."""
    number = _parse(host)
    if host and (number is None or not number.is_unspecified):
        return [host]
    families = [socket.AF_INET if number.version == 4 else socket.AF_INET6] if number else FAR_AWAY
    own = [_find_own(family) for family in families]
    return [each for each in own if each]


def _find_own(family: socket.AddressFamily) -> str:
    """Return the address by which this machine reaches others; '' where it has no way out."""
    # Connecting a datagram socket chooses the way and sends nothing.
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as opened:
            opened.connect((FAR_AWAY[family], 9))
            return str(opened.getsockname()[0])
    except OSError:
        return ""


def _distance(host: str) -> tuple[bool, bool, bool]:
    """Sort what nobody else reaches behind what neighbours reach, and IPv6 behind IPv4."""
    number = _parse(host)
    if number is None:
        return False, False, False
    return number.is_loopback, number.is_link_local, number.version == 6


def _parse(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _may_replace(file: os.stat_result, folder: os.stat_result) -> bool:
    """Tell whether a folder's sticky bit lets us; in /tmp an owner alone renames and removes."""
    return not folder.st_mode & stat.S_ISVTX or os.geteuid() in (0, file.st_uid, folder.st_uid)


def _explain(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
