"""Faults that a review planted by hand and that no test noticed then. mutmut has an operator for some of them only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """Some lines of a file under lambdas/, which stand there once, and what takes their place."""

    title: str
    file: str
    before: str
    after: str


NAMED = (
    Fault(
        "configurations and models are deleted although the endpoint step failed",
        "teardown/removal.py",
        "        if not self.found and not self.problems:\n            # A configuration",
        "        if not self.found:\n            # A configuration",
    ),
    Fault(
        "the sweeper ignores ends_by",
        "sweeper/judgement.py",
        'return "ends_by" in item and from_iso(item["ends_by"]) < self.now',
        "return False",
    ),
    Fault(
        "ends_by counts only for a run that has an endpoint",
        "sweeper/judgement.py",
        'return "ends_by" in item and from_iso(item["ends_by"]) < self.now',
        'return since is not None and "ends_by" in item and from_iso(item["ends_by"]) < self.now',
    ),
    Fault(
        "the last entry of CreateEndpoint counts",
        "settle/history.py",
        "execution.entered_at.setdefault(name, last_seen)",
        "execution.entered_at[name] = last_seen",
    ),
    Fault(
        "an item is read without ConsistentRead",
        "common/ledger/table.py",
        'Key={"pk": {"S": pk}}, ConsistentRead=True)',
        'Key={"pk": {"S": pk}})',
    ),
    Fault(
        "the table is scanned without ConsistentRead",
        "common/ledger/table.py",
        "paginate(TableName=self.name, ConsistentRead=True)",
        "paginate(TableName=self.name)",
    ),
    Fault(
        "InstanceCount is ignored",
        "settle/billing.py",
        'int(group.get("InstanceCount", 1))',
        "1",
    ),
    Fault(
        "a job without BillableTimeInSeconds is billed by nothing else",
        "settle/billing.py",
        'job.get("BillableTimeInSeconds", job.get("TrainingTimeInSeconds", elapsed))',
        'job.get("BillableTimeInSeconds", 0)',
    ),
    Fault(
        "the retries of a training job are not billed",
        "settle/billing.py",
        "if not belongs_to(name, run):",
        "if name != run:",
    ),
)
