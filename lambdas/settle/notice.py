"""The last word on a run: its report with the final cost, or a note of its failure, and the message to its owner."""

from __future__ import annotations

from typing import Any

from common.ledger import dollars
from common.names import run_prefix
from common.storage import Storage
from report import circumstances, files, summary
from settle.history import Execution

# SNS takes subjects of less than 100 characters, all of them ASCII.
SUBJECT_LENGTH = 99


def cost(item: dict[str, Any] | None, left_cents: int, cap_cents: int) -> dict[str, int]:
    """The money of a run as the report shows it; a run that reserved nothing did cost nothing."""
    if item is None:
        parts = {"reserved_cents": 0, "actual_cents": 0, "training_cents": 0, "endpoint_cents": 0, "other_cents": 0}
    else:
        parts = {
            "reserved_cents": int(item["reserved_cents"]),
            "actual_cents": int(item["actual_cents"]),
            "training_cents": int(item["training_cents"]),
            "endpoint_cents": int(item["endpoint_cents"]),
            "other_cents": int(item.get("other_cents", 0)),
            "training_seconds": int(item["training_seconds"]),
            "endpoint_seconds": int(item["endpoint_seconds"]),
        }
    return {**parts, "remaining_cents": left_cents, "cap_cents": cap_cents}


def finish_report(
    storage: Storage, run: str, execution_arn: str, execution: Execution, money: dict[str, int]
) -> dict[str, Any]:
    """Writes status, cost and times into the run's report, or a report of its failure where there is none yet."""
    prefix = f"{run_prefix(run)}report/"
    document = storage.read_json(f"{prefix}summary.json")
    # What an earlier execution of the same name has left there is not this one's.
    if document is None or document.get("execution_arn") != execution_arn:
        plan = storage.read_json(f"{run_prefix(run)}plan.json")
        reservation = {"reservedCents": money["reserved_cents"], "capCents": money["cap_cents"]}
        known = {"run": run, "execution_arn": execution_arn}
        if plan is not None and plan["executionArn"] == execution_arn:
            known = files.run_facts(plan, reservation)
        document = summary.failure(known, execution.status, execution.error, execution.cause)
    document = summary.settle(
        document,
        status=execution.status,
        cost=money,
        seconds_by_state=execution.seconds_by_state,
        error=execution.error or None,
        cause=execution.cause or None,
    )
    files.write(storage, prefix, document)
    return document


def subject(document: dict[str, Any]) -> str:
    """The subject of the e-mail: run, outcome and cost."""
    outcome = document["verdict"] if document["status"] == "SUCCEEDED" else document["status"].lower().replace("_", " ")
    actual = document["cost"]["actual_cents"]
    text = f"Captune: {outcome}, {dollars(actual)} ({document['run']})"
    return text.encode("ascii", "replace").decode()[:SUBJECT_LENGTH]


def message(document: dict[str, Any], bucket: str) -> str:
    """The text of the e-mail."""
    money = document["cost"]
    lines = [f"Run {document['run']} ended as {document['status']}."]
    if document["status"] == "SUCCEEDED":
        lines.append(f"Verdict: {document['verdict']}. {document.get('verdict_reason', '')}".strip())
        lines += [f"{title}: {text}" for title, text in circumstances.notes(document)]
    else:
        lines.append(f"{document.get('error') or 'No error name'}: {document.get('cause') or 'no cause was given'}")
    lines += [
        "",
        f"Cost: {dollars(money['actual_cents'])} of {dollars(money['reserved_cents'])} reserved "
        f"(training {dollars(money['training_cents'])}, endpoint {dollars(money['endpoint_cents'])}, everything else {dollars(money['other_cents'])}).",
        f"Left of the cap of {dollars(money['cap_cents'])} this month: {dollars(money['remaining_cents'])}.",
        "Everything of this run that bills has been removed.",
        "",
        f"Report: s3://{bucket}/{run_prefix(document['run'])}report/report.html",
        f"Fetch it: aws s3 cp --recursive s3://{bucket}/{run_prefix(document['run'])}report/ report/",
    ]
    return "\n".join(lines)
