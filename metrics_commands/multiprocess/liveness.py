"""Tell whether a worker still lives: by what the kernel knows of its files, not by its pid."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import psutil

from .identity import boot_id, read_stat

# There a read lease is refused as long as anybody has the file open for writing, or mapped.
PROVEN_FILE_SYSTEMS = {"ext4", "xfs", "btrfs", "tmpfs"}
# There only while the writer keeps its descriptor open, as ours does.
PROVEN_FOR_OUR_WRITER = {"overlay"}
OUR_IDENTITY = re.compile(
    r"(?P<pid>\d+)-(?P<start>\d+)-(?P<namespace>\d+)-(?P<boot>\w+)-[0-9a-f]{6}"
)
CAP_LEASE = 28
FOREIGN = "it belongs to another user: run as that user, or with CAP_LEASE"
HAS_LEASES = hasattr(fcntl, "F_SETLEASE")


class State(Enum):
    """Whether a file's writer lives. What is unknown is never folded."""

    LIVE = "live"
    DEAD = "dead"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Verdict:
    """A state, and of an unknown one why."""

    state: State
    why: str = ""


def judge(descriptor: int, worker: str, file_system: str) -> Verdict:
    """Take a read lease on a file if its writer is dead; the caller lets it go by closing.

    The descriptor is read-only. The kernel grants the lease only when nobody has the file open
    for writing, also in another PID namespace.
    """
    if not HAS_LEASES:
        return judge_by_pid(worker)
    why = _explain_file_system(worker, file_system)
    if why:
        return Verdict(State.UNKNOWN, why)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        if error.errno == errno.EAGAIN:
            return Verdict(State.LIVE)
        if error.errno in (errno.EACCES, errno.EPERM):
            return Verdict(State.UNKNOWN, FOREIGN)
        return Verdict(State.UNKNOWN, f"no lease: {os.strerror(error.errno or 0)}")
    return Verdict(State.DEAD)


def foresee_unknown(path: str, worker: str, file_system: str) -> str:
    """Return why a file's writer could not be judged, without asking for a lease; '' if it can."""
    if not HAS_LEASES:
        return judge_by_pid(worker).why
    foreign = os.lstat(path).st_uid != os.geteuid() and not _may_lease_any()
    return _explain_file_system(worker, file_system) or (FOREIGN if foreign else "")


def _explain_file_system(worker: str, file_system: str) -> str:
    ours = file_system in PROVEN_FOR_OUR_WRITER and OUR_IDENTITY.fullmatch(worker)
    if file_system in PROVEN_FILE_SYSTEMS or ours:
        return ""
    return f"on the file system {file_system or '(unknown)'} a lease proves nothing"


def _may_lease_any() -> bool:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return os.geteuid() == 0
    capabilities = re.search(r"^CapEff:\s*([0-9a-f]+)", status, re.MULTILINE)
    return bool(capabilities and int(capabilities[1], 16) >> CAP_LEASE & 1)


def is_awaited(descriptor: int) -> bool:
    """Tell whether somebody waits in open() for us to give the lease back."""
    return HAS_LEASES and fcntl.fcntl(descriptor, fcntl.F_GETLEASE) != fcntl.F_RDLCK


def judge_by_pid(worker: str) -> Verdict:
    """Judge by pid and creation time, where there are no leases, as on macOS."""
    match = OUR_IDENTITY.fullmatch(worker)
    if match is None:
        return Verdict(State.UNKNOWN, "its name does not tell which process wrote it")
    if match["boot"] != boot_id():
        return Verdict(State.UNKNOWN, "it was written before the last boot, or elsewhere")
    try:
        created = psutil.Process(int(match["pid"])).create_time()
    except psutil.NoSuchProcess:
        return Verdict(State.DEAD)
    except psutil.Error:
        return Verdict(State.UNKNOWN, "its process cannot be seen")
    # The identity was made after its process; a younger process only has the same pid.
    return Verdict(State.DEAD if created > int(match["start"]) + 1 else State.LIVE)


def explain_hidden(worker: str, place: tuple[str, str]) -> str:
    """Return why a worker's pid means nothing at a place; '' if it means something, or has none."""
    match = OUR_IDENTITY.fullmatch(worker)
    if match is None:
        return ""
    if match["boot"] != place[1] or place[1] == "0":
        return "they were started on another machine, or before its last boot"
    if match["namespace"] != place[0]:
        return "they are in another PID namespace, as those of another container are"
    return ""


def find_pid(worker: str, place: tuple[str, str]) -> int:
    """Return a worker's pid; 0 where it means nothing at this place."""
    match = OUR_IDENTITY.fullmatch(worker)
    return 0 if match is None or explain_hidden(worker, place) else int(match["pid"])


def has_ended(worker: str) -> bool:
    """Tell whether a worker's process has certainly ended; its pid must mean something here.

    Another process may have the pid by now, and a zombie writes nothing any more.
    """
    if not sys.platform.startswith("linux"):
        return judge_by_pid(worker).state is State.DEAD
    pid, start = worker.split("-")[:2]
    try:
        state, started = read_stat(pid)
    except OSError:
        # Of other users' processes /proc may show nothing.
        return not _exists(int(pid))
    return state in "ZX" or started != start


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def process_of(worker: str) -> str:
    """Return what the identities of one process have in common: each writer in it has its own."""
    return worker.rpartition("-")[0] if OUR_IDENTITY.fullmatch(worker) else worker


def find_file_system(directory: Path) -> str:
    """Return the type of the file system that a directory lies on; '' where that is unknown."""
    if not sys.platform.startswith("linux"):
        return ""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            opened = Path(f"/proc/self/fdinfo/{descriptor}").read_text()
        finally:
            os.close(descriptor)
        mounts = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    except OSError:
        return ""
    # By the mount's number: a path may lead through mounts that another one has covered since.
    number = re.search(r"^mnt_id:\s*(\d+)$", opened, re.MULTILINE)
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        if number and before.split()[0] == number[1]:
            return after.split()[0]
    return ""
