"""Benchmarks: each prints a ratio against a peer, both measured side by side in one run."""
