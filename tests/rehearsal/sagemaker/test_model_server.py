"""The rehearsal's model server keeps vLLM's contract behind an endpoint, and OpenAI's form; what it does not serve it refuses by name."""

import asyncio
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai.resources.chat.completions import AsyncCompletions as AsyncTalks
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from starlette.testclient import TestClient

from rehearsal.sagemaker.real.hosting import ModelHost
from rehearsal.sagemaker.real.server.answers import Choice, Text
from rehearsal.sagemaker.real.server.batching import Row, Token
from rehearsal.sagemaker.real.server.completion_request import NO_MATTER, SERVED, WITHOUT_EFFECT, read
from rehearsal.sagemaker.real.server.contract import Refused, Sampling, Settings
from rehearsal.sagemaker.real.server.model_server import Service, application
from tests.doubles.rehearsal.sagemaker_account import (
    BUCKET,
    SageMakerAccount,
    account,
    eventually,
    model_request,
    source,
)
from tests.doubles.rehearsal.toy_models import Folders, endless_copy

PROMPT = "the gene binds"  # a start token and three
ROUTED, PLAIN, TALKS = "/v1/completions", "/invocations", "/v1/chat/completions"
ASKED: dict[str, Any] = {"prompt": PROMPT, "max_tokens": 6, "temperature": 0}
TALK: dict[str, Any] = {"messages": [{"role": "user", "content": "the gene"}], "temperature": 0}
TEMPLATE = "{% for one in messages %}{{ one['content'] }} {% endfor %}"
IMAGE = [{"role": "user", "content": [{"type": "image_url", "text": ""}]}]


# More bodies, and each of these kinds, are sent to the real server too: verification/conformance/serving.
@pytest.mark.parametrize(
    ("path", "content", "kind", "parameter"),
    [
        *[
            (path, ASKED | {name: value}, "BadRequestError", name)
            for name, value in (
                ("prompt", None), ("prompt", []), ("prompt", [[]]), ("max_tokens", 0), ("temperature", 2.5), ("top_p", 0), ("n", 0), ("n", 200),
                ("best_of", 3), ("stop", [""]), ("stop", ["x"] * 17), ("logprobs", 21), ("messages", TALK["messages"]), ("tools", [{"type": "function"}]),
                ("top_k", 5), ("frequency_penalty", 0.5), ("response_format", {"type": "json_object"}), ("guided_json", {}), ("never_heard_of", 1),
            )
            for path in (ROUTED, PLAIN)
        ],
        (ROUTED, ASKED | {"stream_options": {"continuous_usage_stats": True}}, "Bad Request", "body.stream_options"),
        (ROUTED, ASKED | {"seed": 1.5}, "Bad Request", "body.seed"),
        (PLAIN, ASKED | {"seed": 1.5}, "BadRequestError", None),
        *[(ROUTED, body, "Bad Request", "body.0") for body in (b"{nope", b"", b"[" * 100_000)],
        (ROUTED, b"[]", "Bad Request", "body"),
        (PLAIN, b"{nope", "Bad Request", None),
        *[
            (TALKS, TALK | {"messages": messages}, "Bad Request", "body.messages")
            for messages in (None, "Hello", [{"role": "user", "content": 5}])
        ],
        *[(TALKS, TALK | {"messages": messages}, "BadRequestError", "messages") for messages in ([], IMAGE)],
        (TALKS, TALK | {"echo": True}, "BadRequestError", "echo"),
    ],
)  # fmt: skip
def test_a_request_is_rejected_as_vllm_rejects_it(path: str, content: Any, kind: str, parameter: str | None) -> None:
    with pytest.raises(Refused) as caught:
        read(path, content if isinstance(content, bytes) else json.dumps(content).encode())
    error = caught.value
    assert (error.status, error.kind, error.parameter) == (400, kind, parameter) and str(error)


@pytest.mark.parametrize(
    ("enabled", "message"),
    [
        ({}, "SM_VLLM_LORA_MODULES needs SM_VLLM_ENABLE_LORA=true"),
        ({"SM_VLLM_ENABLE_LORA": "true"}, "LoRA rank 32 is greater than max_lora_rank 16"),
        ({"SM_VLLM_ENABLE_LORA": "true", "SM_VLLM_MAX_LORA_RANK": "31"}, "is greater than max_lora_rank 31"),
    ],
)
def test_an_adapter_that_vllm_would_not_load_is_rejected(tmp_path: Path, enabled: dict[str, str], message: str) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 32}))
    named = json.dumps({"name": "medical", "path": str(tmp_path), "base_model_name": "base"})
    with pytest.raises(ValueError, match=message):
        Settings.from_environment({"SM_VLLM_LORA_MODULES": named, **enabled}, Path("/opt/ml/model"))


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory, folders: Folders) -> Iterator[SageMakerAccount]:
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
def test_a_body_names_the_model_only_where_the_request_is_routed(aws: SageMakerAccount) -> None:
    # Two models of drawn weights may say the same, and no token is as likely to both.
    asked: dict[str, Any] = {"prompt": PROMPT, "max_tokens": 8, "temperature": 0.0, "logprobs": 1}
    base, tuned = (aws.ask("both", model=model, **asked)["choices"] for model in ("base", "medical"))
    assert base != tuned
    for model in ("base", "medical", "unknown"):
        answer = aws.ask("both", attributes="", model=model, **asked)
        assert (answer["model"], answer["choices"]) == ("base", base)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "status", "kind"),
    [
        ({"model": "surgical"}, 404, "NotFoundError"),
        ({"prompt": "the " * 128}, 400, "BadRequestError"),
        # It has no chat template.
        ({"attributes": "route=/v1/chat/completions", "prompt": None, **TALK}, 400, "BadRequestError"),
    ],
)
def test_a_bad_request_gets_its_answer(aws: SageMakerAccount, changes: dict[str, Any], status: int, kind: str) -> None:
    asked: dict[str, Any] = {"model": "base", "prompt": PROMPT, "max_tokens": 4} | changes
    with pytest.raises(aws.runtime.exceptions.ModelError) as caught:
        aws.ask("both", **asked)
    assert caught.value.response["OriginalStatusCode"] == status
    error = json.loads(caught.value.response["OriginalMessage"])["error"]
    assert (error["code"], error["type"]) == (status, kind)


# In OpenAI's form -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, folders: Folders) -> Service:
    """The service on a model whose answers are as long as they may be, and which has a chat template here."""
    base = endless_copy(folders[0], tmp_path_factory.mktemp("endless"))
    made = Service(base, Settings("base", "medical", folders[1], 128, 8, "float32"))
    made._engine.tokenizer.chat_template = TEMPLATE
    return made


def put(service: Service, path: str, **asked: Any) -> tuple[int, str]:
    answer = TestClient(application(service)).post(path, json={"model": "base", **asked})
    return answer.status_code, answer.text


def answered(service: Service, path: str = ROUTED, **asked: Any) -> Any:
    status, body = put(service, path, **asked)
    assert status == 200, body
    return json.loads(body)


def events(service: Service, path: str = ROUTED, **asked: Any) -> list[Any]:
    _, body = put(service, path, stream=True, **asked)
    *found, last = [one.removeprefix("data: ") for one in body.strip().split("\n\n")]
    assert last == "[DONE]"
    return [json.loads(one) for one in found]


def test_the_answers_are_those_that_openais_package_reads(service: Service) -> None:
    whole = Completion.model_validate(answered(service, **ASKED, logprobs=2, n=2), strict=True)
    assert [choice.index for choice in whole.choices] == [0, 1] and whole.created > 0
    assert whole.usage is not None and whole.usage.completion_tokens == 12
    talk = {**TALK, "messages": [{"role": "user", "content": [{"type": "text", "text": "the gene"}]}]}
    answer = ChatCompletion.model_validate(answered(service, TALKS, **talk, max_completion_tokens=4, logprobs=True, top_logprobs=1))  # fmt: skip
    assert answer.choices[0].logprobs is not None and len(answer.choices[0].logprobs.content or []) == 4
    chunks = [ChatCompletionChunk.model_validate(one) for one in events(service, TALKS, **talk, max_tokens=4, stream_options={"include_usage": True})]  # fmt: skip
    assert "".join(one.choices[0].delta.content or "" for one in chunks[:-1]) == answer.choices[0].message.content
    assert [one.choices[0].delta.role for one in chunks[:-1]] == ["assistant", *[None] * (len(chunks) - 2)]
    assert chunks[-1].choices == [] and chunks[-1].usage == answer.usage


def test_a_conversation_may_fill_the_context(service: Service) -> None:
    assert answered(service, prompt="the gene", temperature=0)["usage"]["completion_tokens"] == 16
    long = answered(service, TALKS, **TALK)
    assert long["usage"]["total_tokens"] == 128 and long["choices"][0]["finish_reason"] == "length"


def test_several_prompts_of_text_or_tokens_are_answered_in_their_order(service: Service) -> None:
    texts = ["the gene", "a virus"]
    one, other = (answered(service, **{**ASKED, "prompt": text})["choices"][0]["text"] for text in texts)
    tokens = [service._engine.tokenizer(text)["input_ids"] for text in texts]
    for prompts in (texts, tokens):
        found = answered(service, **{**ASKED, "prompt": prompts}, n=2)
        assert [choice["text"] for choice in found["choices"]] == [one, one, other, other]
        assert found["usage"]["prompt_tokens"] == sum(map(len, tokens))
    assert answered(service, **{**ASKED, "prompt": tokens[0]})["choices"][0]["text"] == one


def test_answers_of_one_seed_differ_by_their_place_and_come_again(service: Service) -> None:
    asked = {**ASKED, "temperature": 1.5, "n": 4, "seed": 5, "max_tokens": 20}
    first, again = (answered(service, **asked)["choices"] for _ in range(2))
    assert first == again and len({choice["text"] for choice in first}) > 1


def test_a_stop_text_ends_an_answer_before_it_and_is_never_streamed(service: Service) -> None:
    # Weights that are drawn may always choose the same token, which may be no letter: so the tokens are drawn too.
    asked = {**ASKED, "max_tokens": 100, "temperature": 1, "seed": 1}
    text = answered(service, **asked)["choices"][0]["text"]
    stop = [letter for letter in text if letter.isascii()][-1]
    expected = text[: text.index(stop)]
    for given in (stop, ["not there", stop]):
        whole = answered(service, **asked, stop=given)
        assert (whole["choices"][0]["text"], whole["choices"][0]["finish_reason"]) == (expected, "stop")
        parts = events(service, **asked, stop=given)
        assert "".join(part["choices"][0]["text"] for part in parts) == expected
        assert parts[-1]["choices"][0]["finish_reason"] == "stop"


class Letters:
    """A tokenizer whose tokens are letters."""

    def decode(self, tokens: list[int], **_: Any) -> str:
        return "".join(map(chr, tokens))


def test_an_answer_that_a_stop_text_ended_is_no_longer_wanted_of_the_engine() -> None:
    row = Row([65], False, 9, Sampling(), on_news=lambda _: None)
    choice = Choice(0, row, Text(Letters(), [65], ["!"]), "A")
    for letter, wanted in (("b", True), ("!", False)):
        choice.take(Token(ord(letter)))
        assert row.left is not wanted
    assert (choice.reason, choice.piece()) == ("stop", "b")


def test_what_may_begin_a_stop_text_is_held_back() -> None:
    text, shown = Text(Letters(), [ord(">")], ["END", "N!"]), list[str]()
    for letter in "an EN OR E\ufffdEND and more":
        text.add(ord(letter))
        shown.append(text.said[: text.safe])
        if text.stopped:
            break
    assert text.said == "an EN OR E\ufffd" and all(text.said.startswith(one) for one in shown)
    assert "an E" not in shown and "an EN " in shown and "an EN OR E\ufffd" in shown


def test_an_echo_has_the_prompt_with_its_log_probabilities_as_lm_eval_reads_them(service: Service) -> None:
    tokens = service._engine.tokenizer(ASKED["prompt"])["input_ids"]
    found = answered(service, prompt=[tokens], temperature=0, max_tokens=1, logprobs=1, seed=1234, echo=True)
    choice = found["choices"][0]
    scores, best = choice["logprobs"]["token_logprobs"], choice["logprobs"]["top_logprobs"]
    # lm-eval sums what stands between the context and the one token that it had to ask for.
    assert len(scores) == len(best) == len(tokens) + 1 and scores[0] is best[0] is None
    assert all(max(top.values()) >= score for score, top in zip(scores[1:], best[1:], strict=True))
    assert choice["text"].startswith("the gene binds")
    parts = events(service, prompt=[tokens], temperature=0, max_tokens=1, logprobs=1, echo=True)
    assert sum(len(part["choices"][0]["logprobs"]["tokens"]) for part in parts) == len(scores)
    words, offsets = (
        [one for part in parts for one in part["choices"][0]["logprobs"][key]] for key in ("tokens", "text_offset")
    )
    assert offsets == [len("".join(words[:place])) for place in range(len(words))]


@pytest.mark.parametrize(
    ("changes", "parameter"), [({"prompt": [10**6]}, "prompt"), ({"max_tokens": 129}, "max_tokens")]
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_rejection_has_openais_form_also_where_a_stream_is_wanted(
    service: Service, changes: dict[str, Any], parameter: str, stream: bool
) -> None:
    status, body = put(service, ROUTED, **{**ASKED, **changes, "stream": stream})
    error = json.loads(body)["error"]
    assert (status, error["code"], error["param"]) == (400, 400, parameter) and error["message"]


def test_what_openais_package_can_send_is_served_or_rejected_by_name(service: Service) -> None:
    """Each argument of the package's own resource, with a value of another kind than any server takes for its default."""
    own = {"self", "messages", "extra_headers", "extra_query", "extra_body", "timeout"}
    for name in set(inspect.signature(AsyncTalks.create).parameters) - own - set(SERVED) - set(NO_MATTER):
        with pytest.raises(Refused) as caught:
            read(TALKS, json.dumps({**TALK, name: ["a value"]}).encode())
        assert name in str(caught.value) and caught.value.parameter == name
    for name, value in WITHOUT_EFFECT.items():
        assert answered(service, **ASKED, **{name: value})["choices"]


def test_a_template_that_rejects_a_conversation_is_quoted(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service._engine.tokenizer, "chat_template", "{{ raise_exception('turns must alternate') }}")
    status, body = put(service, TALKS, **TALK)
    assert status == 400 and "turns must alternate" in body


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_its_answers(service: Service, stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = list[Row]()
    monkeypatch.setattr(service._engine, "submit", rows.append)
    body = json.dumps({**ASKED, "model": "base", "n": 3, "stream": stream}).encode()
    sending: list[Any] = [{"type": "http.disconnect"}, {"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return sending.pop()

    async def send(message: Any) -> None:
        """Nobody hears it."""

    scope = {"type": "http", "method": "POST", "path": ROUTED, "raw_path": b"", "query_string": b"", "headers": [], "asgi": {"spec_version": "2.3"}}  # fmt: skip
    asyncio.run(application(service)(scope, receive, send))
    assert len(rows) == 3 and all(row.left for row in rows)
