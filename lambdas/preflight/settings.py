"""The settings of the deployment as Preflight reads them from SETTINGS_JSON, which the stack writes."""

import json
from dataclasses import dataclass, fields
from typing import Any, Self

from common.architecture import Shape
from common.environment import MisconfiguredFunction
from common.settings import PreflightSettings


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


@dataclass(frozen=True, kw_only=True)
class RunSettings(PreflightSettings):
    """The deployed settings, as the stacks validated them, and what follows from those that the stacks alone know."""

    region: str
    domain: str
    base_model: BaseModel
    training_instance_types: list[str]
    hosting_instance_types: list[str]
    training_image: str
    hosting_image: str

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Reads SETTINGS_JSON. Raises MisconfiguredFunction when it is of another form; no default stands in for a setting that is missing."""
        try:
            values: dict[str, Any] = json.loads(text)
            model = values["base_model"]
            given = {one.name: values[one.name] for one in fields(cls)}
            return cls(**{**values, **given, "base_model": BaseModel(**{**model, "shape": Shape(**model["shape"])})})
        except (ValueError, KeyError, TypeError) as error:
            raise MisconfiguredFunction(
                f"The variable SETTINGS_JSON of this function does not match its code ({error}). Run make deploy."
            ) from None
