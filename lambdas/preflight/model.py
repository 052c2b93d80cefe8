"""The base model of a run, as far as its plan depends on it: the one that the settings name, or the one in a folder of the user's."""

from __future__ import annotations

from dataclasses import dataclass

from common.architecture import Shape
from common.environment import RunSettings


@dataclass(frozen=True)
class Model:
    """The base model of a run. `downloaded_bytes` is what SageMaker downloads of it to each instance, whatever is read of that."""

    name: str
    parameters: int
    shape: Shape
    served_tokens: int
    has_chat_template: bool
    downloaded_bytes: int


def catalogued(settings: RunSettings) -> Model:
    """The base model as the settings describe it."""
    model = settings.base_model
    return Model(
        model.name,
        model.parameters,
        model.shape,
        model.served_tokens,
        model.has_chat_template,
        model.shape.weights_bytes,
    )
