"""What the Lambdas of a run's end reach: one run torn down pass by pass, and everything of the project under a sweep."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from common.contracts.tear_down import Removed, Seen, TearDownEvent
from sweeper.leftovers import Sweep
from teardown.removal import Removal
from tests.doubles.lambda_fakes import MACHINE, NOW, TEAR_DOWN, SageMaker, StepFunctions, arn
from tests.doubles.ledger_fakes import FakeLedger

EVENT: TearDownEvent = {"executionArn": arn("abc"), "executionName": "abc", "status": "FAILED", "reason": "event"}
SCHEDULE: TearDownEvent = {**EVENT, "status": "UNKNOWN", "reason": "schedule"}
RUNNING = {"status": "RUNNING"}


def ended(moment: Any = NOW - timedelta(hours=1), status: str = "FAILED") -> dict[str, Any]:
    """An execution that ended."""
    return {"status": status, "stopDate": moment}


class Services:
    """What the Lambdas of a run's end reach: SageMaker, Step Functions and the ledger."""

    def __init__(self, ledger: FakeLedger, executions: dict[str, Any], **resources: Any) -> None:
        self.ledger = ledger
        self.sagemaker = SageMaker(**resources)
        self.step_functions = StepFunctions({arn(name): dict(kept) for name, kept in executions.items()})

    def deploy(self, monkeypatch: pytest.MonkeyPatch, handler: Any, client: str, **variables: str) -> None:
        """Lets the handler of a Lambda reach this account by the function that makes its clients."""
        services = {"sagemaker": self.sagemaker, "stepfunctions": self.step_functions, "dynamodb": self.ledger.table}
        monkeypatch.setattr(handler, client, services.__getitem__)
        monkeypatch.setattr(handler, "now", lambda: NOW)
        names = {"LEDGER_TABLE": "ledger", "FINE_TUNING_ARN": MACHINE, "TEAR_DOWN_ARN": TEAR_DOWN}
        for name, value in {**names, **variables}.items():
            monkeypatch.setenv(name, value)


class TornDownSite(Services):
    """One run's surroundings, torn down pass by pass. The state machine carries `seen` from pass to pass."""

    def __init__(
        self, ledger: FakeLedger | None = None, execution: str = "FAILED", run: str = "captune-abc", **resources: Any
    ) -> None:
        super().__init__(ledger or FakeLedger().with_run("abc"), {"abc": {"status": execution}}, **resources)
        self.run = run
        self.seen: Seen = {}

    def tear_down(self, event: Any = None, after: timedelta = timedelta(0)) -> Removed:
        removal = Removal(self.run, self.sagemaker, self.step_functions, self.ledger, MACHINE, lambda: NOW + after)
        outcome = removal.one_pass({**(EVENT if event is None else event), "seen": self.seen})
        self.seen = outcome["seen"]
        return outcome

    @property
    def changes(self) -> list[str]:
        """The calls to SageMaker that stop or delete something."""
        return [name for name, _ in self.sagemaker.calls if name.startswith(("stop_", "delete_"))]

    @property
    def item(self) -> Any:
        return self.ledger.run(self.run) or {}


class SweptSite(Services):
    """Everything of the project at one moment."""

    def __init__(
        self, ledger: FakeLedger | None = None, executions: dict[str, Any] | None = None, **resources: Any
    ) -> None:
        super().__init__(ledger or FakeLedger(), executions or {}, **resources)

    def sweep(self, now: Any = NOW) -> Sweep:
        """A sweeper at a moment."""
        return Sweep(self.sagemaker, self.step_functions, self.ledger, MACHINE, TEAR_DOWN, now, lambda: now)

    def leftovers(self, now: Any = NOW) -> list[str]:
        """The runs that a sweep at a moment tears down."""
        return self.sweep(now).remove_leftovers()

    @property
    def tear_downs(self) -> list[str]:
        """The ARNs of the TearDowns that were started."""
        return [key for key in self.step_functions.executions if ":captune-tear-down:" in key]

    @property
    def inputs(self) -> list[dict[str, str]]:
        """What the TearDowns were started with."""
        return [json.loads(started["input"]) for started in self.step_functions.started]
