"""The parts that a run, its tear-down and the sweeper share, and a tally of what became of all."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from common.ledger import ledger as ledger_module
from proof.simulation import outcomes
from proof.simulation.audit import Audit
from proof.simulation.aws.functions import invoke
from proof.simulation.aws.instances import Endpoint, Job
from proof.simulation.aws.orchestration import (
    MACHINE,
    TEAR_DOWN,
    PriceList,
    Scheduler,
    ServiceQuotas,
    StepFunctions,
    Storage,
    Topic,
)
from proof.simulation.aws.price_list import HOURLY_USD
from proof.simulation.aws.table import Table
from proof.simulation.wishes import Wishes
from proof.simulation.world import World

TABLE = "ledger"


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
    storage: Storage = field(default_factory=Storage)
    topic: Topic = field(default_factory=Topic)
    tally: Tally = field(default_factory=Tally)
    metrics: dict[str, Any] = field(default_factory=dict)
    # By execution: the settings that are deployed for it now, and by run the prices that AWS asked when it was planned.
    wishes: dict[str, Wishes] = field(default_factory=dict)
    usd: dict[str, dict[str, str]] = field(default_factory=dict)
    # Plans that are being made: what AWS asks does not change in the middle of one.
    planning: int = 0
    sweeping: bool = False
    greedy: bool = False

    def __post_init__(self) -> None:
        maker = self.world.sagemaker
        maker.make_job, maker.make_endpoint = self._job, self._endpoint

    def clients(self) -> dict[str, Any]:
        """The services by boto3's names."""
        return {
            "dynamodb": self.table,
            "sagemaker": self.world.sagemaker,
            "stepfunctions": self.step_functions,
            "scheduler": self.scheduler,
            "s3": self.storage,
            "sns": self.topic,
            "pricing": self.price_list,
            "service-quotas": ServiceQuotas(),
        }

    def function(self, name: str, event: dict[str, Any], wishes: Wishes | None = None, cap_cents: int = -1) -> Any:
        """What a Lambda answers. Raises Failure."""
        environment = {
            "LEDGER_TABLE": TABLE,
            "BUCKET_NAME": "bucket",
            "CAP_CENTS": str(cap_cents if cap_cents >= 0 else self.world.cap_cents),
            "FINE_TUNING_ARN": MACHINE,
            "TEAR_DOWN_ARN": TEAR_DOWN,
        }
        if wishes is not None:
            environment |= {"SETTINGS_JSON": wishes.settings(), "DEFINITION_VERSION": wishes.version()}
        return invoke(self, name, event, environment)

    def ledger(self) -> ledger_module.Ledger:
        """The real ledger over this table; between two attempts at a transaction others may go first."""
        return ledger_module.Ledger(self.table, TABLE, pause=lambda seconds: self.world.interleave("pause"))

    def note_prices(self, run: str) -> None:
        """Keeps what AWS asks today: the Price List where it answers, else this proof's own list, which is right then."""
        today = self.price_list.hourly_usd if self.price_list.answers else {}
        self.usd[run] = {**HOURLY_USD, "ml.unheard.of": "9.99", **today}

    def _hourly_usd(self, run: str, instance_type: str) -> Fraction:
        return Fraction(self.usd.get(run, HOURLY_USD)[instance_type])

    def _wished(self, run: str) -> Wishes:
        return self.wishes[self.world.owners[run]] if run in self.world.owners else next(iter(self.wishes.values()))

    def _job(self, name: str, run: str, asked: dict[str, Any]) -> Job:
        self._begun(run, asked)
        return outcomes.job(self.world, self._wished(run), self._hourly_usd, name, run, asked)

    def _endpoint(self, name: str, run: str, configuration: dict[str, Any]) -> Endpoint:
        self._begun(run, configuration)
        return outcomes.endpoint(self.world, self._wished(run), self._hourly_usd, name, run, configuration)

    def _begun(self, run: str, asked: dict[str, Any]) -> None:
        self.audit.started(run, self.world.actor or self.world.owners.get(run, ""), self.table)
