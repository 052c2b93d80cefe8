"""captune rehearse [options]     the whole path on this machine; --help lists the options."""

from __future__ import annotations

from rehearsal.conductor.options import parse


def main(arguments: list[str] | None = None, prog: str = "captune rehearse") -> int:
    """Rehearse with the options of the command line."""
    options = parse(arguments, prog)
    # After the options: moto takes a second, which --help need not wait for.
    from captune.fetch import keep
    from rehearsal.conductor.conductor import Conductor
    from rehearsal.conductor.display import Display

    return Conductor(options, Display(plain=options.plain), keep).run()
