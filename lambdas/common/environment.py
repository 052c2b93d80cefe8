"""The environment variables of the Lambdas, typed. The stack sets for each function only what it needs."""

import json
from dataclasses import dataclass
from typing import Any, Self

from common.architecture import Shape
from common.errors import DeployInProgress
from common.outside import outside


class MisconfiguredFunction(RuntimeError):
    """A variable that the deployment should have set is missing."""


def required(name: str) -> str:
    """The value of an environment variable. Raises MisconfiguredFunction when it is missing or empty."""
    value = outside().variables().get(name, "")
    if not value:
        raise MisconfiguredFunction(f"environment variable {name} is not set; deploy the stacks again")
    return value


@dataclass(frozen=True)
class BaseModel:
    """The base model as the catalog of the stacks describes it."""

    id: str
    name: str
    parameters: int
    weights_uri: str
    own_weights: bool  # a folder of the user's, of which nothing is known but what Preflight reads there
    requires_eula: bool
    licensor: str
    eula_uri: str
    served_tokens: int  # prompt and answer together, at most
    has_chat_template: bool
    hub_name: str  # of JumpStart's hub; empty for a folder of the user's
    hub_version: str
    shape: Shape


@dataclass(frozen=True)
class RunSettings:
    """The deployed settings, as the stacks validated them."""

    region: str
    domain: str
    base_model: BaseModel
    training_instance_types: list[str]
    training_instance_count: int
    hosting_instance_types: list[str]
    training_image: str
    hosting_image: str
    lora_rank: int
    epochs: int
    max_training_seconds: int
    spot: bool
    checkpoint_minutes: int
    endpoint_deadline_minutes: int
    accept_eula: bool
    samples_per_prompt: int
    seed: int
    sequence_length: int
    hyperparameters: dict[str, str]  # those that the training script alone reads
    corpus_words: int
    long_records: str  # "split" or "refuse"
    document_order: str  # "auto", "shuffled" or "written"
    accept_lost_ledger: str

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Reads the JSON that the stack wrote into SETTINGS_JSON. Raises MisconfiguredFunction when it is of another form."""
        try:
            values: dict[str, Any] = json.loads(text)
            model = values["base_model"]
            return cls(**{**values, "base_model": BaseModel(**{**model, "shape": Shape(**model["shape"])})})
        except (ValueError, KeyError, TypeError) as error:
            raise MisconfiguredFunction(
                f"SETTINGS_JSON is not what this code reads ({error}); deploy the stacks again"
            ) from None


def refuse_another_deployment(version: Any) -> None:
    """Raises DeployInProgress unless the version of the caller's definition is that of this function.

    A deployment replaces functions and definition one after the other, and an execution keeps the definition that it began with, also
    when it is redriven weeks later. What it would start is then not what this function reserves for.
    """
    # Empty at times: a function's code is replaced before its variables.
    own = outside().variables().get("DEFINITION_VERSION", "")
    if not own or version != own:
        raise DeployInProgress(
            "This execution began with the definition of another deployment than the one that answers now, so what it would start is not what is "
            "checked and reserved here. Nothing was started that bills. Wait until the deployment has ended, a minute or two, and start a new execution."
        )
