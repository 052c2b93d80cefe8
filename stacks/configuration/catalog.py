"""The base models that can be fine-tuned, as catalog.yaml lists them, and where their weights are."""

from dataclasses import dataclass, field
from pathlib import Path

import yaml

from common.architecture import Shape

_FILE = Path(__file__).with_name("catalog.yaml")


@dataclass(frozen=True, kw_only=True)
class Licence:
    """The licence of a model. `eula_file` is a key of JumpStart's public bucket, or empty where nothing has to be accepted."""

    name: str
    licensor: str
    eula_file: str = ""

    @property
    def must_be_accepted(self) -> bool:
        """Whether the account's owner has to accept it before the weights can be read."""
        return bool(self.eula_file)


@dataclass(frozen=True, kw_only=True)
class JumpStart:
    """A model as JumpStart hosts it: its id, the versions that have this prefix, and whether it lies in the gated bucket."""

    id: str
    versions: str
    weights_prefix: str
    gated: bool

    @property
    def last_version(self) -> str:
        """The newest version that was seen to have this prefix."""
        return self.versions.rpartition(" ")[2]


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """One base model. `parameters` lets the report notice weights that are not the ones planned for."""

    id: str
    name: str
    architecture: str  # the class of transformers, as config.json names it
    parameters: int
    context_tokens: int
    shape: Shape = field(repr=False)
    licence: Licence = field(repr=False)
    has_chat_template: bool
    jumpstart: JumpStart | None = field(repr=False)  # None: no public source names the prefix, so weights_uri has to


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Where the weights of a deployment are. Gated weights need ModelAccessConfig, and others must not have it."""

    uri: str
    region: str
    gated: bool
    own: bool  # a folder of the user's

    @property
    def bucket(self) -> str:
        """The bucket of the address."""
        return self.uri.removeprefix("s3://").partition("/")[0]

    @property
    def prefix(self) -> str:
        """The key prefix of the address, with its trailing slash."""
        return self.uri.removeprefix("s3://").partition("/")[2]


def weights_of(model: BaseModel, region: str, own_uri: str) -> Weights:
    """The user's own folder where there is one, else JumpStart's. Raises ValueError where neither is known."""
    if own_uri:
        return Weights(uri=own_uri, region=region, gated=False, own=True)
    if model.jumpstart is None:
        raise ValueError(f"JumpStart's address of {model.name} is unknown")
    bucket = gated_bucket(region) if model.jumpstart.gated else public_bucket(region)
    uri = f"s3://{bucket}/{model.jumpstart.weights_prefix}"
    return Weights(uri=uri, region=region, gated=model.jumpstart.gated, own=False)


def gated_bucket(region: str) -> str:
    """JumpStart's bucket of models that need an accepted licence (ModelAccessConfig.AcceptEula)."""
    return f"jumpstart-private-cache-prod-{region}"


def public_bucket(region: str) -> str:
    """JumpStart's bucket of everything else. AWS documents read access to it for every JumpStart model."""
    return f"jumpstart-cache-prod-{region}"


def _read() -> dict[str, BaseModel]:
    catalogue = yaml.safe_load(_FILE.read_text("utf-8"))
    licences = {name: Licence(**licence) for name, licence in catalogue["licences"].items()}
    return {
        model_id: BaseModel(
            **{
                **entry,
                "id": model_id,
                "licence": licences[entry["licence"]],
                "shape": Shape(**entry["shape"]),
                "jumpstart": JumpStart(**entry["jumpstart"]) if entry["jumpstart"] else None,
            }
        )
        for model_id, entry in catalogue["models"].items()
    }


BASE_MODELS: dict[str, BaseModel] = _read()
