"""The exporter's own connections: each says who it is, writes nothing, and gives up soon.

PostgreSQL is told so in the packet that opens the connection, and not by ``SET``, which behind
pgbouncer would hold for the web's transactions on the same connection as well.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from typing import Any, cast

from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger("metrics_commands")

NAME = "runmetrics"
CONNECT_SECONDS = 3
QUERY_SECONDS = 5
TRANSACTION_SECONDS = 60
# Of what stands between: pgbouncer, Amazon's proxy, an old libpq, a server that is none quite.
REFUSED = re.compile(r"parameter|option", re.IGNORECASE)

Parameters = dict[str, Any]
Connect = Callable[[Parameters], Any]

_told: set[str] = set()


def make_connection(create: Callable[[str], BaseDatabaseWrapper], alias: str) -> Any:
    """Return a connection object of the exporter's own, which opens at the first query."""
    connection: Any = create(alias)
    settings = connection.settings_dict
    options = {name: value for name, value in settings["OPTIONS"].items() if name != "pool"}
    connection.settings_dict = {**settings, "AUTOCOMMIT": True, "OPTIONS": options}
    # One thread at a time has it, but not always the same one.
    connection.inc_thread_sharing()
    opens = OPENERS.get(connection.vendor)
    if opens is not None:
        connection.get_new_connection = partial(opens, alias, connection.get_new_connection)
    return connection


def open_postgresql(alias: str, connect: Connect, parameters: Parameters) -> Any:
    """Connect with limits; where the other side refuses to hear of them, without."""
    plain = {**parameters, "application_name": NAME}
    if "options" not in plain and ("service" in plain or "PGSERVICE" in os.environ):
        # Options that a service file may have would be lost.
        warn(alias, "its service file may have options of its own")
        return connect(plain)
    own = plain.get("options", os.environ.get("PGOPTIONS", ""))
    limits = {
        "default_transaction_read_only": "on",
        "statement_timeout": QUERY_SECONDS * 1000,
        "idle_in_transaction_session_timeout": TRANSACTION_SECONDS * 1000,
    }
    options = " ".join([own, *(f"-c {name}={value}" for name, value in limits.items())])
    # Without the second, a server that vanished would be waited for for a quarter of an hour.
    network = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": QUERY_SECONDS * 1000}
    try:
        return connect({**network, **plain, "options": options.strip()})
    except Exception as error:
        if not REFUSED.search(str(error)):
            raise
        reason = " ".join(str(error).split())
    opened = connect(plain)
    warn(alias, reason)
    return opened


def open_mysql(alias: str, connect: Connect, parameters: Parameters) -> Any:
    """Connect, and set limits for the session."""
    opened = connect({"connect_timeout": CONNECT_SECONDS, **parameters})
    limit = f"max_execution_time = {QUERY_SECONDS * 1000}"
    if "mariadb" in str(opened.get_server_info()).lower():
        limit = f"max_statement_time = {QUERY_SECONDS}"
    try:
        with closing(opened.cursor()) as cursor:
            cursor.execute("SET SESSION TRANSACTION READ ONLY")
            cursor.execute(f"SET SESSION {limit}")
    except Exception as error:
        warn(alias, str(error))
    return opened


def open_sqlite(alias: str, connect: Connect, parameters: Parameters) -> Any:
    """Open for reading; no query can be limited, but waiting for a lock can."""
    patience = min(parameters.get("timeout", QUERY_SECONDS), QUERY_SECONDS)
    opened = connect({**parameters, "timeout": patience})
    opened.execute("PRAGMA query_only = ON")
    return opened


def warn(alias: str, reason: str) -> None:
    """Say once that a database is asked without limits."""
    if alias not in _told:
        _told.add(alias)
        what = "Database %s is asked without time limits and not for reading only: %s"
        logger.warning(what, alias, reason)


def is_reusable(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether a connection that is given back is as it was lent; end what goes on there."""
    if connection.connection is None or connection.in_atomic_block or not connection.autocommit:
        return False
    # What began behind Django's back.
    connection.rollback()
    connection.queries_log.clear()
    return True


def find_interruption(connection: BaseDatabaseWrapper) -> Callable[[], object] | None:
    """Return what ends, from any thread, the query of a connection; None where nothing can."""
    opened: Any = connection.connection
    if opened is None:
        return None
    if connection.vendor == "sqlite":
        return cast(Callable[[], object], opened.interrupt)
    if connection.vendor != "postgresql":
        return None
    # Of psycopg since 3.2; the older ones wait for as long as the network does.
    cancel = getattr(opened, "cancel_safe", None)
    return (
        cast(Callable[[], object], opened.cancel)
        if cancel is None
        else partial(cancel, timeout=CONNECT_SECONDS)
    )


def close_connection(connection: BaseDatabaseWrapper) -> None:
    """Close a connection for good, whatever state it is in."""
    with suppress(Exception):
        # Not connection.close(), which leaves a database in memory open, as tests have one.
        BaseDatabaseWrapper.close(connection)


OPENERS: dict[str, Callable[[str, Connect, Parameters], Any]] = {
    "postgresql": open_postgresql,
    "mysql": open_mysql,
    "sqlite": open_sqlite,
}
