"""One idempotent pass over everything of a run that bills or lingers. The state machine repeats it until nothing is found.

Removal needs SageMaker and nothing else. What it finds by the run's name it stops and deletes; the ledger is only asked what may be
kept, and for the execution of a run whose name does not tell it. No answer means that nothing is kept. No failure of one call stops
the next: it is told in `problems`, and such a pass is not quiet, so that another follows.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from common.aws import error_code, error_message, is_missing
from common.clock import from_iso, schedule_time, written
from common.contracts.tear_down import Removed, TearDownEvent, execution_arn_of, refuse_another_machine
from common.ledger.ledger import Ledger
from common.ledger.rows import RunItem
from common.logs import log
from common.names import belongs_to, run_name
from common.pricing.durations import LONGEST_RESERVATION_SECONDS, TEAR_DOWN_ALLOWANCE_SECONDS
from common.resources import ENDPOINT, ENDPOINT_CONFIGURATION, MODEL, TRAINING_JOB, Kind, Resource, Tags, find_present
from teardown.endpoint_lifetimes import SeenEndpoints

_DELETABLE = {"InService", "OutOfService", "Failed", "UpdateRollbackFailed"}
_ENDED = {"SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"}
UNKNOWN = "UNKNOWN"


@dataclass
class Removal:
    """The tear-down of one run. `fine_tuning_arn` is the machine whose executions are runs."""

    run: str
    sagemaker: Any
    step_functions: Any
    ledger: Ledger
    fine_tuning_arn: str
    clock: Callable[[], datetime]
    found: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    left_alone: list[str] = field(default_factory=list)
    # AWS forbids deleting the configuration of an endpoint that is live, created or updated; one that is being deleted is none of these.
    _may_be_live: bool = field(default=True, init=False)

    def one_pass(self, event: TearDownEvent) -> Removed:
        """Stops and deletes what can be; what cannot be yet is found again in the next pass.

        An event tells that an execution has ended. Where Step Functions knows better, nothing of the run is touched: it goes on,
        and its own end will be told again. Whoever else starts a tear-down wants the run to end, and it is stopped. Raises InvalidInput
        where an execution is named that is none of this project.
        """
        refuse_another_machine(event, self.fine_tuning_arn)
        self._tags = Tags(self.sagemaker)
        self._started: datetime | None = None
        # The name of a run does not always tell its execution; the ledger does.
        execution_arn = execution_arn_of(event, self.fine_tuning_arn) or self._recorded_arn()
        is_event = event.get("reason") == "event"
        status = self._status(execution_arn, event)
        self._endpoints = SeenEndpoints(event.get("seen"), bounds=status != "RUNNING")
        # A call that failed may still arrive, and so may one that was under way.
        self._cut_off = status not in {"SUCCEEDED", "FAILED"} or (status == "FAILED" and self._may_have_reserved())
        if is_event and status not in _ENDED:
            return self._outcome(running=True)
        # A pass that has seen something has begun to remove it.
        if is_event and status == "SUCCEEDED" and not event.get("seen"):
            keep_until = self._keep_until(execution_arn)
            if keep_until is not None:
                return self._outcome(keep_until=schedule_time(keep_until))
        if not is_event and status == "RUNNING":
            self._stop_execution(str(execution_arn))
        self._step("training jobs", self._stop_training_jobs)
        self._step("endpoints", self._delete_endpoints)
        if not self._may_be_live:
            # Before the endpoint is gone, so that a late call finds nothing to build another one from.
            configurations = partial(self._delete, ENDPOINT_CONFIGURATION, self.sagemaker.delete_endpoint_config)
            self._step("endpoint configurations", configurations)
            self._step("models", partial(self._delete, MODEL, self.sagemaker.delete_model))
        self._write_life()
        return self._outcome()

    def _outcome(self, *, running: bool = False, keep_until: str = "") -> Removed:
        outcome: Removed = {
            "runName": self.run,
            "found": self.found,
            "quiet": not (self.found or self.problems or running or keep_until),
            "keep": bool(keep_until),
            "running": running,
            "cutOff": self._cut_off,
            "seen": self._endpoints.seen,
            "problems": self.problems,
            "leftAlone": sorted(set(self.left_alone)),
        }
        if keep_until:
            outcome["keepUntil"] = keep_until
        return outcome

    def _status(self, execution_arn: str | None, event: TearDownEvent) -> str:
        """How the execution stands: as Step Functions says, else as the event told, else UNKNOWN."""
        told = str(event.get("status") or UNKNOWN)
        if execution_arn is None:
            return told
        try:
            described = self.step_functions.describe_execution(executionArn=execution_arn)
            self._started = described.get("startDate")
            return str(described["status"])
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and error_code(error) == "ExecutionDoesNotExist":
                # Forgotten after 90 days, or it never was: it does not run.
                return told if told in _ENDED else "ABORTED"
            if event.get("reason") != "event":
                self._problem("the execution", error)
            return told

    def _item(self) -> RunItem:
        """The run's item; empty where there is none, or it is damaged or the ledger silent: what the run left is removed all the same."""
        try:
            item: RunItem | None = self.ledger.run(self.run)
            return item or {}
        except Exception as error:
            log("ledger item unknown", run=self.run, error=str(error))
            return {}

    def _may_have_reserved(self) -> bool:
        """Whether the run may have made anything: only the ledger's answer that there is no such run denies it."""
        try:
            return self.ledger.run(self.run) is not None
        except Exception:
            return True

    def _recorded_arn(self) -> str | None:
        """The execution that the run's item names; None where it names another run's, which nobody has asked to end."""
        arn = self._item().get("execution_arn")
        return arn if arn and run_name(arn.rpartition(":")[2]) == self.run else None

    def _keep_until(self, execution_arn: str | None) -> datetime | None:
        """Until when the endpoint was asked to stay: only after a success, and only until the schedule returns."""
        try:
            item = self.ledger.run(self.run)
            if item is None or item["state"] != "reserved" or item["execution_arn"] != execution_arn:
                return None
            reserved = (
                item["max_endpoint_seconds"] - item.get("endpoint_deadline_seconds", 0) - TEAR_DOWN_ALLOWANCE_SECONDS
            )
            seconds = min(item["keep_endpoint_seconds"], reserved)
            if seconds <= 0:
                return None
            now = self.clock()
            ends = from_iso(item["reserved_at"]) + timedelta(seconds=LONGEST_RESERVATION_SECONDS)
            wanted = min(ends, now + timedelta(seconds=seconds))
            # What was noted first stays.
            noted = self.ledger.update(self.run, lambda item: {"keep_until": written(wanted), **item})
            until = min(wanted, from_iso(noted["keep_until"]))
        except Exception as error:
            # Silent, damaged or worse: what cannot be shown to have a reservation and an end is not kept.
            log("endpoint not kept", run=self.run, error=str(error))
            return None
        return until if until > now else None

    def _stop_execution(self, execution_arn: str) -> None:
        self.found.append(f"execution {execution_arn.rpartition(':')[2]}: RUNNING")
        try:
            self.step_functions.stop_execution(
                executionArn=execution_arn,
                error="DeadlineReached",
                cause="TearDown stopped this run: it reached the deadline of its reservation, or its spending was stopped by hand or by the budget alarm. Find the slow state in the Step Functions console.",
            )
        except (BotoCoreError, ClientError) as error:
            self._problem("the execution", error)

    def _stop_training_jobs(self) -> None:
        for job in self._own(TRAINING_JOB, {"InProgress", "Stopping"}):
            self.found.append(str(job))
            if job.status == "InProgress":
                self._try(str(job), partial(self.sagemaker.stop_training_job, TrainingJobName=job.name))

    def _delete_endpoints(self) -> None:
        endpoints = self._own(ENDPOINT)
        listed_at = self.clock()
        live = False
        for endpoint in endpoints:
            self.found.append(str(endpoint))
            delete = partial(self.sagemaker.delete_endpoint, EndpointName=endpoint.name)
            is_going = endpoint.status == "Deleting" or (
                endpoint.status in _DELETABLE and self._try(str(endpoint), delete)
            )
            live = live or not is_going
        self._endpoints.saw(self.sagemaker, endpoints, listed_at)
        self._may_be_live = live

    def _delete(self, kind: Kind, call: Callable[..., Any]) -> None:
        for one in self._own(kind):
            self.found.append(str(one))
            self._try(str(one), partial(call, **{kind.name_field: one.name}))

    def _own(self, kind: Kind, statuses: set[str] | None = None) -> list[Resource]:
        """This run's resources of one kind: NameContains also finds those of runs whose name only begins like this one's."""
        return [
            resource
            for resource in find_present(self.sagemaker, kind, self.run, self.clock())
            if belongs_to(resource.name, self.run)
            and (statuses is None or resource.status in statuses)
            and not self._is_foreign(resource)
        ]

    def _is_foreign(self, resource: Resource) -> bool:
        """Whether a resource has another's tags and was there before the run began, as far as that is known."""
        why = self._tags.why_foreign(resource)
        begun = list(self._beginnings()) if why else []
        if not begun or min(begun) <= resource.created:
            return False
        self.left_alone.append(f"{resource}, because {why}")
        return True

    def _beginnings(self) -> Iterator[datetime]:
        """When the run began, as Step Functions knows it, and as the ledger does."""
        if self._started:
            yield self._started
        if reserved_at := self._item().get("reserved_at"):
            yield from_iso(reserved_at)

    def _write_life(self) -> None:
        """Tells the ledger of the endpoint, if it listens; the state machine remembers it too."""
        try:
            # Whatever else was found or went wrong: an endpoint that is not listed has gone.
            self._endpoints.write(self.ledger, self.run, self.clock())
        except Exception as error:
            log("endpoints' lives not written", run=self.run, seen=self._endpoints.seen, error=str(error))

    def _step(self, what: str, step: Callable[[], None]) -> None:
        """Takes a step, whatever goes wrong in it: the next one may be the one that ends what bills."""
        try:
            step()
        except Exception as error:
            self._problem(what, error)

    def _try(self, what: str, call: Callable[[], Any]) -> bool:
        """Makes a call that another pass, another tear-down or AWS itself may have made needless; answers whether AWS took it."""
        try:
            call()
            return True
        except BotoCoreError as error:
            self._problem(what, error)
        except ClientError as error:
            message = error_message(error)
            too_late_or_too_early = any(part in message for part in ("in-progress", "in progress", "in status"))
            if not is_missing(error) and not too_late_or_too_early:
                self._problem(what, error)
        return False

    def _problem(self, what: str, error: Exception) -> None:
        self.problems.append(f"{what}: {error}")
