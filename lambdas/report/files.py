"""The files of a report: what a run's plan and corpus say for it, and every form in which WriteReport and FinishReport write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.contracts import run_folder
from common.contracts.fine_tuning import ReportEvent
from common.contracts.plan import Plan
from common.storage import Storage
from report import render
from report.content import circumstances
from report.summary_types import Summary, known


def run_facts(
    plan: Plan, reservation: Mapping[str, Any], event: ReportEvent | None = None, trained_by: Plan | None = None
) -> dict[str, Any]:
    """What the report says of the run itself, from its plan, its reservation and, where the run got that far, WriteReport's event.

    `trained_by` is the plan of the run that trained what is served, where that is an earlier one: the report shows losses on its texts.
    """
    budget, model = known(plan.get("budget")), known(plan.get("baseModel"))
    trained_by = trained_by or plan
    return {
        "run": plan.get("runName"),
        # A text of the user's own has no domain, whichever one the deployment is for.
        "domain": None if known(trained_by.get("input")).get("corpus") else trained_by.get("domain"),
        "execution_arn": plan["executionArn"],
        "base_model": model.get("name"),
        "base_model_parameters": model.get("parameters"),
        "base_model_source": model.get("weightsUri"),
        "region": plan.get("region"),
        **circumstances.facts(plan, event, trained_by),
        "price_source": budget.get("priceSource"),
        "reserved_cents": reservation["reservedCents"],
        "cap_cents": reservation["capCents"],
        "month": (budget.get("months") or [None])[0],
        "expected": _expected(known(plan.get("estimate"))),
        "started_at": plan.get("startedAt"),
        "input": plan.get("input"),
        "warnings": [*(plan.get("warnings") or []), *_earlier(plan, trained_by)],
        "report_uri": known(plan.get("report")).get("uri"),
        "console_url": f"https://{plan['region']}.console.aws.amazon.com/states/home?region={plan['region']}#/v2/executions/details/{plan['executionArn']}"
        if plan.get("region")
        else None,
    }


def _earlier(plan: Plan, trained_by: Plan) -> list[str]:
    """What was noted before the earlier run that trained what is served: of its texts, and of its own circumstances."""
    if trained_by is plan:
        return []
    return [f"Of the run that trained the adapter: {warning}" for warning in trained_by.get("warnings") or []]


def _expected(estimate: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the plan expected of the run, as far as it can be compared with what was measured. None where nothing was expected."""
    if not estimate:
        return None
    learning = [phase.get("seconds") for phase in estimate.get("phases") or [] if phase.get("name") == "learn"]
    return {
        "cents": estimate.get("expectedCents"),
        "tokens": estimate.get("tokens"),
        "learning_seconds": learning[0] if learning else None,
    }


def console_url(region: str, bucket: str, prefix: str) -> str:
    """Where a person sees the report's folder in the S3 console."""
    return f"https://{region}.console.aws.amazon.com/s3/buckets/{bucket}?region={region}&prefix={prefix}"


def write(storage: Storage, prefix: str, document: Summary) -> list[str]:
    """Renders a summary into every form of the report, and answers what could not be made, in words; the page always is.

    The model card needs measurements, so a failed run has none. Raises NotDrawn where not even the page can be made.
    """
    storage.write_json(f"{prefix}{run_folder.SUMMARY}", document)
    storage.write(f"{prefix}{run_folder.PAGE}", render.page(document), "text/html; charset=utf-8")
    if document.get("heldout"):
        storage.write(f"{prefix}{run_folder.MODEL_CARD}", render.card(document), "text/markdown; charset=utf-8")
    try:
        storage.write(f"{prefix}{run_folder.PDF}", render.pdf(document), "application/pdf")
    except render.NotDrawn as error:
        return [f"{run_folder.PDF} could not be made, {run_folder.PAGE} says the same: {error}"]
    return []


def corpus(storage: Storage, prefix: str) -> str:
    """The training text under a run's prefix, in which copied words are looked for; empty where none is left. Raises ValueError for a damaged file."""
    text = storage.read(f"{prefix}{run_folder.CORPUS}")
    if text is not None:
        return text.decode("utf-8")
    try:
        return "\n".join(
            part for record in storage.read_lines(f"{prefix}{run_folder.RECORDS}") for part in _texts(record)
        )
    except KeyError as error:
        raise ValueError(f"a record of {run_folder.RECORDS} has no {error}") from error


def _texts(record: dict[str, Any]) -> list[str]:
    if "messages" in record:
        return [str(message["content"]) for message in record["messages"]]
    return [str(record["prompt"]), str(record["completion"])]
