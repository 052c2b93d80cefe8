"""Prompts for a run that came without any: sentences of its held-out text, or what its held-out records ask."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from common.errors import PromptsRejected
from common.records import Record
from common.text import words
from common.text.prompt_kinds import RECORD
from preflight.prompts.prompt_file import MAXIMUM_PROMPT_BYTES, can_be_asked
from preflight.texts.holding_out import SENTENCE_END
from preflight.texts.text_file import Document

LIMIT = 20
# A shorter sentence says too little to go on with, a longer one is a table or a list more often than not.
SENTENCE_WORDS = range(6, 41)
REFERENCE_CHARACTERS = 2000  # the report shows references beside answers of 64 tokens


def from_text(held_out: list[Document]) -> tuple[list[dict[str, Any]], list[str]]:
    """The first whole sentence of up to twenty held-out documents from all over the text, and what is to be told: nothing.

    They have no key facts: only the answers are shown. Raises PromptsRejected where no document has one.
    """
    found = list(dict.fromkeys(filter(None, map(_first_sentence, held_out))))
    if not found:
        raise PromptsRejected(
            f"No document of the held-out text has a sentence of {SENTENCE_WORDS.start} to {SENTENCE_WORDS.stop - 1} words to be asked. Give `prompts` of your own."
        )
    chosen = found[:: max(1, len(found) // LIMIT)][:LIMIT]
    made = [
        {"id": f"opening-{number}", "kind": "starter", "prompt": sentence, "facts": []}
        for number, sentence in enumerate(chosen, 1)
    ]
    return made, []


def _first_sentence(document: Document) -> str:
    """The first sentence of a document that can be asked, on one line; "" where there is none."""
    for paragraph in document.text.split("\n\n"):
        start = 0
        line = " ".join([*paragraph.split(), ""])
        for end in SENTENCE_END.finditer(line):
            sentence, start = line[start : end.start()], end.end()
            if words.count(sentence) in SENTENCE_WORDS and can_be_asked(sentence):
                return sentence
    return ""


def from_records(held_out: list[Document]) -> tuple[list[dict[str, Any]], list[str]]:
    """Up to twenty held-out records, taken in turn from their groups, and what is to be told of those that are too long to be asked.

    A conversation is asked up to its last answer, as messages that the endpoint's server writes by the model's own template.
    Raises PromptsRejected where none is short enough.
    """
    fitting = [[one for one in part.records if can_be_asked("\n".join(one.texts[:-1]))] for part in held_out]
    # Where there are more groups than are asked, those from all over the file.
    groups = [group for group in fitting if group]
    turns = zip_longest(*groups[:: max(1, len(groups) // LIMIT)])
    asked = [record for turn in turns for record in turn if record is not None]
    if not asked:
        raise PromptsRejected(
            f"Every held-out record has a prompt of more than {MAXIMUM_PROMPT_BYTES:,} bytes, so none can be asked. Give `prompts` of your own."
        )
    long = sum(len(part.records) for part in held_out) - sum(map(len, fitting))
    told = f"{long} held-out records are measured but not asked: their prompts have more than {MAXIMUM_PROMPT_BYTES:,} bytes."
    return [_prompt(record, number) for number, record in enumerate(asked[:LIMIT], 1)], [told] if long else []


def _prompt(record: Record, number: int) -> dict[str, Any]:
    named = {"id": f"record-{number}", "kind": RECORD}
    reference = {"reference": record.reference[:REFERENCE_CHARACTERS], "facts": []}
    if record.is_conversation:
        asked = record.messages[:-1]
        shown = "\n\n".join(f"{message['role'].capitalize()}: {message['content']}" for message in asked)
        return {**named, "prompt": shown if len(asked) > 1 else asked[0]["content"], "messages": asked, **reference}
    return {**named, "prompt": record.prompt, **reference}
