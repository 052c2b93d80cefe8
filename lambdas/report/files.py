"""The files of a report, written by WriteReport and written again with the final cost when the run is settled."""

from __future__ import annotations

from typing import Any

from common.storage import Storage
from report import card, circumstances, page, pdf


def run_facts(plan: dict[str, Any], reservation: dict[str, Any], event: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the report says of the run itself, from its plan, its reservation and, where it came so far, WriteReport's event."""
    budget = plan["budget"]
    return {
        "run": plan["runName"],
        "domain": plan["domain"],
        "execution_arn": plan["executionArn"],
        "base_model": plan["baseModel"]["name"],
        "base_model_parameters": plan["baseModel"]["parameters"],
        "base_model_source": plan["baseModel"]["weightsUri"],
        "region": plan["region"],
        **circumstances.facts(plan, event),
        "price_source": budget["priceSource"],
        "reserved_cents": reservation["reservedCents"],
        "cap_cents": reservation["capCents"],
        "month": budget["months"][0],
        "clamped": budget["clamped"],
        "started_at": plan["startedAt"],
        "input": plan["input"],
        "corpus_words": plan["corpus"]["words"],
        "warnings": plan["warnings"],
        "report_uri": plan["report"]["uri"],
        "console_url": f"https://{plan['region']}.console.aws.amazon.com/states/home?region={plan['region']}#/v2/executions/details/{plan['executionArn']}",
    }


def console_url(region: str, bucket: str, prefix: str) -> str:
    """Where a person sees the report's folder in the S3 console."""
    return f"https://{region}.console.aws.amazon.com/s3/buckets/{bucket}?region={region}&prefix={prefix}"


def write(storage: Storage, prefix: str, document: dict[str, Any]) -> None:
    """Renders a summary into every form of the report. The PDF and the card need measurements, so a failed run has none."""
    storage.write_json(f"{prefix}summary.json", document)
    storage.write(f"{prefix}report.html", page.render(document), "text/html; charset=utf-8")
    storage.write(f"{prefix}report.pdf", pdf.render(document), "application/pdf")
    if document.get("heldout"):
        storage.write(f"{prefix}MODEL_CARD.md", card.render(document), "text/markdown; charset=utf-8")
