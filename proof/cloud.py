"""The parts that a run, its tear-down and the sweeper share, what a run wishes, and a tally of what became of all."""

from __future__ import annotations

from dataclasses import dataclass, field

from common import ledger as ledger_module
from proof.audit import Audit
from proof.orchestration import PriceList, Scheduler, StepFunctions
from proof.table import Table
from proof.world import World

TABLE = "ledger"


@dataclass(frozen=True)
class Wishes:
    """What a run asks for and how unlucky it is (shares from 0 to 1)."""

    training_seconds: int
    deadline_seconds: int
    keep_seconds: int
    instance_types: tuple[str, ...]  # in order of preference
    failing: float
    hanging: float
    extreme: float


@dataclass
class Tally:
    """What became of the runs."""

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, what: str) -> None:
        """Counts one."""
        self.counts[what] = self.counts.get(what, 0) + 1


@dataclass
class Cloud:
    """The parts that a run, a tear-down and the sweeper share."""

    world: World
    table: Table
    audit: Audit
    price_list: PriceList
    scheduler: Scheduler
    step_functions: StepFunctions
    tally: Tally = field(default_factory=Tally)
    sweeping: bool = False
    greedy: bool = False

    def ledger(self) -> ledger_module.Ledger:
        """The real ledger over this table; between two attempts at a transaction others may go first."""
        return ledger_module.Ledger(self.table, TABLE, pause=lambda seconds: self.world.interleave("pause"))
