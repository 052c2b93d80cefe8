"""What mutmut finds: mutants of the code inside functions and methods, each against the tests that reach its function."""

from __future__ import annotations

import json
import re
import sys
from fnmatch import fnmatch
from pathlib import Path

from code_mutations.mutant import KILLED, SURVIVED, Mutant, lines_of
from code_mutations.workplace import Workplace

# Exit codes of pytest, and of a test that ran out of processor time and was ended (mutmut.stats.status_by_exit_code).
_FAILED = {1, 3}
_TIMED_OUT = {36, -24, 24, 152, 255, -9}
_SAMPLE = "*__mutmut_*[147]"
_GENERATE = "--generate"
_SKIPPED = 34
_NAME = re.compile(r"(?P<module>.+)\.x(?:_|ǁ(?P<class>.+)ǁ)(?P<function>.+?)__mutmut_\d+$")


def mutants(place: Workplace, sample: bool = False) -> list[Mutant]:
    """Makes and tries every mutant of a part: of functions that changed since the last time, and what survived then.

    With `sample`, three in ten of them: those whose numbers end in 1, 4 or 7. Raises CannotMutate.
    """
    place.run("code_mutations.functions", _GENERATE)
    _choose(place, sample)
    place.run("mutmut", "run", "--max-children", "1")
    codes = _exit_codes(place)
    codes = {name: code for name, code in codes.items() if not sample or fnmatch(name, _SAMPLE)}
    survivors = [name for name, code in codes.items() if not _is_killed(code)]
    changes = json.loads(place.run("code_mutations.functions", *survivors).stdout) if survivors else {}
    found = []
    for name in codes:
        before, after = changes.get(name, ("", ""))
        found.append(Mutant(_place(name), before, after, SURVIVED if name in changes else KILLED))
    return found


def _choose(place: Workplace, sample: bool) -> None:
    """Makes mutmut try again what survived, and with `sample` pass over what is not in it."""
    for notes in _notes(place):
        kept = json.loads(notes.read_text("utf-8"))
        for name, code in kept["exit_code_by_key"].items():
            if not _is_killed(code):
                kept["exit_code_by_key"][name] = _SKIPPED if sample and not fnmatch(name, _SAMPLE) else None
        notes.write_text(json.dumps(kept), "utf-8")


def _notes(place: Workplace) -> list[Path]:
    """mutmut's notes on each file that has mutants."""
    files = [place.folder / "mutants" / "src" / f"{name}.meta" for name in place.part.source_files()]
    return [file for file in files if file.is_file()]


def _exit_codes(place: Workplace) -> dict[str, int | None]:
    """The exit code of the tests for each mutant."""
    codes: dict[str, int | None] = {}
    for notes in _notes(place):
        codes |= json.loads(notes.read_text("utf-8"))["exit_code_by_key"]
    return codes


def _is_killed(code: int | None) -> bool:
    return code in _FAILED or code in _TIMED_OUT


def _place(name: str) -> str:
    """`common.ledger.ledger.xǁLedgerǁreserve__mutmut_7` as `common/ledger/ledger.py Ledger.reserve`."""
    match = _NAME.fullmatch(name)
    assert match is not None, name
    function = f"{match['class']}.{match['function']}" if match["class"] else match["function"]
    return f"{match['module'].replace('.', '/')}.py {function}"


def _generate() -> None:
    """Runs inside the workplace: writes the mutants of files that changed, as `mutmut run` does before it tries any."""
    from mutmut import __main__ as mutmut

    Path("mutants").mkdir(exist_ok=True)
    mutmut.copy_src_dir()
    mutmut.copy_also_copy_files()
    mutmut.create_mutants(1)


def _print_changes(names: list[str]) -> None:
    """Runs inside the workplace, where mutmut can be imported: prints the lines before and after of some mutants as JSON."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    diffs = {name: get_diff_for_mutant(name).splitlines() for name in names}
    print(json.dumps({name: (lines_of(diff, "-"), lines_of(diff, "+")) for name, diff in diffs.items()}))


if __name__ == "__main__":
    _generate() if sys.argv[1:] == [_GENERATE] else _print_changes(sys.argv[1:])
