"""The real ledger over a table in memory, with the runs that a test needs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from common.ledger.ledger import Ledger, Reservation
from tests.doubles.lambda_fakes import MACHINE, NOW, TEAR_DOWN, SageMaker, StepFunctions, arn
from verification.simulation.services.dynamodb import Table

DETAILS: dict[str, str | int] = {
    "training_prices": "ml.g5.2xlarge=1.515",
    "hosting_prices": "ml.g5.2xlarge=1.515",
    "price_source": "AWS Price List",
    "max_training_seconds": 7620,
    "max_endpoint_seconds": 6000,
    "other_cents": 6,
    "keep_endpoint_seconds": 0,
}


@contextmanager
def clock_of_tokyo() -> Iterator[None]:
    """Sets the machine's own clock nine hours ahead of UTC."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "JST-9")
        time.tzset()
        try:
            yield
        finally:
            patch.undo()
            time.tzset()


class FakeLedger(Ledger):
    """A ledger whose table can be looked at and made to fail."""

    def __init__(self) -> None:
        self.table = Table()
        super().__init__(self.table, "ledger", pause=lambda seconds: None)

    def fall_silent(self) -> None:
        """From now on the table answers nothing."""
        self.table.trouble = lambda operation: "throttled"

    def tables_asked(self, operation: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """From now on, the table that each call of an operation names: DynamoDB holds many, this fake one only."""
        tables: list[str] = []
        call = getattr(self.table, operation)

        def noting(**request: Any) -> Any:
            tables.append(request["TableName"])
            return call(**request)

        monkeypatch.setattr(self.table, operation, noting)
        return tables

    def with_run(self, execution_name: str, run: str | None = None, **details: Any) -> FakeLedger:
        """Adds an open reservation of six dollars."""
        name = run or f"captune-{execution_name}"
        facts: Any = {**DETAILS, "execution_name": execution_name, **details}
        self.reserve(Reservation(name, arn(execution_name), 600, ("2026-11",), facts), 100_000, NOW)
        return self

    def settled(self, run: str, moment: Any = NOW) -> FakeLedger:
        """Closes a reservation."""
        parts = {"training_seconds": 600, "endpoint_seconds": 0, "training_cents": 26, "endpoint_cents": 0}
        self.settle(run, {"2026-11": 32}, {**parts, "status": "FAILED"}, moment)
        return self


class Account:
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
        names = {"LEDGER_TABLE": "captune-ledger", "FINE_TUNING_ARN": MACHINE, "TEAR_DOWN_ARN": TEAR_DOWN}
        for name, value in {**names, **variables}.items():
            monkeypatch.setenv(name, value)
