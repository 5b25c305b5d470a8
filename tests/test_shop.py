"""The shop answers as its views say, so that what is measured on it means something."""

from __future__ import annotations

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client
from prometheus_client import REGISTRY

from project.shop.models import Order, Product

pytestmark = pytest.mark.django_db


@pytest.fixture
def teapot() -> Product:
    """Put one thing on the shelf."""
    product: Product = Product.objects.create(name="Teapot", price="18.50")
    return product


def test_an_empty_shop_is_open(client: Client) -> None:
    """A fresh clone answers 200 before anything is for sale."""
    answer = client.get("/")
    assert answer.status_code == 200
    assert b"Nothing on the shelf" in answer.content


def test_the_list_leads_to_each_product(client: Client, teapot: Product) -> None:
    """The first page names products, with links that work."""
    assert f'href="/products/{teapot.pk}/"'.encode() in client.get("/").content
    page = client.get(f"/products/{teapot.pk}/")
    assert page.status_code == 200
    assert b"Teapot, 18.50" in page.content
    assert f'action="/products/{teapot.pk}/order/"'.encode() in page.content


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/about/", 200),
        ("HEAD", "/", 200),
        ("GET", "/slow/?seconds=0", 200),
        ("GET", "/slow/?seconds=soon", 400),
        ("GET", "/slow/?seconds=nan", 400),
        ("GET", "/slow/?seconds=inf", 400),
        ("GET", "/slow/?seconds=-1", 400),
        ("POST", "/", 405),
        ("POST", "/products/1/", 405),
        ("GET", "/products/1/order/", 405),
        ("GET", "/products/1/", 404),
        ("POST", "/products/1/order/", 404),
        ("GET", "/nowhere/", 404),
        ("GET", "/about", 301),
    ],
)
def test_statuses(client: Client, method: str, path: str, status: int) -> None:
    """Every kind of answer can be had from the shop, and a bad question is never a 500."""
    assert client.generic(method, path).status_code == status


def test_the_broken_view_fails() -> None:
    """There is a view to see a 500 with."""
    client = Client(raise_request_exception=False)
    assert client.get("/broken/").status_code == 500


def test_an_order_is_placed_without_a_token(teapot: Product) -> None:
    """A customer without cookies orders, is led back to the product, and is counted."""
    client = Client(enforce_csrf_checks=True)
    before = count_orders()
    answer = client.post(f"/products/{teapot.pk}/order/", {"quantity": 3})
    assert answer.status_code == 302
    assert answer.headers["Location"] == f"/products/{teapot.pk}/"
    assert list(Order.objects.values_list("product__name", "quantity")) == [("Teapot", 3)]
    assert count_orders() == before + 1


@pytest.mark.parametrize("quantity", ["", "0", "-1", "many", str(10**30)])
def test_a_senseless_order_is_refused(client: Client, teapot: Product, quantity: str) -> None:
    """An order without a sensible quantity is not placed, and counted as refused."""
    refused = REGISTRY.get_sample_value("shop_refused_orders_total") or 0
    answer = client.post(f"/products/{teapot.pk}/order/", {"quantity": quantity})
    assert answer.status_code == 404
    assert not Order.objects.exists()
    assert REGISTRY.get_sample_value("shop_refused_orders_total") == refused + 1


def test_the_report_streams_every_order(client: Client, teapot: Product) -> None:
    """The report has a line per order, and its time is measured to the last of them."""
    Order.objects.create(product=teapot, quantity=1)
    Order.objects.create(product=teapot, quantity=2)
    measured = REGISTRY.get_sample_value("shop_report_seconds_count") or 0
    answer = client.get("/report/")
    assert answer.streaming
    assert answer.getvalue() == b"product,quantity\nTeapot,1\nTeapot,2\n"
    assert REGISTRY.get_sample_value("shop_report_seconds_count") == measured + 1


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_the_stock_is_counted(asynchronous: bool, teapot: Product) -> None:
    """The async view answers in both kinds of server."""
    Order.objects.create(product=teapot, quantity=1)
    ask = async_to_sync(ask_for_stock) if asynchronous else Client().get("/stock/").json
    assert ask() == {"products": 1, "orders": 1}


async def ask_for_stock() -> object:
    """Ask on an event loop."""
    return (await AsyncClient().get("/stock/")).json()


def count_orders() -> float:
    """Return how many orders of teapots the shop has counted."""
    return REGISTRY.get_sample_value("shop_orders_total", {"product": "Teapot"}) or 0.0
