"""Every difference between the two pages after the same traffic, each with its reason.

The number is by how much ours is more; 0 is a sample that only one of the pages has, at zero.
docs/migrating.md has the reasons, word for word.
"""

from __future__ import annotations

from collections import Counter

HTTP = "django_http_"
BY_VIEW = f"{HTTP}requests_total_by_view_transport_method_total"
LATENCY = f"{HTTP}requests_latency_seconds_by_view_method_count"
STATUS = f"{HTTP}responses_total_by_status_view_method_total"
TEMPLATE = f"{HTTP}responses_total_by_templatename_total"
NOBODY = 'view="<unnamed view>"'
INVALID = 'method="<invalid method>"'
OBJECT = "<django.template.backends.django.Template object at 0x…>"
DEFAULT = '{alias="default",vendor="sqlite"}'
ELSEWHERE = '{alias="elsewhere",vendor="sqlite"}'

DIFFERENCES: dict[str, dict[str, float]] = {
    "A request that ends in an exception has one latency, not two": {
        f'{LATENCY}{{method="GET",view="{view}"}}': -1
        for view in ("async-broken", "broken", "forbidden", "missing-dog")
    },
    "The latency's method is one of HTTP's nine or `<invalid method>`, as elsewhere": {
        f'{LATENCY}{{method="FOOBAR",view="index"}}': -1,
        f'{LATENCY}{{method="FOOBAR",view="upload"}}': -1,
        f'{LATENCY}{{{INVALID},view="index"}}': 1,
        f'{LATENCY}{{{INVALID},view="upload"}}': 1,
    },
    "A response that another middleware makes, and what it raises, counts like any other": {
        f'{HTTP}exceptions_total_by_type_total{{type="RuntimeError"}}': 1,
        f"{HTTP}exceptions_total_by_view_total{{{NOBODY}}}": 1,
        f"{HTTP}requests_body_total_bytes_bucket up to 0": 2,
        f"{HTTP}requests_body_total_bytes_count": 2,
        f'{HTTP}requests_total_by_method_total{{method="GET"}}': 2,
        f'{HTTP}requests_total_by_transport_total{{transport="http"}}': 2,
        f"{HTTP}responses_body_total_bytes_bucket up to 8": 1,
        f"{HTTP}responses_body_total_bytes_bucket up to 256": 1,
        f"{HTTP}responses_body_total_bytes_count": 2,
        f"{HTTP}responses_body_total_bytes_sum": len("closed") + 145,
        f'{HTTP}responses_total_by_charset_total{{charset="utf-8"}}': 2,
        f'{HTTP}responses_total_by_status_total{{status="500"}}': 1,
        f'{HTTP}responses_total_by_status_total{{status="503"}}': 1,
        f'{STATUS}{{method="GET",status="500",{NOBODY}}}': 1,
        f'{STATUS}{{method="GET",status="503",{NOBODY}}}': 1,
        f'{LATENCY}{{method="GET",{NOBODY}}}': 2,
    },
    "A request that a middleware refuses once its URL is known (CSRF) counts for its view": {
        f'{BY_VIEW}{{{INVALID},transport="http",view="index"}}': 1,
        f'{BY_VIEW}{{method="POST",transport="http",view="protected"}}': 1,
    },
    "A template that is an object and no name is `<unnamed template>`": {
        f'{TEMPLATE}{{templatename="{OBJECT}"}}': -1,
        f'{TEMPLATE}{{templatename="<unnamed template>"}}': 1,
    },
    "No worker looks at the migrations: their queries and connections are the exporter's": {
        f"django_db_execute_total{DEFAULT}": -2,
        f"django_db_execute_total{ELSEWHERE}": -1,
        f"django_db_new_connections_total{DEFAULT}": -1,
        f"django_db_new_connections_total{ELSEWHERE}": -1,
        f"django_db_query_duration_seconds_count{DEFAULT}": -2,
        f"django_db_query_duration_seconds_count{ELSEWHERE}": -1,
    },
    "The migrations are one series for each database, with no `pid`": {
        'django_migrations_applied_total{connection="default",pid="…"}': -3,
        'django_migrations_applied_total{connection="default"}': 3,
        'django_migrations_applied_total{connection="elsewhere",pid="…"}': 0,
        'django_migrations_applied_total{connection="elsewhere"}': 0,
        'django_migrations_unapplied_total{connection="default",pid="…"}': 0,
        'django_migrations_unapplied_total{connection="default"}': 0,
        'django_migrations_unapplied_total{connection="elsewhere",pid="…"}': -3,
        'django_migrations_unapplied_total{connection="elsewhere"}': 3,
    },
    "A connection that fails is an error and no new connection": {
        f"django_db_new_connections_total{ELSEWHERE}": -1,
    },
    "The counters of a database begin together, at zero": {
        f"django_db_execute_many_total{ELSEWHERE}": 0,
        f"django_db_new_connection_errors_total{DEFAULT}": 0,
    },
    "A stored `None` is a hit": {
        f'django_cache_get_{what}_total{{backend="{backend}"}}': difference
        for backend in ("filebased", "locmem")
        for what, difference in (("hits", 1), ("misses", -1))
    },
    "What a model could not write does not count": {
        'django_model_inserts_total{model="dog"}': -1,
        'django_model_updates_total{model="dog"}': -1,
    },
}


def sum_differences() -> dict[str, float]:
    """Return by how much each sample differs, for all reasons together."""
    total: Counter[str] = Counter()
    for samples in DIFFERENCES.values():
        for name, difference in samples.items():
            # Not update(), which a difference of nothing would not survive by itself.
            total[name] += difference  # type: ignore[assignment]
    return dict(total)
