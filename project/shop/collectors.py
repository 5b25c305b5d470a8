"""What the exporter asks the shop's database for, so that no worker has to count it."""

from django.db.models import Max, Sum

from metrics_commands.collectors import collector

from .models import Order, Product


@collector
def shop_products_never_ordered() -> object:
    """Products that nobody has ordered yet."""
    return Product.objects.filter(orders=None).count()


@collector
def shop_last_order_timestamp_seconds() -> object:
    """When the last order was placed, in Unix time."""
    return Order.objects.aggregate(last=Max("placed_at"))["last"]


@collector(interval=60, labels="product")
def shop_ordered_items() -> object:
    """Items ordered, by product."""
    return Order.objects.values_list("product__name").annotate(Sum("quantity"))
