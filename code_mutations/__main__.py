"""Plant small faults in the code that holds money, and see the unit tests notice them (make mutate-python).

python -m code_mutations                          all seven parts: half an hour on one core
python -m code_mutations ledger sweeper           these parts only
python -m code_mutations settle --again           only what changed or survived, after tests were added
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from code_mutations import functions, outside, reasons, table
from code_mutations.found import Found, keep, last
from code_mutations.parts import PARTS
from code_mutations.workplace import CannotMutate, prepare

_EXIT_CODES = (
    "exit codes: 0 every part has enough mutants killed, every survivor a reason and every reason a survivor; "
    "1 one of them has not; 2 the command line is wrong; 3 the tool could not run"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the parts, print the table and return the exit code."""
    given = _parse(arguments)
    found: dict[str, Found] = {}
    try:
        for name in given.parts or PARTS:
            found[name] = last(name) if given.last else _measure(name, given.again, given.sample)
    except CannotMutate as error:
        _say(str(error))
        return 3
    known = reasons.read(reasons.FILE.read_text("utf-8"))
    judgement = reasons.judge(
        [mutant for one in found.values() for mutant in one.mutants],
        known,
        [file for name in found for file in PARTS[name].source_files()],
        [file for name, one in found.items() if one.is_sample for file in PARTS[name].source_files()],
    )
    printed = table.text(found, known, judgement)
    print(printed)
    if given.write is not None:
        given.write.write_text(f"```text\n{printed}\n```\n", encoding="utf-8")
    enough = all(table.share(one.mutants) >= table.ENOUGH for one in found.values())
    return 0 if enough and judgement.holds else 1


def _measure(name: str, again: bool, sample: bool) -> Found:
    started = time.monotonic()
    place = prepare(PARTS[name], again)
    found = Found(functions.mutants(place, sample) + outside.mutants(place, sample), sample)
    keep(name, found)
    seconds = time.monotonic() - started
    _say(f"{name}: {table.share(found.mutants):.1%} of {len(found.mutants)} killed in {seconds:.0f} s")
    return found


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m code_mutations",
        description=__doc__,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="part", help=f"{', '.join(PARTS)} (default: all)")
    parser.add_argument(
        "--again", action="store_true", help="try only functions that changed since, and what survived the last time"
    )
    parser.add_argument("--sample", action="store_true", help="about a third of the mutants, for a first look")
    parser.add_argument("--last", action="store_true", help="try nothing, and tell what was found the last time")
    parser.add_argument("--write", type=Path, metavar="FILE", help="keep the table")
    given = parser.parse_args(arguments)
    unknown = [part for part in given.parts if part not in PARTS]
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if given.write is not None and given.parts:
        parser.error("--write keeps the table of all parts")
    return given


def _say(line: str) -> None:
    print(f"mutations: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
