"""What the exporter knows by itself: one file is one collector with one name."""
