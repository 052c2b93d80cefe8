"""python -m verification.simulation: see prove.py."""

import sys

from verification.simulation.prove import main

if __name__ == "__main__":
    sys.exit(main())
