"""What a run with the settings of cdk.json is expected to take and to cost, before an account is asked anything: `make estimate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from common import estimate
from common.cards import Card, card_of, serving_bytes, training_memory
from common.errors import PriceUnknown
from common.ledger.ledger import dollars
from common.pricing.prices import Price, pinned
from common.text.tokens import MOST_PER_WORD
from operations.costs import clock_time, expected_run, shape_in, tokens_learnt, worst_case_of
from operations.data.texts import DATA
from preflight import larger
from preflight.records import reading
from stacks.configuration.serving import MOST_TOKENS_SERVED
from stacks.configuration.settings import Settings


def of(settings: Settings, corpora: Sequence[Path], seeds: int = 1) -> str:
    """Tokens, seconds of each phase, dollars and memory, each with its source, of a run with so many seeds.

    Raises OSError for a file that cannot be read, and DatasetRejected for records that Preflight would refuse.
    """
    words = sum(_words(path) for path in corpora or [DATA / f"{settings.domain}dataset.txt"])
    words = min(words, settings.corpus_words) if settings.corpus_words else words
    kind = settings.training_instance_type[0]
    prompts = DATA / f"{settings.domain}prompts.jsonl"
    asked = sum(1 for line in prompts.read_text("utf-8").splitlines() if line.strip()) if prompts.is_file() else 0
    tokens, count = tokens_learnt(settings, words), settings.training_instance_count
    run = expected_run(settings, tokens, asked * (1 + settings.samples_per_prompt), seeds)
    lines = [
        f"{settings.model.name} on {f'{count} x ' if count > 1 else ''}{kind}, {words:,} words",
        _line("tokens", f"{tokens:,}", _counted(settings)),
        *(_phase(phase) for phase in (*run.training, *run.endpoint)),
        *_cost(settings, run),
        *_memory(settings, card_of(kind)),
    ]
    if settings.weights.own:
        lines.append(f"These are the figures of base_model; what lies at {settings.weights.uri} is read by Preflight.")
    return "\n".join(lines)


def _words(path: Path) -> int:
    """What is learnt from or read before it: of records their texts, and not the file's own marks and names."""
    if not reading.are_records(path.name):
        return len(path.read_text("utf-8").split())
    records, _ = reading.read(path.read_bytes(), path.name, {}, "record")
    return sum(len(record.text.split()) for record in records)


def _line(name: str, figure: str, source: str) -> str:
    return f"{name:24} {figure:>9}   {source}"


def _phase(phase: estimate.Phase) -> str:
    return _line(phase.name, "not known" if phase.seconds is None else f"{phase.seconds:,} s", phase.source)


def _cost(settings: Settings, run: estimate.Estimate) -> list[str]:
    try:
        training, hosting = (_price(settings, use) for use in ("Training", "Hosting"))
        worst = worst_case_of(settings)
    except PriceUnknown as error:
        return [_line("cost", "not known", str(error))]
    rank = larger.checkpoint_rank(shape_in(settings), settings.lora_rank)
    cents = run.cents(training, hosting, rank, settings.checkpoint_minutes)
    times = [clock_time(seconds) for seconds in (run.training_seconds, run.endpoint_seconds) if seconds is not None]
    expected = "not known" if cents is None else dollars(cents)
    said = f"{' of training, '.join(times)} of endpoint" if len(times) == 2 else "a phase of it is not known"
    return [
        _line("expected", expected, f"{said}; {training.source}"),
        _line("worst case", dollars(worst), "what is reserved before anything starts"),
    ]


def _price(settings: Settings, use: str) -> Price:
    types = settings.training_instance_type if use == "Training" else settings.hosting_instance_type
    return pinned(settings.region, types[0], use)


def _memory(settings: Settings, card: Card | None) -> list[str]:
    shape, hosting = shape_in(settings), card_of(settings.hosting_instance_type[0])
    lines = []
    if card:
        memory = training_memory(shape, settings.lora_rank, settings.sequence_length, card)
        how, fits = "4" if memory.quantised else "16", "fits" if memory.fits else "does not fit"
        source = f"in {how} bits; {fits} the {card.name} ({card.gigabytes} GB); the plan of training/model/memory.py"
        lines.append(_line("to train", _gigabytes(memory.needed_bytes), source))
    if hosting:
        needed = serving_bytes(shape, settings.lora_rank, min(settings.model.context_tokens, MOST_TOKENS_SERVED))
        fits = "fits" if needed <= hosting.served_bytes else "does not fit"
        source = f"{fits} the {_gigabytes(hosting.served_bytes)} that the server may use of the {hosting.name}; reckoned, not measured"
        lines.append(_line("to serve", _gigabytes(needed), source))
    source = "of weights, which pass through the instance's own memory a file at a time; not measured"
    return [*lines, _line("host", _gigabytes(settings.model.weights_bytes), source)]


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB"


def _counted(settings: Settings) -> str:
    passes = "1 pass" if settings.epochs == 1 else f"{settings.epochs} passes"
    return f"{passes}, {MOST_PER_WORD} a word: the densest text counted in tokens of Llama 2 (make tokens); larger vocabularies need fewer"
