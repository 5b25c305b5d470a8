"""What runs in the workers: count, and never get in the way."""
