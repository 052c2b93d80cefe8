"""Real threads against one ledger: who reserves, runs, settles and repeats at the same time, with the real ledger and money code."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from common.errors import BudgetExceeded, ServiceUnreachable
from common.ledger import keys
from common.ledger import ledger as ledger_module
from common.pricing.prices import pinned
from preflight import money
from verification.simulation.ledger_stories import reservation
from verification.simulation.services.dynamodb import Change, Table
from verification.simulation.trial import Result
from verification.simulation.world import CONFLICT, LOST_ANSWER, NOON, THROTTLED

T = TypeVar("T")
MONTH = "2026-11"
# Low, so that the threads press against it.
CAP_CENTS = 1000


@dataclass
class Race:
    """What came of it. `wrong` holds every broken promise."""

    reserved: int = 0
    refused: int = 0
    settled: int = 0
    highest_cents: int = 0
    wrong: list[str] = field(default_factory=list)


def prove(seed: int = 1, races: int = 8) -> Result:
    """The threads as a part of the table."""
    outcomes = [race(number) for number in range(seed, seed + races)]
    lines = [
        ("races of 8 threads", f"{races}"),
        ("reserved, refused, settled", ", ".join(str(sum(getattr(o, w) for o in outcomes)) for w in ("reserved", "refused", "settled"))),
        ("highest commitment", f"{max(o.highest_cents for o in outcomes)} cents under a cap of {CAP_CENTS}"),
    ]  # fmt: skip
    return Result("Real threads on one ledger", lines, [words for o in outcomes for words in o.wrong])


def race(seed: int, threads: int = 8, runs_each: int = 12, cap_cents: int = CAP_CENTS) -> Race:
    """Lets threads make runs until each has made its share; every run is settled twice, from two threads at once."""
    outcome, lock, dice = Race(), threading.Lock(), random.Random(seed)
    dice_lock = threading.Lock()

    def trouble(operation: str) -> str | None:
        with dice_lock:
            return dice.choice([CONFLICT, THROTTLED, LOST_ANSWER]) if dice.random() < 0.1 else None

    def pause(operation: str) -> None:
        with dice_lock:
            seconds = dice.choice([0, 0, 0.0002, 0.001])
        time.sleep(seconds)

    def observe(changes: list[Change]) -> None:
        for key, before, after in changes:
            if keys.month_in(key):
                # Added up from the runs: a month that lost one of them would say less.
                committed = max(int(after["committed_cents"]["N"]), _together(table))
                outcome.highest_cents = max(outcome.highest_cents, committed)
                if committed > cap_cents:
                    outcome.wrong.append(f"{committed} cents were committed under a cap of {cap_cents}")
            elif before is not None and before["state"]["S"] == "settled":
                outcome.wrong.append(f"{key} was settled twice")

    table = Table(trouble, pause, observe)

    def work(number: int) -> None:
        ledger = ledger_module.Ledger(table, "ledger", pause=lambda seconds: time.sleep(seconds / 1000))
        for turn in range(runs_each):
            what = _one_run(ledger, f"captune-{number}-{turn}", cap_cents)
            with lock:
                outcome.reserved += what == "reserved"
                outcome.refused += what == "refused"

    with ThreadPoolExecutor(threads) as pool:
        workers = [pool.submit(work, number) for number in range(threads)]
    for number, worker in enumerate(workers):
        if error := worker.exception():
            outcome.wrong.append(f"thread {number} died: {type(error).__name__}: {error}")
    states = {key: row["state"]["S"] for key, row in table.rows.items() if keys.run_in(key)}
    outcome.settled = sum(state == "settled" for state in states.values())
    outcome.wrong += [f"{key} is {state} at the end" for key, state in states.items() if state != "settled"]
    together = _together(table)
    month = table.rows.get(keys.of_month(MONTH))
    told = int(month["committed_cents"]["N"]) if month else 0
    if told != together:
        outcome.wrong.append(f"the month says {told} cents and its runs add up to {together}")
    if outcome.settled != outcome.reserved:
        outcome.wrong.append(f"{outcome.reserved} runs were reserved and {outcome.settled} settled")
    return outcome


def _together(table: Table) -> int:
    """What the runs hold, in cents."""
    rows = [row for key, row in table.rows.items() if keys.run_in(key)]
    return sum(int(row.get("actual_cents", row["reserved_cents"])["N"]) for row in rows)


def _one_run(ledger: ledger_module.Ledger, run: str, cap_cents: int) -> str:
    price = pinned("us-east-1", "ml.g5.2xlarge", "Training")
    try:
        allowance = _patiently(lambda: money.allow(ledger, cap_cents, price, price, 7200, 3600, 0, NOON))
        asked = reservation(run.removeprefix("captune-"), allowance.worst.cents, MONTH)
        _patiently(lambda: ledger.reserve(asked, cap_cents, NOON))
    except BudgetExceeded:
        return "refused"
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(_patiently, lambda: ledger.settle(run, {MONTH: 5}, {}, NOON))
        _patiently(lambda: ledger.settle(run, {MONTH: 5}, {}, NOON))
    # Raises what the second one died of.
    second.result()
    return "reserved"


def _patiently(call: Callable[[], T]) -> T:
    for _ in range(50):
        try:
            return call()
        except ServiceUnreachable:
            time.sleep(0.0005)
    raise RuntimeError("the ledger was never reached")
