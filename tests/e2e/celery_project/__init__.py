"""A project that uses Celery, as Celery's documentation lays one out."""

from .celery import app

__all__ = ["app"]
