"""What a customer sends."""

from django import forms


class OrderForm(forms.Form):
    """An order of the product that the URL names."""

    quantity = forms.IntegerField(min_value=1, max_value=1000)
