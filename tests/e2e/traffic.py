"""Send a known mix of requests to the shop, and say which numbers must come of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

from tests.processes import TIMEOUT, Samples, wait_until

TEMPLATES = {
    "shop:index": "['shop/index.html', 'shop/product_list.html']",
    "shop:about": "shop/about.html",
}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True)
class Kind:
    """One kind of request and what the metrics must call it."""

    method: str
    path: str
    status: int
    view: str = "<unnamed view>"
    counted_method: str = ""
    body: str = ""

    @property
    def labels(self) -> tuple[str, str, str]:
        """Return status, view and method as the metrics label them."""
        return str(self.status), self.view, self.counted_method or self.method


MIX = {
    Kind("GET", "/", 200, "shop:index"): 50,
    Kind("HEAD", "/", 200, "shop:index"): 5,
    Kind("GET", "/about/", 200, "shop:about"): 10,
    Kind("GET", "/stock/", 200, "shop:stock"): 8,
    Kind("GET", "/report/", 200, "shop:report"): 5,
    Kind("GET", "/broken/", 500, "shop:broken"): 7,
    Kind("GET", "/products/999/", 404, "shop:product"): 4,
    Kind("GET", "/nowhere/", 404): 6,
    Kind("POST", "/products/999/order/", 404, "shop:order", body="quantity=2"): 3,
    Kind("GET", "/products/1/order/", 405, "shop:order"): 1,
    Kind("BREW", "/about/", 403, "shop:about", counted_method="<invalid method>"): 1,
}


def send_mix(port: int, times: int) -> Counter[Kind]:
    """Send the mix (100 requests) so many times, from eight threads; return what was sent."""
    sent = Counter({kind: count * times for kind, count in MIX.items()})
    with ThreadPoolExecutor(8) as pool:
        for kind, status in pool.map(lambda kind: (kind, send(port, kind)), sent.elements()):
            assert status == kind.status, kind
    return sent


def send(port: int, kind: Kind) -> int:
    """Send one request and return the status."""
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request(kind.method, kind.path, kind.body or None, FORM if kind.body else {})
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def wait_for_web(port: int) -> Counter[Kind]:
    """Wait until the shop answers; return the requests that this took."""
    kind = Kind("GET", "/about/", 200, "shop:about")

    def answers() -> bool:
        try:
            return send(port, kind) == kind.status
        except (OSError, HTTPException):
            # No HTTP comes where the kernel gives a client the very port that it asks, so itself.
            return False

    wait_until(answers)
    return Counter([kind])


def assert_exact(samples: Samples, sent: Mapping[Kind, int]) -> None:
    """Compare every count that the traffic decides with what an exporter serves."""
    expected = dict(_expect(sent))
    counted = {
        (name, labels): value
        for (name, labels), value in samples.items()
        if name in {name for name, _ in expected}
    }
    assert counted == expected


def _expect(
    sent: Mapping[Kind, int],
) -> Iterator[tuple[tuple[str, frozenset[tuple[str, str]]], float]]:
    rows: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
    for kind, count in sent.items():
        status, view, method = kind.labels
        found_view = () if kind.view == "<unnamed view>" else (("view", view),)
        rows["django_http_requests_before_middlewares_total", ()] += count
        rows["django_http_responses_before_middlewares_total", ()] += count
        rows["django_http_requests_latency_including_middlewares_seconds_count", ()] += count
        rows["django_http_requests_body_total_bytes_sum", ()] += count * len(kind.body)
        rows["django_http_requests_total_by_method_total", (("method", method),)] += count
        rows["django_http_requests_total_by_transport_total", (("transport", "http"),)] += count
        rows["django_http_responses_total_by_status_total", (("status", status),)] += count
        rows[
            "django_http_responses_total_by_status_view_method_total",
            (("status", status), ("view", view), ("method", method)),
        ] += count
        rows[
            "django_http_requests_latency_seconds_by_view_method_count",
            (("view", view), ("method", method)),
        ] += count
        if found_view:
            rows[
                "django_http_requests_total_by_view_transport_method_total",
                (*found_view, ("transport", "http"), ("method", method)),
            ] += count
        if view == "shop:broken":
            rows["django_http_exceptions_total_by_type_total", (("type", "RuntimeError"),)] += count
            rows["django_http_exceptions_total_by_view_total", found_view] += count
        if kind.status == 404 and found_view:
            rows["django_http_exceptions_total_by_type_total", (("type", "Http404"),)] += count
            rows["django_http_exceptions_total_by_view_total", found_view] += count
        rows["django_http_responses_total_by_charset_total", (("charset", "utf-8"),)] += count
        if view in TEMPLATES and kind.status == 200:
            template = (("templatename", TEMPLATES[view]),)
            rows["django_http_responses_total_by_templatename_total", template] += count
        if view == "shop:report":
            rows["django_http_responses_streaming_total", ()] += count
            rows["shop_report_seconds_count", ()] += count
    for (name, labels), count in rows.items():
        yield (name, frozenset(labels)), float(count)
