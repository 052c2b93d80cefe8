"""Training again with further seeds, after the first one's adapter is saved: how much of the result hangs on the seed."""
