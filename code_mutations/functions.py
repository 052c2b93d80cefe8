"""What mutmut finds: mutants of the code inside functions and methods, each against the tests that reach its function."""

from __future__ import annotations

import json
import re
import sys
from fnmatch import fnmatch

from code_mutations.mutant import KILLED, SURVIVED, Mutant, lines_of
from code_mutations.workplace import Workplace

# Exit codes of pytest, and of a test that ran out of processor time and was ended (mutmut.stats.status_by_exit_code).
_FAILED = {1, 3}
_TIMED_OUT = {36, -24, 24, 152, 255, -9}
_SAMPLE = "*__mutmut_*[147]"
_NAME = re.compile(r"(?P<module>.+)\.x(?:_|ǁ(?P<class>.+)ǁ)(?P<function>.+?)__mutmut_\d+$")


def mutants(place: Workplace, sample: bool = False) -> list[Mutant]:
    """Makes and tries every mutant of a part: of functions that changed since the last time, and what survived then.

    With `sample`, three in ten of them: those whose numbers end in 1, 4 or 7. Raises CannotMutate.
    """
    survived = {name for name, code in _exit_codes(place).items() if code is not None and not _is_killed(code)}
    place.run("mutmut", "run", "--max-children", "1", *([_SAMPLE] if sample else []))
    codes = _exit_codes(place)
    alive = [name for name, code in codes.items() if name in survived and not _is_killed(code)]
    if alive and not sample:
        place.run("mutmut", "run", "--max-children", "1", *alive)
        codes = _exit_codes(place)
    codes = {name: code for name, code in codes.items() if not sample or fnmatch(name, _SAMPLE)}
    survivors = [name for name, code in codes.items() if not _is_killed(code)]
    changes = json.loads(place.run("code_mutations.functions", *survivors).stdout) if survivors else {}
    found = []
    for name in codes:
        before, after = changes.get(name, ("", ""))
        found.append(Mutant(_place(name), before, after, SURVIVED if name in changes else KILLED))
    return found


def _exit_codes(place: Workplace) -> dict[str, int | None]:
    """The exit code of the tests for each mutant."""
    codes: dict[str, int | None] = {}
    for name in place.part.source_files():
        notes = place.folder / "mutants" / "src" / f"{name}.meta"
        if notes.is_file():
            codes |= json.loads(notes.read_text("utf-8"))["exit_code_by_key"]
    return codes


def _is_killed(code: int | None) -> bool:
    return code in _FAILED or code in _TIMED_OUT


def _place(name: str) -> str:
    """`common.ledger.xǁLedgerǁreserve__mutmut_7` as `common/ledger.py Ledger.reserve`."""
    match = _NAME.fullmatch(name)
    assert match is not None, name
    function = f"{match['class']}.{match['function']}" if match["class"] else match["function"]
    return f"{match['module'].replace('.', '/')}.py {function}"


def _print_changes(names: list[str]) -> None:
    """Runs inside the workplace, where mutmut can be imported: prints the lines before and after of some mutants as JSON."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    diffs = {name: get_diff_for_mutant(name).splitlines() for name in names}
    print(json.dumps({name: (lines_of(diff, "-"), lines_of(diff, "+")) for name, diff in diffs.items()}))


if __name__ == "__main__":
    _print_changes(sys.argv[1:])
