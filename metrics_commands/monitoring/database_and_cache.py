"""The dashboard of databases, their connections and pools, caches, models and migrations."""

from __future__ import annotations

from .board import Board, Row, variable
from .panels import graph, heat_map, stat_panel
from .queries import add_up, divide, largest, or_zero, quantile, quantiles, rate, select

EXECUTED = "django_db_execute_total"
TIME = "django_db_query_duration_seconds"
OPERATIONS = "django_cache_operations_total"
ALIAS = 'alias=~"$alias"'
CACHE = 'alias=~"$cache"'
BY_ALIAS = "{{alias}}"


def by_alias(metric: str, matcher: str = ALIAS) -> dict[str, str]:
    """Return a query for a gauge that several exporters of one deployment would tell alike."""
    return {BY_ALIAS: largest(select(metric, matcher), "alias")}


def share_of_hits(hits: str, misses: str) -> dict[str, str]:
    """Return the share of hits, by alias."""
    found = add_up(hits, "alias")
    return {BY_ALIAS: divide(found, f"({found} + {add_up(misses, 'alias')})")}


NOW = Row(
    "Now",
    [
        stat_panel(
            "Databases down",
            add_up(f"1 - {select('django_database_up', ALIAS)}"),
            says="Databases that do not answer the exporter.",
            bad=1,
        ),
        stat_panel(
            "Statements", add_up(rate(EXECUTED, ALIAS)), "ops", says="Statements in a second."
        ),
        stat_panel(
            "Statement p95", quantile(0.95, TIME, ALIAS), "s", says="19 of 20 took no longer."
        ),
        stat_panel(
            "Failed",
            divide(
                or_zero(add_up(rate("django_db_errors_total", ALIAS))),
                add_up(rate(EXECUTED, ALIAS)),
            ),
            "percentunit",
            says="Share of statements that failed.",
            bad=0.01,
        ),
        stat_panel(
            "Caches down",
            add_up(f"1 - {select('django_cache_up', CACHE)}"),
            says="Caches with a server that does not answer the exporter.",
            bad=1,
        ),
        stat_panel("Cache operations", add_up(rate(OPERATIONS, CACHE)), "ops", says="In a second."),
        stat_panel(
            "Cache p95",
            quantile(0.95, "django_cache_operation_duration_seconds", CACHE),
            "s",
            says="19 of 20 operations took no longer.",
        ),
        stat_panel(
            "Migrations to apply",
            add_up(largest(select("django_migrations_unapplied_total"), "connection")),
            says="Migrations that a database has yet to see.",
            bad=1,
        ),
    ],
)
STATEMENTS = Row(
    "Databases",
    [
        graph(
            "Statements",
            {
                BY_ALIAS: add_up(rate(EXECUTED, ALIAS), "alias"),
                "{{alias}} (many)": add_up(rate("django_db_execute_many_total", ALIAS), "alias"),
            },
            "ops",
            says="Statements in a second; of executemany each.",
        ),
        graph("Time of statements", quantiles(TIME, ALIAS), "s", says="Until the first rows come."),
        heat_map(
            "Time of statements",
            add_up(rate(f"{TIME}_bucket", ALIAS), "le"),
            says="How many statements in a second took how long.",
        ),
        graph(
            "Errors",
            {"{{alias}} {{type}}": add_up(rate("django_db_errors_total", ALIAS), "alias", "type")},
            "ops",
            says="Statements that failed in a second, by the driver's class of exception.",
        ),
        graph(
            "Busy",
            {BY_ALIAS: add_up(rate(f"{TIME}_sum", ALIAS), "alias")},
            says="Statements that run at once, in the mean.",
        ),
        graph(
            "Ping",
            by_alias("django_database_ping_duration_seconds"),
            "s",
            says="Time of the simplest query, from the exporter.",
        ),
    ],
)
CONNECTIONS = Row(
    "Connections",
    [
        graph(
            "Opened",
            {
                BY_ALIAS: add_up(rate("django_db_new_connections_total", ALIAS), "alias"),
                "{{alias}} (failed)": add_up(
                    rate("django_db_new_connection_errors_total", ALIAS), "alias"
                ),
            },
            "ops",
            says="Connections opened in a second, and those that could not be had.",
        ),
        graph(
            "Server (PostgreSQL)",
            {
                "{{alias}} used": largest(select("django_database_connections", ALIAS), "alias"),
                "{{alias}} most": largest(
                    select("django_database_max_connections", ALIAS), "alias"
                ),
            },
            says="Connections of all clients of the server, and how many it takes.",
        ),
        graph(
            "Pools (psycopg)",
            {
                f"{{{{alias}}}} {what}": add_up(select(f"django_db_pool_{metric}", ALIAS), "alias")
                for what, metric in (
                    ("open", "connections"),
                    ("available", "available_connections"),
                    ("most", "max_connections"),
                    ("waiting", "waiting_requests"),
                )
            },
            says="Connections in the pools of all workers, and threads that wait for one.",
        ),
        graph(
            "Waits in vain (psycopg)",
            {BY_ALIAS: add_up(rate("django_db_pool_timeouts_total", ALIAS), "alias")},
            "ops",
            says="Waits in a second that ended without a connection of the pool.",
        ),
    ],
)
CACHES = Row(
    "Caches",
    [
        graph(
            "Hits",
            share_of_hits(
                rate(OPERATIONS, CACHE, 'result="hit"'), rate(OPERATIONS, CACHE, 'result="miss"')
            ),
            "percentunit",
            says="Share of keys that were found.",
        ),
        graph(
            "Operations",
            {
                "{{alias}} {{operation}} {{result}}": add_up(
                    rate(OPERATIONS, CACHE), "alias", "operation", "result"
                )
            },
            "ops",
            says="Operations in a second; of get_many each key.",
        ),
        graph(
            "Operation p95",
            {
                "{{alias}} {{operation}}": quantile(
                    0.95,
                    "django_cache_operation_duration_seconds",
                    CACHE,
                    by=("alias", "operation"),
                )
            },
            "s",
            says="19 of 20 operations took no longer.",
        ),
        graph(
            "Ping",
            by_alias("django_cache_ping_duration_seconds", CACHE),
            "s",
            says="Time to look up a key that nobody sets, from the exporter.",
        ),
        graph(
            "Memory (Redis)",
            {
                "{{alias}} used": largest(
                    select("django_cache_redis_memory_bytes", CACHE), "alias"
                ),
                "{{alias}} most": largest(
                    select("django_cache_redis_max_memory_bytes", CACHE), "alias"
                ),
            },
            "bytes",
            says="Memory of the whole server, and its limit; 0 is none.",
        ),
        graph(
            "Evicted (Redis)",
            {BY_ALIAS: largest(rate("django_cache_redis_evicted_keys_total", CACHE), "alias")},
            "ops",
            says="Keys in a second that the server dropped for want of memory.",
        ),
        graph(
            "Hits (Redis)",
            share_of_hits(
                rate("django_cache_redis_keyspace_hits_total", CACHE),
                rate("django_cache_redis_keyspace_misses_total", CACHE),
            ),
            "percentunit",
            says="Share of keys that were found, by all clients of the server.",
        ),
    ],
)
MODELS = Row(
    "Models and migrations",
    [
        graph(
            "Changes",
            {
                f"{{{{model}}}} {what}": add_up(rate(f"django_model_{what}_total"), "model")
                for what in ("inserts", "updates", "deletes")
            },
            "ops",
            says="Objects in a second, of the models that are counted.",
        ),
        graph(
            "Rows",
            {"{{model}}": largest(select("django_model_rows"), "model")},
            says="Rows of the models that PROMETHEUS_METRICS_COUNTED_MODELS names.",
        ),
        graph(
            "Migrations",
            {
                f"{{{{connection}}}} {what}": largest(
                    select(f"django_migrations_{what}_total"), "connection"
                )
                for what in ("applied", "unapplied")
            },
            says="Migrations that a database has seen, and has yet to see.",
        ),
    ],
)
BOARD = Board(
    "database-and-cache",
    "Database and cache",
    "What a deployment asks of its databases and caches, and how they answer.",
    [NOW, STATEMENTS, CONNECTIONS, CACHES, MODELS],
    [
        variable("alias", "Database", EXECUTED, "alias"),
        variable("cache", "Cache", OPERATIONS, "alias"),
    ],
)
