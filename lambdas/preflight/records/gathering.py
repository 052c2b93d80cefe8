"""The training and held-out records of a run, read and checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from common.errors import DatasetRejected, HeldOutLeaks
from common.text import words
from preflight.records import apart, reading
from preflight.records.record import Record
from preflight.request import Request
from preflight.texts import holding_out, text_file
from preflight.texts.files import Files
from preflight.texts.overlap import Overlap
from preflight.texts.text_file import Document
from preflight.texts.training_text import Texts

# With fewer distinct ones there are not six groups to hold out and six to learn from.
MINIMUM_GROUPS = 2
_DISTINCT_SHARE = 0.5


def gather(
    files: Files, request: Request, corpus_words: int, attempt: Callable[[Callable[[], Any]], Any]
) -> Texts | None:
    """Training and held-out records; None where `attempt` kept a fault."""
    assert request.corpus is not None, "records are a file of the user's"
    given = request.held_out
    corpus = attempt(lambda: _read(files, request, request.corpus or "", "record", text_file.MINIMUM_WORDS))
    held = (
        attempt(lambda: _read(files, request, given or "", "heldout", text_file.MINIMUM_HELD_OUT_WORDS))
        if given
        else None
    )
    if corpus is None or (given and held is None):
        return None
    records, warnings = corpus
    parts = apart.groups(records)
    if held is None:
        if attempt(lambda: _refuse_one_group(parts, request.corpus or "")) is None:
            return None
        training, held_out = apart.split(parts)
    else:
        training, held_out = parts, apart.groups(held[0])
        warnings += held[1]
    training = text_file.part(training, corpus_words)
    known = apart.Known(training)
    if held is None:
        kept = [part for part in held_out if not any(known.holds(record) for record in part.records)]
        if not kept:
            attempt(lambda: _refuse_all_known(request.corpus or ""))
            return None
        if len(kept) < len(held_out):
            warnings.append(
                f"{len(held_out) - len(kept)} of {len(held_out)} held-out groups are neither learnt nor measured: a training record says what one of theirs says."
            )
        held_out = kept
    else:
        attempt(lambda: _refuse_mixture(training, held_out, given or ""))
        attempt(lambda: apart.refuse_shared_groups(parts, held_out))
        attempt(lambda: apart.refuse_known(held_out, known, given or ""))
    if len(held_out) > apart.MOST_GROUPS:
        measured = apart.first(held_out, apart.MOST_GROUPS)
        warnings.append(
            f"Of the {len(held_out)} held-out groups {apart.MOST_GROUPS} are measured, which are enough for any interval."
        )
        held_out = [part for part in held_out if part.id in measured]
    if len(held_out) < holding_out.MINIMUM_DOCUMENTS:
        warnings.append(
            f"Only {len(held_out)} held-out groups of records: with fewer than {holding_out.MINIMUM_DOCUMENTS} the verdict is always “not shown”. Give "
            f"more records, or more groups; from {2 * apart.WANTED_GROUPS} groups on, {apart.WANTED_GROUPS} are held out."
        )
    total = sum(words.count(part.text) for part in training)
    return Texts(training, held_out, Overlap("\n\n".join(part.text for part in training)), warnings, total)


def _read(files: Files, request: Request, key: str, prefix: str, minimum_words: int) -> tuple[list[Record], list[str]]:
    """The different records of a file. Raises DatasetRejected where there is too little in them."""
    records, warnings = reading.read(files.content(key, ""), key, request.columns, prefix)
    kept, repeated = apart.different(records)
    if len(kept) < _DISTINCT_SHARE * len(records):
        raise DatasetRejected(
            f"{key} repeats itself: of its {len(records)} records only {len(kept)} differ. Remove the repetitions."
        )
    if repeated:
        warnings.append(f"{repeated} records of {key} say what another one says; each is taken once.")
    total = sum(words.count(record.text) for record in kept)
    if total < minimum_words:
        raise DatasetRejected(
            f"{key} has {total} words in {len(kept)} records; at least {minimum_words} are needed. Add more records."
        )
    return kept, warnings


def _refuse_one_group(parts: list[Document], name: str) -> bool:
    if len(parts) < MINIMUM_GROUPS:
        raise DatasetRejected(
            f"All records of {name} are of one group, so none can be held out. Name a column that tells them apart in `columns`, or give `heldOut`."
        )
    return True


def _refuse_mixture(training: list[Document], held_out: list[Document], name: str) -> None:
    kinds = {record.is_conversation for part in (*training, *held_out) for record in part.records}
    if len(kinds) > 1:
        raise DatasetRejected(
            f"`corpus` and {name} hold records of different kinds: give conversations for both, or prompts with completions for both."
        )


def _refuse_all_known(name: str) -> None:
    raise HeldOutLeaks(
        f"Every group of {name} that was to be held out says what a training record says, so its loss would prove nothing. Give records that belong "
        "together the same group, or `heldOut` records of their own."
    )
