"""Runs that left something behind, found from what exists rather than from what should have happened."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from common.aws import error_code
from common.clock import from_iso
from common.ledger import Ledger
from common.names import PREFIX, run_of

# TearDown starts within a minute of a run's end; after this long its event must have been lost.
GRACE = timedelta(minutes=15)


@dataclass
class Sweep:
    """One look at everything of this project."""

    sagemaker: Any
    step_functions: Any
    ledger: Ledger
    fine_tuning_arn: str
    tear_down_arn: str
    now: datetime

    def remove_leftovers(self) -> list[str]:
        """Starts a TearDown for every run that should be gone by now; answers their names."""
        items = self._reserved()
        candidates = self._runs_with_resources() | set(items)
        return [
            run for run in sorted(candidates) if self._is_over(items.get(run)) and self._tear_down(run, items.get(run))
        ]

    def end_everything(self) -> list[str]:
        """Stops every running execution and starts a TearDown for every run that has or may have anything left."""
        items = self._reserved()
        pages = self.step_functions.get_paginator("list_executions").paginate(
            stateMachineArn=self.fine_tuning_arn, statusFilter="RUNNING"
        )
        for execution in (execution for page in pages for execution in page["executions"]):
            self.step_functions.stop_execution(
                executionArn=execution["executionArn"],
                error="BudgetAlarm",
                cause="The budget alarm of this project went off, so every run was stopped. The README says how to go on.",
            )
        candidates = self._runs_with_resources() | set(items)
        return [run for run in sorted(candidates) if self._tear_down(run, items.get(run))]

    def _reserved(self) -> dict[str, dict[str, Any]]:
        items = (item for item in self.ledger.items() if item["pk"].startswith("RUN#") and item["state"] == "reserved")
        return {item["pk"].removeprefix("RUN#"): item for item in items}

    def _runs_with_resources(self) -> set[str]:
        names: list[str] = []
        for operation, listing, field in (
            ("list_training_jobs", "TrainingJobSummaries", "TrainingJobName"),
            ("list_endpoints", "Endpoints", "EndpointName"),
            ("list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"),
            ("list_models", "Models", "ModelName"),
        ):
            extra = {"StatusEquals": "InProgress"} if operation == "list_training_jobs" else {}
            pages = self.sagemaker.get_paginator(operation).paginate(NameContains=f"{PREFIX}-", **extra)
            names += [entry[field] for page in pages for entry in page[listing]]
        return {run_of(name) for name in names if name.startswith(f"{PREFIX}-")}

    def _is_over(self, item: dict[str, Any] | None) -> bool:
        """Whether a run's time is over. A run without an open reservation has no right to exist at all."""
        if item is None:
            return True
        if "keep_until" in item and from_iso(item["keep_until"]) + GRACE > self.now:
            return False
        try:
            execution = self.step_functions.describe_execution(executionArn=item["execution_arn"])
        except ClientError as error:
            if error_code(error) != "ExecutionDoesNotExist":
                raise
            return True
        if execution["status"] == "RUNNING":
            return False
        return bool(execution["stopDate"] + GRACE < self.now)

    def _tear_down(self, run: str, item: dict[str, Any] | None) -> bool:
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
