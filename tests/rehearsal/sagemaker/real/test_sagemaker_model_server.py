"""The rehearsed endpoint keeps vLLM's request contract and SageMaker's life of an endpoint."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rehearsal.sagemaker.fake import FakeTraining
from rehearsal.sagemaker.real.hosting import ModelHost
from rehearsal.sagemaker.real.server import model_server
from tests.doubles.rehearsal.sagemaker_account import (
    BUCKET,
    Account,
    account,
    eventually,
    model_request,
    refusal,
    source,
)
from tests.doubles.rehearsal.sagemaker_models import make_model, reference

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    base, adapter = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("adapter")
    make_model(base, adapter)
    return base, adapter


@pytest.fixture(scope="module")
def host() -> ModelHost:
    return ModelHost()


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory, folders: tuple[Path, Path], host: ModelHost) -> Iterator[Account]:
    with account(
        tmp_path_factory.mktemp("hosting"), training=FakeTraining(), hosting=host, gated_weights=folders[0],
        quotas={"L-9614C779": 8},
    ) as made:  # fmt: skip
        yield made


def _model(aws: Account, folders: tuple[Path, Path], name: str, **environment: str) -> dict[str, Any]:
    for file in folders[1].iterdir():
        aws.put(f"adapter/{file.name}", file.read_bytes())
    module = {"name": "medical", "path": "/opt/ml/additional-model-data-sources/adapter", "base_model_name": "base"}
    request: dict[str, Any] = model_request(
        name,
        {"ChannelName": "adapter", **source(f"s3://{BUCKET}/adapter/")},
        Environment={
            "SM_VLLM_SERVED_MODEL_NAME": "base", "SM_VLLM_ENABLE_LORA": "true", "SM_VLLM_MAX_LORA_RANK": "16",
            "SM_VLLM_LORA_MODULES": json.dumps(module), "SM_VLLM_MAX_MODEL_LEN": "128", "SM_VLLM_DTYPE": "float32",
            **environment,
        },
    )  # fmt: skip
    return request


def _settled(aws: Account, name: str) -> dict[str, Any]:
    def there() -> dict[str, Any] | None:
        answer = aws.endpoint(name)
        return answer if answer["EndpointStatus"] != "Creating" else None

    answer: dict[str, Any] = eventually(there, seconds=90)
    return answer


@pytest.fixture(scope="module")
def endpoint(aws: Account, folders: tuple[Path, Path]) -> str:
    aws.deploy("both", _model(aws, folders, "both"))
    assert aws.endpoint("both")["EndpointStatus"] == "Creating"
    assert _settled(aws, "both")["EndpointStatus"] == "InService"
    return "both"


def _words(tokens: list[int]) -> str:
    return " ".join(f"w{token}" for token in tokens)


def test_both_models_answer_on_one_endpoint(aws: Account, endpoint: str, folders: tuple[Path, Path]) -> None:
    for model, adapted in (("base", False), ("medical", True)):
        answer = aws.ask(endpoint, model=model, prompt="w0 w5 w9", max_tokens=8, temperature=0.0)
        (choice,) = answer["choices"]
        expected = reference(folders, [0, 5, 9], 8, adapted=adapted)
        expected = expected[: expected.index(1)] if 1 in expected else expected
        assert choice["text"].strip() == _words(expected)
        assert (answer["object"], answer["model"]) == ("text_completion", model)
        assert choice["finish_reason"] == ("stop" if len(expected) < 8 else "length")
        assert answer["usage"]["prompt_tokens"] == 3
        assert answer["usage"]["total_tokens"] == 3 + len(expected) + (choice["finish_reason"] == "stop")


def test_a_conversation_is_refused_by_a_model_without_a_chat_template(aws: Account, endpoint: str) -> None:
    talk = [{"role": "user", "content": "w0 w5"}]
    route = "route=/v1/chat/completions"
    _, told = refusal(lambda: aws.ask(endpoint, attributes=route, model="base", messages=talk, max_tokens=8))
    assert "you must provide a chat template" in told


def test_a_body_names_the_model_only_where_the_request_is_routed(aws: Account, endpoint: str) -> None:
    asked: dict[str, Any] = {"prompt": "w0 w5 w9", "max_tokens": 8, "temperature": 0.0}
    base, tuned = (aws.ask(endpoint, model=model, **asked)["choices"] for model in ("base", "medical"))
    assert base != tuned
    for model in ("base", "medical", "unknown"):
        answer = aws.ask(endpoint, attributes="", model=model, **asked)
        assert (answer["model"], answer["choices"]) == ("base", base)


def test_the_same_seed_gives_the_same_text_and_another_seed_another(aws: Account, endpoint: str) -> None:
    def text(seed: int) -> str:
        asked: dict[str, Any] = {
            "model": "medical",
            "prompt": "w0 w7",
            "max_tokens": 24,
            "temperature": 0.9,
            "top_p": 0.95,
        }
        answer = aws.ask(endpoint, **asked, seed=seed)
        return str(answer["choices"][0]["text"])

    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(text, [1, 2, 3, 4] * 4))
    assert texts == texts[:4] * 4
    assert len(set(texts)) == 4


@pytest.mark.parametrize(
    ("changes", "status", "kind"),
    [
        ({"model": "surgical"}, 404, "NotFoundError"),
        ({"prompt": None}, 400, "BadRequestError"),
        ({"max_tokens": 2.5}, 400, "Bad Request"),
        ({"max_tokens": 1000}, 400, "BadRequestError"),
        ({"prompt": "w2 " * 128}, 400, "BadRequestError"),
        ({"stop": ["w7"]}, 400, "BadRequestError"),
    ],
)
def test_a_bad_request_gets_the_servers_own_answer(
    aws: Account, endpoint: str, changes: dict[str, Any], status: int, kind: str
) -> None:
    asked: dict[str, Any] = {"model": "base", "prompt": "w0", "max_tokens": 4} | changes
    with pytest.raises(aws.runtime.exceptions.ModelError) as caught:
        aws.ask(endpoint, **asked)
    assert caught.value.response["OriginalStatusCode"] == status
    error = json.loads(caught.value.response["OriginalMessage"])["error"]
    assert (error["code"], error["type"]) == (status, kind)


def test_an_answer_ends_where_the_context_does(aws: Account, endpoint: str) -> None:
    answer = aws.ask(endpoint, model="base", prompt="w2 " * 125, max_tokens=100, temperature=0.0)
    assert answer["usage"]["prompt_tokens"] == 125
    assert answer["usage"]["completion_tokens"] <= 3


def test_a_deleted_endpoint_takes_its_process_and_folder_with_it(
    aws: Account, host: ModelHost, folders: tuple[Path, Path]
) -> None:
    aws.deploy("brief", _model(aws, folders, "brief"))
    assert _settled(aws, "brief")["EndpointStatus"] == "InService"
    pid = host.pid_of("brief")
    assert pid is not None
    with socket.create_connection(("127.0.0.1", host.port_of("brief")), timeout=10):
        pass
    aws.sagemaker.delete_endpoint(EndpointName="brief")
    eventually(lambda: "brief" not in aws.standin.leftovers()["endpoints"])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(LookupError, match="brief"):
        host.port_of("brief")
    assert not [path for path in (host.context.workdir / "endpoints").iterdir() if path.name.startswith("brief")]
    assert (folders[0] / "model.safetensors").exists()


def test_a_server_that_dies_fails_its_endpoint_with_the_reason(
    aws: Account, host: ModelHost, folders: tuple[Path, Path]
) -> None:
    aws.deploy("mortal", _model(aws, folders, "mortal"))
    assert _settled(aws, "mortal")["EndpointStatus"] == "InService"
    pid = host.pid_of("mortal")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: aws.endpoint("mortal")["EndpointStatus"] == "Failed")
    assert "signal 9 (SIGKILL)" in aws.endpoint("mortal")["FailureReason"]
    assert refusal(lambda: aws.ask("mortal", model="base", prompt="w0"))[0] == "ValidationError"
    aws.sagemaker.delete_endpoint(EndpointName="mortal")
    eventually(lambda: "mortal" not in aws.standin.leftovers()["endpoints"])


def test_a_server_that_cannot_start_fails_its_endpoint_with_its_last_words(
    aws: Account, folders: tuple[Path, Path]
) -> None:
    aws.deploy("low", _model(aws, folders, "low", SM_VLLM_MAX_LORA_RANK="2"))
    answer = _settled(aws, "low")
    assert answer["EndpointStatus"] == "Failed"
    assert "did not pass the ping health check" in answer["FailureReason"]
    assert "LoRA rank 4 is greater than max_lora_rank 2" in answer["FailureReason"]
    aws.sagemaker.delete_endpoint(EndpointName="low")


@pytest.mark.parametrize(
    ("cores", "most_at_once", "weight_bytes", "expected"),
    [
        (2, 64, 270_000_000, 2),
        (8, 64, 270_000_000, 2),  # with fewer rows each, cores would wait for memory
        (1, 64, 270_000_000, 1),
        (2, 4, 270_000_000, 1),
        (2, 64, 13_500_000_000, 1),  # its weights would be read from memory twice
    ],
)
def test_batches_run_side_by_side_where_a_core_for_each_is_worth_it(
    monkeypatch: pytest.MonkeyPatch, cores: int, most_at_once: int, weight_bytes: int, expected: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert model_server._workers(most_at_once, weight_bytes) == expected
