"""The ledger that holds the cap: its rows, what changes them, and the table that they lie in."""
