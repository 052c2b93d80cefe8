"""Whether a run's time is over, from whatever can be known of it.

A reservation that can be read tells most. Where it cannot, because the ledger is silent or the item damaged, Step Functions tells
whether the execution has ended, and where that is silent too, what exists is compared with the longest that any run may take.
What may be kept is known from the ledger alone: without it nothing is.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from common.aws import error_code
from common.clock import from_iso
from common.contracts.tear_down import execution_arn_of
from common.ledger.rows import Row, RunItem
from common.names import run_name
from common.pricing.durations import LONGEST_ENDPOINT_SECONDS, LONGEST_EXECUTION_SECONDS
from sweeper.evidence import Evidence

# TearDown starts within a minute of a run's end; after this long its event must have been lost.
GRACE = timedelta(minutes=15)


@dataclass(frozen=True)
class Judge:
    """Judges runs at one moment."""

    step_functions: Any
    fine_tuning_arn: str
    evidence: Evidence
    now: datetime

    def is_over(self, run: str) -> bool:
        """Whether nothing of a run may be there any more."""
        if self.evidence.rows is None:
            return self._is_over_by_execution(run)
        row = self.evidence.rows.get(run)
        if row is None:
            return True  # Without a reservation it has no right to exist at all.
        if row.is_damaged:
            # Without a resource there is nothing to remove, and the item cannot be settled before a person mends it.
            return run in self.evidence.resources and self._is_over_by_execution(run)
        if run in self.evidence.unbooked:
            return True
        if not row.is_open:
            # A tear-down that has just ended may have removed what was still listed a moment ago.
            return abs(self.now - from_iso(row.item["settled_at"])) > GRACE
        return self._is_over_by_reservation(run, row)

    def execution_arn(self, run: str) -> str | None:
        """The ARN of a run's execution: from the ledger, from what runs, or from the run's own name; None where none tells."""
        row = (self.evidence.rows or {}).get(run)
        if row is not None and "execution_arn" in row.item:
            arn = row.item["execution_arn"]
            if run_name(arn.rpartition(":")[2]) == run:
                return arn  # Another run's would name two runs to TearDown, which would refuse them.
        running = (self.evidence.running or {}).get(run)
        return running or execution_arn_of({"runName": run}, self.fine_tuning_arn)

    def _is_over_by_reservation(self, run: str, row: Row) -> bool:
        item = row.item
        if self._is_older_than_reserved(run, item):
            return True
        if "keep_until" in item and from_iso(item["keep_until"]) + GRACE > self.now:
            return False
        return self._has_outlived_its_deadlines(run, item) or self._has_ended(run) or self._is_too_old(run)

    def _has_outlived_its_deadlines(self, run: str, item: RunItem) -> bool:
        """Whether a run, even one that still goes on, is past what it reserved: then its schedule was lost with everything else."""
        since = self.evidence.endpoint_since(run)
        deadline = timedelta(seconds=int(item.get("endpoint_deadline_seconds", 0)))
        if since is not None and deadline and since + deadline < self.now:
            return True
        return "ends_by" in item and from_iso(item["ends_by"]) < self.now

    def _is_older_than_reserved(self, run: str, item: RunItem) -> bool:
        """Whether an endpoint has been there for longer than the run has reserved for all of them, whatever is to be kept."""
        since = self.evidence.endpoint_since(run)
        return since is not None and since + timedelta(seconds=item["max_endpoint_seconds"]) < self.now

    def _is_over_by_execution(self, run: str) -> bool:
        return self._has_ended(run) or self._is_too_old(run)

    def _has_ended(self, run: str) -> bool:
        """Whether Step Functions says that a run's execution has ended a while ago, or that there is none."""
        arn = self.execution_arn(run)
        if arn is None:
            since = self.evidence.since(run)
            return self.evidence.running is not None and since is not None and since + GRACE < self.now
        try:
            execution = self.step_functions.describe_execution(executionArn=arn)
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and error_code(error) == "ExecutionDoesNotExist":
                return True
            self.evidence.problems.append(error)
            return False
        return execution["status"] != "RUNNING" and execution["stopDate"] + GRACE < self.now

    def _is_too_old(self, run: str) -> bool:
        """Whether something of a run is older than any run or endpoint can be, whatever its settings were."""
        since, endpoint_since = self.evidence.since(run), self.evidence.endpoint_since(run)
        return (since is not None and since + timedelta(seconds=LONGEST_EXECUTION_SECONDS) < self.now) or (
            endpoint_since is not None and endpoint_since + timedelta(seconds=LONGEST_ENDPOINT_SECONDS) < self.now
        )
