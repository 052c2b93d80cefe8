"""The rehearsed endpoint: the right next tokens, whatever else is in the batch, with vLLM's request contract."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from sagemaker_account import BUCKET, Account, account, eventually, model_request, refusal, source

from rehearsal.sagemaker import FakeTraining
from rehearsal.sagemaker.batching import Batcher, Request, pick
from rehearsal.sagemaker.llama import Llama
from rehearsal.sagemaker.model_host import ModelHost

WORDS = 96


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny random Llama whose words are w0 to w95, and an adapter on all its projections."""
    from peft import LoraConfig, get_peft_model
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(7)
    base, adapter = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("adapter")
    config = LlamaConfig(
        vocab_size=WORDS, hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=6,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=256, tie_word_embeddings=True,
        bos_token_id=0, eos_token_id=1, rope_theta=5000.0,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.3)
    model.save_pretrained(base)
    tokenizer = Tokenizer(models.WordLevel({f"w{number}": number for number in range(WORDS)}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    tokenizer.save(str(base / "tokenizer.json"))
    tuned = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, parameter in tuned.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(0, 0.3)
    tuned.save_pretrained(adapter)
    return base, adapter


def _reference(folders: tuple[Path, Path], prompt: list[int], count: int, *, adapted: bool) -> list[int]:
    """The greedy continuation by transformers and PEFT, the whole text read anew for each token."""
    from peft import PeftModel
    from transformers import LlamaForCausalLM

    model: Any = LlamaForCausalLM.from_pretrained(folders[0], dtype=torch.float32)
    if adapted:
        model = PeftModel.from_pretrained(model, folders[1])
    model.eval()
    tokens = list(prompt)
    with torch.inference_mode():
        for _ in range(count):
            tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
    return tokens[len(prompt) :]


def _answers(batcher: Batcher, requests: list[Request]) -> list[list[int]]:
    for request in requests:
        batcher.submit(request)
    for request in requests:
        assert request.done.wait(30)
        assert request.error is None
    return [request.tokens for request in requests]


PROMPTS = [[0, 5, 9], [0, 44], [0, 3, 60, 61, 17, 8, 90], [0]]


def test_greedy_answers_of_both_models_in_one_batch_are_those_of_transformers(folders: tuple[Path, Path]) -> None:
    expected = [_reference(folders, prompt, 20, adapted=adapted) for prompt in PROMPTS for adapted in (False, True)]
    batcher = Batcher(Llama(*folders), set())
    asked = [Request(prompt, adapted, 20, 0.0, 1.0, None) for prompt in PROMPTS for adapted in (False, True)]
    assert _answers(batcher, asked) == expected
    batcher.close()


def test_an_answer_does_not_depend_on_what_else_is_asked(folders: tuple[Path, Path]) -> None:
    batcher = Batcher(Llama(*folders), {1}, most=5)

    def asked() -> list[Request]:
        return [
            Request(prompt, seed % 2 == 1, 12 + seed % 20, 0.8, 0.9, seed) for seed, prompt in enumerate(PROMPTS * 8)
        ]

    alone = [_answers(batcher, [request])[0] for request in asked()]
    together = _answers(batcher, asked())
    batcher.close()
    assert together == alone
    assert len({tuple(tokens) for tokens in alone}) > 16


def test_a_batch_is_held_back_rather_than_out_of_memory(folders: tuple[Path, Path]) -> None:
    batcher = Batcher(Llama(*folders), set(), memory=60)
    answers = _answers(batcher, [Request([0, 5], False, 25, 0.0, 1.0, None) for _ in range(7)])
    batcher.close()
    assert answers == [answers[0]] * 7


def test_a_failing_step_fails_its_requests_and_not_the_server(folders: tuple[Path, Path]) -> None:
    batcher = Batcher(Llama(*folders), set())
    bad = Request([WORDS + 5], False, 4, 0.0, 1.0, None)
    batcher.submit(bad)
    assert bad.done.wait(30)
    assert bad.error is not None
    _answers(batcher, [Request([0, 5], False, 4, 0.0, 1.0, None)])
    batcher.close()


def test_draws_follow_the_probabilities_within_the_top_p() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))
    counts = [0] * 4
    for seed in range(4000):
        counts[pick(logits, [Request([0], False, 1, 1.0, 0.79, seed)])[0]] += 1
    assert counts[2] == counts[3] == 0
    assert abs(counts[0] / 4000 - 0.625) < 0.03
    assert pick(logits, [Request([0], False, 1, 0.0, 1.0, None)]) == [0]


def test_a_flat_distribution_over_a_large_vocabulary_is_drawn_from_all_of_it() -> None:
    logits = torch.zeros(1, 5000)
    drawn = {pick(logits, [Request([0], False, 1, 1.0, 1.0, seed)])[0] for seed in range(300)}
    assert len(drawn) > 250


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
    return model_request(
        name,
        {"ChannelName": "adapter", **source(f"s3://{BUCKET}/adapter/")},
        Environment={
            "SM_VLLM_SERVED_MODEL_NAME": "base", "SM_VLLM_ENABLE_LORA": "true", "SM_VLLM_MAX_LORA_RANK": "16",
            "SM_VLLM_LORA_MODULES": json.dumps(module), "SM_VLLM_MAX_MODEL_LEN": "128", **environment,
        },
    )  # fmt: skip


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
        expected = _reference(folders, [0, 5, 9], 8, adapted=adapted)
        expected = expected[: expected.index(1)] if 1 in expected else expected
        assert choice["text"].strip() == _words(expected)
        assert (answer["object"], answer["model"]) == ("text_completion", model)
        assert choice["finish_reason"] == ("stop" if len(expected) < 8 else "length")
        assert answer["usage"]["prompt_tokens"] == 3
        assert answer["usage"]["total_tokens"] == 3 + len(expected)


def test_the_same_seed_gives_the_same_text_and_another_seed_another(aws: Account, endpoint: str) -> None:
    def text(seed: int) -> str:
        asked = {"model": "medical", "prompt": "w0 w7", "max_tokens": 24, "temperature": 0.9, "top_p": 0.95}
        answer = aws.ask(endpoint, **asked, seed=seed)
        return str(answer["choices"][0]["text"])

    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(text, [1, 2, 3, 4] * 4))
    assert texts == texts[:4] * 4
    assert len(set(texts)) == 4


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"model": "surgical"}, 404),
        ({"prompt": None}, 400),
        ({"prompt": ""}, 400),
        ({"max_tokens": 0}, 400),
        ({"max_tokens": 2.5}, 400),
        ({"max_tokens": 1000}, 400),
        ({"temperature": -1}, 400),
        ({"top_p": 0}, 400),
        ({"seed": "one"}, 400),
        ({"n": 2}, 400),
    ],
)
def test_a_bad_request_gets_the_servers_own_answer(
    aws: Account, endpoint: str, changes: dict[str, Any], status: int
) -> None:
    asked = {"model": "base", "prompt": "w0", "max_tokens": 4} | changes
    with pytest.raises(aws.runtime.exceptions.ModelError) as caught:
        aws.ask(endpoint, **asked)
    assert caught.value.response["OriginalStatusCode"] == status
    assert json.loads(caught.value.response["OriginalMessage"])["error"]["code"] == status


def test_a_deleted_endpoint_takes_its_process_and_folder_with_it(
    aws: Account, host: ModelHost, folders: tuple[Path, Path]
) -> None:
    aws.deploy("brief", _model(aws, folders, "brief"))
    assert _settled(aws, "brief")["EndpointStatus"] == "InService"
    pid = host.pid_of("brief")
    assert pid is not None
    aws.sagemaker.delete_endpoint(EndpointName="brief")
    eventually(lambda: "brief" not in aws.standin.leftovers()["endpoints"])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
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
