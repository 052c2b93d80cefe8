"""The files of a report: the corpus that is looked through for it, and every form in which WriteReport and FinishReport write it."""

from __future__ import annotations

from typing import Any

from common.contracts import run_folder
from common.storage import Storage
from report import render
from report.summary_types import Summary


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
