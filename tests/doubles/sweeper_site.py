"""Everything of the project at one moment, and a sweeper that looks at it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from sweeper.leftovers import Sweep
from tests.doubles.lambda_fakes import MACHINE, NOW, TEAR_DOWN
from tests.doubles.ledger_fakes import Account, FakeLedger

LONG_AGO = NOW - timedelta(hours=1)
RUNNING = {"status": "RUNNING"}


class Site(Account):
    """Everything of the project at one moment."""

    def __init__(
        self, ledger: FakeLedger | None = None, executions: dict[str, Any] | None = None, **resources: Any
    ) -> None:
        super().__init__(ledger or FakeLedger(), executions or {}, **resources)

    def sweep(self, now: Any = NOW) -> Sweep:
        """A sweeper at a moment."""
        return Sweep(self.sagemaker, self.step_functions, self.ledger, MACHINE, TEAR_DOWN, now)

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


def ended(moment: Any = LONG_AGO, status: str = "FAILED") -> dict[str, Any]:
    """An execution that ended."""
    return {"status": status, "stopDate": moment}
