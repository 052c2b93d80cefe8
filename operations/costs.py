"""What runs of each kind may cost at most, by the code that reserves it, for the pages: `make costs`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from common.costs import checkpoint_cents, for_runs, looks_bound, small_items_cents, standing_cents
from common.durations import MINIMUM_DEADLINE_SECONDS, MINIMUM_TRAINING_SECONDS, WEIGHTS_DOWNLOAD_SECONDS
from common.ledger import Ledger, dollars
from common.prices import pinned
from common.tokens import estimated_tokens
from operations.texts import DATA
from preflight import money
from stacks.settings import Settings

# What a usual run takes of it, from public logs of the same model on the same instance (seconds, unless it says otherwise).
_LEARNED_TOKENS_PER_SECOND = 1190  # LoRA in 16 bits, 3.45 s for 4 sequences of 1,024
_IMAGE_PULL = 450  # the middle of 3 to 12 minutes
_LOAD_MEASURE_SAVE = 240
_ENDPOINT_START = 570  # 9 to 10 minutes
_COMPARISON = 600  # 230 prompts, a greedy and two sampled answers of both models, the report, and the removal

# Noon of a day in the middle of a month, and the last evening of one.
_MIDDLE, _LAST = datetime(2026, 11, 10, 12, tzinfo=UTC), datetime(2026, 11, 30, 20, tzinfo=UTC)


class _Untouched:
    """A ledger in which nothing is committed."""

    def committed_cents(self, month: str, cap_cents: int) -> int:
        """Nothing."""
        return 0


def table() -> str:
    """The worst case of each kind of run with the default settings, as a table in Markdown."""
    settings = Settings()
    training, deadline = settings.max_training_seconds, settings.endpoint_deadline_minutes * 60
    usual, at_the_end = _worst(training, deadline), _worst(training, deadline, _LAST)
    least = _worst(MINIMUM_TRAINING_SECONDS, MINIMUM_DEADLINE_SECONDS)
    rows = [
        _typical(settings),
        (
            "the most that it may cost, reserved before anything starts",
            f"{dollars(usual.worst.cents)} ({dollars(at_the_end.worst.cents)} across a month's end)",
            f"{_time(usual.worst.training_seconds)} of training with its time to start and to stop, {_time(usual.worst.endpoint_seconds)} of endpoint "
            f"with its time to be removed, {dollars(usual.worst.other_cents)} for everything else",
        ),
        (
            'the most with an earlier run\'s adapter, `{"adapterUri": …}`',
            dollars(_worst(0, deadline).worst.cents),
            "no training",
        ),
        (
            'the most of a smoke run, `{"smoke": true}`; with less left of the cap, no run that trains may start',
            dollars(least.worst.cents),
            f"{_time(least.worst.training_seconds)} of training, {_time(least.worst.endpoint_seconds)} of endpoint",
        ),
        (
            "a month without any run, set aside before all runs",
            dollars(standing_cents(settings.cap_cents)),
            f"the sweeper, storage of earlier runs, backups, and {looks_bound(settings.cap_cents)} executions that are looked at and refused; there is no further look in that month",
        ),
    ]
    lines = ["| | cost | for |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
    price = pinned(settings.region, settings.training_instance_type[0], "Training")
    return "\n".join(
        [*lines, "", f"At ${price.hourly_usd} an hour ({price.instance_type}, {settings.region}, {price.source})."]
    )


def _typical(settings: Settings) -> tuple[str, str, str]:
    """The estimate of a usual run: the corpus in the real model's tokens, at speeds that others have logged."""
    words = len((DATA / f"{settings.domain}dataset.txt").read_text("utf-8").split())
    tokens = estimated_tokens(words) * settings.epochs
    training = _IMAGE_PULL + WEIGHTS_DOWNLOAD_SECONDS + _LOAD_MEASURE_SAVE + tokens // _LEARNED_TOKENS_PER_SECOND
    endpoint = _ENDPOINT_START + _COMPARISON
    price = pinned(settings.region, settings.training_instance_type[0], "Training")
    cents = price.cents(training) + price.cents(endpoint) + small_items_cents()
    cents += checkpoint_cents(training, settings.lora_rank)
    return (
        "a usual run, estimated from public logs of the same model and instance",
        f"about {dollars(cents)}",
        f"{_time(training)} of training ({tokens:,} tokens of Llama 2 in {_passes(settings.epochs)}), {_time(endpoint)} of endpoint",
    )


def _passes(number: int) -> str:
    return "one pass" if number == 1 else f"{number} passes"


def _worst(training_seconds: int, deadline_seconds: int, moment: datetime = _MIDDLE) -> money.Allowance:
    settings = Settings()
    price = pinned(settings.region, settings.training_instance_type[0], "Training")
    ledger = cast(Ledger, cast(Any, _Untouched()))
    return money.allow(
        ledger,
        for_runs(settings.cap_cents),
        price,
        price,
        training_seconds,
        deadline_seconds,
        0,
        moment,
        settings.lora_rank,
    )


def _time(seconds: int) -> str:
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
