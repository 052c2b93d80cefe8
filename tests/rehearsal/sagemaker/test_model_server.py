"""The rehearsed endpoint keeps vLLM's request contract: one server process with a base model and its adapter."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rehearsal.sagemaker.real.hosting import ModelHost
from rehearsal.sagemaker.real.server.contract import Refused, Settings, read
from tests.doubles.rehearsal.sagemaker_account import BUCKET, Account, account, eventually, model_request, source
from tests.doubles.rehearsal.toy_models import Folders

PROMPT = "the gene binds"  # a start token and three
ROUTED, PLAIN, TALKS = "/v1/completions", "/invocations", "/v1/chat/completions"
ASKED = {"model": "base", "prompt": "Hello", "max_tokens": 4}
TALK = {"model": "base", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}


def refused(path: str, content: Any) -> tuple[int, str, str | None]:
    with pytest.raises(Refused) as caught:
        read(path, content if isinstance(content, bytes) else json.dumps(content).encode())
    return caught.value.status, caught.value.kind, caught.value.parameter


# More bodies, and each of these kinds, are sent to the real server too: verification/conformance/serving.
@pytest.mark.parametrize(
    ("path", "content", "refusal"),
    [
        *[
            (path, ASKED | {name: value}, ("BadRequestError", name))
            for name, value in (("prompt", None), ("prompt", ["Hello", "you"]), ("max_tokens", 0), ("temperature", 2.5), ("n", 2), ("top_k", 5))
            for path in (ROUTED, PLAIN)
        ],
        (ROUTED, ASKED | {"seed": 1.5}, ("Bad Request", "body.seed")),
        (PLAIN, ASKED | {"seed": 1.5}, ("BadRequestError", None)),
        (ROUTED, b"{nope", ("Bad Request", "body.0")),
        (PLAIN, b"{nope", ("Bad Request", None)),
        *[
            (TALKS, TALK | {"messages": messages}, ("Bad Request", "body.messages"))
            for messages in (None, "Hello", [{"role": "user", "content": 5}])
        ],
    ],
)  # fmt: skip
def test_a_malformed_request_is_refused_as_vllm_refuses_it(path: str, content: Any, refusal: Any) -> None:
    assert refused(path, content) == (400, *refusal)


@pytest.mark.parametrize("model", ["unknown", 5, ["base"], None])
def test_without_a_route_the_body_names_no_model(model: Any) -> None:
    assert read(PLAIN, json.dumps({"model": model, "prompt": "A gene"}).encode()).model is None


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """An adapter's folder, of rank 32."""
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 32}))
    return tmp_path


def named(adapter: Path) -> str:
    return json.dumps({"name": "medical", "path": str(adapter), "base_model_name": "base"})


def test_an_adapter_is_named_beside_the_limits(adapter: Path) -> None:
    environment = {
        "SM_VLLM_SERVED_MODEL_NAME": "base", "SM_VLLM_ENABLE_LORA": "true", "SM_VLLM_MAX_LORA_RANK": "32",
        "SM_VLLM_LORA_MODULES": named(adapter), "SM_VLLM_MAX_MODEL_LEN": "4096", "SM_VLLM_MAX_NUM_SEQS": "8",
        "SM_VLLM_DTYPE": "bfloat16",
    }  # fmt: skip
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
        Settings.of({"SM_VLLM_LORA_MODULES": named(adapter), **enabled}, Path("/opt/ml/model"))


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
        eventually(lambda: made.endpoint("both")["EndpointStatus"] == "InService")
        yield made


@pytest.mark.slow
def test_a_body_names_the_model_only_where_the_request_is_routed(aws: Account) -> None:
    different = 0
    for prompt in (PROMPT, "a virus copies", "one strand breaks"):
        asked: dict[str, Any] = {"prompt": prompt, "max_tokens": 8, "temperature": 0.0}
        base, tuned = (aws.ask("both", model=model, **asked)["choices"] for model in ("base", "medical"))
        different += base != tuned
        for model in ("base", "medical", "unknown"):
            answer = aws.ask("both", attributes="", model=model, **asked)
            assert (answer["model"], answer["choices"]) == ("base", base)
    assert different


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
