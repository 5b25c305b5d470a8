"""Run the web server and the exporter in one container, without a shell.

The container lives as long as the web server: an exporter that ends is started again, and one that
cannot serve costs the application nothing. It ends last, so that the last scrape sees everything.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

WEB = ("gunicorn", "project.wsgi", "--bind", f"0.0.0.0:{os.environ.get('PORT', '8000')}")
# Address and port by PROMETHEUS_METRICS_EXPORT_ADDRESS and PROMETHEUS_METRICS_EXPORT_PORT.
EXPORTER = (sys.executable, "manage.py", "runmetrics")
PAUSE_SECONDS = 5.0
WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


def main() -> int:
    """Run both; return the web server's exit code."""
    # Blocked, they wait until they are asked for, and none is lost between two lines.
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    web, exporter = start(*WEB), start(*EXPORTER)
    while True:
        seen = signal.sigtimedwait(WATCHED, PAUSE_SECONDS)
        if seen is None:
            exporter = exporter or start(*EXPORTER)
        elif seen.si_signo != signal.SIGCHLD:
            os.kill(web, seen.si_signo)
        for pid, code in reap():
            if pid == web:
                end(exporter)
                return code
            if pid == exporter:
                exporter = 0


def start(*command: str) -> int:
    """Start a program with no signal blocked, and return its pid."""
    return os.posix_spawnp(command[0], command, os.environ, setsigmask=())


def reap() -> Iterator[tuple[int, int]]:
    """Yield pid and exit code of each process that has ended; as pid 1 also of orphans."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        code = os.waitstatus_to_exitcode(status)
        yield pid, code if code >= 0 else 128 - code


def end(exporter: int) -> None:
    """End the exporter, if there is one, and wait for it."""
    if exporter:
        os.kill(exporter, signal.SIGTERM)
        os.waitpid(exporter, 0)


if __name__ == "__main__":
    sys.exit(main())
