"""How a run went, where that bears on its figures: what a reader of the report has to know before believing them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from common.contracts import run_folder
from common.contracts.fine_tuning import ReportEvent
from common.contracts.plan import Plan
from common.pricing import prices
from report.formatting import duration, money, plural, whole
from report.summary_types import Spot, Summary, known

QUANTISED = "nf4"
_NOTHING_SHOWN = "It shows nothing about the model: the verdict is not shown, whatever the figures are."
_SMOKE_RUN = (
    "A smoke run",
    "It takes one optimizer step and asks a few prompts, to show that every step from the corpus to this report works. "
    + _NOTHING_SHOWN,
)
_SMOKE_ADAPTER = (
    "The adapter of a smoke run",
    f"It was trained in a single optimizer step, to show that every step works. {_NOTHING_SHOWN}",
)


def facts(plan: Plan, event: ReportEvent | None = None, trained_by: Plan | None = None) -> dict[str, Any]:
    """The circumstances of a run, from its plan and, where it is known, WriteReport's event.

    `trained_by` is the plan of the run that trained the adapter, where that is an earlier one: texts and losses are that run's, and this
    one trained on no instance. Instances and their prices are those that really trained and served; without an event they are known
    only where the plan has a single choice.
    """
    reported, budget, trained_by = known(event), known(plan.get("budget")), trained_by or plan
    training_plan = known(plan.get("training"))
    adapter = str(plan.get("adapterUri") or "")
    to_train, to_serve = [] if adapter else _wanted(training_plan), _wanted(known(plan.get("hosting")))
    training = None if adapter else _used(reported.get("trainingInstanceType"), to_train)
    hosting = _used(reported.get("hostingInstanceType"), to_serve)
    training_cents = _hourly_cents(budget, "training", training)
    spot = None
    if training_plan.get("spot") and not adapter:
        spot = spot_facts(known(reported.get("trainingJob")), training_plan.get("instanceCount"), training_cents)
    return {
        "training_instance_type": training,
        "hosting_instance_type": hosting,
        "training_instance_types": to_train,
        "training_instance_count": None if adapter else int(training_plan.get("instanceCount") or 1),
        "hosting_instance_types": to_serve,
        "training_hourly_cents": training_cents,
        "hosting_hourly_cents": _hourly_cents(budget, "hosting", hosting),
        "max_training_seconds": None if adapter else training_plan.get("maxRuntimeSeconds"),
        "training_cut": bool(reported.get("trainingCut")),
        "spot": spot,
        "smoke": bool(plan.get("smoke") or trained_by.get("smoke")),
        "adapter_uri": adapter or None,
        "trained_adapter_uri": None if adapter else reported.get("adapterUri"),
        "adapter_run": run_folder.run_of_uri(adapter),
        "outside_text": known(trained_by.get("evaluation")).get("outsideText") or None,
        "records": _records(known(trained_by.get("corpus"))),
    }


def _records(corpus: Mapping[str, Any]) -> str | None:
    """What the plan says of records; None for running text."""
    if not corpus.get("records"):
        return None
    kind = "conversations" if corpus.get("conversations") else "prompts with completions"
    return (
        f"The run was trained on {whole(corpus['records'])} records ({kind}) of {whole(corpus.get('documents'))} groups, and held "
        f"{whole(corpus.get('heldOutRecords'))} out. Every loss on them is that of their answers alone, each after its own prompt; "
        "where this report speaks of a document of theirs, it is a group of records."
    )


def _wanted(part: Mapping[str, Any]) -> list[str]:
    """The instance types of one use in order of preference."""
    return [str(name) for name in part.get("instanceTypes") or [part.get("instanceType") or ""] if name]


def _used(reported: Any, wanted: list[str]) -> str | None:
    return str(reported) if reported else wanted[0] if len(wanted) == 1 else None


def _hourly_cents(budget: Mapping[str, Any], use: str, instance_type: str | None) -> float | None:
    """The price of the type that was used. The budget itself holds the dearest of all, which the reservation is made of."""
    if instance_type is None:
        return None
    written = str((budget.get("ledgerDetails") or {}).get(f"{use}_prices") or "")
    for price in prices.read(written, use, ""):
        if price.instance_type == instance_type:
            return float(price.hourly_usd) * 100
    return float(budget[f"{use}HourlyUsd"]) * 100 if f"{use}HourlyUsd" in budget else None


def is_smoke(summary: Mapping[str, Any]) -> bool:
    """Whether the run was to show no more than that every step works."""
    return bool(known(summary.get("configuration")).get("smoke"))


def is_of_records(summary: Mapping[str, Any]) -> bool:
    """Whether the run was trained on records, which are not documents to whoever gave them."""
    return bool(known(summary.get("configuration")).get("records"))


def trained_text(summary: Summary) -> str:
    """How much text the model was trained on, such as "1,345 documents, 355,020 words": of records, the training script counts each and the words of its answer."""
    corpus, records = known(summary.get("corpus")), is_of_records(summary)
    of_what = "words of answers" if records else "words"
    return f"{plural(corpus.get('documents'), 'record' if records else 'document')}, {whole(corpus.get('words'))} {of_what}"


def instances(summary: Summary, use: str) -> int:
    """How many instances there were at a time, for "training" or "hosting"; one where an earlier version did not tell."""
    return known(summary.get("configuration")).get("training_instance_count") or 1 if use == "training" else 1


def instance(summary: Summary, use: str) -> str | None:
    """The instances that were used ("training" or "hosting"), such as "2 ml.g6.2xlarge (no ml.g5.2xlarge was free)"; None where none was.

    A single one goes without its number.
    """
    settings = known(summary.get("configuration"))
    used = settings.get(f"{use}_instance_type")
    wanted = settings.get(f"{use}_instance_types") or []
    count = instances(summary, use)
    number = f"{count} " if count > 1 else ""
    if not used:
        return f"{number}{' or '.join(wanted)}" if wanted else None
    if used not in wanted or wanted[0] == used:
        return f"{number}{used}"
    return f"{number}{used} (no {' or '.join(wanted[: wanted.index(used)])} was free)"


def notes(summary: Summary) -> list[tuple[str, str]]:
    """(title, text) of everything that limits what the figures say. Empty for a run as it was planned."""
    return list(_notes(summary))


def _notes(summary: Summary) -> Iterator[tuple[str, str]]:
    settings, training = known(summary.get("configuration")), known(summary.get("training"))
    earlier = settings.get("adapter_run") or settings.get("adapter_uri")
    kept = "served" if training.get("unmeasured") else "measured and served"
    steps = f"{whole(training.get('steps'))} of {whole(training.get('planned_steps'))} steps"
    if settings.get("smoke"):
        served = settings.get("adapter_uri") and not known(settings.get("input")).get("smoke")
        yield _SMOKE_ADAPTER if served else _SMOKE_RUN
    if settings.get("records"):
        split = known(summary.get("corpus")).get("split_records")
        cut = f" {whole(split)} of them were longer than a training sequence and were split." if split else ""
        yield "Records, not running text", f"{settings['records']}{cut}"
    if earlier:
        yield (
            "Nothing was trained in this run",
            f"It served the adapter of the run {earlier}. Losses, corpus and training are those that {earlier} measured "
            "then; the answers are of this run.",
        )
    if settings.get("training_cut"):
        longest = settings.get("max_training_seconds")
        after = f" of {duration(longest)}" if longest else ""
        waiting = ", or its longest time with all waiting for spot instances" if settings.get("spot") else ""
        taken = f" It had taken {steps}." if training else ""
        yield (
            "Training was cut",
            f"SageMaker stopped the training job when its longest time{after} was over{waiting}.{taken} "
            f"What it had learned until then was {kept}.",
        )
    elif training.get("stopped_early"):
        why = training["stopped_early"]
        yield "Training stopped early", f"It ended after {steps}: {why}. What it had learned until then was {kept}."
    if training.get("unmeasured"):
        yield (
            "The fine-tuned model was not wholly measured",
            f"Losses of it are missing: {training['unmeasured'].rstrip('.')}. Its adapter had been saved before; the "
            "answers are of that adapter.",
        )
    if known(summary.get("base_model")).get("quantization") == QUANTISED:
        yield (
            "Training and serving differ",
            "The adapter was trained and the losses were measured on base weights quantised to 4 bits (nf4). The "
            "endpoint serves it on weights that are not quantised: the model that answered is close to the measured "
            "one, but it is not the same.",
        )


def spot_facts(job: Mapping[str, Any], instances: Any, hourly_cents: float | None) -> Spot:
    """What SageMaker reported of a job on spot, in the form of the summary. What it did not report, which FineTuning hands on as 0, is None.

    Its own measure of what was saved is the time in training less the time that was billed.
    """
    seconds, billed = (job.get(name) or None for name in ("trainingSeconds", "billedSeconds"))
    saved = None
    if seconds and billed and hourly_cents is not None:
        saved = round(max(0, seconds - billed) * int(instances or 1) * hourly_cents / 3600)
    return {
        "interruptions": job.get("interruptions"),
        "training_seconds": seconds,
        "billed_seconds": billed,
        "saved_cents": saved,
    }


def on_spot(summary: Summary) -> str | None:
    """Such as `2 interruptions, at least 14 steps made again, $0.41 saved against on-demand`; None for a run that was not on spot."""
    spot = known(summary.get("configuration")).get("spot")
    if not spot:
        return None
    parts = []
    if spot.get("interruptions") is not None:
        parts.append(plural(spot["interruptions"], "interruption"))
    again = known(summary.get("training")).get("steps_again")
    if again is not None:
        # Steps after the last checkpoint's note are not counted.
        parts.append(f"{'at least ' if again else ''}{plural(again, 'step')} made again")
    if spot.get("saved_cents") is not None:
        parts.append(f"{money(spot['saved_cents'])} saved against on-demand")
    return ", ".join(parts) or "nothing is known of its interruptions"
