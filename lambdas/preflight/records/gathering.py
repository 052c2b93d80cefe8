"""The training and held-out records of a run, read and checked."""

from __future__ import annotations

from common import records as reader
from common.environment import RunSettings
from common.errors import ChatTemplateMissing, DatasetRejected, HeldOutLeaks
from common.records import Record, RecordsFaulty
from common.text import words
from common.text.tokens import estimated_tokens
from preflight.model import Model
from preflight.records import held_out_split
from preflight.request import Request
from preflight.texts import holding_out, personal_data, text_file
from preflight.texts.files import Files
from preflight.texts.overlap import Overlap
from preflight.texts.text_file import Document
from preflight.texts.training_text import Amount, Attempt, Texts, learned

# With fewer distinct ones there are not six groups to hold out and six to learn from.
MINIMUM_GROUPS = 2
_DISTINCT_SHARE = 0.5
REFUSE = "refuse"  # the value of long_records beside "split"
_SHOWN = 8


def gather(files: Files, request: Request, amount: Amount, attempt: Attempt, measured: list[Document]) -> Texts | None:
    """Training and held-out records; None where `attempt` kept a fault. `measured` are the other texts that the run measures."""
    corpus_name, given_name = request.corpus or "", request.held_out or ""
    corpus = attempt(lambda: _read(files, request, corpus_name, "record", text_file.MINIMUM_WORDS))
    given = None
    if given_name:
        given = attempt(lambda: _read(files, request, given_name, "heldout", text_file.MINIMUM_HELD_OUT_WORDS))
    if corpus is None or (given_name and given is None):
        return None
    records, warnings = corpus
    parts = held_out_split.groups(records)
    if given is None:
        if attempt(lambda: _refuse_one_group(parts, corpus_name)) is None:
            return None
        training, held_out = held_out_split.split(parts)
    else:
        training, held_out = parts, held_out_split.groups(given[0])
        warnings += given[1]
    training, told = learned(training, amount, corpus_name)
    warnings += told
    known = held_out_split.Known(training, held_out)
    if given is None:
        kept = [part for part in held_out if not any(known.holds(record) for record in part.records)]
        if not kept:
            attempt(lambda: _refuse_all_known(corpus_name))
            return None
        if len(kept) < len(held_out):
            warnings.append(
                f"{len(held_out) - len(kept)} of {len(held_out)} held-out groups are neither learned nor measured: a training record says what one of theirs says."
            )
        held_out = kept
    else:
        attempt(lambda: _refuse_mixture(training, held_out, given_name))
        attempt(lambda: held_out_split.refuse_shared_groups(parts, held_out))
        attempt(lambda: held_out_split.refuse_known(held_out, known, given_name))
    if len(held_out) > held_out_split.MOST_GROUPS:
        first = held_out_split.first(held_out, held_out_split.MOST_GROUPS)
        warnings.append(
            f"Of the {len(held_out)} held-out groups {held_out_split.MOST_GROUPS} are measured, which are enough for any interval."
        )
        held_out = [part for part in held_out if part.id in first]
    if len(held_out) < holding_out.MINIMUM_DOCUMENTS:
        warnings.append(
            f"Only {len(held_out)} held-out groups of records: with fewer than {holding_out.MINIMUM_DOCUMENTS} the verdict is always “not shown”. Give "
            f"more records, or more groups; from {2 * held_out_split.WANTED_GROUPS} groups on, {held_out_split.WANTED_GROUPS} are held out."
        )
    overlap = Overlap((part.text for part in training), (part.text for part in measured))
    return Texts(training, held_out, overlap, sum(words.count(part.text) for part in training), warnings)


def _read(files: Files, request: Request, key: str, prefix: str, minimum_words: int) -> tuple[list[Record], list[str]]:
    """The different records of a file, and what is to be told of it. Raises DatasetRejected and PatientDataSuspected."""
    most_bytes = text_file.MOST_CORPUS_BYTES if key == request.corpus else text_file.MOST_BYTES
    text = text_file.decode(files.content(key, "", most_bytes), key)
    try:
        records, unused = reader.read(text, key, request.columns, prefix, personal_data.shown)
    except RecordsFaulty as fault:
        raise DatasetRejected(str(fault)) from None
    said = ((one.line, text) for one in records for text in (one.id, one.group, *one.texts))
    personal_data.refuse_patient_data_in(said, key, personal_data.LEARNT)
    warnings = []
    if unused:
        shown = ", ".join(personal_data.shown(column) for column in unused[:_SHOWN])
        more = " and others" if len(unused) > _SHOWN else ""
        warnings.append(f"Of {key} these columns are not used: {shown}{more}.")
    kept, repeated = held_out_split.different(records)
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


def refuse_without_template(training: list[Document], model: Model) -> None:
    """Raises ChatTemplateMissing for conversations that the base model has no chat template for."""
    if not model.has_chat_template and any(record.is_conversation for part in training for record in part.records):
        raise ChatTemplateMissing(
            f"The records are conversations, and {model.name} has no chat template to write them by. Set base_model to a chat model such as "
            "llama-2-7b-chat or qwen-2.5-7b-instruct and deploy, or give records with prompt and completion."
        )


def long_records(training: list[Document], settings: RunSettings) -> list[str]:
    """What is to be told of long records, in which words tell how far; training counts them exactly.

    Raises DatasetRejected where they are to be refused and have more words than a sequence has tokens: each word is one at least.
    """
    sizes = {record: words.count(record.text) for part in training for record in part.records}
    most = settings.sequence_length
    certain = [record for record, size in sizes.items() if size > most]
    if certain and settings.long_records == REFUSE:
        raise DatasetRejected(
            f"{len(certain)} records are longer than sequence_length, {most} tokens (line {_lines(certain)}). Raise sequence_length, shorten "
            'them, or set long_records to "split".'
        )
    likely = [record for record, size in sizes.items() if estimated_tokens(size) > most]
    if not likely:
        return []
    then = (
        "The training job ends with their names if they are"
        if settings.long_records == REFUSE
        else "They are split; every token of their answers is learned, with half a sequence before it"
    )
    return [
        f"{len(likely)} of {len(sizes)} records may be longer than sequence_length, {most} tokens (line {_lines(likely)}). {then} (long_records), and the "
        "report has their number."
    ]


def _lines(records: list[Record]) -> str:
    return ", ".join(str(record.line) for record in records[:_SHOWN]) + (" and others" if len(records) > _SHOWN else "")
