"""The shop's own metrics: the exporter shows them from all workers, with nothing more to do."""

from prometheus_client import Counter, Histogram

orders = Counter("shop_orders_total", "Orders placed.", ["product"])
refused_orders = Counter("shop_refused_orders_total", "Orders that were refused.")
report_seconds = Histogram("shop_report_seconds", "Time to write the report.")
