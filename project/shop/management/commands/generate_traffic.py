"""``manage.py generate_traffic``: use the shop as customers would, to have something to see."""

import random
import time
import urllib.error
import urllib.request
from argparse import ArgumentParser
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

from django.core.management.base import BaseCommand

from project.shop.models import Product

SHELF = {"Teapot": "18.50", "Kettle": "32.00", "Cup": "6.90", "Strainer": "3.20"}
PATHS = (
    "/",
    "/",
    "/",
    "/about/",
    "/stock/",
    "/report/",
    "/slow/?seconds=0.2",
    "/broken/",
    "/lost/",
)


class Command(BaseCommand):
    """Fill the shelf, then visit pages and place orders until stopped."""

    help = "Visits the shop's pages and places orders, to have some numbers on the metrics page."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--url", default="http://127.0.0.1:8000", help="Where the shop is.")
        parser.add_argument("--requests", type=int, help="End after so many; never if not given.")
        parser.add_argument("--pause", type=float, default=0.05, help="Seconds between requests.")

    def handle(self, *args: Any, **options: Any) -> None:
        for name, price in SHELF.items():
            Product.objects.get_or_create(name=name, defaults={"price": price})
        products = list(Product.objects.values_list("pk", flat=True))
        with suppress(KeyboardInterrupt):
            self.visit_for(products, options)

    def visit_for(self, products: list[int], options: dict[str, Any]) -> None:
        """Make the requests asked for."""
        made = 0
        while options["requests"] is None or made < options["requests"]:
            made += 1
            if random.random() < 0.2:
                order = urlencode({"quantity": random.randint(0, 3)}).encode()
                visit(f"{options['url']}/products/{random.choice(products)}/order/", order)
            else:
                visit(options["url"] + random.choice(PATHS))
            time.sleep(options["pause"])


def visit(url: str, data: bytes | None = None) -> None:
    """Open a page; a shop that is not up yet, or answers with an error, is part of the game."""
    try:
        with urllib.request.urlopen(url, data, timeout=10) as response:
            response.read()
    except urllib.error.HTTPError as error:
        error.close()
    except OSError:
        time.sleep(0.5)
