"""Evidence that the verdict can be believed: null experiments must not pass, and the real effect must, for several seeds."""

from __future__ import annotations

import sys
from pathlib import Path

# The Lambdas' code is not a package: each folder of lambdas/ is imported by its own name, as in a deployed function.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lambdas"))
