"""The proof of the cap: the real ledger, money and billing code driven through months of trouble, and each defence removed once."""
