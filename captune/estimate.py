"""`captune estimate`: the expected time, cost and memory of a run with these settings. No account is asked."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from captune.account import given_settings
from captune.account import settings as settings_of
from captune.costs import allowance_of, clock_time, expected_run, tokens_learnt
from captune.data import DATA
from captune.flags import Region
from captune.flags import Settings as Given
from common import estimate, records
from common.cards import Card, card_of, serving_bytes, training_memory
from common.errors import DatasetRejected, PriceUnknown
from common.ledger.ledger import dollars
from common.pricing.prices import pinned
from common.text import MOST_PER_WORD, count_words
from preflight.model import catalogued, most_bytes_learned, refuse_what_cannot_fit
from preflight.request import Request
from preflight.texts import forms, text_file
from preflight.texts.prompts import is_asked
from rehearsal import user_files
from stacks.configuration.images import MOST_TOKENS_SERVED
from stacks.configuration.settings import Settings
from stacks.definitions import run_settings


def command(
    corpus: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE ...", help="Estimate for these texts (default: the domain's own).", show_default=False
        ),
    ] = None,
    more: Annotated[list[Path] | None, typer.Argument(metavar="FILE", hidden=True)] = None,  # --corpus one.txt two.txt
    given: Given = None,
    region: Region = None,
) -> None:
    """Prints tokens, seconds, dollars and memory, each with its source."""
    settings = settings_of(given_settings(given, region))
    print(describe(settings, [*(corpus or []), *(more or [])]))
    # After the figures, which show by how much it does not fit.
    refuse_what_cannot_fit(
        catalogued(of_run := run_settings(settings)),
        of_run,
        settings.training_instance_type,
        settings.hosting_instance_type,
    )


def describe(settings: Settings, corpora: Sequence[Path]) -> str:
    """Tokens, seconds, dollars and memory of a run, each with its source. Raises what Preflight raises."""
    learnt, of_what = _learnt(settings, corpora or [DATA / f"{settings.domain}dataset.txt"])
    kind = settings.training_instance_type[0]
    prompts = DATA / f"{settings.domain}prompts.jsonl"
    lines = prompts.read_text("utf-8").splitlines() if prompts.is_file() else []
    asked = sum(is_asked(json.loads(line)) for line in lines if line.strip())
    tokens, count = tokens_learnt(settings, learnt), settings.training_instance_count
    run = expected_run(settings, tokens, asked * (1 + settings.samples_per_prompt))
    passes = "1 epoch" if settings.epochs == 1 else f"{settings.epochs} epochs"
    counted = f"{passes}, {MOST_PER_WORD} a word: the densest text counted in tokens of Llama 2 (captune tokens); larger vocabularies need fewer"
    lines = [
        f"{settings.model.name} on {f'{count} x ' if count > 1 else ''}{kind}, {learnt:,} {of_what}",
        _line("tokens", f"{tokens:,}", counted),
        *(
            _line(phase.name, "not known" if phase.seconds is None else f"{phase.seconds:,} s", phase.source)
            for phase in (*run.training, *run.endpoint)
        ),
        *_cost(settings, run),
        *_memory(settings, card_of(kind)),
    ]
    if settings.weights.own:
        lines.append(f"These are the figures of base_model; Preflight reads the weights at {settings.weights.uri}.")
    return "\n".join(lines)


def _learnt(settings: Settings, corpora: Sequence[Path]) -> tuple[int, str]:
    """How many words of these files a run trains on, and a note on the number."""
    contents = {path: user_files.read(path, text_file.MOST_CORPUS_BYTES) for path in corpora}
    size = sum(map(len, contents.values()))
    text_file.refuse_too_large(" with ".join(path.name for path in corpora), size, text_file.MOST_CORPUS_BYTES)
    there = sum(_words(content, path) for path, content in contents.items())
    if there < text_file.MINIMUM_WORDS:
        names = " and ".join(path.name for path in corpora)
        raise DatasetRejected(
            f"A run rejects {names}: it needs at least {text_file.MINIMUM_WORDS:,} words, and {there:,} are there. Give a longer text."
        )
    of_run = run_settings(settings)
    most_bytes = most_bytes_learned(of_run, Request(), catalogued(of_run))
    in_time = there * most_bytes // size if size > most_bytes else there
    if settings.corpus_words and settings.corpus_words < in_time:
        return settings.corpus_words, f"of {there:,} words: corpus_words asks for no more"
    if in_time == there:
        return there, "words"
    return in_time, f"of {there:,} words: a run of this length trains on no more (max_training_seconds, epochs)"


def _words(content: bytes, path: Path) -> int:
    name = path.name.lower()
    if not forms.are_rows(name):
        return count_words(text_file.without_note(text_file.decode(content, str(path))))
    rows = text_file.rows_of(content, name)
    if rows.are_documents:
        return sum(count_words(part.text) for part in text_file.of_rows(rows, "row", 0))
    try:
        return sum(count_words(record.text) for record in records.read(rows.rows, name, rows.columns))
    except records.RecordsFaulty as fault:
        raise DatasetRejected(str(fault)) from None


def _line(name: str, figure: str, source: str) -> str:
    return f"{name:24} {figure:>9}   {source}"


def _cost(settings: Settings, run: estimate.Estimate) -> list[str]:
    try:
        training = pinned(settings.region, settings.training_instance_type[0], "Training")
        hosting = pinned(settings.region, settings.hosting_instance_type[0], "Hosting")
        allowance = allowance_of(settings)
    except PriceUnknown as error:
        return [_line("cost", "not known", str(error))]
    rank = catalogued(run_settings(settings)).checkpoint_rank(settings.lora_rank)
    cents = run.cents(training, hosting, rank, settings.checkpoint_minutes)
    times = [clock_time(seconds) for seconds in (run.training_seconds, run.endpoint_seconds) if seconds is not None]
    expected = "not known" if cents is None else dollars(cents)
    said = f"{' of training, '.join(times)} of endpoint" if len(times) == 2 else "a phase of it is not known"
    reserved = "reserved before anything starts"
    if allowance.clamped:
        shorter = f"{clock_time(allowance.training_seconds)} of training, {clock_time(allowance.deadline_seconds)} of endpoint"
        reserved += f"; the cap pays for no more: the run is shortened to {shorter}"
    return [
        _line("expected", expected, f"{said}; {training.source}"),
        _line("worst case", dollars(allowance.worst.cents), reserved),
    ]


def _memory(settings: Settings, card: Card | None) -> list[str]:
    shape, hosting = settings.model.shape, card_of(settings.hosting_instance_type[0])
    lines = []
    if card:
        memory = training_memory(shape, settings.lora_rank, settings.sequence_length, card)
        how, fits = "4" if memory.quantised else "16", "fits" if memory.fits else "does not fit"
        source = f"in {how} bits; {fits} the {card.name} ({card.gigabytes} GB); the plan of common/memory.py"
        lines.append(_line("to train", _gigabytes(memory.needed_bytes), source))
    if hosting:
        needed = serving_bytes(shape, settings.lora_rank, min(settings.model.context_tokens, MOST_TOKENS_SERVED))
        fits = "fits" if needed <= hosting.served_bytes else "does not fit"
        source = f"{fits} the {_gigabytes(hosting.served_bytes)} that the server may use of the {hosting.name}; computed, not measured"
        lines.append(_line("to serve", _gigabytes(needed), source))
    source = "of weights, which pass through the instance's own memory a file at a time; not measured"
    return [*lines, _line("host", _gigabytes(settings.model.shape.weights_bytes), source)]


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB"
