"""The last report of a run: WriteReport's with the final cost, or one of a run that came to none.

A damaged file is named, and the report is made without it: nothing in the bucket can keep a run from having its last report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from common.contracts import run_folder
from common.contracts.plan import Plan
from common.contracts.tear_down import Record
from common.errors import ReportDamaged
from common.storage import Storage
from report import render, summary
from report.run_facts import run_facts
from report.summary_types import Status, Summary

DAMAGED_TITLE = "Nothing can be shown: the report was damaged"
# What reading and drawing raise where a summary or a plan is not of the form that this code writes.
_NOT_OF_THE_FORM = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


@dataclass(frozen=True)
class LastReport:
    """The summary that was written; in words, what was wrong with the files that it should have been made from, and what could not be made."""

    document: Summary
    problems: tuple[str, ...] = ()
    not_made: tuple[str, ...] = ()


def write(storage: Storage, prefix: str, record: Record) -> LastReport:
    """Writes the report of a settled run under `prefix`, from the best of its files that can be read and drawn.

    `record` is the settlement's. Raises ReportDamaged when not even a report from the record alone can be drawn.
    """
    problems: list[str] = []
    sources: list[tuple[str, Callable[[], Summary | None]]] = [
        (run_folder.SUMMARY, lambda: _reported(storage, prefix, record)),
        (run_folder.PLAN, lambda: _planned(storage, record, problems)),
        ("the settlement's record", lambda: _failed(_barely(record), record, problems)),
    ]
    for name, read in sources:
        try:
            document = read()
            if document is not None:
                not_made = render.write(storage, prefix, document)
                return LastReport(document, tuple(problems), tuple(not_made))
        except _NOT_OF_THE_FORM as error:
            # The message of a decoder may repeat what it could not read.
            problems.append(f"{name} is damaged ({f'{type(error).__name__}: {error}'[:200]})")
            if name == run_folder.SUMMARY:
                _put_aside(storage, prefix)
    raise ReportDamaged(f"No report could be written: {'; '.join(problems)}.")


def _reported(storage: Storage, prefix: str, record: Record) -> Summary | None:
    """WriteReport's summary. What an earlier execution of the same name has left there is not this one's."""
    found = storage.read_json(f"{prefix}{run_folder.SUMMARY}")
    if found is None or found["execution_arn"] != record["executionArn"]:
        if record["status"] == "SUCCEEDED":
            raise LookupError("there is none of this execution, though it succeeded")
        return None
    return _settled(found, record)


def _planned(storage: Storage, record: Record, problems: Sequence[str]) -> Summary | None:
    """The report of a run that wrote none, from its plan."""
    kept = storage.read_json(run_folder.key(record["run"], run_folder.PLAN))
    if kept is None or kept["executionArn"] != record["executionArn"]:
        return None
    money = record["cost"]
    facts = run_facts(cast(Plan, kept), {"reservedCents": money["reserved_cents"], "capCents": money["cap_cents"]})
    return _failed({**facts, **_barely(record)}, record, problems)


def _barely(record: Record) -> dict[str, Any]:
    return {"run": record["run"], "execution_arn": record["executionArn"]}


def _failed(facts: Mapping[str, Any], record: Record, problems: Sequence[str]) -> Summary:
    """A report without figures. Of a run that succeeded it says that its report is damaged, and what the run itself said."""
    document = summary.failure(facts, cast(Status, record["status"]), record["error"] or None, record["cause"] or None)
    if problems:
        told = f"{'; '.join(problems)}. The run itself ended with the verdict: {record['verdict']}."
        document["verdict_reason"] = f"The figures of this run cannot be shown: {told}"
        if record["status"] == "SUCCEEDED":
            document |= {"headline": DAMAGED_TITLE, "error": ReportDamaged.__name__, "cause": told}
    return _settled(document, record)


def _settled(document: Summary, record: Record) -> Summary:
    return summary.settle(
        document,
        status=cast(Status, record["status"]),
        cost=record["cost"],
        seconds_by_state=record["secondsByState"],
        error=record["error"] or None,
        cause=record["cause"] or None,
    )


def _put_aside(storage: Storage, prefix: str) -> None:
    content = storage.read(f"{prefix}{run_folder.SUMMARY}")
    if content is not None:
        storage.write(f"{prefix}{run_folder.DAMAGED_SUMMARY}", content, "application/octet-stream")
