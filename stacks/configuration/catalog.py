"""The base models that can be fine-tuned: what was read of each, and where its weights lie.

Sizes and contexts: the model builders of pytorch/torchtune (llama2, llama3_1, llama3_2, qwen2_5; commits 2cb2470 and 47a9e19), tested
against transformers. JumpStart's ids, prefixes and licence files: jumpstart-models.json of awslabs/generative-ai-cdk-constructs at
9d49b9d (31 July 2026), made from JumpStart's own manifest of us-east-1. What neither of them says is marked "not confirmed".
"""

from __future__ import annotations

from dataclasses import dataclass, field

from common.architecture import BYTES_PER_WEIGHT, Shape


@dataclass(frozen=True, kw_only=True)
class Licence:
    """Under what a model may be used. `eula_file` is a key of JumpStart's public bucket, or empty where nobody has to accept anything."""

    name: str
    licensor: str
    eula_file: str = ""

    @property
    def must_be_accepted(self) -> bool:
        """Whether the account's owner has to read and accept it before the weights are handed out."""
        return bool(self.eula_file)


@dataclass(frozen=True, kw_only=True)
class JumpStart:
    """A model as JumpStart hosts it: its id, the versions that have this prefix, and whether it lies in the gated bucket."""

    id: str
    versions: str
    weights_prefix: str
    gated: bool


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

    @property
    def weights_bytes(self) -> int:
        """What the files of weights hold."""
        return BYTES_PER_WEIGHT * self.parameters


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Where the weights of a deployment lie. Gated ones are handed out with ModelAccessConfig only, and no others may be asked for so."""

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
        """The key prefix of the address, with a slash at its end."""
        return self.uri.removeprefix("s3://").partition("/")[2]


def weights_of(model: BaseModel, region: str, own_uri: str) -> Weights:
    """The user's own folder where there is one, else JumpStart's. Raises ValueError where neither is known."""
    if own_uri:
        return Weights(uri=own_uri, region=region, gated=False, own=True)
    if model.jumpstart is None:
        raise ValueError(f"no public source says where JumpStart keeps {model.name}")
    bucket = gated_bucket(region) if model.jumpstart.gated else public_bucket(region)
    uri = f"s3://{bucket}/{model.jumpstart.weights_prefix}"
    return Weights(uri=uri, region=region, gated=model.jumpstart.gated, own=False)


def jumpstart_buckets(weights: Weights) -> list[str]:
    """JumpStart's buckets that weights are read with: none for the user's own.

    Both, whichever these lie in: a run that began with other weights, before a deployment, goes on reading those.
    """
    return [] if weights.own else [gated_bucket(weights.region), public_bucket(weights.region)]


def gated_bucket(region: str) -> str:
    """JumpStart's bucket of models that need an accepted licence (ModelAccessConfig.AcceptEula)."""
    return f"jumpstart-private-cache-prod-{region}"


def public_bucket(region: str) -> str:
    """JumpStart's bucket of everything else. AWS documents read access to it for every JumpStart model."""
    return f"jumpstart-cache-prod-{region}"


def _meta(name: str, eula: str) -> Licence:
    return Licence(name=name, licensor="Meta", eula_file=f"fmhMetadata/eula/{eula}")


def _jumpstart(provider: str, model_id: str, versions: str, prepack: str, *, gated: bool) -> JumpStart:
    # Pinned: a newer version once moved keys and broke its users.
    prefix = f"{provider}/{model_id}/artifacts/inference-prepack/{prepack}/"
    return JumpStart(id=model_id, versions=versions, weights_prefix=prefix, gated=gated)


_LLAMA_2 = _meta("Llama 2 Community License", "llamaEula.txt")
_LLAMA_3_1 = _meta("Llama 3.1 Community License", "llama3_1Eula.txt")
_LLAMA_3_2 = _meta("Llama 3.2 Community License", "llama3_2Eula.txt")
_MISTRAL, _QWEN = (Licence(name="Apache 2.0", licensor=who) for who in ("Mistral AI", "Alibaba Cloud"))

_LLAMA_2_7B = Shape(
    layers=32, hidden=4096, intermediate=11_008, vocabulary=32_000, heads=32, key_value_heads=32, head_size=128
)
_QWEN_2_5_7B = Shape(
    layers=28, hidden=3584, intermediate=18_944, vocabulary=152_064, heads=28, key_value_heads=4, head_size=128,
    biased_attention=True,
)  # fmt: skip

_MODELS = (
    BaseModel(
        id="llama-2-7b",
        name="Llama 2 7B",
        architecture="LlamaForCausalLM",
        parameters=6_738_415_616,
        context_tokens=4096,
        shape=_LLAMA_2_7B,
        licence=_LLAMA_2,
        has_chat_template=False,
        jumpstart=_jumpstart(
            "meta-textgeneration", "meta-textgeneration-llama-2-7b", "4.2.0 to 4.25.0", "v1.1.0", gated=True
        ),
    ),
    BaseModel(
        id="llama-2-7b-chat",
        name="Llama 2 7B Chat",
        architecture="LlamaForCausalLM",
        parameters=6_738_415_616,
        context_tokens=4096,
        shape=_LLAMA_2_7B,
        licence=_LLAMA_2,
        has_chat_template=True,
        jumpstart=_jumpstart(
            "meta-textgeneration", "meta-textgeneration-llama-2-7b-f", "4.2.0 to 4.27.0", "v1.1.0", gated=True
        ),
    ),
    BaseModel(
        id="llama-2-13b",
        name="Llama 2 13B",
        architecture="LlamaForCausalLM",
        parameters=13_015_864_320,
        context_tokens=4096,
        shape=Shape(
            layers=40, hidden=5120, intermediate=13_824, vocabulary=32_000, heads=40, key_value_heads=40, head_size=128
        ),
        licence=_LLAMA_2,
        has_chat_template=False,
        jumpstart=_jumpstart(
            "meta-textgeneration", "meta-textgeneration-llama-2-13b", "4.2.0 to 4.28.0", "v1.1.0", gated=True
        ),
    ),
    BaseModel(
        id="llama-3.1-8b",
        name="Llama 3.1 8B",
        architecture="LlamaForCausalLM",
        parameters=8_030_261_248,
        context_tokens=131_072,
        shape=Shape(
            layers=32, hidden=4096, intermediate=14_336, vocabulary=128_256, heads=32, key_value_heads=8, head_size=128
        ),
        licence=_LLAMA_3_1,
        has_chat_template=False,
        jumpstart=_jumpstart(
            "meta-textgeneration", "meta-textgeneration-llama-3-1-8b", "2.0.0 to 2.6.0", "v2.0.0", gated=True
        ),
    ),
    BaseModel(
        id="llama-3.2-1b",
        name="Llama 3.2 1B",
        architecture="LlamaForCausalLM",
        parameters=1_235_814_400,
        context_tokens=131_072,
        shape=Shape(
            layers=16,
            hidden=2048,
            intermediate=8192,
            vocabulary=128_256,
            heads=32,
            key_value_heads=8,
            head_size=64,
            tied_embeddings=True,
        ),
        licence=_LLAMA_3_2,
        has_chat_template=False,
        jumpstart=_jumpstart(
            "meta-textgeneration", "meta-textgeneration-llama-3-2-1b", "1.0.0 to 1.0.6", "v1.0.0", gated=True
        ),
    ),
    BaseModel(
        id="llama-3.2-3b",
        name="Llama 3.2 3B",
        architecture="LlamaForCausalLM",
        parameters=3_212_749_824,
        context_tokens=131_072,
        shape=Shape(
            layers=28,
            hidden=3072,
            intermediate=8192,
            vocabulary=128_256,
            heads=24,
            key_value_heads=8,
            head_size=128,
            tied_embeddings=True,
        ),
        licence=_LLAMA_3_2,
        has_chat_template=False,
        jumpstart=_jumpstart(
            "meta-textgeneration", "meta-textgeneration-llama-3-2-3b", "1.0.0 to 1.0.6", "v1.0.0", gated=True
        ),
    ),
    # Version 0.3: its vocabulary of 32,768 words and that there is no sliding window are not confirmed by the sources above.
    BaseModel(
        id="mistral-7b",
        name="Mistral 7B v0.3",
        architecture="MistralForCausalLM",
        parameters=7_248_023_552,
        context_tokens=32_768,
        shape=Shape(
            layers=32, hidden=4096, intermediate=14_336, vocabulary=32_768, heads=32, key_value_heads=8, head_size=128
        ),
        licence=_MISTRAL,
        has_chat_template=False,
        jumpstart=_jumpstart(
            "huggingface-llm", "huggingface-llm-mistral-7b-v3", "1.0.0 to 1.1.21", "v1.0.0", gated=False
        ),
    ),
    # JumpStart's manifest has the instruct model only. That the base model has a chat template too is not confirmed.
    BaseModel(
        id="qwen-2.5-7b",
        name="Qwen 2.5 7B",
        architecture="Qwen2ForCausalLM",
        parameters=7_615_616_512,
        context_tokens=131_072,
        shape=_QWEN_2_5_7B,
        licence=_QWEN,
        has_chat_template=True,
        jumpstart=None,
    ),
    BaseModel(
        id="qwen-2.5-7b-instruct",
        name="Qwen 2.5 7B Instruct",
        architecture="Qwen2ForCausalLM",
        parameters=7_615_616_512,
        context_tokens=32_768,
        shape=_QWEN_2_5_7B,
        licence=_QWEN,
        has_chat_template=True,
        jumpstart=_jumpstart(
            "huggingface-llm", "huggingface-llm-qwen2-5-7b-instruct", "1.0.0 to 1.27.2", "v1.0.0", gated=False
        ),
    ),
)

BASE_MODELS: dict[str, BaseModel] = {model.id: model for model in _MODELS}
