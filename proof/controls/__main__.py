"""python -m proof.controls [--only WORD]     the negative controls alone."""

import sys

from proof.controls.runner import main

if __name__ == "__main__":
    sys.exit(main())
