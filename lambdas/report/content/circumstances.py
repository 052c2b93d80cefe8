"""Circumstances of a run that limit its figures."""

from collections.abc import Mapping
from typing import Any

from common import names
from report.formatting import duration, whole
from report.summary_types import Summary, or_empty

MEDICAL = "medical"  # the domain of the project's own corpus
QUANTISED = "nf4"
_NOTHING_SHOWN = 'It shows nothing about the model: the verdict is "not shown", whatever the figures are.'
_SMOKE_RUN = (
    "A smoke run",
    f"It takes one optimizer step and asks a few prompts, to show that every step from the corpus to this report works. {_NOTHING_SHOWN}",
)
_SMOKE_ADAPTER = (
    "The adapter of a smoke run",
    f"It was trained in a single optimizer step, to show that every step works. {_NOTHING_SHOWN}",
)
_QUANTISED = (
    "Training and serving differ",
    "The adapter was trained and the losses were measured on base weights quantised to 4 bits (nf4). The "
    "endpoint serves it on weights that are not quantised: the model that answered is close to the measured "
    "one, but it is not the same.",
)


def is_smoke(summary: Mapping[str, Any]) -> bool:
    """Whether it was a smoke run."""
    return bool(or_empty(summary.get("configuration")).get("smoke"))


def is_rehearsed(summary: Mapping[str, Any]) -> bool:
    """Whether the run was made on a machine and not in an AWS account."""
    return names.is_rehearsed(summary.get("execution_arn"))


def is_of_records(summary: Mapping[str, Any]) -> bool:
    """Whether the run was trained on records."""
    return bool(or_empty(summary.get("configuration")).get("records"))


def instances(summary: Summary, use: str) -> int:
    """How many instances ran at a time, for "training" or "hosting"; one in summaries of earlier versions."""
    return or_empty(summary.get("configuration")).get("training_instance_count") or 1 if use == "training" else 1


def notes(summary: Summary) -> list[tuple[str, str]]:
    """(title, text) of each circumstance that limits the figures; empty for a run as planned."""
    settings, training = or_empty(summary.get("configuration")), or_empty(summary.get("training"))
    earlier = settings.get("adapter_run") or settings.get("adapter_uri")
    kept = f"The adapter trained until then was {'served' if training.get('unmeasured') else 'measured and served'}."
    steps = f"{whole(training.get('steps'))} of {whole(training.get('planned_steps'))} steps"
    found = []
    if settings.get("smoke"):
        served = settings.get("adapter_uri") and not or_empty(settings.get("input")).get("smoke")
        found.append(_SMOKE_ADAPTER if served else _SMOKE_RUN)
    if settings.get("records"):
        split = or_empty(summary.get("corpus")).get("split_records")
        cut = f" {whole(split)} of them exceeded a training sequence and were split." if split else ""
        found.append(("Records, not running text", f"{settings['records']}{cut}"))
    if earlier:
        text = f"It served the adapter of the run {earlier}. Losses, corpus and training are those of {earlier}; the answers are those of this run."
        found.append(("Nothing was trained in this run", text))
    if settings.get("training_cut"):
        longest = settings.get("max_training_seconds")
        after = f" of {duration(longest)}" if longest else ""
        waiting = ", or the limit that includes waiting for spot instances," if settings.get("spot") else ""
        taken = f" It had taken {steps}." if training else ""
        text = f"SageMaker stopped the training job at its time limit{after}{waiting}.{taken} {kept}"
        found.append(("Training was cut", text))
    elif training.get("stopped_early"):
        found.append(("Training stopped early", f"It ended after {steps}: {training['stopped_early']}. {kept}"))
    if training.get("unmeasured"):
        text = f"Losses are missing: {training['unmeasured'].rstrip('.')}. The adapter had been saved before, and the answers are those of that adapter."
        found.append(("The fine-tuned model was only partly measured", text))
    if or_empty(summary.get("base_model")).get("quantization") == QUANTISED:
        found.append(_QUANTISED)
    return found
