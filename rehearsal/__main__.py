"""python -m rehearsal [options]     the whole path on this machine; --help lists the options."""

from __future__ import annotations

import sys

from .conductor.options import parse


def main(arguments: list[str] | None = None, prog: str = "python -m rehearsal") -> int:
    """Rehearse with the options of the command line."""
    options = parse(arguments, prog)
    from .conductor.conductor import Conductor  # after the options: moto takes a second, which --help need not wait
    from .conductor.display import Display

    return Conductor(options, Display(plain=options.plain)).run()


if __name__ == "__main__":
    sys.exit(main())
