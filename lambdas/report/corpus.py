"""What a run was trained on, as text: for the longest run of words that an answer has copied from it."""

from __future__ import annotations

from typing import Any

from common.contracts import run_folder
from common.storage import Storage


def read(storage: Storage, prefix: str) -> str:
    """The corpus under a run's prefix; empty where none is left. Raises ValueError for a damaged file."""
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
