"""Routes of the project that ships."""

from django.urls import include, path

urlpatterns = [
    path("", include("project.shop.urls")),
    path("", include("metrics_commands.urls")),
]
