"""A folder of the user's own weights: a usable one is planned with, any other is refused with all that is wrong."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from common.errors import CaptuneError, ChatTemplateMissing, ServiceUnreachable, WeightsNotFound, WeightsRejected
from common.pricing.durations import WEIGHTS_DOWNLOAD_SECONDS
from tests.doubles.lambda_fakes import refusal
from tests.doubles.preflight_site import SETTINGS, Site
from tests.doubles.texts import conversations, lines

GB = 10**9
INDEX = "model.safetensors.index.json"
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
        own = {"weights_uri": URI, "own_weights": True, "requires_eula": False}
        self.settings["base_model"] = SETTINGS["base_model"] | own
        self.s3.objects = {}
        self.put("config.json", json.dumps(CONFIGURATION).encode())
        self.put("tokenizer.json", b"{}")
        self.put("model.safetensors", bytes(2 * PARAMETERS))

    def put(self, name: str, content: bytes) -> None:
        self.s3.objects["mine", FOLDER + name] = content

    def put_large(self, name: str, size: int) -> None:
        self.put(name, b"")
        self.s3.sizes[FOLDER + name] = size


Change = Callable[[Folder], object]


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Folder:
    return Folder(monkeypatch)


def has(name: str, content: bytes) -> Change:
    return lambda site: site.put(name, content)


def configured(**changes: Any) -> Change:
    return has("config.json", json.dumps(CONFIGURATION | changes).encode())


def lacks(name: str) -> Change:
    return lambda site: site.s3.objects.pop(("mine", FOLDER + name))


def has_words(count: int, **more: Any) -> Change:
    words = {f"word{number}": number for number in range(count)}
    return has("tokenizer.json", json.dumps({"model": {"type": "BPE", "vocab": words}, **more}).encode())


def cannot(operation: str, code: str) -> Change:
    return lambda site: site.s3.troubles.update({operation: [refusal(code)]})


TAKEN: list[Change] = [
    lambda site: site.put_large("tiny.gguf", GB),
    has_words(400, added_tokens=[{"id": 400, "content": "<pad>"}]),
]
# What is changed, the error and what it says.
REFUSED: list[tuple[Change, type[CaptuneError], str]] = [
    (lambda site: site.s3.objects.clear(), WeightsNotFound, f"No files exist at {URI}"),
    (cannot("list_objects_v2", "NoSuchBucket"), WeightsNotFound, "of weights_uri (NoSuchBucket"),
    (cannot("get_object", "AccessDenied"), WeightsNotFound, "s3:GetObject and kms:Decrypt in"),
    (cannot("get_object", "SlowDown"), ServiceUnreachable, "SlowDown"),
    (lambda site: setattr(site.s3, "region", "eu-west-1"), WeightsNotFound, "is in eu-west-1, but SageMaker"),
    (lacks("config.json"), WeightsRejected, "config.json is missing"),
    (has("config.json", b"[]"), WeightsRejected, "config.json is not a JSON object"),
    (lacks("tokenizer.json"), WeightsRejected, "there is no tokenizer"),
    (lacks("model.safetensors"), WeightsRejected, "it lacks *.safetensors"),
    (has("one/", b""), WeightsRejected, "empty objects for folders"),
    (has(INDEX, b'{"weight_map": {"a": "model-2.safetensors"}}'), WeightsRejected, f"some of those that {INDEX} names"),
    (has("model.safetensors", bytes(PARAMETERS)), WeightsRejected, "some are missing, truncated or quantised"),
    (lambda site: site.put_large("checkpoint-1/optimizer.pt", 27 * GB), WeightsRejected, "27.0 GB of it are other"),
    (configured(architectures=["GPT2LMHeadModel"]), WeightsRejected, "its architecture is GPT2LMHeadModel"),
    (configured(quantization_config={"bits": 4}), WeightsRejected, "its weights are quantised"),
    (configured(max_position_embeddings=256), WeightsRejected, "is 256 tokens, shorter than sequence_length (512)"),
    (has_words(401), WeightsRejected, "its tokenizer.json belongs to another model"),
]


@pytest.mark.parametrize("change", TAKEN)
def test_usable_folder_is_planned_with(site: Folder, change: Change) -> None:
    site.settings["accept_eula"] = False  # its licence is the user's own business
    change(site)
    configured(max_position_embeddings=131_072)(site)
    plan = site.run()
    assert plan["hosting"]["maxModelTokens"] == 4096
    assert plan["baseModel"] == {"name": "Tiny-Llama", "parameters": PARAMETERS, "weightsUri": URI}
    assert "Tiny-Llama with 125,248 parameters, not Llama 2 7B" in plan["warnings"][0]
    assert plan["acceptEula"] is False


@pytest.mark.parametrize(("change", "kind", "words"), REFUSED)
def test_unusable_folder_is_rejected(site: Folder, change: Change, kind: type[CaptuneError], words: str) -> None:
    change(site)
    assert words in site.refusal(kind)


def test_all_that_is_downloaded_counts_for_time_and_money(site: Folder) -> None:
    before = site.run()["budget"]
    site.put_large("model.safetensors", 30 * GB - 10_000)  # with all that lies beside it, just under 30 GB
    after = site.run()["budget"]
    reserved = [one["ledgerDetails"]["max_training_seconds"] for one in (before, after)]
    assert reserved[1] - reserved[0] == 300 - WEIGHTS_DOWNLOAD_SECONDS
    assert after["worstCaseCents"] > before["worstCaseCents"]


def test_conversations_need_a_chat_template(site: Folder) -> None:
    site.upload("talks.jsonl", lines(conversations(40)))
    site.refusal(ChatTemplateMissing, {"corpus": "corpora/talks.jsonl"})
    site.put("tokenizer_config.json", b'{"chat_template": "{{ messages }}"}')
    assert site.run({"corpus": "corpora/talks.jsonl"})["corpus"]["conversations"]
