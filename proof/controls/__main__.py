"""python -m proof.controls [--only WORD]     the negative controls alone."""

import sys

from proof.controls.runner import main
from proof.matrix import controls

assert controls  # imported for what it registers

if __name__ == "__main__":
    sys.exit(main())
