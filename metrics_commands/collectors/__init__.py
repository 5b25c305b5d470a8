"""What the exporter knows by itself, one file for each name, and ``collector`` for your own."""

from .declaration import collector

__all__ = ["collector"]
