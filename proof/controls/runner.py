"""Negative controls: one line of defence is taken away at a time, and something has to notice. A check that never failed proves nothing.

Nothing is edited: a mutation replaces an attribute for as long as it is checked. Each proof registers its own (see registry.py):
those of what is deployed are there only where proof.matrix.controls was imported, as the commands do and the small tests do not.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor

from proof.choice import expect_a_name, positive
from proof.controls import ledger_scenarios, scenarios, trials
from proof.controls import of_code as of_code
from proof.controls import of_world as of_world
from proof.controls.registry import MUTATIONS, Broken, Mutation, Verdict
from proof.result import Result


def check(mutation: Mutation) -> Verdict:
    """Runs one mutation."""
    with mutation.removed():
        broken = mutation.caught()
    return Verdict(mutation.name, bool(broken), broken[0] if broken else "nothing noticed")


def check_number(number: int) -> Verdict:
    """Runs one mutation of the registry, by its place: mutations do not travel between processes."""
    return check(MUTATIONS[number])


def run(word: str = "", processes: int = 2) -> list[Verdict]:
    """Runs every mutation whose name contains a word."""
    numbers = [number for number, mutation in enumerate(MUTATIONS) if word in mutation.name]
    if processes == 1:
        return [check_number(number) for number in numbers]
    with ProcessPoolExecutor(processes) as pool:
        return list(pool.map(check_number, numbers))


def stories() -> Broken:
    """All scenarios together."""
    return [
        *ledger_scenarios.four_dollars_left(),
        *ledger_scenarios.collision(),
        *ledger_scenarios.room_for_one(),
        *ledger_scenarios.room_for_none(),
        *ledger_scenarios.settled_by_two(),
        *ledger_scenarios.one_name_in_two_months(),
        *ledger_scenarios.repeated_after_a_lost_answer(),
        *ledger_scenarios.two_prices(),
        *scenarios.prompt_removal(),
        *scenarios.created_after_the_abort(),
        *scenarios.settled_too_early(),
        *scenarios.last_moment_deadline(),
        *scenarios.kept_once(),
        *scenarios.two_machines(),
        *scenarios.deleted_by_hand(),
        *trials.nothing_but_the_schedule(),
        *trials.nothing_but_the_sweeper(),
        *trials.an_odd_item_and_the_sweeper(),
        *trials.told_too_early(),
        *trials.billed_after_the_settlement(),
    ]


def prove(processes: int = 2, word: str = "") -> Result:
    """The negative controls as a part of the table, and that nothing is broken while everything is in its place."""
    verdicts = run(word, processes)
    missed = [f"nothing noticed that this was taken away: {v.name}" for v in verdicts if not v.noticed]
    lines = [("mutations caught", f"{len(verdicts) - len(missed)}/{len(verdicts)}")]
    lines += [(f"  {v.name}", v.words[:100]) for v in verdicts]
    return Result(
        "Negative controls", lines, [*missed, *(f"with every defence in its place: {words}" for words in stories())]
    )


def main() -> int:
    """Prints what each mutation broke; 1 when one was not noticed, or when something is broken without any."""
    parser = argparse.ArgumentParser(
        prog="python -m proof.controls", description="Removes one line of defence at a time."
    )
    parser.add_argument("--only", default="", help="a word in the names of those to check")
    parser.add_argument("--processes", type=positive, default=2)
    asked = parser.parse_args()
    expect_a_name(parser, "control", [mutation.name for mutation in MUTATIONS], asked.only)
    result = prove(asked.processes, asked.only)
    print(result.text())
    return 1 if result.broken else 0
