"""Dashboards for Grafana and rules for Prometheus, and the code that writes them.

``python -m metrics_commands.monitoring`` writes ``dashboards/*.json`` and ``rules/*.yml`` anew.
These are what is installed; the code stays in the repository.
"""
