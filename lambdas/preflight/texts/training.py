"""The training and held-out part of a run, read and checked: running text, or records."""

from dataclasses import dataclass, field, replace
from typing import Any

from common import records as reader
from common.errors import ChatTemplateMissing, DatasetRejected, HeldOutLeaks
from common.records import Record, RecordsFaulty
from common.settings import REFUSE
from common.text import MINIMUM_DOCUMENTS, count_words, encoded, estimated_tokens, listed
from preflight.model import Model
from preflight.request import Request
from preflight.settings import RunSettings
from preflight.texts import held_out as holding
from preflight.texts import personal_data, text_file
from preflight.texts.forms import DOCUMENTS, EXPECTED
from preflight.texts.held_out import WANTED_GROUPS, Known, Overlap
from preflight.texts.text_file import Document, Files

# With fewer distinct ones there are not six groups to hold out and six to learn from.
MINIMUM_GROUPS = 2
# Where only a part of the domain's corpus is learned, half as many words of its held-out text are measured, and at least so many: with
# the project's own documents of some 290 words, 14 of them.
LEAST_HELD_OUT_WORDS = 4000
MOST_RECORD_BYTES = 2**20  # a longer one is a file in a line, and all of it would stand on one side of the split
ALIKE = "Passages of one document resemble each other, so the true interval is wider than the one shown."


@dataclass
class Material:
    """The checked texts and prompts of a run, the word runs of the training text, and warnings."""

    training: list[Document]
    held_out: list[Document]
    overlap: Overlap
    words: int
    warnings: list[str]
    control: list[Document] = field(default_factory=list)
    outside: list[Document] = field(default_factory=list)
    scale: list[Document] = field(default_factory=list)  # what chooses the adapter scale
    scale_by_control: bool = False  # whether that is control text, and not text by others
    outside_told: str = ""  # what the plan and the report say of the outside text, or that there is none
    prompts: list[dict[str, Any]] = field(default_factory=list)
    choices: list[dict[str, Any]] = field(default_factory=list)  # prompts that are scored with their ends
    note: str = ""  # what the corpus says of itself, for the report
    described: str = ""  # the form of its rows; "" for running text


def too_few(held_out: list[Document], what: str, way_out: str) -> list[str]:
    """A warning where there are too few documents for a verdict."""
    if len(held_out) >= MINIMUM_DOCUMENTS:
        return []
    return [
        f"Only {len(held_out)} {what}: with fewer than {MINIMUM_DOCUMENTS} the verdict is always “not shown”. {way_out}"
    ]


def _learned(parts: list[Document], files: Files, name: str) -> tuple[list[Document], list[str]]:
    """Whole documents from all over a corpus, as many as a run may learn, and a warning where its time is too short for all."""
    size = sum(len(encoded(part.text)) for part in parts)
    if size <= files.corpus_bytes:
        return text_file.part(parts, files.corpus_words), []
    if len(parts) < holding.WHOLE_DOCUMENTS and not parts[0].records:
        parts = holding.blocks(text_file.as_text(parts))
    fitting = sum(count_words(part.text) for part in parts) * files.corpus_bytes // size
    taken = text_file.part(parts, min(fitting, files.corpus_words or fitting))
    return taken, [
        f"{name} has {size / 2**20:,.1f} MiB of text, more than this run can train on in its time (max_training_seconds, epochs). It trains on "
        f"{len(taken):,} of {len(parts):,} documents or passages, spread over the file."
    ]


def read(files: Files, request: Request, measured: list[Document]) -> Material | None:
    """The training and held-out part of a run. Raises DatasetRejected."""
    form = files.form(request.corpus, text_file.MOST_CORPUS_BYTES, request.columns)
    described = files.parsed[request.corpus].described if request.corpus and form else ""
    material = (from_text if form in (None, DOCUMENTS) else from_records)(files, request, measured)
    return replace(material, described=described) if material else None


def from_text(files: Files, request: Request, measured: list[Document]) -> Material | None:
    """The parts of a text, with other texts that are `measured`; None where `files` kept a fault. Raises DatasetRejected."""
    name, given_name = files.name(request.corpus, "dataset.txt"), files.name(request.held_out, "heldout.txt")
    most, least = text_file.MOST_CORPUS_BYTES, text_file.MINIMUM_HELD_OUT_WORDS
    corpus = files.attempt(
        lambda: files.text(request.corpus, "dataset.txt", text_file.MINIMUM_WORDS, most, request.columns)
    )
    given = ""
    if request.corpus is None or request.held_out is not None:
        given = files.attempt(lambda: files.text(request.held_out, "heldout.txt", least, columns=request.columns))
    if corpus is None or given is None:
        return None
    if given:
        whole, held_out = text_file.documents(corpus, "training"), text_file.documents(given, "heldout")
        held_out = held_out if len(held_out) >= MINIMUM_DOCUMENTS else holding.blocks(given)
        if request.held_out is None and files.corpus_words:
            held_out = text_file.part(held_out, max(files.corpus_words // 2, LEAST_HELD_OUT_WORDS))
    else:
        split = holding.split(corpus)
        whole, held_out = split.training, split.held_out
    training, warnings = _learned(whole, files, name)
    overlap = Overlap(map(text_file.titled, training), [given, *(part.text for part in measured)])
    way_out = "Use a longer text, or add documents under `# Title` lines."
    if given:
        files.attempt(lambda: overlap.refuse(given_name, given))
    elif split.shared:
        kind = "passages" if holding.are_passages(whole) else "documents"
        way_out = "Remove the repeated text, or upload a separate `heldOut` text."
        told = f"{split.shared:,} of {split.candidates:,} {kind} of {name} share eight words in a row with another one, for example “{split.phrase}”"
        if not held_out:
            raise HeldOutLeaks(f"{told}, so none can be held out. {way_out}")
        warnings.append(f"{told}. The run trains on them, and holds out others.")
    once = holding.different(held_out)
    if len(once) < len(held_out):
        repeated = len(held_out) - len(once)
        warnings.append(f"{repeated} held-out documents repeat another one; each is measured once.")
    few = too_few(once, "held-out documents", way_out)
    if not few and holding.are_passages(once):
        why = "The text has too few documents under `# Title` lines"
        if len(text_file.documents(corpus, "training")) >= holding.WHOLE_DOCUMENTS:
            why = "Too few documents have no text in common with another one"
        few = [f"{why}, so it was cut into passages, of which {len(once)} are held out and count as documents. {ALIKE}"]
    total = sum(count_words(text_file.titled(part)) for part in training)
    return Material(training, once, overlap, total, warnings + few, note=text_file.note(corpus))


def from_records(files: Files, request: Request, measured: list[Document]) -> Material | None:
    """The same of a file of records."""
    name, given_name = request.corpus or "", request.held_out or ""
    most, least = text_file.MOST_CORPUS_BYTES, text_file.MINIMUM_HELD_OUT_WORDS
    corpus = files.attempt(lambda: _read(files, request, name, "record", text_file.MINIMUM_WORDS, most))
    given: Any = ([], [])
    if given_name:
        given = files.attempt(lambda: _read(files, request, given_name, "heldout", least, text_file.MOST_BYTES))
    if corpus is None or given is None:
        return None
    whole, held_out, warnings = holding.groups(corpus[0]), holding.groups(given[0]), corpus[1] + given[1]
    if not held_out and len(whole) < MINIMUM_GROUPS:
        raise DatasetRejected(
            f"All records of {name} belong to one group, so none can be held out. Name another group column in `columns`, or upload `heldOut` records."
        )
    parts = whole
    if not given_name:
        parts, held_out = holding.split_groups(whole)
    training, told = _learned(parts, files, name)
    warnings += told
    known = Known(training, held_out)
    if given_name:
        files.attempt(lambda: _refuse_leaks(whole, held_out, known, given_name))
    else:
        kept = [part for part in held_out if not any(map(known.holds, part.records))]
        if not kept:
            given_away = [record for part in held_out for record in part.records if known.holds(record)]
            raise HeldOutLeaks(
                f"Every held-out group of {name} has a record ({_lines(given_away)}) that repeats a training record, so its loss would prove nothing. "
                "Give related records the same group, or upload separate `heldOut` records."
            )
        if len(kept) < len(held_out):
            warnings.append(
                f"{len(held_out) - len(kept)} of {len(held_out)} held-out groups are left out, because one of their records repeats a training record."
            )
        held_out = kept
    if len(held_out) > holding.MOST_GROUPS:
        warnings.append(
            f"{holding.MOST_GROUPS} of the {len(held_out)} held-out groups are measured, which is enough for any interval."
        )
        held_out = holding.first_groups(held_out, holding.MOST_GROUPS)
    way_out = f"Add records, or more groups: with {2 * WANTED_GROUPS} groups or more, {WANTED_GROUPS} are held out."
    warnings += too_few(held_out, "held-out groups of records", way_out)
    overlap = Overlap((part.text for part in training), (part.text for part in measured))
    return Material(training, held_out, overlap, sum(count_words(part.text) for part in training), warnings)


def _refuse_leaks(corpus: list[Document], held_out: list[Document], known: Known, name: str) -> None:
    """Raises DatasetRejected for held-out records of another kind than the corpus, HeldOutLeaks for what the corpus gives away."""
    if len({record.is_conversation for part in (*corpus, *held_out) for record in part.records}) > 1:
        raise DatasetRejected(
            f"`corpus` and {name} contain records of different kinds. Use conversations for both, or prompts with completions for both."
        )
    leaks = []
    named = {part.id for part in corpus if part.records[0].named_group}
    if both := [part.id for part in held_out if part.records[0].named_group and part.id in named]:
        leaks.append(
            f"{len(both)} group{'s have' if len(both) > 1 else ' has'} records in `corpus` and in `heldOut`: {listed(map(personal_data.shown, both))}. "
            "Move all records of a group to one file, or omit `heldOut`, so that Captune holds out whole groups."
        )
    if given_away := [record for part in held_out for record in part.records if known.holds(record)]:
        leaks.append(
            f"{len(given_away)} of the held-out records of {name} ({_lines(given_away)}) repeat a training record, or more than half of their answer "
            "occurs in training answers, so their loss would prove nothing. Remove them from one of the files."
        )
    if leaks:
        raise HeldOutLeaks(" ".join(leaks))


def _read(
    files: Files, request: Request, key: str, prefix: str, minimum_words: int, most_bytes: int
) -> tuple[list[Record], list[str]]:
    """The different records of a file, and warnings. Raises DatasetRejected and PatientDataSuspected."""
    rows = files.rows(key, most_bytes, request.columns)
    if rows.are_documents:
        raise DatasetRejected(
            f"{key} contains {rows.form.label}, but `corpus` contains records. Use records for both, or text for both."
        )
    try:
        records = reader.read(rows.rows, rows.read_as, rows.columns, prefix, personal_data.shown)
    except RecordsFaulty as fault:
        raise DatasetRejected(f"{fault}. {EXPECTED}") from None
    said = ((one.line, text) for one in records for text in (one.id, one.group, *one.texts))
    personal_data.refuse_patient_data_in(said, rows.called, personal_data.LEARNT)
    kept = holding.different_records(records)
    if long := [record for record in kept if len(encoded(record.text)) > MOST_RECORD_BYTES]:
        raise DatasetRejected(
            f"{key} has records of more than {MOST_RECORD_BYTES // 2**20} MiB ({_lines(long)}). Use a .txt file for such text, or split it into records."
        )
    total = sum(count_words(record.text) for record in kept)
    if total < minimum_words:
        raise DatasetRejected(
            f"{key} has {total:,} words in {len(kept)} records, and needs at least {minimum_words:,}. Add records."
        )
    warnings = []
    if rows.unused:
        warnings.append(f"Unused columns of {key}: {listed(map(personal_data.shown, rows.unused))}.")
    if repeated := len(records) - len(kept):
        warnings.append(f"{repeated} records of {key} repeat another one; each is used once.")
    return kept, warnings


def refuse_unlearnable_records(training: list[Document], model: Model, settings: RunSettings) -> list[str]:
    """Warnings about long records, estimated from their words; training counts their tokens exactly.

    Raises ChatTemplateMissing for conversations that the base model has no chat template for, and DatasetRejected where long records are
    to be refused and have more words than a sequence has tokens: each word is one at least.
    """
    if not model.has_chat_template and any(record.is_conversation for part in training for record in part.records):
        raise ChatTemplateMissing(
            f"The records are conversations, but {model.name} has no chat template. Set base_model in cdk.json to a chat model such as "
            "llama-2-7b-chat or qwen-2.5-7b-instruct and run make deploy, or upload records with prompt and completion."
        )
    sizes = {record: count_words(record.text) for part in training for record in part.records}
    most = settings.sequence_length
    certain = [record for record, size in sizes.items() if size > most]
    if certain and settings.long_records == REFUSE:
        raise DatasetRejected(
            f"{len(certain)} records are longer than sequence_length, {most} tokens ({_lines(certain)}). Shorten them. Or raise sequence_length, or set "
            'long_records to "split", in cdk.json, and run make deploy.'
        )
    likely = [record for record, size in sizes.items() if estimated_tokens(size) > most]
    if not likely:
        return []
    then = (
        "If they are, the training job fails and lists them"
        if settings.long_records == REFUSE
        else "Captune splits them, and trains on every token of their answers with half a sequence as context"
    )
    return [
        f"{len(likely)} of {len(sizes)} records may be longer than sequence_length, {most} tokens ({_lines(likely)}). {then} (long_records). The "
        "report shows their number."
    ]


def _lines(records: list[Record]) -> str:
    return f"line {listed(str(record.line) for record in records)}"
