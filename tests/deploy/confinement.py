"""Run a program under what a systemd unit forbids, as far as that needs no system manager.

``python -m tests.deploy.confinement UNIT PROGRAM…``: without capabilities and new privileges, with
the system calls of ``SystemCallFilter=`` alone, and without memory that is written and executed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
from collections.abc import Iterable

from .documents import read_unit

ALLOW = 0x7FFF0000
REFUSE = 0x00050000 | errno.EPERM
PR_SET_NO_NEW_PRIVS = 38
PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1


def main() -> None:
    """Confine this process, and become the program."""
    unit, *command = sys.argv[1:]
    settings = read_unit(unit)
    filters = [value for key, value in settings if key == "SystemCallFilter"]
    assert dict(settings)["SystemCallErrorNumber"] == "EPERM"
    assert dict(settings)["MemoryDenyWriteExecute"] == "yes"
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    # Kernels before 6.3 do not know it, and systemd does it there by a filter.
    libc.prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0)
    install_filter(list_system_calls(filters))
    os.execvp(command[0], command)


def list_system_calls(filters: Iterable[str]) -> set[str]:
    """Return the system calls that lines of ``SystemCallFilter=`` leave."""
    known = read_sets()
    # What systemd itself needs to start a program is always allowed.
    allowed: set[str] = set(expand("@default", known))
    for each in filters:
        named = {call for word in each.lstrip("~").split() for call in expand(word, known)}
        allowed = allowed - named if each.startswith("~") else allowed | named
    return allowed | {"execve"}


def read_sets() -> dict[str, list[str]]:
    """Return systemd's sets of system calls, by name."""
    done = subprocess.run(
        ["systemd-analyze", "--no-pager", "syscall-filter"],
        capture_output=True,
        text=True,
        check=True,
    )
    sets: dict[str, list[str]] = {}
    name = ""
    for line in done.stdout.splitlines():
        if line.startswith("@"):
            name = line.strip()
            sets[name] = []
        elif line.startswith("    ") and name and not line.strip().startswith("#"):
            sets[name].append(line.strip())
        elif not line:
            name = ""
    return sets


def expand(word: str, known: dict[str, list[str]]) -> Iterable[str]:
    """Yield the system calls of a set, or the one that is named."""
    if not word.startswith("@"):
        yield word
        return
    for each in known[word]:
        yield from expand(each, known)


def install_filter(allowed: Iterable[str]) -> None:
    """Let the kernel refuse every other system call with EPERM."""
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(REFUSE))
    for name in allowed:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:
            assert seccomp.seccomp_rule_add(context, ALLOW, number, 0) == 0
    assert seccomp.seccomp_load(context) == 0


if __name__ == "__main__":
    main()
