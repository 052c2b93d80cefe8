"""One run's surroundings, torn down pass by pass."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from common.contracts.tear_down import Removed, Seen, TearDownEvent
from teardown.removal import Removal
from tests.doubles.lambda_fakes import MACHINE, NOW, arn
from tests.doubles.ledger_fakes import Account, FakeLedger

EVENT: TearDownEvent = {"executionArn": arn("abc"), "executionName": "abc", "status": "FAILED", "reason": "event"}
SCHEDULE: TearDownEvent = {**EVENT, "status": "UNKNOWN", "reason": "schedule"}


class Site(Account):
    """One run's surroundings, torn down pass by pass. The state machine carries `seen` from pass to pass."""

    def __init__(
        self, ledger: FakeLedger | None = None, execution: str = "FAILED", run: str = "captune-abc", **resources: Any
    ) -> None:
        super().__init__(ledger or FakeLedger().with_run("abc"), {"abc": {"status": execution}}, **resources)
        self.run = run
        self.seen: Seen = {}

    def tear_down(self, event: Any = None, after: timedelta = timedelta(0)) -> Removed:
        removal = Removal(self.run, self.sagemaker, self.step_functions, self.ledger, MACHINE, NOW + after)
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
