"""What the Lambdas of a run's end reach: a run torn down pass by pass, everything of the project under a sweep, and a run that is settled."""

import json
from datetime import timedelta
from typing import Any

import pytest

from common.contracts.tear_down import Removed, Seen, TearDownEvent
from finish import handler as finish_handler
from report import summary
from settle import handler
from sweeper.leftovers import Sweep
from teardown.removal import Removal
from tests.doubles.lambda_fakes import MACHINE, NOW, S3, TEAR_DOWN, SageMaker, StepFunctions, arn
from tests.doubles.ledger_fakes import FakeLedger

EVENT: TearDownEvent = {"executionArn": arn("abc"), "executionName": "abc", "status": "FAILED", "reason": "event"}
SCHEDULE: TearDownEvent = {**EVENT, "status": "UNKNOWN", "reason": "schedule"}
RUNNING = {"status": "RUNNING"}
START = NOW - timedelta(hours=1)


def ended(moment: Any = NOW - timedelta(hours=1), status: str = "FAILED") -> dict[str, Any]:
    return {"status": status, "stopDate": moment}


class Services:
    """What the Lambdas of a run's end reach: SageMaker, Step Functions and the ledger."""

    run = "captune-abc"

    def __init__(
        self, ledger: FakeLedger | None = None, executions: dict[str, Any] | None = None, **resources: Any
    ) -> None:
        self.ledger = ledger or FakeLedger()
        self.sagemaker = SageMaker(**resources)
        self.step_functions = StepFunctions({arn(name): dict(kept) for name, kept in (executions or {}).items()})

    @property
    def item(self) -> Any:
        """The run's ledger item."""
        return self.ledger.run(self.run) or {}

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
        self, ledger: FakeLedger | None = None, execution: str = "FAILED", run: str = Services.run, **resources: Any
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


class SweptSite(Services):
    """Everything of the project at one moment."""

    def sweep(self, now: Any = NOW) -> Sweep:
        return Sweep(self.sagemaker, self.step_functions, self.ledger, MACHINE, TEAR_DOWN, now, lambda: now)

    def leftovers(self, now: Any = NOW) -> list[str]:
        """The runs that a sweep at a moment tears down."""
        return self.sweep(now).remove_leftovers()

    @property
    def tear_downs(self) -> list[str]:
        return [key for key in self.step_functions.executions if ":captune-tear-down:" in key]

    @property
    def inputs(self) -> list[dict[str, str]]:
        """What the TearDowns were started with."""
        return [json.loads(started["input"]) for started in self.step_functions.started]


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


class SettledSite(Services):
    """A run that has ended, with everything that its settlement and its last report read and write."""

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

    def settle(self, **changes: Any) -> Any:
        """The settlement, as TearDown asks for it."""
        event: Any = {**EVENT, "status": "SUCCEEDED", **changes}
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
