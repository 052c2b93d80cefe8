"""Base models, container images and ranks agree with their sources, and what AWS does not have is refused."""

from collections.abc import Callable
from typing import Any

import pytest
from packaging.version import Version

from common.architecture import BIASED_ATTENTION, UnknownShape, shape_of
from common.settings import check_of
from stacks.configuration import images
from stacks.configuration.catalog import BASE_MODELS, BaseModel, weights_of
from stacks.configuration.checks import BUDGET_REGIONS
from stacks.configuration.settings import Settings, SettingsError

each = pytest.mark.parametrize("model", BASE_MODELS.values(), ids=lambda model: model.id)
REGION = "eu-west-1"


@each
def test_a_models_figures_are_those_that_transformers_counts(model: BaseModel) -> None:
    assert model.shape.parameters == model.parameters
    assert model.shape.biased_attention is BIASED_ATTENTION[model.architecture]
    torch = pytest.importorskip("torch")
    import transformers

    one = model.shape
    configuration = getattr(transformers, model.architecture.replace("ForCausalLM", "Config"))(
        vocab_size=one.vocabulary, hidden_size=one.hidden, intermediate_size=one.intermediate,
        num_hidden_layers=one.layers, num_attention_heads=one.heads, num_key_value_heads=one.key_value_heads, head_dim=one.head_size,
        tie_word_embeddings=one.tied_embeddings,
    )  # fmt: skip
    with torch.device("meta"):
        causal: Any = getattr(transformers, model.architecture)(configuration)
    causal.tie_weights()
    assert sum(value.numel() for value in causal.parameters()) == model.parameters
    output = causal.get_output_embeddings()
    linear = [layer for layer in causal.modules() if isinstance(layer, torch.nn.Linear) and layer is not output]
    assert sum(layer.weight.numel() for layer in linear) == model.shape.linear_parameters
    assert sum(16 * (layer.in_features + layer.out_features) for layer in linear) == model.shape.adapter_parameters(16)


@each
def test_gated_weights_have_a_licence_to_accept_and_a_bucket_of_their_own(model: BaseModel) -> None:
    assert model.licence.must_be_accepted is bool(model.jumpstart and model.jumpstart.gated)
    if model.jumpstart is None:
        with pytest.raises(ValueError, match=f"address of {model.name} is unknown"):
            weights_of(model, REGION, "")
    else:
        weights = weights_of(model, REGION, "")
        private = "private-" if model.jumpstart.gated else ""
        assert weights.uri.startswith(f"s3://jumpstart-{private}cache-prod-{REGION}/")
        assert f"/{model.jumpstart.id}/artifacts/inference-prepack/" in weights.uri and weights.uri.endswith("/")
        assert (weights.gated, weights.own) == (model.jumpstart.gated, False)
    own = Settings.from_context({"base_model": model.id, "weights_uri": "s3://mine/models/one/"}).weights
    assert (own.bucket, own.prefix, own.gated, own.own) == ("mine", "models/one/", False, True)


LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49_152, "tie_word_embeddings": True,
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
        ({"architectures": ["GPT2LMHeadModel"]}, "architecture is GPT2LMHeadModel, not one of LlamaForCausalLM, "),
        ({"architectures": None}, "its architecture is not named"),
        ({"hidden_size": None}, "hidden_size in its config.json is None"),
        ({"num_hidden_layers": True}, "num_hidden_layers in its config.json is True"),
        ({"attention_bias": True}, "its config.json sets attention_bias"),
    ],
)
def test_an_unknown_shape_is_rejected_by_the_field(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UnknownShape) as refusal:
        shape_of({**LLAMA, **changes})
    assert said in str(refusal.value)


@pytest.mark.slow
def test_image_addresses_are_those_of_the_sagemaker_sdk_in_every_region() -> None:
    from sagemaker.core import image_uris  # two seconds, which the synthesis is spared

    for region in BUDGET_REGIONS:
        common = {"region": region, "instance_type": "ml.g5.2xlarge"}
        training = image_uris.retrieve(
            framework="huggingface", version=images.TRANSFORMERS_VERSION, py_version=images.PYTHON_VERSION,
            base_framework_version=f"pytorch{images.PYTORCH_VERSION}", image_scope="training", **common,
        )  # fmt: skip
        hosting = image_uris.retrieve(
            framework="vllm-server", version=images.VLLM_SERVER_VERSION, image_scope="inference", **common
        )
        assert (images.training_image(region).uri, images.hosting_image(region).uri) == (training, hosting)


def test_no_image_that_the_pinned_sdk_lists_is_newer_than_those_that_were_looked_at() -> None:
    """Where this fails: run `make conformance ARGS=training-image` with a newer training image, read the entrypoint of a newer server."""
    training = [
        (Version(transformers), Version(base.removeprefix("pytorch")))
        for transformers, bases in images._listed("huggingface")["training"]["versions"].items()
        for base in bases
        if base.startswith("pytorch")
    ]
    assert max(training) == (Version(images.TRANSFORMERS_VERSION), Version(images.PYTORCH_VERSION))
    assert max(map(Version, images._listed("vllm-server")["versions"])) == Version("2.6")


ADDRESS = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/own/vllm:v1.2_3"


@pytest.mark.parametrize(
    ("find", "told"),
    [
        (lambda: images.hosting_image("mars-east-1"), "in the region mars-east-1. Set region to one of "),
        (lambda: images.hosting_image("us-east-1", ADDRESS), "or set region to eu-west-1"),
    ],
)
def test_an_image_that_cannot_be_pulled_is_rejected_by_name(find: Callable[[], object], told: str) -> None:
    assert images.hosting_image("eu-west-1", ADDRESS).uri == ADDRESS
    with pytest.raises(SettingsError) as refusal:
        find()
    assert told in str(refusal.value)


def test_every_rank_that_is_trained_is_served_by_the_next_that_vllm_knows() -> None:
    assert [images.server_lora_rank(rank) for rank in (1, 2, 8, 17, 257, 512)] == [1, 8, 8, 32, 320, 512]
    highest = int(check_of(Settings, "lora_rank").limits[1])
    assert images.server_lora_rank(highest) >= highest
    for rank in (0, 513):
        with pytest.raises(ValueError, match="Correct lora_rank"):
            images.server_lora_rank(rank)
    assert images.MOST_REQUESTS_AT_ONCE == 2 * images.REQUESTS_AT_ONCE == 64
