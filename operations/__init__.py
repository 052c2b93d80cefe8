"""Commands for the person who owns the deployment: see the ledger, refresh the prices, go on after the budget alarm."""

import sys
from pathlib import Path

# The Lambdas' own modules, imported as the Lambdas import them: `python -m operations` needs no PYTHONPATH.
_LAMBDAS = str(Path(__file__).resolve().parent.parent / "lambdas")
if _LAMBDAS not in sys.path:
    sys.path.insert(0, _LAMBDAS)
