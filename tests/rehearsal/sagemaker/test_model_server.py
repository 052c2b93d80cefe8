"""The rehearsed endpoint keeps vLLM's request contract: one server process with a base model and its adapter."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from rehearsal.sagemaker.real.hosting import ModelHost
from rehearsal.sagemaker.real.server.contract import Refused, Sampling, Settings, read
from tests.doubles.rehearsal.sagemaker_account import BUCKET, Account, account, eventually, model_request, source
from tests.doubles.rehearsal.toy_models import Folders, References

PROMPT = "the gene binds"  # a start token and three
ROUTED, PLAIN, TALKS = "/v1/completions", "/invocations", "/v1/chat/completions"
ASKED = {"model": "base", "prompt": "Hello", "max_tokens": 4}
TALK = {"model": "base", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}


def refused(path: str, content: Any) -> tuple[int, str, str | None]:
    with pytest.raises(Refused) as caught:
        read(path, content if isinstance(content, bytes) else json.dumps(content).encode())
    return caught.value.status, caught.value.kind, caught.value.parameter


@pytest.mark.parametrize(
    ("changes", "member"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": ["Hello", "you"]}, "prompt"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": 2.5}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
        ({"n": 2}, "n"),
        ({"stream": True}, "stream"),
        ({"top_k": 5}, "top_k"),
    ],
)
def test_a_member_beyond_its_limits_is_refused_by_name(changes: dict[str, Any], member: str) -> None:
    for path in (ROUTED, PLAIN):
        assert refused(path, ASKED | changes) == (400, "BadRequestError", member)


@pytest.mark.parametrize(
    ("path", "content", "refusal"),
    [
        *[
            (path, ASKED | {name: value}, answer)
            for name, value in (("prompt", 5), ("max_tokens", 2.5), ("temperature", "hot"), ("seed", 1.5))
            for path, answer in ((ROUTED, ("Bad Request", f"body.{name}")), (PLAIN, ("BadRequestError", None)))
        ],
        (ROUTED, ASKED | {"model": 3}, ("Bad Request", "body.model")),
        (ROUTED, b"{nope", ("Bad Request", "body.0")),
        (PLAIN, b"{nope", ("Bad Request", None)),
        (ROUTED, [1], ("Bad Request", "body")),
        (PLAIN, [1], ("BadRequestError", None)),
        *[
            (TALKS, TALK | {"messages": messages}, ("Bad Request", "body.messages"))
            for messages in (None, "Hello", [5], [{"role": "user"}], [{"role": "user", "content": 5}])
        ],
    ],
)
def test_a_malformed_request_is_refused_as_vllm_refuses_it(path: str, content: Any, refusal: Any) -> None:
    assert refused(path, content) == (400, *refusal)


def test_numbers_are_read_leniently_and_defaults_are_the_servers() -> None:
    asked = read(ROUTED, json.dumps(ASKED | {"max_tokens": "4", "temperature": True, "seed": 7.0}).encode())
    assert (asked.max_tokens, asked.sampling) == (4, Sampling(1.0, 1.0, 7))
    asked = read(ROUTED, b'{"prompt": "Hello", "unknown": 1}')
    assert (asked.model, asked.max_tokens, asked.sampling) == (None, 16, Sampling(1.0, 1.0, None))
    asked = read(TALKS, json.dumps(TALK).encode())
    assert (asked.prompt, [one.model_dump() for one in asked.messages], asked.max_tokens) == ("", TALK["messages"], 4)


@pytest.mark.parametrize("model", ["unknown", 5, ["base"], None])
def test_without_a_route_the_body_names_no_model(model: Any) -> None:
    assert read(PLAIN, json.dumps({"model": model, "prompt": "A gene"}).encode()).model is None


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """An adapter's folder, of rank 32."""
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 32}))
    return tmp_path


@pytest.mark.parametrize("as_json", [True, False])
def test_an_adapter_is_named_as_json_or_as_name_and_path(adapter: Path, as_json: bool) -> None:
    module = json.dumps({"name": "medical", "path": str(adapter), "base_model_name": "base"})
    environment = {
        "SM_VLLM_SERVED_MODEL_NAME": "base",
        "SM_VLLM_ENABLE_LORA": "true",
        "SM_VLLM_MAX_LORA_RANK": "32",
        "SM_VLLM_LORA_MODULES": module if as_json else f"medical={adapter}",
        "SM_VLLM_MAX_MODEL_LEN": "4096",
        "SM_VLLM_MAX_NUM_SEQS": "8",
        "SM_VLLM_DTYPE": "bfloat16",
    }
    settings = Settings.of(environment, Path("/opt/ml/model"))
    assert settings == Settings("base", "medical", adapter, 4096, 8, "bfloat16")
    assert settings.served == ("base", "medical")


@pytest.mark.parametrize(
    ("enabled", "message"),
    [
        ({}, "SM_VLLM_LORA_MODULES needs SM_VLLM_ENABLE_LORA=true"),
        ({"SM_VLLM_ENABLE_LORA": "true"}, "LoRA rank 32 is greater than max_lora_rank 16"),
    ],
)
def test_an_adapter_that_vllm_would_not_load_is_refused(adapter: Path, enabled: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings.of({"SM_VLLM_LORA_MODULES": f"medical={adapter}", **enabled}, Path("/opt/ml/model"))


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory, folders: Folders) -> Iterator[Account]:
    """An account with one endpoint, "both", that serves the base model and its adapter."""
    folder: Path = tmp_path_factory.mktemp("hosting")
    with account(folder, hosting=ModelHost(), gated_weights=folders[0]) as made:
        for file in folders[1].iterdir():
            made.put(f"adapter/{file.name}", file.read_bytes())
        module = {"name": "medical", "path": "/opt/ml/additional-model-data-sources/adapter"}
        request = model_request(
            "both",
            {"ChannelName": "adapter", **source(f"s3://{BUCKET}/adapter/")},
            Environment={
                "SM_VLLM_SERVED_MODEL_NAME": "base", "SM_VLLM_ENABLE_LORA": "true", "SM_VLLM_DTYPE": "float32",
                "SM_VLLM_LORA_MODULES": json.dumps(module), "SM_VLLM_MAX_MODEL_LEN": "128",
            },
        )  # fmt: skip
        made.deploy("both", request)
        assert made.endpoint("both")["EndpointStatus"] == "Creating"
        eventually(lambda: made.endpoint("both")["EndpointStatus"] == "InService", seconds=90)
        yield made


@pytest.mark.slow
def test_both_models_answer_as_transformers_and_peft_do(aws: Account, folders: Folders) -> None:
    references, tokenizer = References(folders), AutoTokenizer.from_pretrained(folders[0])
    prompt = tokenizer(PROMPT)["input_ids"]
    for model, adapted in (("base", False), ("medical", True)):
        answer = aws.ask("both", model=model, prompt=PROMPT, max_tokens=8, temperature=0.0)
        (choice,) = answer["choices"]
        expected, ended = references.tokens(prompt, 8, adapted=adapted)
        assert PROMPT + choice["text"] == tokenizer.decode([*prompt, *expected], skip_special_tokens=True)
        assert (answer["object"], answer["model"]) == ("text_completion", model)
        assert choice["finish_reason"] == ("stop" if ended else "length")
        used = len(expected) + ended
        assert answer["usage"] == {
            "prompt_tokens": 4, "completion_tokens": used, "total_tokens": 4 + used,
        }  # fmt: skip


@pytest.mark.slow
def test_a_body_names_the_model_only_where_the_request_is_routed(aws: Account) -> None:
    asked: dict[str, Any] = {"prompt": PROMPT, "max_tokens": 8, "temperature": 0.0}
    base, tuned = (aws.ask("both", model=model, **asked)["choices"] for model in ("base", "medical"))
    assert base != tuned
    for model in ("base", "medical", "unknown"):
        answer = aws.ask("both", attributes="", model=model, **asked)
        assert (answer["model"], answer["choices"]) == ("base", base)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_text_and_another_seed_another(aws: Account) -> None:
    asked: dict[str, Any] = {"model": "medical", "prompt": PROMPT, "max_tokens": 24, "temperature": 0.9, "top_p": 0.95}
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda seed: aws.ask("both", **asked, seed=seed)["choices"][0]["text"], [1, 2, 3, 4] * 4))
    assert texts == texts[:4] * 4
    assert len(set(texts)) == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "status", "kind"),
    [
        ({"model": "surgical"}, 404, "NotFoundError"),
        ({"prompt": None}, 400, "BadRequestError"),
        ({"max_tokens": 2.5}, 400, "Bad Request"),
        ({"max_tokens": 1000}, 400, "BadRequestError"),
        ({"prompt": "the " * 128}, 400, "BadRequestError"),
        ({"attributes": "route=/v1/chat/completions", **TALK}, 400, "BadRequestError"),  # it has no chat template
    ],
)
def test_a_bad_request_gets_the_servers_own_answer(
    aws: Account, changes: dict[str, Any], status: int, kind: str
) -> None:
    asked: dict[str, Any] = {"model": "base", "prompt": PROMPT, "max_tokens": 4} | changes
    with pytest.raises(aws.runtime.exceptions.ModelError) as caught:
        aws.ask("both", **asked)
    assert caught.value.response["OriginalStatusCode"] == status
    error = json.loads(caught.value.response["OriginalMessage"])["error"]
    assert (error["code"], error["type"]) == (status, kind)


@pytest.mark.slow
def test_an_answer_ends_where_the_context_does(aws: Account) -> None:
    answer = aws.ask("both", model="base", prompt=" ".join(["the"] * 124), max_tokens=100, temperature=0.0)
    assert answer["usage"]["prompt_tokens"] == 125
    assert answer["usage"]["completion_tokens"] <= 3
