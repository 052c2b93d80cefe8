"""python -m proof.matrix [--only WORD]     the failure matrix alone."""

import sys

from proof.matrix.runner import main

if __name__ == "__main__":
    sys.exit(main())
