"""What ``manage.py test`` runs: the shop as Django itself tests it."""

from django.test import TestCase


class ShopTests(TestCase):
    """The pages of an empty shop."""

    def test_the_list_says_that_it_is_empty(self) -> None:
        """A customer sees a page, and not an error."""
        self.assertContains(self.client.get("/"), "Nothing on the shelf.")
