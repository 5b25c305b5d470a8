"""What a person sees without Prometheus: the last minutes, in memory, as a page or as JSON."""
