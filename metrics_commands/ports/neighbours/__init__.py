"""What else is configured to want a port: read from files and environment, never run."""
