"""Routes of the shop."""

from django.urls import path

from . import views

app_name = "shop"
urlpatterns = [
    path("", views.ProductList.as_view(), name="index"),
    path("products/<int:pk>/", views.show_product, name="product"),
    path("products/<int:pk>/order/", views.place_order, name="order"),
    path("slow/", views.slow, name="slow"),
    path("report/", views.report, name="report"),
    path("broken/", views.broken, name="broken"),
    path("stock/", views.stock, name="stock"),
    path("about/", views.about, name="about"),
]
