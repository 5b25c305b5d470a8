"""What the shop sells, and to whom."""

from django.core.validators import MinValueValidator
from django.db import models

from metrics_commands.models import ExportModelOperationsMixin


class Product(ExportModelOperationsMixin("product"), models.Model):  # type: ignore[misc]
    """Something on the shelf."""

    name = models.CharField(max_length=100, unique=True)
    price = models.DecimalField(max_digits=8, decimal_places=2)

    def __str__(self) -> str:
        return self.name


class Order(ExportModelOperationsMixin("order"), models.Model):  # type: ignore[misc]
    """A customer's wish for one product."""

    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="orders")
    quantity = models.PositiveIntegerField(validators=[MinValueValidator(1)])
    placed_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.quantity} × {self.product}"
