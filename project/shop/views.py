"""One view of each kind that a Django project has."""

import asyncio
import time
from collections.abc import Iterator

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.response import TemplateResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from django.views.generic import ListView

from .forms import OrderForm
from .metrics import orders, refused_orders, report_seconds
from .models import Order, Product

LONGEST_DELAY = 5.0


class ProductList(ListView):  # type: ignore[type-arg]
    """List what there is."""

    queryset = Product.objects.order_by("name")
    template_name = "shop/index.html"


@require_safe
def show_product(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one product."""
    product = get_object_or_404(Product, pk=pk)
    return render(request, "shop/product.html", {"product": product, "form": OrderForm()})


@csrf_exempt
def place_order(request: HttpRequest, pk: int) -> HttpResponse:
    """Order a product; GET is refused, since it would change something."""
    if request.method != "POST":
        return HttpResponse("Send the order by POST.\n", status=405, headers={"Allow": "POST"})
    product = get_object_or_404(Product, pk=pk)
    with refused_orders.count_exceptions(Http404):
        form = OrderForm(request.POST)
        if not form.is_valid():
            raise Http404("An order has a quantity.")
    Order.objects.create(product=product, quantity=form.cleaned_data["quantity"])
    orders.labels(product.name).inc()
    return redirect("shop:product", pk=pk)


def slow(request: HttpRequest) -> HttpResponse:
    """Answer after ``?seconds=``, half a second if not given."""
    try:
        delay = float(request.GET.get("seconds", "0.5"))
    except ValueError:
        return HttpResponse("seconds is a number.\n", status=400)
    if not 0 <= delay <= LONGEST_DELAY:
        return HttpResponse(f"seconds is from 0 to {LONGEST_DELAY:g}.\n", status=400)
    time.sleep(delay)
    return HttpResponse("At last.\n")


def report(request: HttpRequest) -> StreamingHttpResponse:
    """Stream all orders as text."""
    return StreamingHttpResponse(write_report(), content_type="text/csv")


def write_report() -> Iterator[str]:
    """Yield a line per order, timed from the first to the last."""
    with report_seconds.time():
        yield "product,quantity\n"
        for name, quantity in Order.objects.values_list("product__name", "quantity").iterator():
            yield f"{name},{quantity}\n"


def broken(request: HttpRequest) -> HttpResponse:
    """Fail, as views do."""
    raise RuntimeError("This view always fails.")


async def stock(request: HttpRequest) -> JsonResponse:
    """Count products and orders without holding a thread."""
    await asyncio.sleep(0)
    counts = {"products": await Product.objects.acount(), "orders": await Order.objects.acount()}
    return JsonResponse(counts)


def about(request: HttpRequest) -> TemplateResponse:
    """Answer by a template that middleware may still change."""
    return TemplateResponse(request, "shop/about.html")
