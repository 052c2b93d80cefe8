"""The plan of a run: the small document that every later state works from."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from common.clock import schedule_time
from common.environment import RunSettings
from common.names import run_prefix
from common.storage import Storage
from preflight.checks import Found

# The job needs this long to load the weights, measure the tuned model and save, whatever training does.
TRAINING_MARGIN_SECONDS = 300


def build(event: dict[str, Any], settings: RunSettings, found: Found, storage: Storage) -> dict[str, Any]:
    """The plan as JSON: names, addresses, hyperparameters, deadlines and the money set aside."""
    prefix = run_prefix(found.run)
    allowance, request = found.allowance, found.request
    seed = settings.seed if request.seed is None else request.seed
    samples = settings.samples_per_prompt if request.samples_per_prompt is None else request.samples_per_prompt
    return {
        "runName": found.run,
        "executionName": event["executionName"],
        "executionArn": event["executionArn"],
        "input": event["input"],
        "domain": settings.domain,
        "region": settings.region,
        "prefix": prefix,
        "startedAt": found.now.isoformat(timespec="seconds"),
        "acceptEula": settings.accept_eula,
        "seed": seed,
        "samplesPerPrompt": samples,
        "baseModel": {
            "name": settings.base_model.name,
            "parameters": settings.base_model.parameters,
            "weightsUri": settings.base_model.weights_uri,
        },
        "training": {
            "instanceType": settings.training_instance_type,
            "maxRuntimeSeconds": allowance.training_seconds,
            "hyperparameters": _hyperparameters(settings, found, seed),
            "corpusUri": storage.uri(f"{prefix}input/corpus/"),
            "evaluationUri": storage.uri(f"{prefix}input/evaluation/"),
            "codeUri": storage.uri(f"{prefix}code/"),
            "outputUri": storage.uri(f"{prefix}training/"),
            # Not under runs/: a lifecycle rule has no wildcards, and checkpoints are to expire on their own.
            "checkpointUri": storage.uri(f"checkpoints/{found.run}/"),
        },
        "hosting": {"instanceType": settings.hosting_instance_type, "deadlineSeconds": allowance.deadline_seconds},
        "answers": {
            "promptsKey": f"{prefix}input/prompts.jsonl",
            "preTrainedKey": f"{prefix}answers/pre-trained.jsonl",
            "fineTunedKey": f"{prefix}answers/fine-tuned.jsonl",
        },
        "report": {"prefix": f"{prefix}report/", "uri": storage.uri(f"{prefix}report/")},
        "tearDownAt": schedule_time(allowance.tear_down_at),
        "corpus": {
            "words": found.material.words,
            "documents": len(found.material.training),
            "prompts": len(found.material.prompts),
        },
        "budget": {
            "worstCaseCents": allowance.worst.cents,
            "months": list(allowance.months),
            "clamped": allowance.clamped,
            "trainingHourlyUsd": str(found.training_price.hourly_usd),
            "hostingHourlyUsd": str(found.hosting_price.hourly_usd),
            "priceSource": found.training_price.source,
            "ledgerDetails": _ledger_details(event, settings, found),
        },
        "warnings": found.warnings,
    }


def _hyperparameters(settings: RunSettings, found: Found, seed: int) -> dict[str, str]:
    values = {
        "epochs": found.request.epochs or settings.epochs,
        "learning_rate": settings.learning_rate,
        "sequence_length": settings.sequence_length,
        "seed": seed,
        "time_budget_seconds": found.allowance.training_seconds - TRAINING_MARGIN_SECONDS,
    }
    return {name: str(value) for name, value in values.items()}


def _ledger_details(event: dict[str, Any], settings: RunSettings, found: Found) -> dict[str, str | int]:
    """What TearDown and settlement need to know of a run, even when its execution and its files are lost."""
    worst = found.allowance.worst
    return {
        "execution_name": event["executionName"],
        "training_instance_type": settings.training_instance_type,
        "hosting_instance_type": settings.hosting_instance_type,
        "training_hourly_usd": str(found.training_price.hourly_usd),
        "hosting_hourly_usd": str(found.hosting_price.hourly_usd),
        "price_source": found.training_price.source,
        "max_training_seconds": worst.training_seconds,
        "max_endpoint_seconds": worst.endpoint_seconds,
        "other_cents": worst.other_cents,
        "keep_endpoint_seconds": found.allowance.keep_seconds,
        "endpoint_deadline_seconds": found.allowance.deadline_seconds,
        # The endpoint's own deadline may begin as late as the tear-down of the whole run is due.
        "ends_by": (found.allowance.tear_down_at + timedelta(seconds=found.allowance.deadline_seconds)).isoformat(
            timespec="seconds"
        ),
    }
