"""Whether the base model and the settings can take the records: its chat template, and how long a training sequence is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from common.environment import RunSettings
from common.errors import ChatTemplateMissing, DatasetRejected
from common.text import words
from common.text.tokens import estimated_tokens
from preflight.model import Model
from preflight.records.record import Record
from preflight.texts.text_file import Document

SPLIT, REFUSE = "split", "refuse"
_SHOWN = 8


def look(
    training: Sequence[Document], model: Model, settings: RunSettings, attempt: Callable[[Callable[[], Any]], Any]
) -> list[str]:
    """What is to be told of a run's records, nothing for running text; `attempt` gets the faults, ChatTemplateMissing and DatasetRejected."""
    records = [record for part in training for record in part.records]
    if any(record.is_conversation for record in records):
        attempt(lambda: _refuse_without_template(model))
    told = attempt(lambda: _long(records, settings.sequence_length, settings.long_records)) if records else ""
    return [told] if told else []


def _refuse_without_template(model: Model) -> None:
    if not model.has_chat_template:
        raise ChatTemplateMissing(
            f"The records are conversations, and {model.name} has no chat template to write them by. Set base_model to a chat model such as "
            "llama-2-7b-chat or qwen-2.5-7b-instruct and deploy, or give records with prompt and completion."
        )


def _long(records: list[Record], sequence_length: int, setting: str) -> str:
    """What is to be told of long records, in which words tell how far; training counts them exactly.

    Raises DatasetRejected where they are to be refused and have more words than a sequence has tokens: each word is one at least.
    """
    sizes = {record.id: words.count(record.text) for record in records}
    certain = [record for record in records if sizes[record.id] > sequence_length]
    if certain and setting == REFUSE:
        raise DatasetRejected(
            f"{len(certain)} records are longer than sequence_length, {sequence_length} tokens (line {_lines(certain)}). Raise sequence_length, shorten "
            'them, or set long_records to "split".'
        )
    likely = [record for record in records if estimated_tokens(sizes[record.id]) > sequence_length]
    if not likely:
        return ""
    then = (
        "The training job ends with their names if they are"
        if setting == REFUSE
        else "They are split; every token of their answers is learnt, with half a sequence before it"
    )
    return (
        f"{len(likely)} of {len(records)} records may be longer than sequence_length, {sequence_length} tokens (line {_lines(likely)}). {then} "
        "(long_records), and the report has their number."
    )


def _lines(records: list[Record]) -> str:
    return ", ".join(str(record.line) for record in records[:_SHOWN]) + (" and others" if len(records) > _SHOWN else "")
