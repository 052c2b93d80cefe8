"""The real ledger over a table in memory, with the runs that a test needs."""

from __future__ import annotations

from typing import Any

import pytest

from common.ledger.ledger import Ledger, Reservation
from proof.simulation.aws.table import Table
from tests.doubles.lambda_fakes import NOW, arn

DETAILS: dict[str, str | int] = {
    "training_prices": "ml.g5.2xlarge=1.515",
    "hosting_prices": "ml.g5.2xlarge=1.515",
    "price_source": "AWS Price List",
    "max_training_seconds": 7620,
    "max_endpoint_seconds": 6000,
    "other_cents": 6,
    "keep_endpoint_seconds": 0,
}


class FakeLedger(Ledger):
    """A ledger whose table can be looked at and made to fail."""

    def __init__(self) -> None:
        self.table = Table()
        super().__init__(self.table, "ledger", pause=lambda seconds: None)

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
