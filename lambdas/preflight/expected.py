"""The expectation that stands in a plan beside the worst case: tokens, seconds of each phase, cents, and memory."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from common import estimate
from common.cards import card_of, cards_in, sequences_per_step, serving_bytes, training_memory
from common.contracts.plan import PlannedEstimate
from common.environment import RunSettings
from preflight import large_model_allowance, learnable
from preflight.checks import PreflightResult


def of_plan(settings: RunSettings, found: PreflightResult, *, samples: int, steps: int) -> PlannedEstimate:
    """What the run is expected to take, with the source of each figure.

    `steps` is the most that it makes, 0 for no limit. Where no speed is known for the card, the seconds and cents that depend on it
    are None.
    """
    shape, kind = found.model.shape, found.training_types[0]
    trains = not found.request.adapter_uri
    tokens = learnable.tokens(settings, found.request, found.material.words)
    sequences = sequences_per_step(tokens, settings.sequence_length)
    expected = estimate.of_run(
        shape,
        card_of(kind),
        tokens=min(tokens, steps * sequences * settings.sequence_length) if steps else tokens,
        sequences=sequences,
        answers=len(found.material.prompts) * (1 + samples),
        trains=trains,
        instances=settings.training_instance_count,
        cards=cards_in(kind),
        downloaded_bytes=found.model.downloaded_bytes,
    )
    rank = large_model_allowance.checkpoint_rank(shape, settings.lora_rank)
    return {
        "tokens": expected.tokens,
        "trainingSeconds": expected.training_seconds,
        "endpointSeconds": expected.endpoint_seconds,
        "expectedCents": expected.cents(
            found.training_prices[0], found.hosting_prices[0], rank, settings.checkpoint_minutes
        ),
        "phases": [asdict(phase) for phase in (*expected.training, *expected.endpoint)],
        "memory": _memory(settings, found, kind if trains else ""),
    }


def told_of_endpoint(estimate: PlannedEstimate, deadline_seconds: int) -> list[str]:
    """What is to be told of an endpoint whose deadline may come before every prompt is answered: then the run ends without a report."""
    seconds = estimate["endpointSeconds"]
    if seconds is None or seconds <= deadline_seconds:
        return []
    return [
        f"The endpoint is expected to need {seconds // 60} minutes for so many prompts and samples, if it answers no faster than was assumed, and is removed "
        f"after {deadline_seconds // 60}. Raise endpoint_deadline_minutes and deploy, or ask fewer prompts or samples (samplesPerPrompt)."
    ]


def _memory(settings: RunSettings, found: PreflightResult, training_type: str) -> dict[str, Any]:
    shape, model = found.model.shape, found.model
    trained, served = card_of(training_type), card_of(found.hosting_types[0])
    training = training_memory(shape, settings.lora_rank, settings.sequence_length, trained) if trained else None
    return {
        "trainingCard": trained.name if trained else None,
        "trainingBytes": training.needed_bytes if training else None,
        "trainingFreeBytes": trained.free_bytes if trained else None,
        "quantised": training.quantised if training else None,
        "hostingCard": served.name if served else None,
        "hostingBytes": serving_bytes(shape, settings.lora_rank, model.served_tokens),
        "hostingUsableBytes": served.served_bytes if served else None,
    }
