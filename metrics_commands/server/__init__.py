"""Bytes over HTTP: routes, limits, and an orderly end. It knows no setting and no collector."""
