"""The adapter of an earlier run, which a run may serve instead of training one: what hosting needs of it is checked here."""

from __future__ import annotations

import json
from typing import Any

from common.contracts import run_folder
from common.environment import RunSettings
from common.errors import AdapterRejected
from common.storage import Storage

# A safetensors file has a header of eight bytes before anything else.
_LEAST_BYTES = 9


def refuse_unusable(storage: Storage, uri: str, settings: RunSettings) -> None:
    """Raises AdapterRejected for an adapter that is not whole, not this project's, or not made for the model that is served."""
    found = run_folder.ADAPTER_URI.fullmatch(uri)
    if found is None or found[1] != storage.bucket:
        raise AdapterRejected(
            f"The adapter {uri} is not in the project's bucket. Give the address that an earlier run's report names as its adapter: "
            f"{run_folder.adapter_uri(storage.bucket, 'RUN', 'JOB')}."
        )
    prefix = storage.key_of(uri)
    configuration = _json(storage, f"{prefix}{run_folder.ADAPTER_CONFIGURATION}")
    metrics = _json(storage, f"{prefix}{run_folder.METRICS}")
    if (storage.size(f"{prefix}{run_folder.ADAPTER_WEIGHTS}") or 0) < _LEAST_BYTES:
        raise _incomplete(uri, f"{run_folder.ADAPTER_WEIGHTS} is missing or empty")
    rank = configuration.get("r")
    if not isinstance(rank, int) or rank > settings.lora_rank:
        raise AdapterRejected(
            f"The adapter {uri} has rank {rank}, and the endpoint makes room for {settings.lora_rank}. Set lora_rank in cdk.json to its rank and deploy."
        )
    if not (metrics.get("evaluation") or {}).get("heldout"):
        raise _incomplete(uri, f"{run_folder.METRICS} holds no held-out losses")
    plan = _json(storage, run_folder.key(found[2], run_folder.PLAN))
    made_for = (plan.get("baseModel") or {}).get("weightsUri")
    if made_for != settings.base_model.weights_uri:
        raise AdapterRejected(
            f"The adapter {uri} was trained on the weights {made_for}, and this deployment serves {settings.base_model.weights_uri}. Set base_model and region "
            "in cdk.json to those of the earlier run and deploy."
        )


def _json(storage: Storage, key: str) -> dict[str, Any]:
    content = storage.read(key)
    if content is None:
        raise _incomplete(storage.uri(key), "it does not exist")
    try:
        value = json.loads(content)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise _incomplete(storage.uri(key), "it is not a JSON object")
    return value


def _incomplete(uri: str, what: str) -> AdapterRejected:
    return AdapterRejected(
        f"The adapter cannot be served, for {uri}: {what}. Choose a run whose training has ended, or leave adapterUri out to train again."
    )
