"""One idempotent pass over everything of a run that bills or lingers. The state machine repeats it until nothing is found."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from common.aws import error_code, error_message, is_missing
from common.clock import from_iso, schedule_time
from common.ledger import Ledger
from common.names import belongs_to

_DELETABLE = {"InService", "OutOfService", "Failed", "UpdateRollbackFailed"}


@dataclass
class Removal:
    """The tear-down of one run."""

    run: str
    sagemaker: Any
    step_functions: Any
    ledger: Ledger
    now: datetime
    found: list[str] = field(default_factory=list)

    def one_pass(self, event: dict[str, Any]) -> dict[str, Any]:
        """Stops and deletes what can be; what cannot be yet is found again in the next pass."""
        keep_until = self._keep_until(event)
        if keep_until is not None:
            return {
                "runName": self.run,
                "found": [],
                "quiet": False,
                "keep": True,
                "keepUntil": schedule_time(keep_until),
            }
        if event.get("reason") != "event":
            self._stop_execution(event["executionArn"])
        self._stop_training_jobs()
        self._delete_endpoints()
        if not self.found:
            # A configuration or model in use by an endpoint must outlive it.
            self._delete_endpoint_configurations()
            self._delete_models()
        if not self.found:
            self._note_endpoint_end()
        return {"runName": self.run, "found": self.found, "quiet": not self.found, "keep": False}

    def _keep_until(self, event: dict[str, Any]) -> datetime | None:
        """Until when the endpoint was asked to stay, if it may stay: only after a success, and only until the schedule returns."""
        if event.get("reason") != "event" or event.get("status") != "SUCCEEDED":
            return None
        item = self.ledger.run(self.run)
        if item is None or item["state"] != "reserved" or not item.get("keep_endpoint_seconds"):
            return None
        wanted = self.now + timedelta(seconds=int(item["keep_endpoint_seconds"]))
        self.ledger.note(self.run, {"keep_until": wanted.isoformat(timespec="seconds")})
        noted = self.ledger.run(self.run)
        until = from_iso(str(noted["keep_until"])) if noted else wanted
        return until if until > self.now else None

    def _stop_execution(self, execution_arn: str) -> None:
        try:
            if self.step_functions.describe_execution(executionArn=execution_arn)["status"] == "RUNNING":
                self.step_functions.stop_execution(
                    executionArn=execution_arn,
                    error="DeadlineReached",
                    cause="The tear-down of this run began, at the deadline that its reservation allows or because its spending was stopped.",
                )
        except ClientError as error:
            if error_code(error) != "ExecutionDoesNotExist":
                raise

    def _stop_training_jobs(self) -> None:
        pages = self.sagemaker.get_paginator("list_training_jobs").paginate(NameContains=self.run)
        for job in (
            job
            for page in pages
            for job in page["TrainingJobSummaries"]
            if belongs_to(job["TrainingJobName"], self.run)
        ):
            name, status = job["TrainingJobName"], job["TrainingJobStatus"]
            if status == "InProgress":
                self._try(lambda name=name: self.sagemaker.stop_training_job(TrainingJobName=name))  # type: ignore[misc]
            if status in {"InProgress", "Stopping"}:
                self.found.append(f"training job {name}: {status}")

    def _delete_endpoints(self) -> None:
        pages = self.sagemaker.get_paginator("list_endpoints").paginate(NameContains=self.run)
        for endpoint in (e for page in pages for e in page["Endpoints"] if belongs_to(e["EndpointName"], self.run)):
            name, status = endpoint["EndpointName"], endpoint["EndpointStatus"]
            self.ledger.note(self.run, {"endpoint_created_at": endpoint["CreationTime"].isoformat(timespec="seconds")})
            if status in _DELETABLE:
                self._try(lambda name=name: self.sagemaker.delete_endpoint(EndpointName=name))  # type: ignore[misc]
            self.found.append(f"endpoint {name}: {status}")

    def _delete_endpoint_configurations(self) -> None:
        pages = self.sagemaker.get_paginator("list_endpoint_configs").paginate(NameContains=self.run)
        for name in (c["EndpointConfigName"] for page in pages for c in page["EndpointConfigs"]):
            if belongs_to(name, self.run):
                self._try(lambda name=name: self.sagemaker.delete_endpoint_config(EndpointConfigName=name))  # type: ignore[misc]
                self.found.append(f"endpoint configuration {name}")

    def _delete_models(self) -> None:
        pages = self.sagemaker.get_paginator("list_models").paginate(NameContains=self.run)
        for name in (m["ModelName"] for page in pages for m in page["Models"]):
            if belongs_to(name, self.run):
                self._try(lambda name=name: self.sagemaker.delete_model(ModelName=name))  # type: ignore[misc]
                self.found.append(f"model {name}")

    def _note_endpoint_end(self) -> None:
        item = self.ledger.run(self.run)
        if item and "endpoint_created_at" in item:
            self.ledger.note(self.run, {"endpoint_gone_at": self.now.isoformat(timespec="seconds")})

    @staticmethod
    def _try(call: Any) -> None:
        """Makes a call that another pass, another tear-down or AWS itself may have made needless."""
        try:
            call()
        except ClientError as error:
            message = error_message(error)
            too_late_or_too_early = any(part in message for part in ("in-progress", "in progress", "in status"))
            if not is_missing(error) and not too_late_or_too_early:
                raise
