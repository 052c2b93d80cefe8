"""Proves that the cap holds, and prints one table.

captune prove-cap                                      everything: the table of failures, 4,000 months, outages, control experiments with planted faults
captune prove-cap --only rows --only outages           some of its parts
captune prove-cap --replay "CreateModel x refused"     one row, told state by state with the clock and the ledger
captune prove-cap --replay "month 4711"                the same of a month, by the seed that a failure printed
"""

import argparse
import gc
import os
import re
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

from verification.simulation import Result, controls, months, outages, rows
from verification.simulation.world import recorded_log

MONTHS = 4_000


# In the order in which they are printed.
PARTS: dict[str, Callable[[argparse.Namespace, Executor], Result]] = {
    "rows": lambda asked, pool: rows.prove(pool),
    "months": lambda asked, pool: months.prove(pool, asked.months, asked.seed),
    "outages": lambda asked, pool: outages.prove(pool),
    "controls": lambda asked, pool: controls.prove(pool),
}


def replay(name: str) -> tuple[list[str], list[str]]:
    """Plays something again by its name: its log, line by line, and what was wrong. Raises LookupError for an unknown name."""
    with recorded_log() as log:
        wrong = _again(name)
    return [f"{moment:%Y-%m-%d %H:%M:%S}  {words}" for moment, words in log], wrong


def _again(name: str) -> list[str]:
    if name in rows.table():
        return rows.check(rows.table()[name])
    kind, _, what = name.partition(" ")
    what = what.partition(" (")[0]
    if kind == "month" and what.isdigit():
        return months.simulate(int(what)).wrong
    if kind == "outage" and re.fullmatch(r"[\w +']+/\d+/\d+", what):
        service, seconds, seed = what.split("/")
        outcome = outages.trial(service, int(seconds), int(seed))
        return outages.broken(service, int(seconds), outcome)
    raise LookupError(
        f"there is nothing to replay of the name {name!r}: a row as 'CreateModel x refused', 'month 4711' or 'outage ledger/7200/10'"
    )


def main(arguments: list[str] | None = None, prog: str = "python -m verification.simulation") -> int:
    """Runs the parts; 1 when any promise was broken or a control was missed."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--months", type=_positive, default=MONTHS, help=f"random months (default {MONTHS})")
    parser.add_argument("--seed", type=int, default=1, help="of the first month (default 1)")
    parser.add_argument("--processes", type=_positive, default=os.cpu_count() or 2)
    parser.add_argument("--only", action="append", choices=list(PARTS), help="a part")
    parser.add_argument("--replay", metavar="NAME", help="play one thing again, and print its log")
    parser.add_argument("--write", type=Path, metavar="FILE", help="keep what is printed, as Markdown")
    asked = parser.parse_args(arguments)
    if asked.replay:
        return _replayed(parser, asked.replay)
    broken: list[str] = []
    printed: list[str] = []
    begun = time.monotonic()
    # What is made in a process lives for a month or a row, so looking for circles of it seldom is enough.
    with ProcessPoolExecutor(asked.processes, initializer=gc.set_threshold, initargs=(100_000, 50, 100)) as pool:
        for name, part in PARTS.items():
            if asked.only and name not in asked.only:
                continue
            begin = time.monotonic()
            result = part(asked, pool)
            broken += result.broken
            printed.append(f"{result.text()}\n  ({time.monotonic() - begin:.0f} s)\n")
            print(printed[-1], flush=True)
    printed.append("BROKEN: the cap does not hold." if broken else "The cap holds.")
    if names := [words.partition(":")[0] for words in broken if not words.startswith("nothing noticed")]:
        printed.append(f'To see how: {prog} --replay "{names[0]}"')
    printed.append(f"({time.monotonic() - begun:.0f} s in all, on {asked.processes} processes)")
    print("\n".join(printed[-3 if names else -2 :]))
    if asked.write:
        asked.write.write_text("```text\n" + "\n".join(printed) + "\n```\n", "utf-8")
    return 1 if broken else 0


def _replayed(parser: argparse.ArgumentParser, name: str) -> int:
    try:
        log, wrong = replay(name)
    except LookupError as error:
        parser.error(str(error))
    print("\n".join(log))
    print("\n".join(f"BROKEN  {words}" for words in wrong) or "Everything that was promised held.")
    return 1 if wrong else 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
