"""The state machines' definitions, and what a deployment fixes for its runs: settings, values in the definition, their version.

The .asl.yaml files are the only place where states are written. Needs no CDK.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from common.settings import PreflightSettings
from preflight.settings import BaseModel, RunSettings
from stacks.configuration import images
from stacks.configuration.catalog import public_bucket
from stacks.configuration.images import INFERENCE_AMI_VERSION, hosting_image, training_image
from stacks.configuration.settings import Settings

FINE_TUNING_DEFINITION = Path(__file__).parent / "fine_tuning.asl.yaml"
TEAR_DOWN_DEFINITION = Path(__file__).parent / "tear_down.asl.yaml"
_OF_GATED_WEIGHTS = ("ModelAccessConfig", "ContentType")
_PLACEHOLDER = re.compile(r"\$\{([A-Za-z0-9]+)\}")


def load_definition(path: Path) -> dict[str, Any]:
    """The Amazon States Language definition in a YAML file, anchors resolved."""
    definition = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(definition, dict):
        raise ValueError(f"{path.name} holds no state machine")
    return definition


def as_text(definition: Mapping[str, Any]) -> str:
    """A definition as Step Functions gets it."""
    return json.dumps(definition, separators=(",", ":"), ensure_ascii=False)


def placeholders(text: str) -> set[str]:
    """The ${Names} that a definition expects from DefinitionSubstitutions."""
    return set(_PLACEHOLDER.findall(text))


def literals(settings: Settings) -> dict[str, str]:
    """The values in FineTuning's definition that are known before anything is deployed, by their placeholders."""
    return {
        "TrainingImage": training_image(settings.region).uri,
        "HostingImage": hosting_image(settings.region, settings.hosting_image).uri,
        "InferenceAmiVersion": INFERENCE_AMI_VERSION,
        "LoraRank": str(images.server_lora_rank(settings.lora_rank)),
        "MaxConcurrentRequests": str(images.MOST_REQUESTS_AT_ONCE),
        "WeightsUri": settings.weights.uri,
        "Domain": settings.domain,
    }


def fine_tuning_definition(settings: Settings) -> str:
    """FineTuning as Step Functions gets it: weights that need no licence of JumpStart's are asked for without one.

    SageMaker takes ModelAccessConfig for gated weights; for a folder of the user's there is nothing to accept.
    """
    definition = load_definition(FINE_TUNING_DEFINITION)
    return as_text(definition if settings.weights.gated else _without(definition, _OF_GATED_WEIGHTS))


def tear_down_definition() -> str:
    """TearDown as Step Functions gets it."""
    return as_text(load_definition(TEAR_DOWN_DEFINITION))


def _without(value: Any, fields: Collection[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(part, fields) for key, part in value.items() if key not in fields}
    return [_without(part, fields) for part in value] if isinstance(value, list) else value


def definition_version(settings: Settings) -> str:
    """What the definition and the functions of one deployment share: a SHA-256 of the definition, its values and the settings.

    A deployment replaces functions and definition one after the other, and an execution keeps the definition it began with.
    Where the two differ, a run would be priced as one thing and started as another.
    """
    parts = [fine_tuning_definition(settings), literals(settings), settings_json(settings)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def settings_json(settings: Settings) -> str:
    """The settings as Preflight reads them from SETTINGS_JSON."""
    return json.dumps(dataclasses.asdict(run_settings(settings)), separators=(",", ":"))


def run_settings(settings: Settings) -> RunSettings:
    """What a run knows of its deployment: the settings that it shares as they are, and what follows from the others."""
    return RunSettings(
        **{one.name: getattr(settings, one.name) for one in dataclasses.fields(PreflightSettings)},
        region=settings.region,
        domain=settings.domain,
        base_model=_base_model(settings),
        training_instance_types=list(settings.training_instance_type),
        hosting_instance_types=list(settings.hosting_instance_type),
        training_image=training_image(settings.region).uri,
        hosting_image=hosting_image(settings.region, settings.hosting_image).uri,
    )


def _base_model(settings: Settings) -> BaseModel:
    model, weights, licence = settings.model, settings.weights, settings.model.licence
    # Whoever has a copy of their own has accepted its licence where they got it.
    asks = licence.must_be_accepted and not weights.own
    hosted = None if weights.own else model.jumpstart
    return BaseModel(
        id=model.id,
        name=model.name,
        parameters=model.parameters,
        weights_uri=weights.uri,
        own_weights=weights.own,
        requires_eula=asks,
        licensor=licence.licensor,
        eula_uri=f"s3://{public_bucket(settings.region)}/{licence.eula_file}" if asks else "",
        served_tokens=min(model.context_tokens, images.MOST_TOKENS_SERVED),
        has_chat_template=model.has_chat_template,
        hub_name=hosted.id if hosted else "",
        hub_version=hosted.last_version if hosted else "",
        shape=model.shape,
    )
