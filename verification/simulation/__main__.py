"""`captune dev prove-cap`: proves that the cap holds, and prints one table."""

import gc
import os
import re
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from typing import Annotated

import typer

from captune.flags import Out
from rehearsal.conductor.options import one_of
from verification.simulation import Result, controls, months, outages, rows
from verification.simulation.world import recorded_log

MONTHS = 4_000


# In the order in which they are printed.
PARTS: dict[str, Callable[[Executor, int, int], Result]] = {
    "rows": lambda pool, *_: rows.prove(pool),
    "months": lambda pool, number, seed: months.prove(pool, number, seed),
    "outages": lambda pool, *_: outages.prove(pool),
    "controls": lambda pool, *_: controls.prove(pool),
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
        f"there is nothing to replay of the name {name!r}: a row as 'CreateModel x throttled', 'month 4711' or 'outage ledger/7200/10'"
    )


def command(
    only: Annotated[list[str] | None, typer.Option(metavar="PART", parser=one_of(PARTS), help=f"Run only this part: {', '.join(PARTS)}; may be repeated.")] = None,
    number: Annotated[int, typer.Option("--months", min=1, metavar="N", help="Simulate N random months.")] = MONTHS,
    seed: Annotated[int, typer.Option(metavar="N", help="Begin the months with seed N.")] = 1,
    processes: Annotated[int, typer.Option(min=1, metavar="N", help="Use N processes (default: one for each core).", show_default=False)] = os.cpu_count() or 2,
    again: Annotated[str, typer.Option("--replay", metavar="NAME", help="Replay one row, month or outage, and print its log.", show_default=False)] = "",
    out: Out = None,
) -> int:  # fmt: skip
    """Runs the parts; 1 when any promise was broken or a control was missed.

    The parts are the table of failures, random months, outages, and control experiments with planted faults.

    `captune dev prove-cap --replay "CreateModel x throttled"` replays one row state by state, with the clock and the ledger;
    `--replay "month 4711"` replays a month by the seed that a failure printed.
    """
    if again:
        return _replayed(again)
    broken: list[str] = []
    printed: list[str] = []
    begun = time.monotonic()
    # What is made in a process lives for a month or a row, so looking for circles of it seldom is enough.
    with ProcessPoolExecutor(processes, initializer=gc.set_threshold, initargs=(100_000, 50, 100)) as pool:
        for name, part in PARTS.items():
            if only and name not in only:
                continue
            begin = time.monotonic()
            result = part(pool, number, seed)
            broken += result.broken
            printed.append(f"{result.text()}\n  ({time.monotonic() - begin:.0f} s)\n")
            print(printed[-1], flush=True)
    printed.append("BROKEN: the cap does not hold." if broken else "The cap holds.")
    if names := [words.partition(":")[0] for words in broken if not words.startswith("nothing noticed")]:
        printed.append(f'To see how: captune dev prove-cap --replay "{names[0]}"')
    printed.append(f"({time.monotonic() - begun:.0f} s in all, on {processes} processes)")
    print("\n".join(printed[-3 if names else -2 :]))
    if out:
        out.write_text("```text\n" + "\n".join(printed) + "\n```\n", "utf-8")
    return 1 if broken else 0


def _replayed(name: str) -> int:
    try:
        log, wrong = replay(name)
    except LookupError as error:
        raise typer.BadParameter(str(error.args[0])) from None
    print("\n".join(log))
    print("\n".join(f"BROKEN  {words}" for words in wrong) or "Everything that was promised held.")
    return 1 if wrong else 0
