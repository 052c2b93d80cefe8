"""The last report of a run: WriteReport's with the final cost, or one of a run that came to none."""

from typing import Any, cast

from common.contracts import run_folder
from common.contracts.plan import Plan
from common.contracts.tear_down import Record
from common.errors import ReportDamaged
from common.storage import Storage
from report import render, summary
from report.run_facts import run_facts
from report.summary_types import Status, Summary

# What reading and drawing raise where a summary or a plan is not of the form that this code writes.
_NOT_OF_THE_FORM = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def write(storage: Storage, prefix: str, record: Record) -> tuple[Summary, list[str]]:
    """Writes a settled run's report; answers its summary and what could not be made. Raises ReportDamaged."""
    name = run_folder.SUMMARY
    try:
        document = _reported(storage, prefix, record)
        if document is None:
            name = run_folder.PLAN
            status, error, cause = cast(Status, record["status"]), record["error"] or None, record["cause"] or None
            document = summary.failure(_planned(storage, record), status, error, cause)
        settled = summary.settle(
            document,
            status=cast(Status, record["status"]),
            cost=record["cost"],
            seconds_by_state=record["secondsByState"],
            error=record["error"] or None,
            cause=record["cause"] or None,
        )
        return settled, render.write(storage, prefix, settled)
    except _NOT_OF_THE_FORM as error:
        # The message of a decoder may repeat what it could not read.
        raise ReportDamaged(
            f"{name} is damaged ({f'{type(error).__name__}: {error}'[:200]}). Restore an earlier version in the S3 console."
        ) from error


def _reported(storage: Storage, prefix: str, record: Record) -> Summary | None:
    """WriteReport's summary. What an earlier execution of the same name has left there is not this one's."""
    found: Summary | None = storage.read_json(f"{prefix}{run_folder.SUMMARY}")
    if found is not None and found["execution_arn"] == record["executionArn"]:
        return found
    if record["status"] == "SUCCEEDED":
        raise LookupError("it is missing, although the execution succeeded")
    return None


def _planned(storage: Storage, record: Record) -> dict[str, Any]:
    """What is known of a run that wrote no report: its plan, or no more than its name."""
    named = {"run": record["run"], "execution_arn": record["executionArn"]}
    kept = storage.read_json(run_folder.key(record["run"], run_folder.PLAN))
    if kept is None or kept["executionArn"] != record["executionArn"]:
        return named
    money = record["cost"]
    facts = run_facts(cast(Plan, kept), {"reservedCents": money["reserved_cents"], "capCents": money["cap_cents"]})
    return {**facts, **named}
