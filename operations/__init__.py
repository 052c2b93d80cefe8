"""Commands for the person who owns the deployment: see the ledger, refresh the prices, go on after the budget alarm."""
