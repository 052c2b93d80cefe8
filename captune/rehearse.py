"""`captune rehearse`: the whole workflow on this machine."""

from functools import wraps
from typing import Any

from rehearsal.conductor.options import Options, read
from stacks.configuration.settings import Settings


def check(options: Options, settings: Settings) -> tuple[str, list[str]]:
    """Why a run would reject the files in the options, with the fix, or ""; and else what a run makes of them, in sentences."""
    from captune.check.files import Given, faults_of, paragraphs

    named = options.input.get("columns")
    columns = named if isinstance(named, dict) else {}
    given = Given(options.corpus, options.held_out, options.outside, options.prompts, columns)
    faults, told = faults_of(given, settings)
    return ("\n".join(paragraphs(faults, given)) if faults else ""), told


@wraps(read)
def command(*arguments: Any, **options: Any) -> int:
    """Rehearses with the options of the command line."""
    given = read(*arguments, **options)
    # After the options: moto takes a second, which a wrong option need not wait for.
    from captune.fetch import keep
    from rehearsal.conductor.conductor import Conductor
    from rehearsal.conductor.display import Display

    return Conductor(given, Display(plain=given.plain), keep, check).run()
