"""`captune costs`: the worst-case cost of each kind of run, by the code that reserves it; and `captune dev prices`."""

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, cast

import typer

from captune import account
from captune.account import Refused
from captune.data import DATA
from captune.flags import Region
from common import clock, estimate
from common.cards import card_of, cards_in
from common.ledger.ledger import Ledger, dollars
from common.memory import sequences_per_step
from common.pricing import prices
from common.pricing.costs import answers_cents, for_runs, looks_bound, standing_cents
from common.pricing.durations import MINIMUM_DEADLINE_SECONDS, MINIMUM_TRAINING_SECONDS, SPOT_WAIT_SECONDS
from common.pricing.prices import dearest, listed, pinned
from common.settings import AUTO
from common.text import estimated_tokens
from preflight import money
from preflight.large_model_allowance import allow
from preflight.model import catalogued
from preflight.texts.outside_text import SCALE_WORDS
from preflight.texts.text_file import without_note
from report.formatting import duration
from stacks.configuration.settings import Settings
from stacks.definitions import run_settings

TABLE = Path(prices.__file__).with_name("prices.json")
_MORE_TYPES = "Add this instance type to the table; may be repeated."
_MORE_REGIONS = "Add this region to the table; may be repeated."
# Noon of a day in the middle of a month, and the last evening of one.
_MIDDLE, _LAST = datetime(2026, 11, 10, 12, tzinfo=UTC), datetime(2026, 11, 30, 20, tzinfo=UTC)
_EMPTY_LEDGER = cast(Ledger, SimpleNamespace(committed_cents=lambda month, cap_cents: 0, damaged=lambda months: []))


def command() -> None:
    """Prints the table."""
    print(table())


def table() -> str:
    """The worst case of each kind of run with the default settings, as a table in Markdown."""
    settings = Settings()
    training, deadline = settings.max_training_seconds, settings.endpoint_deadline_minutes * 60
    usual, at_the_end = _worst(training, deadline), _worst(training, deadline, _LAST)
    spot = _worst(training, deadline, settings=dataclasses.replace(settings, spot=True))
    least = _worst(MINIMUM_TRAINING_SECONDS, MINIMUM_DEADLINE_SECONDS)
    rows = [
        _typical(settings),
        (
            "the worst case, reserved before anything starts",
            f"{dollars(usual.worst.cents)} ({dollars(at_the_end.worst.cents)} across a month's end)",
            f"{clock_time(usual.worst.training_seconds)} of training with its start and stop, {clock_time(usual.worst.endpoint_seconds)} of endpoint "
            f"with its removal, {dollars(usual.worst.other_cents)} for everything else",
        ),
        (
            'the worst case on spot instances, `{"spot": true}`: usually cheaper, but more is reserved',
            dollars(spot.worst.cents),
            f"{clock_time(spot.worst.training_seconds)} at the on-demand price, because the job may wait {clock_time(SPOT_WAIT_SECONDS)} for an instance; unused money returns to the cap",
        ),
        (
            'the worst case with an earlier run\'s adapter, `{"adapterUri": …}`',
            dollars(_worst(0, deadline).worst.cents),
            "no training",
        ),
        (
            'the worst case of a smoke run, `{"smoke": true}`; no run that trains reserves less',
            dollars(least.worst.cents),
            f"{clock_time(least.worst.training_seconds)} of training, {clock_time(least.worst.endpoint_seconds)} of endpoint",
        ),
        (
            "a month without runs, set aside before the first one",
            dollars(standing_cents(settings.cap_cents)),
            f"storage of earlier runs, backups, background checks, and {looks_bound(settings.cap_cents)} executions that are checked and rejected",
        ),
    ]
    lines = ["| | cost | for |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
    price = pinned(settings.region, settings.training_instance_type[0], "Training")
    source = f"At ${price.hourly_usd} an hour ({price.instance_type}, {settings.region}, {price.source})."
    return "\n".join([*lines, "", source])


def _typical(settings: Settings) -> tuple[str, str, str]:
    """The estimate of a typical run: the corpus in the real model's tokens, at speeds that others have logged."""
    words = len(without_note((DATA / f"{settings.domain}dataset.txt").read_text("utf-8")).split())
    tokens = tokens_learnt(settings, words)
    run = expected_run(settings, tokens, estimate.COMPARED_ANSWERS)
    price = pinned(settings.region, settings.training_instance_type[0], "Training")
    passes = "one epoch" if settings.epochs == 1 else f"{settings.epochs} epochs"
    return (
        "a typical run, estimated from public logs of the same model and instance",
        f"about {dollars(run.cents(price, price, settings.lora_rank, settings.checkpoint_minutes) or 0)}",
        f"{clock_time(run.training_seconds or 0)} of training ({tokens:,} tokens of Llama 2 in {passes}), "
        f"{clock_time(run.endpoint_seconds or 0)} of endpoint",
    )


def tokens_learnt(settings: Settings, words: int) -> int:
    """The tokens of this many words in all passes."""
    return estimated_tokens(words) * settings.epochs


def expected_run(settings: Settings, tokens: int, answers: int) -> estimate.Estimate:
    """The expected duration of a run that trains on these tokens and asks each model for these answers."""
    kind = settings.training_instance_type[0]
    return estimate.of_run(
        settings.model.shape,
        card_of(kind),
        tokens=tokens,
        sequences=sequences_per_step(tokens // settings.sequence_length),
        answers=answers,
        instances=settings.training_instance_count,
        cards=cards_in(kind),
        scale_tokens=estimated_tokens(SCALE_WORDS) if settings.adapter_scale == AUTO else 0,
    )


def allowance_of(settings: Settings) -> money.Allowance:
    """The time and money of a run with these settings in a month without spending. Raises PriceUnknown and BudgetExceeded."""
    this_month = clock.now().replace(day=_MIDDLE.day, hour=_MIDDLE.hour)
    return _worst(settings.max_training_seconds, settings.endpoint_deadline_minutes * 60, this_month, settings)


def _worst(
    training_seconds: int, deadline_seconds: int, moment: datetime = _MIDDLE, settings: Settings | None = None
) -> money.Allowance:
    settings = settings or Settings()
    model = catalogued(run_settings(settings))
    training = [pinned(settings.region, kind, "Training") for kind in settings.training_instance_type]
    hosting = [pinned(settings.region, kind, "Hosting") for kind in settings.hosting_instance_type]
    wanted = money.Wanted(
        training=dearest(training).times(settings.training_instance_count),
        hosting=dearest(hosting),
        training_seconds=training_seconds,
        deadline_seconds=deadline_seconds,
        lora_rank=model.checkpoint_rank(settings.lora_rank),
        checkpoint_minutes=settings.checkpoint_minutes,
        spot_wait_seconds=SPOT_WAIT_SECONDS if settings.spot else 0,
        answers_cents=answers_cents(estimate.COMPARED_PROMPTS, settings.samples_per_prompt),
    )
    return allow(_EMPTY_LEDGER, for_runs(settings.cap_cents), model, wanted, moment)


def clock_time(seconds: int) -> str:
    """Such as `2 h 22 min`."""
    return duration(seconds // 60 * 60)


def prices_command(
    instance_type: Annotated[list[str] | None, typer.Option(help=_MORE_TYPES, show_default=False)] = None,
    price_region: Annotated[list[str] | None, typer.Option(help=_MORE_REGIONS, show_default=False)] = None,
    region: Region = None,
) -> None:
    """Reads the Price List and writes the table."""
    print(refresh(account.session(region), instance_type or [], price_region or []))


def refresh(session: Any, instance_types: list[str], regions: list[str], table_file: Path = TABLE) -> str:
    """Reads the table's pairs, and added ones, again; answers what changed. Unlisted ones go: unknown is not free."""
    pricing = session.client("pricing", region_name="us-east-1")
    table = json.loads(table_file.read_text("utf-8"))
    old = table["hourly_usd"]
    known = {kind for kinds in old.values() for kind in kinds}
    pairs = {(region, kind) for region, kinds in old.items() for kind in kinds}
    pairs |= {(region, kind) for region in [*old, *regions] for kind in instance_types}
    pairs |= {(region, kind) for region in regions for kind in known}
    new: dict[str, dict[str, str]] = {}
    lines = []
    for region, kind in sorted(pairs):
        found = [price for use in ("Training", "Hosting") if (price := listed(pricing, region, kind, use))]
        before = old.get(region, {}).get(kind)
        if len(found) < 2:
            lines.append(f"{region} {kind}: not listed for training and hosting, left out (was {before})")
            continue
        dearest_usd = str(max(price.hourly_usd for price in found))
        new.setdefault(region, {})[kind] = dearest_usd
        lines.append(f"{region} {kind}: ${dearest_usd}/h" + ("" if before == dearest_usd else f" (was {before})"))
    if not new:
        raise Refused("The Price List has no price at all for these; the table was left as it is.")
    table.update(source="AWS Price List", date=clock.now().date().isoformat(), hourly_usd=new)
    table_file.write_text(json.dumps(table, indent=2) + "\n", "utf-8")
    return "\n".join([*lines, f"Written to {table_file.name}. Deploy again to use it."])
