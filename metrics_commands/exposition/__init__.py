"""From families to the bytes that Prometheus reads."""
