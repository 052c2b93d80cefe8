"""Lambda: each function in warm processes of its own."""
