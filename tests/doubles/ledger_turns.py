"""What the tests of the ledger share: reservations under a small cap, and runs that take their turn at the same moment."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

from common.errors import BudgetExceeded
from common.ledger.ledger import Ledger, Reservation

NOW = datetime(2026, 11, 24, 18, tzinfo=UTC)
CAP = 2500


def reservation(run: str, cents: int, *months: str, arn: str = "") -> Reservation:
    """A run's reservation, in November 2026 unless other months are named."""
    return Reservation(f"captune-{run}", arn or f"arn:{run}", cents, months or ("2026-11",), {"execution_name": run})


def take_at_once(ledger: Ledger, cents: int, runs: list[str]) -> list[str]:
    """Lets threads reserve the same amount at the same moment, and tells what became of each."""
    outcomes: list[str] = []
    begin = threading.Barrier(len(runs))

    def take(run: str) -> None:
        begin.wait()
        try:
            ledger.reserve(reservation(run, cents), CAP, NOW)
            outcomes.append("reserved")
        except BudgetExceeded:
            outcomes.append("refused")

    takers = [threading.Thread(target=take, args=(run,)) for run in runs]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join()
    return sorted(outcomes)
