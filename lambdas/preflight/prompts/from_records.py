"""The comparison prompts of a run that trains on records: what its held-out records ask, with their own answers as references."""

from __future__ import annotations

from typing import Any

from common.text.prompt_kinds import RECORD
from preflight.prompts.prompt_file import MAXIMUM_PROMPT_BYTES
from preflight.records.record import Record
from preflight.texts.text_file import Document

LIMIT = 20  # as many as are made of held-out text
REFERENCE_CHARACTERS = 2000  # the report shows references beside answers of 64 tokens


def from_records(held_out: list[Document]) -> tuple[list[dict[str, Any]], list[str]]:
    """One record of each of up to twenty held-out groups, and what is to be told of those that are too long to be asked.

    A conversation is asked up to its last answer, as messages that the endpoint's server writes by the model's own template.
    """
    found: list[dict[str, Any]] = []
    long = 0
    for part in held_out:
        fitting = [record for record in part.records if _bytes(record) <= MAXIMUM_PROMPT_BYTES]
        long += not fitting
        if fitting:
            found.append(_prompt(fitting[0], len(found) + 1))
    step = max(1, len(found) // LIMIT)
    told = (
        [
            f"{long} held-out groups are measured but not asked: their prompts have more than {MAXIMUM_PROMPT_BYTES} bytes."
        ]
        if long
        else []
    )
    return found[::step][:LIMIT], told


def _prompt(record: Record, number: int) -> dict[str, Any]:
    named = {"id": f"record-{number}", "kind": RECORD}
    reference = {"reference": record.reference[:REFERENCE_CHARACTERS], "facts": []}
    if record.is_conversation:
        asked = record.messages[:-1]
        shown = "\n\n".join(f"{message['role'].capitalize()}: {message['content']}" for message in asked)
        return {**named, "prompt": shown if len(asked) > 1 else asked[0]["content"], "messages": asked, **reference}
    return {**named, "prompt": record.prompt, **reference}


def _bytes(record: Record) -> int:
    asked = record.texts[:-1]
    return len("\n".join(asked).encode("utf-8", "replace"))
