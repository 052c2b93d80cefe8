"""One idempotent pass over everything of a run that bills or lingers. The state machine repeats it until nothing is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from common.aws import error_code, error_message, is_missing
from common.clock import from_iso, schedule_time
from common.errors import ServiceUnreachable
from common.ledger import Ledger
from common.names import PREFIX, belongs_to

_DELETABLE = {"InService", "OutOfService", "Failed", "UpdateRollbackFailed"}


# No run has this name, for no run's name has two hyphens in a row: looking for its schedule finds none.
_NO_RUN = f"{PREFIX}--none"


def nothing_to_remove() -> dict[str, Any]:
    """The outcome for an execution that never was a run."""
    return {"runName": _NO_RUN, "found": [], "quiet": True, "keep": False}


@dataclass
class Removal:
    """The tear-down of one run."""

    run: str
    sagemaker: Any
    step_functions: Any
    ledger: Ledger
    now: datetime
    found: list[str] = field(default_factory=list)
    problems: list[Exception] = field(default_factory=list)

    def one_pass(self, event: dict[str, Any]) -> dict[str, Any]:
        """Stops and deletes what can be; what cannot be yet is found again in the next pass.

        What AWS refuses stops nothing else: its error is raised when everything has been tried.
        """
        item = self.ledger.run(self.run)
        execution_arn = event.get("executionArn") or (item or {}).get("execution_arn", "")
        if item is not None and item["execution_arn"] != execution_arn:
            # Another execution has this name, and everything that bears it. The one that ended was refused and made nothing.
            return nothing_to_remove()
        keep_until = self._keep_until(event, item)
        if keep_until is not None:
            return {
                "runName": self.run,
                "found": [],
                "quiet": False,
                "keep": True,
                "keepUntil": schedule_time(keep_until),
            }
        if event.get("reason") != "event" and execution_arn:
            self._try(lambda: self._stop_execution(execution_arn))
        self._try(self._stop_training_jobs)
        self._try(self._delete_endpoints)
        if not self.found and not self.problems:
            # A configuration or model in use by an endpoint must outlive it.
            self._try(self._delete_endpoint_configurations)
            self._try(self._delete_models)
        if self.problems:
            raise self.problems[0]
        if not self.found:
            self._note_endpoint_end()
        return {"runName": self.run, "found": self.found, "quiet": not self.found, "keep": False}

    def _keep_until(self, event: dict[str, Any], item: dict[str, Any] | None) -> datetime | None:
        """Until when the endpoint was asked to stay, if it may stay: only after a success, and only until the schedule returns."""
        if event.get("reason") != "event" or event.get("status") != "SUCCEEDED":
            return None
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
        for job in self._own("list_training_jobs", "TrainingJobSummaries", "TrainingJobName"):
            name, status = job["TrainingJobName"], job["TrainingJobStatus"]
            if status == "InProgress":
                self._try(partial(self.sagemaker.stop_training_job, TrainingJobName=name))
            if status in {"InProgress", "Stopping"}:
                self.found.append(f"training job {name}: {status}")

    def _delete_endpoints(self) -> None:
        for endpoint in self._own("list_endpoints", "Endpoints", "EndpointName"):
            name, status = endpoint["EndpointName"], endpoint["EndpointStatus"]
            created = endpoint["CreationTime"].isoformat(timespec="seconds")
            # The name tells which attempt it was, and so which instance type was billed. A failed attempt did not bill.
            seen = {"endpoint_created_at": created} | ({} if status == "Failed" else {"endpoint_name": name})
            self._try(partial(self.ledger.note, self.run, seen))
            if status in _DELETABLE:
                self._try(partial(self.sagemaker.delete_endpoint, EndpointName=name))
            self.found.append(f"endpoint {name}: {status}")

    def _delete_endpoint_configurations(self) -> None:
        for configuration in self._own("list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"):
            name = configuration["EndpointConfigName"]
            self._try(partial(self.sagemaker.delete_endpoint_config, EndpointConfigName=name))
            self.found.append(f"endpoint configuration {name}")

    def _delete_models(self) -> None:
        for model in self._own("list_models", "Models", "ModelName"):
            self._try(partial(self.sagemaker.delete_model, ModelName=model["ModelName"]))
            self.found.append(f"model {model['ModelName']}")

    def _own(self, operation: str, listing: str, name_field: str) -> list[dict[str, Any]]:
        """This run's resources of one kind: NameContains also finds those of runs whose name only begins like this one's."""
        pages = self.sagemaker.get_paginator(operation).paginate(NameContains=self.run)
        return [entry for page in pages for entry in page[listing] if belongs_to(entry[name_field], self.run)]

    def _note_endpoint_end(self) -> None:
        item = self.ledger.run(self.run)
        if item and "endpoint_created_at" in item:
            self.ledger.note(self.run, {"endpoint_gone_at": self.now.isoformat(timespec="seconds")})

    def _try(self, step: Callable[[], Any]) -> None:
        """Makes a call that another pass, another tear-down or AWS itself may have made needless."""
        try:
            step()
        except (BotoCoreError, ServiceUnreachable) as error:
            self.problems.append(error)
        except ClientError as error:
            message = error_message(error)
            too_late_or_too_early = any(part in message for part in ("in-progress", "in progress", "in status"))
            if not is_missing(error) and not too_late_or_too_early:
                self.problems.append(error)
