"""Which address and port, is it free, and who holds it."""
