"""The metrics directory: its value files, written by workers and merged by the exporter."""
