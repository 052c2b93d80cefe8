"""Outside text: text of the corpus's field that others wrote, measured beside the held-out text and never trained on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common.errors import DatasetRejected, HeldOutLeaks
from common.text import words
from preflight.texts import holding_out, personal_data, text_file
from preflight.texts.overlap import Overlap
from preflight.texts.text_file import Document

PREFIX = "outside"
LINES = ".jsonl"  # one document a line; every other text is split at its `# Title` lines
# Scored twice, before and after: some 150,000 tokens of Llama 2, or two minutes of the ten that every run has at least, at the 1,190 tokens a
# second that were seen in training on ml.g5.2xlarge. Scoring alone is quicker.
MAXIMUM_WORDS = 50_000
_FORM = 'Write each line as {"id": "…", "title": "…", "text": "…"}; only `text` must be there.'
_SHOWN = 5
NONE_GIVEN = (
    "No outside text was given (input key `heldOutside`): the verdict is about held-out documents of the same corpus and says nothing "
    "about text of the field that others wrote."
)


@dataclass(frozen=True)
class Outside:
    """The checked documents, the sentence that the plan and the report tell of them, and what is to be told beforehand."""

    documents: list[Document]
    told: str
    warnings: tuple[str, ...] = ()


def read(content: bytes, name: str) -> list[Document]:
    """The documents of a file of outside text. Raises DatasetRejected or PatientDataSuspected, as for held-out text, naming the line."""
    if not name.endswith(LINES):
        return text_file.documents(text_file.checked(content, name, text_file.MINIMUM_HELD_OUT_WORDS), PREFIX)
    text = text_file.decode(content, name)
    parts = [_document(line, number, name) for number, line in enumerate(text.split("\n"), 1)]
    # Line for line as in the file, so that a message names the line that a person has to mend.
    lines = "\n".join(" ".join(f"{part.title}: {part.text}".split()) if part else "" for part in parts)
    text_file.check(lines, name, text_file.MINIMUM_HELD_OUT_WORDS)
    personal_data.refuse_patient_data(lines, name)
    found = [part for part in parts if part]
    personal_data.refuse_patient_data_in(
        [(number, part.id) for number, part in enumerate(parts, 1) if part], name, personal_data.LEARNT
    )
    seen: set[str] = set()
    for number, part in enumerate(parts, 1):
        if part and part.id in seen:
            raise DatasetRejected(
                f"{name}, line {number} repeats the id {personal_data.shown(part.id)}. Give each document an id of its own."
            )
        seen |= {part.id} if part else set()
    return found


def _document(line: str, number: int, name: str) -> Document | None:
    """The document of a line; None for a blank one."""
    if not line.strip():
        return None
    try:
        entry: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DatasetRejected(f"{name}, line {number} is not JSON ({error}). {_FORM}") from None
    if not isinstance(entry, dict) or not isinstance(entry.get("text"), str) or not entry["text"].strip():
        raise DatasetRejected(f"{name}, line {number} has no text. {_FORM}")
    identifier = str(entry.get("id") or f"{PREFIX}-{number:03d}")
    clean = text_file.with_line_ends_of_text
    return Document(clean(identifier), clean(str(entry.get("title") or identifier)), clean(entry["text"]).strip())


def measured(
    found: list[Document],
    name: str,
    overlap: Overlap,
    held_out: list[Document],
    attempt: Callable[[Callable[[], None]], Any],
) -> Outside:
    """What of the outside documents is measured, beside a training text and the held-out documents.

    `attempt` is given HeldOutLeaks where one of them shares eight words in a row with the training text, or is a held-out one: what was
    trained on shows nothing, and what the corpus itself holds apart was not written by others.
    """
    attempt(lambda: _refuse_leaks(found, name, overlap, held_out))
    parts, repeated = holding_out.different(found)
    warnings = [f"{repeated} outside documents say what another one says; each is measured once."] if repeated else []
    kept = text_file.part(parts, MAXIMUM_WORDS)
    told = f"The outside text {name} has {len(parts)} documents"
    if len(kept) < len(parts):
        told += f", of which {len(kept)} from all over it are measured ({MAXIMUM_WORDS:,} words are enough)"
    if len(kept) < holding_out.MINIMUM_DOCUMENTS:
        # A single document of any length is kept whole until here.
        kept = text_file.part(holding_out.blocks(text_file.as_text(kept)), MAXIMUM_WORDS)
        told += f", too few for a verdict, so it was cut into {len(kept)} passages"
        warnings.append(
            f"{name} has fewer than {holding_out.MINIMUM_DOCUMENTS} documents, so it was cut into passages, which count as documents. Passages of one "
            "document are alike, so the interval looks surer than it is."
        )
    if len(kept) < holding_out.MINIMUM_DOCUMENTS:
        warnings.append(
            f"Only {len(kept)} outside documents: with fewer than {holding_out.MINIMUM_DOCUMENTS} the verdict is always “not shown”. Give more of it, "
            "or leave `heldOutside` out."
        )
    total = sum(words.count(part.text) for part in kept)
    return Outside(
        kept, f"{told}; {total:,} words are measured. “Improved” needs a lower loss there too.", tuple(warnings)
    )


def _refuse_leaks(found: list[Document], name: str, overlap: Overlap, held_out: list[Document]) -> None:
    ours = {words.plain(part.text) for part in held_out}
    same = [part for part in found if words.plain(part.text) in ours]
    if same:
        raise HeldOutLeaks(
            f"{_named(same)} of the outside text {name} {'is' if len(same) == 1 else 'are'} held-out text of the run itself. Outside text is what others "
            "wrote: give such text, or leave `heldOutside` out."
        )
    shared = [(part, run[1]) for part in found if (run := overlap.first(part.text))]
    if shared:
        raise HeldOutLeaks(
            f"{_named([part for part, _ in shared])} of the outside text {name} share{'s' if len(shared) == 1 else ''} eight words in a row with the training "
            f"text (“{shared[0][1]}”), so their loss would prove nothing. Take those documents out of {name}, or the passages out of the training text."
        )


def _named(parts: list[Document]) -> str:
    names = ", ".join(f"“{part.title[:60]}”" for part in parts[:_SHOWN])
    more = f" and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else ""
    return f"{'The document' if len(parts) == 1 else 'The documents'} {names}{more}"
