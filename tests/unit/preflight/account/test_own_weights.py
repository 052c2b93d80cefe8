"""A folder of weights of the user's own: what is right with it is planned, and what is wrong with it is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from common.architecture import Shape
from common.environment import RunSettings
from common.errors import ChatTemplateMissing, WeightsNotFound, WeightsRejected
from preflight.request import Request
from tests.doubles.lambda_fakes import refusal
from tests.doubles.preflight_site import Site
from tests.doubles.run_settings import SETTINGS
from tests.doubles.texts.made_up_records import conversations as made_up_conversations
from tests.doubles.texts.made_up_records import lines

URI, FOLDER = "s3://mine/models/tiny/", "models/tiny/"
CONFIGURATION: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "_name_or_path": "somebody/Tiny-Llama", "hidden_size": 64, "intermediate_size": 128,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 400, "max_position_embeddings": 2048,
}  # fmt: skip
PARAMETERS = 125_248


class Folder(Site):
    """An account whose settings name a folder of weights, with a whole model in it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(monkeypatch)
        self.settings["base_model"] = {
            **SETTINGS["base_model"], "weights_uri": URI, "own_weights": True, "requires_eula": False,
        }  # fmt: skip
        self.s3.objects = {}
        self.put("config.json", json.dumps(CONFIGURATION).encode())
        self.put("tokenizer.json", b"{}")
        self.put("model.safetensors", bytes(2 * PARAMETERS))

    def put(self, name: str, content: bytes) -> None:
        self.s3.objects["mine", FOLDER + name] = content

    def configure(self, **changes: Any) -> None:
        self.put("config.json", json.dumps(CONFIGURATION | changes).encode())

    def remove(self, name: str) -> None:
        del self.s3.objects["mine", FOLDER + name]


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Folder:
    return Folder(monkeypatch)


def test_the_plan_names_the_model_that_lies_there_and_warns_that_it_is_another(site: Folder) -> None:
    plan = site.run()
    assert plan["baseModel"] == {"name": "Tiny-Llama", "parameters": PARAMETERS, "weightsUri": URI}
    assert plan["warnings"][0].startswith(
        f"The weights at {URI} are Tiny-Llama with 125,248 parameters, not Llama 2 7B (base_model)"
    )


def test_how_much_of_a_corpus_is_learnt_goes_by_the_model_that_lies_there(
    site: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Shape] = []

    def most_bytes(settings: RunSettings, request: Request, shape: Shape) -> int:
        asked.append(shape)
        return 10**6

    monkeypatch.setattr("preflight.learnable.most_bytes", most_bytes)
    site.run()
    assert [shape.hidden for shape in asked] == [CONFIGURATION["hidden_size"]]


def test_no_licence_is_asked_for(site: Folder) -> None:
    site.settings["accept_eula"] = False
    assert site.run()["acceptEula"] is False


def test_a_copy_of_the_model_that_the_settings_name_is_nothing_to_warn_of(site: Folder) -> None:
    shape = {
        "layers": 2, "hidden": 64, "intermediate": 128, "vocabulary": 400, "heads": 4, "key_value_heads": 2, "head_size": 16,
        "tied_embeddings": False, "biased_attention": False,
    }  # fmt: skip
    site.settings["base_model"] = {**site.settings["base_model"], "shape": shape}
    assert site.run()["warnings"] == []


def test_without_a_name_of_its_own_it_is_called_by_its_folder(site: Folder) -> None:
    site.configure(_name_or_path="")
    assert site.run()["baseModel"]["name"] == "tiny"


@pytest.mark.parametrize(("context", "served"), [(2048, 2048), (131_072, 4096)])
def test_it_is_served_with_its_own_context_and_with_no_more_than_others(
    site: Folder, context: int, served: int
) -> None:
    site.configure(max_position_embeddings=context)
    assert site.run()["hosting"]["maxModelTokens"] == served


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("config.json", "config.json is missing"),
        ("tokenizer.json", "there is no tokenizer (tokenizer.json, tokenizer.model, vocab.json)"),
        ("model.safetensors", "there are no *.safetensors"),
    ],
)
def test_what_is_missing_is_named(site: Folder, name: str, said: str) -> None:
    site.remove(name)
    message = site.refusal(WeightsRejected)
    assert message.startswith(f"The folder {URI} of weights_uri holds no model that can be trained and served: {said}")


def test_all_that_is_wrong_is_told_at_once(site: Folder) -> None:
    site.remove("tokenizer.json")
    site.remove("model.safetensors")
    site.put("pytorch_model.bin", b"pickle")
    message = site.refusal(WeightsRejected)
    assert "there is no tokenizer" in message
    assert "there are no *.safetensors, but pytorch_model.bin: convert it, or unpack it" in message


def test_a_model_one_folder_further_down_is_pointed_to(site: Folder) -> None:
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        site.put(f"v2/{name}", site.s3.objects["mine", FOLDER + name])
        site.remove(name)
    assert "it lies in v2/, so add that to weights_uri" in site.refusal(WeightsRejected)


def test_a_shard_that_its_index_names_must_be_there(site: Folder) -> None:
    shards = {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}
    site.put("model.safetensors.index.json", json.dumps({"weight_map": shards}).encode())
    assert "model-00002-of-00002.safetensors of model.safetensors.index.json is missing" in site.refusal(
        WeightsRejected
    )
    site.put("model-00002-of-00002.safetensors", b"")
    assert site.run()["baseModel"]["name"] == "Tiny-Llama"


@pytest.mark.parametrize("index", [b"{}", b'{"weight_map": []}'])
def test_an_index_without_a_list_is_refused(site: Folder, index: bytes) -> None:
    site.put("model.safetensors.index.json", index)
    assert "model.safetensors.index.json has no weight_map" in site.refusal(WeightsRejected)


@pytest.mark.parametrize("name", ["", "v2/"])
def test_an_empty_object_that_stands_for_a_folder_is_refused_because_sagemaker_cannot_load_it(
    site: Folder, name: str
) -> None:
    site.put(name, b"")
    assert "delete them, for example with aws s3api delete-object" in site.refusal(WeightsRejected)


def test_weights_that_are_too_few_for_the_configuration_are_refused(site: Folder) -> None:
    site.put("model.safetensors", bytes(PARAMETERS))
    assert "125,248 parameters take 0.00 GB in 16 bits: some are missing, cut off or quantised" in site.refusal(
        WeightsRejected
    )
    site.put("consolidated/model.safetensors", bytes(2 * PARAMETERS))  # below the folder, where nobody looks
    site.refusal(WeightsRejected)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "its architecture is GPT2LMHeadModel, and known are LlamaForCausalLM"),
        ({"hidden_size": None}, "hidden_size in its config.json is None"),
        ({"quantization_config": {"bits": 4}}, "its weights are quantised"),
        ({"max_position_embeddings": 256}, "its context (max_position_embeddings) is 256 tokens, and sequence_length is 512"),
        ({"max_position_embeddings": None}, "its context (max_position_embeddings) is None tokens"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_trained_or_served_is_refused(site: Folder, changes: dict[str, Any], said: str) -> None:
    site.configure(**changes)
    assert said in site.refusal(WeightsRejected)


def tokenizer(site: Folder, words: object, **more: Any) -> None:
    site.put("tokenizer.json", json.dumps({"model": {"type": "BPE", "vocab": words}, **more}).encode())


def numbered(count: int, first: int = 0) -> dict[str, int]:
    return {f"word{number}": number for number in range(first, first + count)}


@pytest.mark.parametrize(
    "words", [numbered(400), numbered(200), [[f"word{number}", -1.5] for number in range(400)], None]
)
def test_a_tokenizer_whose_words_the_model_has_rows_for_is_taken(site: Folder, words: object) -> None:
    tokenizer(site, words)
    assert site.run()["baseModel"]["name"] == "Tiny-Llama"


def test_a_token_that_was_added_for_padding_needs_no_row(site: Folder) -> None:
    tokenizer(site, numbered(400), added_tokens=[{"id": 400, "content": "<pad>"}])
    assert site.run()["baseModel"]["name"] == "Tiny-Llama"


@pytest.mark.parametrize(
    ("words", "count", "highest"),
    [
        (numbered(401), 401, 400),
        (numbered(300, 101), 300, 400),
        (numbered(199), 199, 198),
        ([["word", 0.0]] * 401, 401, 400),
    ],
)
def test_the_tokenizer_of_another_model_is_refused(site: Folder, words: object, count: int, highest: int) -> None:
    tokenizer(site, words)
    assert (
        f"its tokenizer.json is another model's: its {count} tokens reach to the id {highest}, and the model has the ids 0 to 399"
    ) in site.refusal(WeightsRejected)


def test_a_tokenizer_that_was_cut_off_is_refused_and_one_too_large_to_be_read_here_is_left_to_training(
    site: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.put("tokenizer.json", b'{"model": {"vocab": {"wo')
    assert f"{URI}tokenizer.json is not a JSON object" in site.refusal(WeightsRejected)
    monkeypatch.setattr("preflight.account.own_weights.MOST_BYTES_READ", 400)
    tokenizer(site, numbered(401))
    assert site.run()["baseModel"]["name"] == "Tiny-Llama"


@pytest.mark.parametrize("content", [b"no json", b"[]"])
def test_a_configuration_that_is_no_object_is_refused(site: Folder, content: bytes) -> None:
    site.put("config.json", content)
    assert f"{URI}config.json is not a JSON object" in site.refusal(WeightsRejected)


def test_an_empty_folder_and_a_bucket_that_is_not_there_are_said_so(site: Folder) -> None:
    site.s3.objects = {}
    assert f"There is nothing at {URI}" in site.refusal(WeightsNotFound)
    site.s3.troubles["list_objects_v2"] = [refusal("NoSuchBucket")]
    assert "There is no bucket mine" in site.refusal(WeightsNotFound)


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        (
            "list_objects_v2",
            f"{URI} cannot be listed (AccessDenied). The roles of this deployment are allowed s3:ListBucket",
        ),
        (
            "get_object",
            f"{URI}config.json cannot be read (AccessDenied). The roles of this deployment are allowed s3:GetObject",
        ),
    ],
)
def test_what_may_not_be_read_is_refused_because_training_would_be_refused_too(
    site: Folder, operation: str, said: str
) -> None:
    site.deploy()
    site.s3.troubles[operation] = [refusal("AccessDenied")] * 3
    with pytest.raises(Exception) as refused:
        site.run()
    assert said in str(refused.value)


def conversations(site: Folder) -> dict[str, Any]:
    site.upload("talks.jsonl", lines(made_up_conversations(40)))
    return {"corpus": "corpora/talks.jsonl"}


@pytest.mark.parametrize(
    ("name", "content"),
    [("chat_template.jinja", b"{{ messages }}"), ("tokenizer_config.json", b'{"chat_template": "{{ messages }}"}')],
)
def test_a_folder_with_a_chat_template_can_be_trained_on_conversations(site: Folder, name: str, content: bytes) -> None:
    site.put(name, content)
    assert site.run(conversations(site))["corpus"]["conversations"]


@pytest.mark.parametrize("content", [None, b"{}"])
def test_one_without_cannot(site: Folder, content: bytes | None) -> None:
    if content:
        site.put("tokenizer_config.json", content)
    assert "has no chat template" in site.refusal(ChatTemplateMissing, conversations(site))
