"""python -m rehearsal [options]     the whole path on this machine; --help lists the options."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from .conductor.options import parse

# From wherever it is called, it is this checkout that is rehearsed; the results go where the person stands.
PROJECT = Path(__file__).resolve().parent.parent


def main(arguments: list[str] | None = None, prog: str = "python -m rehearsal") -> int:
    """Rehearse with the options of the command line."""
    options = replace(parse(arguments, prog), project=PROJECT)
    from .conductor.conductor import Conductor  # after the options: moto takes a second, which --help need not wait
    from .conductor.display import Display

    return Conductor(options, Display(plain=options.plain)).run()


if __name__ == "__main__":
    sys.exit(main())
