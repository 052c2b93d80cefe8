"""Makes the plan of a run (common/contracts/plan.py), with what it is expected to take beside its worst case.

Whatever a run pays for stands in it, so that what is reserved and what is started cannot differ. A run keeps the definition
that it began with, and ReserveBudget refuses a plan of another deployment.
"""

from dataclasses import asdict
from datetime import timedelta
from functools import partial
from typing import Any

from common import estimate
from common.cards import card_of, cards_in, serving_bytes, training_memory
from common.clock import schedule_time
from common.contracts import run_folder
from common.contracts.fine_tuning import PreflightEvent
from common.contracts.plan import Plan, PlannedCorpus, PlannedEstimate
from common.ledger.rows import RunItem
from common.memory import sequences_per_step
from common.names import trial_name
from common.pricing import durations
from common.pricing.costs import ENDPOINT_INSTANCES, TRAINING_VOLUME_GB
from common.pricing.prices import dearest, written
from common.settings import AUTO, SHUFFLED, WRITTEN
from common.text import count_words, estimated_tokens
from preflight.checks import Context, PreflightResult
from preflight.model import tokens_learned
from preflight.settings import RunSettings
from preflight.texts.training import Material

# One step shows that the weights load, learn and are saved; a smoke run is to show no more.
SMOKE_STEPS = 1


def build(context: Context, found: PreflightResult) -> Plan:
    """The plan as JSON: names, addresses, hyperparameters, deadlines and the money set aside."""
    event, settings, storage = context.event, context.settings, context.storage
    allowance, request, material = found.allowance, found.request, found.material
    samples = found.samples(settings)
    seed = settings.seed if request.seed is None else request.seed
    planned = _expected(settings, found, samples)
    deadline = allowance.deadline_seconds
    looking = durations.ENDPOINT_CAPACITY_SECONDS
    if len(found.hosting_types) > 1:
        looking = durations.instance_pools_seconds(deadline)
    key = partial(run_folder.key, found.run)
    return {
        "runName": found.run,
        "executionName": event["executionName"],
        "executionArn": event["executionArn"],
        "definitionVersion": event["definitionVersion"],
        "input": event["input"],
        "domain": settings.domain,
        "corpusWords": settings.corpus_words,
        "corpusBytes": found.corpus_bytes,
        "inputVersions": found.input_versions,
        "inputDigest": found.input_digest,
        "region": settings.region,
        "bucket": storage.bucket,
        "prefix": run_folder.prefix(found.run),
        "smoke": request.smoke,
        "adapterUri": request.adapter_uri,
        "serveOnly": request.serve_only,
        "startedAt": context.now.isoformat(timespec="seconds"),
        "acceptEula": settings.accept_eula,
        "seed": seed,
        "samplesPerPrompt": samples,
        "baseModel": {
            "name": found.model.name,
            "parameters": found.model.parameters,
            "weightsUri": settings.base_model.weights_uri,
        },
        "training": {
            "instanceType": found.training_types[0],
            "instanceTypes": found.training_types,
            "instanceCount": settings.training_instance_count,
            "resources": _resources(found, settings.training_instance_count),
            "maxRuntimeSeconds": allowance.training_seconds,
            "maxPendingSeconds": durations.MAX_PENDING_SECONDS,
            "spot": found.spot,
            "maxWaitSeconds": allowance.training_seconds + durations.SPOT_WAIT_SECONDS if found.spot else 0,
            "hyperparameters": _hyperparameters(settings, found, seed),
            "corpusUri": storage.uri(key(run_folder.CORPUS_CHANNEL)),
            "evaluationUri": storage.uri(key(run_folder.EVALUATION_CHANNEL)),
            "codeUri": storage.uri(key(run_folder.CODE)),
            "outputUri": storage.uri(key(run_folder.TRAINING)),
            "checkpointUri": storage.uri(run_folder.checkpoints(found.run)),
        },
        "hosting": {
            "instanceType": found.hosting_types[0],
            "instanceTypes": found.hosting_types,
            "instances": _instances(found.hosting_types, looking),
            "instanceCount": ENDPOINT_INSTANCES,
            "downloadSeconds": durations.ENDPOINT_DOWNLOAD_SECONDS,
            "startSeconds": durations.ENDPOINT_START_SECONDS,
            "maxModelTokens": found.model.served_tokens,
            "deadlineSeconds": deadline,
            "pauseSeconds": durations.pause_seconds(deadline),
            "tryAgainSeconds": durations.try_again_seconds(looking),
            "trialName": trial_name(found.run),
            "trialAdapterUri": request.adapter_uri or storage.uri(key(run_folder.TRIAL)),
        },
        "answers": {
            "promptsKey": key(run_folder.PROMPTS),
            "preTrainedKey": key(run_folder.BASE_ANSWERS),
            "fineTunedKey": key(run_folder.TUNED_ANSWERS),
        },
        "report": {"prefix": key(run_folder.REPORT), "uri": storage.uri(key(run_folder.REPORT))},
        "tearDownAt": schedule_time(allowance.tear_down_at),
        "corpus": _corpus(material),
        "evaluation": {
            "heldOutDocuments": len(material.held_out),
            "outsideDocuments": len(material.outside),
            "controlDocuments": len(material.control),
            "outsideText": material.outside_told,
            "scaleDocuments": len(material.scale),
            "scaleWords": sum(count_words(part.text) for part in material.scale),
        },
        "budget": {
            "worstCaseCents": allowance.worst.cents,
            "months": list(allowance.months),
            "reserveBy": allowance.reserve_by.isoformat(timespec="seconds"),
            "clamped": allowance.clamped,
            "trainingHourlyUsd": str(dearest(found.training_prices).hourly_usd),
            "hostingHourlyUsd": str(dearest(found.hosting_prices).hourly_usd),
            "priceSource": found.hosting_prices[0].source,
            "ledgerDetails": _ledger_details(event, settings, found),
        },
        "estimate": planned,
        "warnings": found.warnings + _endpoint_too_short(planned, deadline),
    }


def _resources(found: PreflightResult, instances: int) -> dict[str, Any]:
    """ResourceConfig of the training job: one type, or on demand a list from which SageMaker takes the first that is free."""
    first, *others = found.training_types
    listed = [{"InstanceType": kind} for kind in found.training_types]
    chosen = {"InstancePreferences": listed} if others and not found.spot else {"InstanceType": first}
    return {**chosen, "InstanceCount": instances, "VolumeSizeInGB": TRAINING_VOLUME_GB}


def _instances(types: list[str], looking_seconds: int) -> dict[str, Any]:
    """What the endpoint's variant says of instances: one type, or a list from which SageMaker takes the first that is free."""
    if len(types) == 1:
        return {"InstanceType": types[0]}
    pools = [{"InstanceType": kind, "Priority": number} for number, kind in enumerate(types, 1)]
    return {
        "InstancePools": pools,
        "VariantInstanceProvisionTimeoutInSeconds": looking_seconds,
        # A sample calls it required with pools; with one instance there is nothing to choose between.
        "RoutingConfig": {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"},
    }


def _hyperparameters(settings: RunSettings, found: PreflightResult, seed: int) -> dict[str, str]:
    seconds = found.allowance.training_seconds - durations.TRAINING_MARGIN_SECONDS - found.model.longer_download_seconds
    values = settings.hyperparameters | {
        "epochs": str(found.request.epochs or settings.epochs),
        "seed": str(seed),
        "time_budget_seconds": str(max(0, seconds)),
    }
    if settings.document_order == AUTO:
        # The order of the file only where somebody has thought of it.
        values["document_order"] = SHUFFLED if found.request.corpus else WRITTEN
    if found.request.smoke:
        values["max_steps"] = str(SMOKE_STEPS)
    return values


def _corpus(material: Material) -> PlannedCorpus:
    """The documents of records are their groups; running text has no records."""
    planned: PlannedCorpus = {
        "words": material.words,
        "documents": len(material.training),
        "prompts": len(material.prompts),
    }
    if records := [record for part in material.training for record in part.records]:
        planned["records"] = len(records)
        planned["heldOutRecords"] = sum(len(part.records) for part in material.held_out)
        planned["conversations"] = records[0].is_conversation
    if material.note:
        planned["note"] = material.note
    return planned


def _ledger_details(event: PreflightEvent, settings: RunSettings, found: PreflightResult) -> RunItem:
    """What TearDown and settlement need to know of a run, even when its execution and its files are lost."""
    allowance, worst = found.allowance, found.allowance.worst
    # The endpoint's own deadline may begin as late as the tear-down of the whole run is due.
    ends_by = allowance.tear_down_at + timedelta(seconds=allowance.deadline_seconds)
    return {
        "execution_name": event["executionName"],
        # In order of preference, with what each costs.
        "training_prices": written(found.training_prices),
        "hosting_prices": written(found.hosting_prices),
        "price_source": found.hosting_prices[0].source,
        "training_instances": settings.training_instance_count,
        "max_training_seconds": worst.training_seconds,
        "max_endpoint_seconds": worst.endpoint_seconds,
        "other_cents": worst.other_cents,
        "keep_endpoint_seconds": allowance.keep_seconds,
        "endpoint_deadline_seconds": allowance.deadline_seconds,
        "ends_by": ends_by.isoformat(timespec="seconds"),
    }


def _expected(settings: RunSettings, found: PreflightResult, samples: int) -> PlannedEstimate:
    """What the run is expected to take, each figure with its source; None for what a card's unknown speed decides."""
    model, material, kind = found.model, found.material, found.training_types[0]
    tokens = tokens_learned(settings, found.request, material.words)
    sequences = sequences_per_step(tokens // settings.sequence_length)
    run = estimate.of_run(
        model.shape,
        card_of(kind),
        tokens=min(tokens, SMOKE_STEPS * sequences * settings.sequence_length) if found.request.smoke else tokens,
        sequences=sequences,
        answers=len(material.prompts) * (1 + samples),
        trains=found.trains,
        instances=settings.training_instance_count,
        cards=cards_in(kind),
        downloaded_bytes=model.downloaded_bytes,
        scale_tokens=estimated_tokens(sum(count_words(part.text) for part in material.scale)),
    )
    rank, training, hosting = settings.lora_rank, found.training_prices[0], found.hosting_prices[0]
    trained, served = card_of(kind) if found.trains else None, card_of(found.hosting_types[0])
    memory = training_memory(model.shape, rank, settings.sequence_length, trained) if trained else None
    return {
        "tokens": run.tokens,
        "trainingSeconds": run.training_seconds,
        "endpointSeconds": run.endpoint_seconds,
        "expectedCents": run.cents(training, hosting, model.checkpoint_rank(rank), settings.checkpoint_minutes),
        "phases": [asdict(phase) for phase in (*run.training, *run.endpoint)],
        "memory": {
            "trainingCard": trained.name if trained else None,
            "trainingBytes": memory.needed_bytes if memory else None,
            "trainingFreeBytes": trained.free_bytes if trained else None,
            "quantised": memory.quantised if memory else None,
            "hostingCard": served.name if served else None,
            "hostingBytes": serving_bytes(model.shape, rank, model.served_tokens),
            "hostingUsableBytes": served.served_bytes if served else None,
        },
    }


def _endpoint_too_short(planned: PlannedEstimate, deadline_seconds: int) -> list[str]:
    """A warning where the endpoint's deadline may come before every prompt is answered: the run then ends without a report."""
    seconds = planned["endpointSeconds"]
    if seconds is None or seconds <= deadline_seconds:
        return []
    return [
        f"The endpoint is expected to need {seconds // 60} minutes for so many prompts and samples, if it answers no faster than was assumed, and is removed "
        f"after {deadline_seconds // 60}. Raise endpoint_deadline_minutes and deploy, or ask fewer prompts or samples (samplesPerPrompt)."
    ]
