"""One run's surroundings, torn down pass by pass."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from lambda_fakes import NOW, SageMaker, StepFunctions, arn
from ledger_fakes import Books

from teardown.removal import Removal

EVENT = {"executionArn": arn("abc"), "executionName": "abc", "status": "FAILED", "reason": "event"}
SCHEDULE = {**EVENT, "status": "UNKNOWN", "reason": "schedule"}


class Site:
    """One run's surroundings, torn down pass by pass."""

    def __init__(self, books: Books | None = None, execution: str = "FAILED", **resources: Any) -> None:
        self.sagemaker = SageMaker(**resources)
        self.books = books if books is not None else Books().with_run("abc")
        self.step_functions = StepFunctions({arn("abc"): {"status": execution}})

    def tear_down(self, event: dict[str, Any] | None = None, after: timedelta = timedelta(0)) -> dict[str, Any]:
        removal = Removal("captune-abc", self.sagemaker, self.step_functions, self.books, NOW + after)
        return removal.one_pass(EVENT if event is None else event)

    @property
    def item(self) -> dict[str, Any]:
        return self.books.run("captune-abc") or {}
