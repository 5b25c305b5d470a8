"""What somebody else sees of a server."""

from __future__ import annotations

from typing import Any

import psycopg

OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'runmetrics'"


def look(watcher: psycopg.Connection, sql: str) -> Any:
    """Return the one value that somebody else's query finds."""
    found = watcher.execute(sql.encode()).fetchone()
    assert found is not None
    return found[0]
