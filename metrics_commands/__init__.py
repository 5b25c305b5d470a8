"""Metrics of a Django deployment, served by one dedicated process."""

__version__ = "0.1.0"
