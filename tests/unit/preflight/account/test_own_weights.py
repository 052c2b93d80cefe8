"""A folder of weights of the user's own: what is right with it is planned, and what is wrong with it is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from common.environment import RunSettings
from common.errors import ChatTemplateMissing, WeightsRejected
from common.pricing.durations import TRAINING_MARGIN_SECONDS, WEIGHTS_DOWNLOAD_SECONDS
from preflight.model import Model
from preflight.request import Request
from tests.doubles.own_weights_site import CONFIGURATION, FOLDER, PARAMETERS, URI, Folder
from tests.doubles.texts.made_up_records import conversations as made_up_conversations
from tests.doubles.texts.made_up_records import lines


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
    asked: list[Model] = []

    def most_bytes(settings: RunSettings, request: Request, model: Model) -> int:
        asked.append(model)
        return 10**6

    monkeypatch.setattr("preflight.learnable.most_bytes", most_bytes)
    site.run()
    assert [model.shape.hidden for model in asked] == [CONFIGURATION["hidden_size"]]


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
    assert message.startswith(f"The folder {URI} of weights_uri cannot be trained and served: {said}")


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


GB = 10**9


def test_a_folder_of_which_far_more_is_downloaded_than_the_model_is_refused_with_the_largest_of_it(
    site: Folder,
) -> None:
    for name, size in (
        ("checkpoint-500/optimizer.pt", 27 * GB), ("checkpoint-1000/optimizer.pt", 27 * GB), ("original/consolidated.00.pth", 13_500_000_000),
        ("tiny.gguf", 4 * GB), ("README.md", 5000),
    ):  # fmt: skip
        site.lay(name, size)
    message = site.refusal(WeightsRejected)
    assert "beside the 0.0 GB of weights there are 71.5 GB that nobody reads" in message
    assert (
        "the largest of them checkpoint-1000/optimizer.pt (27.0 GB), checkpoint-500/optimizer.pt (27.0 GB), original/consolidated.00.pth (13.5 GB): move them "
        "elsewhere, or copy the model alone to a folder of its own and point weights_uri at that"
    ) in message


def test_a_little_beside_the_model_is_let_be(site: Folder) -> None:
    beside = sum(len(content) for (bucket, _), content in site.s3.objects.items() if bucket == "mine") - 2 * PARAMETERS
    most = PARAMETERS + GB  # half of its weights in 16 bits, and a gigabyte
    site.lay("tiny.gguf", most - beside)
    assert site.run()["baseModel"]["name"] == "Tiny-Llama"
    site.lay("tiny.gguf", most - beside + 1)
    assert "tiny.gguf (1.0 GB)" in site.refusal(WeightsRejected)


@pytest.mark.parametrize("index", [b'{"weight_map": {"a": "model.safetensors"}}', None])
def test_weights_that_the_index_does_not_name_are_read_by_nobody(site: Folder, index: bytes | None) -> None:
    if index:
        site.put("model.safetensors.index.json", index)
    site.lay("consolidated.safetensors", 2 * GB)
    assert "consolidated.safetensors (2.0 GB)" in site.refusal(WeightsRejected)
    site.remove("consolidated.safetensors")
    site.put("consolidated.safetensors", bytes(2 * PARAMETERS))
    site.put("model.safetensors", bytes(PARAMETERS))
    assert "some are missing, cut off or quantised" in site.refusal(WeightsRejected)


def test_all_that_is_downloaded_counts_for_time_and_money_and_not_only_what_the_shape_needs(site: Folder) -> None:
    before = site.run()
    site.lay("model.safetensors", 30 * GB - 10_000)  # with all that lies beside it, just under 30 GB
    plan = site.run()
    longer = 300 - WEIGHTS_DOWNLOAD_SECONDS
    assert [int(one["training"]["hyperparameters"]["time_budget_seconds"]) for one in (before, plan)] == [
        7200 - TRAINING_MARGIN_SECONDS,
        7200 - TRAINING_MARGIN_SECONDS - longer,
    ]
    reserved = [one["budget"]["ledgerDetails"]["max_training_seconds"] for one in (before, plan)]
    assert reserved[1] - reserved[0] == longer
    assert plan["budget"]["worstCaseCents"] > before["budget"]["worstCaseCents"]
    (download,) = [phase["seconds"] for phase in plan["estimate"]["phases"] if phase["name"] == "weights"]
    assert download == 400


@pytest.mark.parametrize("content", [b"no json", b"[]"])
def test_a_configuration_that_is_no_object_is_refused(site: Folder, content: bytes) -> None:
    site.put("config.json", content)
    assert f"{URI}config.json is not a JSON object" in site.refusal(WeightsRejected)


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
