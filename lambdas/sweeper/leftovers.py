"""Runs that left something behind, found from what exists rather than from what should have happened."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from common.aws import error_code
from common.clock import from_iso
from common.errors import ServiceUnreachable
from common.ledger import Ledger
from common.names import PREFIX, run_of

# TearDown starts within a minute of a run's end; after this long its event must have been lost.
GRACE = timedelta(minutes=15)


@dataclass
class Sweep:
    """One look at everything of this project.

    A run that AWS will not let us judge or tear down keeps no other run from it: its error goes to `problems`.
    """

    sagemaker: Any
    step_functions: Any
    ledger: Ledger
    fine_tuning_arn: str
    tear_down_arn: str
    now: datetime
    problems: list[Exception] = field(default_factory=list)
    endpoint_since: dict[str, datetime] = field(default_factory=dict)

    def remove_leftovers(self) -> list[str]:
        """Starts a TearDown for every run that should be gone by now; answers their names."""
        candidates, items = self._look()
        return self._each(
            candidates, lambda run: self._is_over(run, items.get(run)) and self._tear_down(run, items.get(run))
        )

    def end_everything(self) -> list[str]:
        """Stops every running execution and starts a TearDown for every run that has or may have anything left."""
        pages = self.step_functions.get_paginator("list_executions").paginate(
            stateMachineArn=self.fine_tuning_arn, statusFilter="RUNNING"
        )
        # All pages first: a list that shrinks while it is read would skip some.
        running = [execution["executionArn"] for page in pages for execution in page["executions"]]
        self._each(running, self._stop)
        candidates, items = self._look()
        return self._each(candidates, lambda run: self._tear_down(run, items.get(run)))

    def _look(self) -> tuple[list[str], dict[str, dict[str, Any]]]:
        """The runs that have a resource or an open reservation, and the ledger's item of every run."""
        # In this order: a run that begins in between has its reservation before it has a resource.
        with_resources = self._runs_with_resources()
        items = {i["pk"].removeprefix("RUN#"): i for i in self.ledger.items() if i["pk"].startswith("RUN#")}
        return sorted(with_resources | {run for run, item in items.items() if item["state"] == "reserved"}), items

    def _each(self, names: Iterable[str], step: Callable[[str], bool]) -> list[str]:
        """The names for which a step says yes."""
        done: list[str] = []
        for name in names:
            try:
                if step(name):
                    done.append(name)
            except (BotoCoreError, ClientError, ServiceUnreachable) as error:
                self.problems.append(error)
        return done

    def _stop(self, execution_arn: str) -> bool:
        self.step_functions.stop_execution(
            executionArn=execution_arn,
            error="BudgetAlarm",
            cause="The budget alarm of this project went off, so every run was stopped. The README says how to go on.",
        )
        return True

    def _runs_with_resources(self) -> set[str]:
        names: list[str] = []
        for operation, listing, field_name in (
            ("list_training_jobs", "TrainingJobSummaries", "TrainingJobName"),
            ("list_endpoints", "Endpoints", "EndpointName"),
            ("list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"),
            ("list_models", "Models", "ModelName"),
        ):
            extra = {"StatusEquals": "InProgress"} if operation == "list_training_jobs" else {}
            pages = self.sagemaker.get_paginator(operation).paginate(NameContains=f"{PREFIX}-", **extra)
            entries = [entry for page in pages for entry in page[listing]]
            names += [entry[field_name] for entry in entries]
            if listing == "Endpoints":
                self.endpoint_since = {run_of(entry[field_name]): entry["CreationTime"] for entry in entries}
        return {run_of(name) for name in names if name.startswith(f"{PREFIX}-")}

    def _is_over(self, run: str, item: dict[str, Any] | None) -> bool:
        """Whether a run's time is over. A run without an open reservation has no right to exist at all."""
        if item is None:
            return True
        if item["state"] == "settled":
            # A tear-down that has just ended may have removed what was still listed a moment ago.
            return from_iso(item["settled_at"]) + GRACE < self.now
        if "keep_until" in item and from_iso(item["keep_until"]) + GRACE > self.now:
            return False
        try:
            execution = self.step_functions.describe_execution(executionArn=item["execution_arn"])
        except ClientError as error:
            if error_code(error) != "ExecutionDoesNotExist":
                raise
            return True
        if execution["status"] == "RUNNING":
            return self._is_overdue(run, item)
        return bool(execution["stopDate"] + GRACE < self.now)

    def _is_overdue(self, run: str, item: dict[str, Any]) -> bool:
        """Whether a run that still goes on has outlived its deadlines: then its schedule was lost with everything else."""
        since = self.endpoint_since.get(run)
        deadline = timedelta(seconds=int(item.get("endpoint_deadline_seconds", 0)))
        if since is not None and deadline and since + deadline < self.now:
            return True
        return "ends_by" in item and from_iso(item["ends_by"]) < self.now

    def _tear_down(self, run: str, item: dict[str, Any] | None) -> bool:
        # A run that the ledger does not know can only be guessed at: the name of most executions is in it unchanged.
        execution_name = item["execution_name"] if item else run.removeprefix(f"{PREFIX}-")
        execution_arn = item["execution_arn"] if item else self._execution_arn(execution_name)
        event = {
            "executionArn": execution_arn,
            "executionName": execution_name,
            "status": "UNKNOWN",
            "reason": "sweeper",
        }
        # One name per run and quarter of an hour: a second alarm in that time does not start a second TearDown.
        name = f"{run}-sweep-{self.now.strftime('%y%m%d%H')}{self.now.minute // 15}"
        try:
            self.step_functions.start_execution(stateMachineArn=self.tear_down_arn, name=name, input=json.dumps(event))
        except ClientError as error:
            if error_code(error) != "ExecutionAlreadyExists":
                raise
            return False
        return True

    def _execution_arn(self, execution_name: str) -> str:
        return f"{self.fine_tuning_arn.replace(':stateMachine:', ':execution:')}:{execution_name}"
