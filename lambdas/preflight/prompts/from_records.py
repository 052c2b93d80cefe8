"""The comparison prompts of a run that trains on records: what its held-out records ask, with their own answers as references."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from common.errors import PromptsRejected
from common.text.prompt_kinds import RECORD
from preflight.prompts.prompt_file import MAXIMUM_PROMPT_BYTES, can_be_asked
from preflight.records.record import Record
from preflight.texts.text_file import Document

LIMIT = 20  # as many as are made of held-out text
REFERENCE_CHARACTERS = 2000  # the report shows references beside answers of 64 tokens


def from_records(held_out: list[Document]) -> tuple[list[dict[str, Any]], list[str]]:
    """Up to twenty held-out records, taken in turn from their groups, and what is to be told of those that are too long to be asked.

    A conversation is asked up to its last answer, as messages that the endpoint's server writes by the model's own template.
    Raises PromptsRejected where none is short enough.
    """
    fitting = [[record for record in part.records if can_be_asked(_asked(record))] for part in held_out]
    turns = [
        record
        for turn in zip_longest(*_spread([group for group in fitting if group]))
        for record in turn
        if record is not None
    ]
    long = sum(len(part.records) for part in held_out) - sum(map(len, fitting))
    if not turns:
        raise PromptsRejected(
            f"Every held-out record has a prompt of more than {MAXIMUM_PROMPT_BYTES:,} bytes, so none can be asked. Give `prompts` of your own."
        )
    told = (
        [
            f"{long} held-out records are measured but not asked: their prompts have more than {MAXIMUM_PROMPT_BYTES:,} bytes."
        ]
        if long
        else []
    )
    return [_prompt(record, number) for number, record in enumerate(turns[:LIMIT], 1)], told


def _spread(groups: list[list[Record]]) -> list[list[Record]]:
    """Where there are more groups than are asked, those from all over the file."""
    step = max(1, len(groups) // LIMIT)
    return groups[::step]


def _prompt(record: Record, number: int) -> dict[str, Any]:
    named = {"id": f"record-{number}", "kind": RECORD}
    reference = {"reference": record.reference[:REFERENCE_CHARACTERS], "facts": []}
    if record.is_conversation:
        asked = record.messages[:-1]
        shown = "\n\n".join(f"{message['role'].capitalize()}: {message['content']}" for message in asked)
        return {**named, "prompt": shown if len(asked) > 1 else asked[0]["content"], "messages": asked, **reference}
    return {**named, "prompt": record.prompt, **reference}


def _asked(record: Record) -> str:
    return "\n".join(record.texts[:-1])
