"""A folder of the user's own weights: a usable one is planned with, any other is refused with all that is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from common.errors import CaptuneError, ChatTemplateMissing, WeightsNotFound, WeightsRejected
from common.pricing.durations import WEIGHTS_DOWNLOAD_SECONDS
from tests.doubles.lambda_fakes import refusal
from tests.doubles.own_weights_site import PARAMETERS, URI, Folder
from tests.doubles.texts.made_up_records import conversations, lines

Change = Callable[[Folder], object]
GB = 10**9
INDEX = "model.safetensors.index.json"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Folder:
    return Folder(monkeypatch)


def has(name: str, content: bytes) -> Change:
    return lambda site: site.put(name, content)


def says(**changes: Any) -> Change:
    return lambda site: site.configure(**changes)


def has_words(words: Any, **more: Any) -> Change:
    return has("tokenizer.json", json.dumps({"model": {"type": "BPE", "vocab": words}, **more}).encode())


def numbered(count: int) -> dict[str, int]:
    return {f"word{number}": number for number in range(count)}


def cannot(operation: str, code: str, message: str = "refused") -> Change:
    return lambda site: site.s3.troubles.update({operation: [refusal(code, message)]})


def pickled(site: Folder) -> None:
    site.remove("model.safetensors")
    site.put("pytorch_model.bin", b"pickle")


TAKEN: list[Change] = [
    lambda site: setattr(site.s3, "region", "us-east-1"),
    lambda site: site.lay("tiny.gguf", GB),
    has_words(numbered(200)),
    has_words([[f"word{number}", -1.5] for number in range(400)]),
    has_words(numbered(400), added_tokens=[{"id": 400, "content": "<pad>"}]),
]
# What is changed, and what the refusal says of it.
NOT_FOUND: list[tuple[Change, str]] = [
    (lambda site: site.s3.objects.clear(), f"There is nothing at {URI}"),
    (cannot("list_objects_v2", "NoSuchBucket"), "There is no bucket mine"),
    (cannot("list_objects_v2", "AccessDenied"), "are allowed s3:ListBucket there"),
    (cannot("get_object", "AccessDenied"), "are allowed s3:GetObject there"),
    (cannot("get_object", "AccessDenied", "not authorized to perform: kms:Decrypt"), "Let the key's policy"),
    (cannot("get_object", "KMS.DisabledException"), "Let the key's policy"),
    (cannot("get_object", "InvalidObjectState"), "it is archived"),
    (lambda site: setattr(site.s3, "region", "eu-west-1"), "the bucket mine lies in eu-west-1"),
]
REJECTED: list[tuple[Change, str]] = [
    (lambda site: site.remove("config.json"), "config.json is missing"),
    (lambda site: site.remove("tokenizer.json"), "there is no tokenizer"),
    (pickled, "there are no *.safetensors, but pytorch_model.bin"),
    (has("config.json", b"{"), f"{URI}config.json is not a JSON object"),
    (has("v2/", b""), "empty objects that stand for folders"),
    (has(INDEX, b'{"weight_map": {"a": "model-2.safetensors"}}'), f"model-2.safetensors of {INDEX} is missing"),
    (has(INDEX, b'{"weight_map": []}'), f"{INDEX} has no weight_map"),
    (has("model.safetensors", bytes(PARAMETERS)), "some are missing, cut off or quantised"),
    (lambda site: site.lay("checkpoint-1/optimizer.pt", 27 * GB), "checkpoint-1/optimizer.pt (27.0 GB)"),
    (says(architectures=["GPT2LMHeadModel"]), "its architecture is GPT2LMHeadModel"),
    (says(quantization_config={"bits": 4}), "its weights are quantised"),
    (says(max_position_embeddings=256), "is 256 tokens, and sequence_length is 512"),
    (has_words(numbered(401)), "401 tokens reach to the id 400"),
    (has_words(numbered(199)), "199 tokens reach to the id 198"),
]


@pytest.mark.parametrize("change", TAKEN)
def test_usable_folder_is_planned_with(site: Folder, change: Change) -> None:
    site.settings["accept_eula"] = False  # its licence is the user's own business
    change(site)
    plan = site.run()
    assert plan["baseModel"] == {"name": "Tiny-Llama", "parameters": PARAMETERS, "weightsUri": URI}
    assert "Tiny-Llama with 125,248 parameters, not Llama 2 7B" in plan["warnings"][0]
    assert plan["acceptEula"] is False


def test_name_and_context_have_defaults_and_limits(site: Folder) -> None:
    site.configure(_name_or_path="", max_position_embeddings=131_072)
    plan = site.run()
    assert (plan["baseModel"]["name"], plan["hosting"]["maxModelTokens"]) == ("tiny", 4096)


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [*((WeightsNotFound, *row) for row in NOT_FOUND), *((WeightsRejected, *row) for row in REJECTED)],
)
def test_unusable_folder_is_refused(site: Folder, kind: type[CaptuneError], change: Change, words: str) -> None:
    change(site)
    assert words in site.refusal(kind)


def test_all_that_is_downloaded_counts_for_time_and_money(site: Folder) -> None:
    before = site.run()
    site.lay("model.safetensors", 30 * GB - 10_000)  # with all that lies beside it, just under 30 GB
    plan = site.run()
    longer = 300 - WEIGHTS_DOWNLOAD_SECONDS
    budgets = [int(one["training"]["hyperparameters"]["time_budget_seconds"]) for one in (before, plan)]
    assert budgets[0] - budgets[1] == longer
    reserved = [one["budget"]["ledgerDetails"]["max_training_seconds"] for one in (before, plan)]
    assert reserved[1] - reserved[0] == longer
    assert plan["budget"]["worstCaseCents"] > before["budget"]["worstCaseCents"]


@pytest.mark.parametrize(
    ("name", "content"),
    [("chat_template.jinja", b"{{ messages }}"), ("tokenizer_config.json", b'{"chat_template": "{{ messages }}"}')],
)
def test_conversations_need_a_chat_template(site: Folder, name: str, content: bytes) -> None:
    site.upload("talks.jsonl", lines(conversations(40)))
    site.refusal(ChatTemplateMissing, {"corpus": "corpora/talks.jsonl"})
    site.put(name, content)
    assert site.run({"corpus": "corpora/talks.jsonl"})["corpus"]["conversations"]
