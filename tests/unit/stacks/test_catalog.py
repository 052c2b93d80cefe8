"""The catalogue of base models: its figures agree with each other, and each model is read from where it lies."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from common.architecture import BIASED_ATTENTION, Shape, UnknownShape, shape_of
from stacks.configuration.catalog import BASE_MODELS, BaseModel, weights_of
from stacks.configuration.settings import Settings

each = pytest.mark.parametrize("model", BASE_MODELS.values(), ids=lambda model: model.id)
REGION = "eu-west-1"


def shape(model: BaseModel) -> Shape:
    return Shape(**dataclasses.asdict(model.shape))


@each
def test_the_parameters_are_those_that_its_shape_adds_up_to(model: BaseModel) -> None:
    assert shape(model).parameters == model.parameters
    assert model.weights_bytes == 2 * model.parameters
    assert model.shape.biased_attention is BIASED_ATTENTION[model.architecture]


@each
def test_transformers_counts_the_same_parameters_and_linear_layers(model: BaseModel) -> None:
    torch = pytest.importorskip("torch")
    import transformers

    one = model.shape
    configuration = getattr(transformers, model.architecture.replace("ForCausalLM", "Config"))(
        vocab_size=one.vocabulary, hidden_size=one.hidden, intermediate_size=one.intermediate, num_hidden_layers=one.layers,
        num_attention_heads=one.heads, num_key_value_heads=one.key_value_heads, head_dim=one.head_size,
        tie_word_embeddings=one.tied_embeddings,
    )  # fmt: skip
    with torch.device("meta"):
        causal: Any = getattr(transformers, model.architecture)(configuration)
    causal.tie_weights()
    assert sum(value.numel() for value in causal.parameters()) == model.parameters
    output = causal.get_output_embeddings()
    linear = [layer for layer in causal.modules() if isinstance(layer, torch.nn.Linear) and layer is not output]
    assert sum(layer.weight.numel() for layer in linear) == shape(model).linear_parameters
    assert sum(16 * (layer.in_features + layer.out_features) for layer in linear) == shape(model).adapter_parameters(16)


@each
def test_gated_weights_lie_in_the_gated_bucket_of_the_region_and_others_in_the_public_one(model: BaseModel) -> None:
    if model.jumpstart is None:
        with pytest.raises(ValueError, match=f"where JumpStart keeps {model.name}"):
            weights_of(model, REGION, "")
        return
    weights = weights_of(model, REGION, "")
    private = "private-" if model.jumpstart.gated else ""
    assert weights.uri.startswith(f"s3://jumpstart-{private}cache-prod-{REGION}/")
    assert weights.uri.endswith("/") and "//" not in weights.uri.removeprefix("s3://")
    assert f"/{model.jumpstart.id}/artifacts/inference-prepack/" in weights.uri
    assert (weights.gated, weights.own) == (model.jumpstart.gated, False)


@each
def test_whatever_is_gated_has_a_licence_that_somebody_accepts_and_nothing_else_has(model: BaseModel) -> None:
    assert model.licence.must_be_accepted is bool(model.jumpstart and model.jumpstart.gated)


@each
def test_each_can_be_read_from_a_folder_of_ones_own(model: BaseModel) -> None:
    settings = Settings.from_context({"base_model": model.id, "weights_uri": "s3://mine/models/one/"})
    weights = settings.weights
    assert (weights.uri, weights.bucket, weights.prefix) == ("s3://mine/models/one/", "mine", "models/one/")
    assert (weights.gated, weights.own) == (False, True)


def test_the_default_is_llama_2_7b_as_jumpstart_serves_it() -> None:
    assert Settings().weights.uri == (
        "s3://jumpstart-private-cache-prod-us-east-1/meta-textgeneration/meta-textgeneration-llama-2-7b/artifacts/inference-prepack/v1.1.0/"
    )


LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "vocab_size": 49_152, "tie_word_embeddings": True,
}  # fmt: skip


def test_a_shape_is_read_from_a_config_json() -> None:
    assert shape_of(LLAMA).parameters == 134_515_008
    assert shape_of(LLAMA | {"head_dim": None}) == shape_of(LLAMA | {"head_dim": 64}) == shape_of(LLAMA)
    assert shape_of({**LLAMA, "num_key_value_heads": None}).key_value_heads == 9
    assert not shape_of({key: value for key, value in LLAMA.items() if key != "tie_word_embeddings"}).tied_embeddings
    assert shape_of(LLAMA | {"architectures": ["Qwen2ForCausalLM"]}).parameters == 134_515_008 + 30 * (9 + 2 * 3) * 64


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"architectures": ["GPT2LMHeadModel"]},
            "its architecture is GPT2LMHeadModel, and known are LlamaForCausalLM, ",
        ),
        ({"architectures": []}, "its architecture is not named"),
        ({"architectures": None}, "its architecture is not named"),
        ({"hidden_size": None}, "hidden_size in its config.json is None"),
        ({"vocab_size": "many"}, "vocab_size in its config.json is 'many'"),
        ({"num_hidden_layers": 0}, "num_hidden_layers in its config.json is 0"),
        ({"num_hidden_layers": True}, "num_hidden_layers in its config.json is True"),
        ({"attention_bias": True}, "its config.json sets attention_bias"),
        ({"mlp_bias": True}, "its config.json sets mlp_bias"),
    ],
)
def test_what_is_no_known_shape_is_refused_by_the_field(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UnknownShape, match="^" + said.replace("(", r"\(")):
        shape_of({**LLAMA, **changes})


def test_keys_and_values_of_seven_billion_take_half_a_mebibyte_a_token() -> None:
    assert shape(BASE_MODELS["llama-2-7b"]).key_value_bytes(1) == 2**19
