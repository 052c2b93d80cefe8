"""A run that has ended, with everything that its settlement and its last report read and write."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from finish import handler as finish_handler
from report import summary
from settle import handler
from tests.doubles.lambda_fakes import NOW, S3, arn
from tests.doubles.ledger_fakes import FakeLedger
from tests.doubles.run_end import Services

EVENT = {"executionArn": arn("abc"), "executionName": "abc", "status": "SUCCEEDED", "reason": "event"}
START = NOW - timedelta(hours=1)


def job(status: str = "Completed", seconds: int = 600) -> dict[str, Any]:
    return {
        "TrainingJobName": "captune-abc",
        "TrainingJobStatus": status,
        "CreationTime": START,
        "TrainingStartTime": START,
        "TrainingEndTime": START + timedelta(seconds=seconds),
        "BillableTimeInSeconds": seconds,
        "ResourceConfig": {"InstanceType": "ml.g5.2xlarge", "InstanceCount": 1},
    }


def visit(state: str, entered: int, left: int | None, microseconds: int = 0) -> list[dict[str, Any]]:
    """The events of one visit to a state, in seconds from the start; None for a state that is not left."""
    details, end = {"name": state}, timedelta(microseconds=microseconds)
    entry = {"type": "TaskStateEntered", "stateEnteredEventDetails": details}
    events: list[dict[str, Any]] = [{"id": entered, "timestamp": START + timedelta(seconds=entered), **entry}]
    if left is not None:
        leave = {"type": "TaskStateExited", "stateExitedEventDetails": details}
        events.append({"id": left, "timestamp": START + timedelta(seconds=left) + end, **leave})
    return events


class Site(Services):
    """Everything that settlement reads and writes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        execution = {"status": "SUCCEEDED", "startDate": START, "stopDate": START + timedelta(seconds=1000)}
        super().__init__(FakeLedger().with_run("abc"), {"abc": execution}, jobs={"captune-abc": job()})
        self.step_functions.histories[arn("abc")] = visit("Preflight", 0, 5) + visit("DescribeTraining", 5, 6)
        self.s3 = S3()
        self.now = NOW
        self.deploy(monkeypatch, handler, "hasty_client", CAP_CENTS="2500", BUCKET_NAME="bucket")
        monkeypatch.setattr(finish_handler, "client", {"s3": self.s3}.__getitem__)
        monkeypatch.setattr(handler, "now", lambda: self.now)

    def reserve(self, **details: Any) -> None:
        """Replaces the run's reservation by one with other details."""
        self.ledger.table.rows = FakeLedger().with_run("abc", **details).table.rows

    @property
    def item(self) -> Any:
        """The run's ledger item."""
        return self.ledger.run("captune-abc")

    def settle(self, **changes: Any) -> Any:
        """The settlement, as TearDown asks for it."""
        event: Any = {key: value for key, value in {**EVENT, **changes}.items() if value is not None}
        return handler.handle(event, None)

    def end(self, **changes: Any) -> dict[str, Any]:
        """The settlement and the last report, put together as TearDown does."""
        settled = self.settle(**changes)
        # What a state hands on has been JSON.
        finished = finish_handler.handle(json.loads(json.dumps(settled["record"])), None)
        return {**finished, "result": {**settled["result"], "verdict": finished["verdict"]}}

    def report(self, run: str = "captune-abc") -> dict[str, Any]:
        return dict(json.loads(self.s3.objects["bucket", f"runs/{run}/report/summary.json"]))

    def with_report(self, verdict: str = "improved", **changes: Any) -> None:
        document: Any = summary.failure({"run": "captune-abc", "execution_arn": arn("abc")}, "RUNNING", None, None)
        document |= {"verdict": verdict, "verdict_reason": "The loss fell.", "error": None, "cause": None, **changes}
        output = {"verdict": verdict, "reason": "The loss fell."}
        self.step_functions.executions[arn("abc")]["output"] = json.dumps(output)
        self.s3.objects["bucket", "runs/captune-abc/report/summary.json"] = json.dumps(document).encode()

    def fails(self, error: str, cause: str, status: str = "FAILED") -> None:
        self.step_functions.executions[arn("abc")] |= {"status": status, "error": error, "cause": cause}
