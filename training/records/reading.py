"""Files of records, one a line."""

from __future__ import annotations

import json
from pathlib import Path

from failure import TrainingFailure
from records.record import Record, of_entry

_DAMAGED = (ValueError, KeyError, TypeError, IndexError)


def read_records(path: Path) -> list[Record]:
    """The records of a .jsonl file. Raises TrainingFailure naming the line that is malformed."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip():
            continue
        problem = ""
        try:
            record = of_entry(json.loads(line))
        except _DAMAGED as error:
            record, problem = None, f" ({type(error).__name__}: {error})"
        if record is None:
            raise TrainingFailure(
                f"{path.name} line {number} is not a record{problem}.",
                'Each line must be {"id": "…", "group": "…"} with "prompt" and "completion", or with "messages".',
            )
        found.append(record)
    return found


def holds_records(path: Path) -> bool:
    """Whether a .jsonl file holds records and not documents, as its first line says."""
    with path.open(encoding="utf-8") as lines:
        first = next((line for line in lines if line.strip()), "")
    try:
        return of_entry(json.loads(first)) is not None
    except _DAMAGED:
        return False
