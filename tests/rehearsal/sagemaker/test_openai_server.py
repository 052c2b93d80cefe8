"""The model server of `captune use`: answers join and leave one batch, end with their clients, and are OpenAI's in form."""

from __future__ import annotations

import asyncio
import json
import queue
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from openai.resources.chat.completions import AsyncCompletions as AsyncTalks
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from rehearsal.sagemaker.real.openai_server.answers import Choice, Text
from rehearsal.sagemaker.real.openai_server.asked import NO_MATTER, SERVED, WITHOUT_EFFECT, read
from rehearsal.sagemaker.real.openai_server.batching import ContinuousBatch, Ended, Row, Token
from rehearsal.sagemaker.real.openai_server.server import Service, application
from rehearsal.sagemaker.real.server.contract import Refused, Sampling, Settings
from tests.doubles.rehearsal.toy_models import Folders, References

ROUTED, TALKS = "/v1/completions", "/v1/chat/completions"
PROMPTS = [[0, 5, 9], [0, 44], [0, 3, 60, 61, 17, 8, 90], [0]]
TEMPLATE = "{% for one in messages %}{{ one['content'] }} {% endfor %}"
pytestmark = pytest.mark.slow


@dataclass
class Heard:
    """A row's news."""

    row: Row
    news: queue.SimpleQueue[Token | Ended] = field(default_factory=queue.SimpleQueue)

    def next(self) -> Token | Ended:
        """The next one."""
        return self.news.get(timeout=60)

    def rest(self) -> list[Token | Ended]:
        """All to the end."""
        found = [self.next()]
        while not isinstance(found[-1], Ended):
            found.append(self.next())
        return found


def asked_of(engine: ContinuousBatch, prompt: list[int], most: int, **more: Any) -> Heard:
    """A row that is submitted."""
    news: queue.SimpleQueue[Token | Ended] = queue.SimpleQueue()
    given = {"adapted": False, "sampling": Sampling(), **more}
    heard = Heard(Row(prompt, most=most, tell=news.put, **given), news)
    engine.submit(heard.row)
    return heard


def answer(news: list[Token | Ended], engine: ContinuousBatch) -> tuple[list[int], bool]:
    """The tokens before the one that ended the text, and whether there was one."""
    tokens = [one.id for one in news if isinstance(one, Token)]
    ended = bool(tokens) and engine.is_end(tokens[-1])
    return tokens[:-1] if ended else tokens, ended


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory, folders: Folders) -> Folders:
    """The same model, none of whose tokens ends a text: its answers are as long as they may be."""
    folder: Path = tmp_path_factory.mktemp("endless")
    for file in folders[0].iterdir():
        if file.name not in ("config.json", "generation_config.json"):
            (folder / file.name).symlink_to(file)
    configuration = {**json.loads((folders[0] / "config.json").read_text()), "eos_token_id": None}
    (folder / "config.json").write_text(json.dumps(configuration))
    return folder, folders[1]


@pytest.fixture(scope="module")
def engine(folders: Folders) -> ContinuousBatch:
    """An engine with room for six rows."""
    torch.set_num_threads(1)  # with matrices this small, threads would only wait for each other
    return ContinuousBatch(*folders, "float32", 6)


@pytest.fixture(scope="module")
def patient(endless: Folders) -> ContinuousBatch:
    """An engine whose answers are as long as they may be."""
    return ContinuousBatch(*endless, "float32", 3)


def test_answers_that_join_and_leave_at_any_token_are_those_of_transformers(
    folders: Folders, engine: ContinuousBatch
) -> None:
    references = References(folders)
    wanted = [(prompt, most, adapted) for most in (3, 20, 9) for prompt in PROMPTS for adapted in (False, True)]
    heard = []
    for prompt, most, adapted in wanted:
        heard.append(asked_of(engine, prompt, most, adapted=adapted))
        heard[-1].next()  # the ones before are under way, or have left
    for one, (prompt, most, adapted) in zip(heard, wanted, strict=True):
        again = asked_of(engine, prompt, most, adapted=adapted)
        expected = references.tokens(prompt, most, adapted=adapted)
        assert answer(again.rest(), engine) == expected
        assert one.rest()[-1] == Ended("stop" if expected[1] else "length")


def test_a_sampled_answer_does_not_depend_on_the_others(engine: ContinuousBatch) -> None:
    def asked() -> list[Heard]:
        return [
            asked_of(engine, prompt, 6 + seed, adapted=seed % 2 == 1, sampling=Sampling(0.8, 0.9, seed))
            for seed, prompt in enumerate(PROMPTS * 2)
        ]

    together = [one.rest() for one in asked()]
    for seed, prompt in enumerate(PROMPTS * 2):
        alone = asked_of(engine, prompt, 6 + seed, adapted=seed % 2 == 1, sampling=Sampling(0.8, 0.9, seed))
        assert alone.rest() == together[seed]


def test_a_short_answer_does_not_wait_for_a_long_one(patient: ContinuousBatch) -> None:
    long = asked_of(patient, PROMPTS[0], 250)
    long.next()
    for _ in range(5):
        assert len(asked_of(patient, PROMPTS[1], 4).rest()) == 5
    assert long.row.told < 250
    assert len(long.rest()) == 250


def test_a_long_prompt_is_read_between_the_tokens_of_others(
    patient: ContinuousBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rehearsal.sagemaker.real.openai_server.batching.READ_AT_ONCE", 16)
    long = asked_of(patient, PROMPTS[0], 250)
    long.next()
    before = long.row.told
    prompt = [3, *([7] * 200)]
    reading = asked_of(patient, prompt, 3)
    first = reading.next()
    assert long.row.told - before >= 10, "thirteen parts were read, and a token told after each"
    whole = asked_of(patient, prompt, 3)
    assert [first, *reading.rest()] == whole.rest()
    long.row.left = True


def test_an_answer_that_nobody_wants_ends_at_the_next_token(patient: ContinuousBatch) -> None:
    leaving = [asked_of(patient, PROMPTS[0], 250) for _ in range(6)]  # three of them wait
    leaving[0].next()
    for one in leaving:
        one.row.left = True
    asked_of(patient, PROMPTS[1], 8).rest()
    told = [one.row.told for one in leaving]
    asked_of(patient, PROMPTS[1], 8).rest()
    assert [one.row.told for one in leaving] == told and max(told) < 250 and told[3:] == [0, 0, 0]


def test_no_more_rows_are_answered_at_once_than_there_is_room_for(patient: ContinuousBatch) -> None:
    long = [asked_of(patient, PROMPTS[0], 100) for _ in range(3)]
    waiting = asked_of(patient, PROMPTS[1], 4)
    waiting.next()
    assert any(one.row.told == 100 for one in long)


def test_a_row_that_fails_takes_no_other_with_it(patient: ContinuousBatch) -> None:
    good = asked_of(patient, PROMPTS[0], 40)
    good.next()
    (failed,) = asked_of(patient, [1, 10**6], 4).rest()
    assert isinstance(failed, Ended) and "index" in failed.error.lower()
    assert len(good.rest()) == 40


def test_prompts_are_scored_as_transformers_scores_them(folders: Folders, engine: ContinuousBatch) -> None:
    references, prompt = References(folders), PROMPTS[2]
    for adapted in (False, True):
        one, other = (
            asked_of(engine, tokens, 1, adapted=adapted, top=2, scored=True) for tokens in (prompt, PROMPTS[0])
        )
        one.rest(), other.rest()
        model: Any = references.tuned
        with torch.inference_mode():
            if adapted:
                logits = model(torch.tensor([prompt])).logits[0]
            else:
                with model.disable_adapter():
                    logits = model(torch.tensor([prompt])).logits[0]
        chances = torch.log_softmax(logits.float(), dim=-1)
        assert [token.id for token in one.row.scores] == prompt and one.row.scores[0].logprob is None
        for place, token in enumerate(one.row.scores[1:]):
            assert token.logprob == pytest.approx(float(chances[place, token.id]), abs=1e-4)
            best = torch.topk(chances[place], 2)
            assert [word for word, _ in token.top] == best.indices.tolist()
        assert [token.id for token in other.row.scores] == PROMPTS[0]


# In OpenAI's form -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def service(endless: Folders) -> Service:
    """The service on that model, which has a chat template here."""
    made = Service(endless[0], Settings("base", "medical", endless[1], 128, 8, "float32"))
    made._engine.tokenizer.chat_template = TEMPLATE
    return made


def put(service: Any, path: str, *stay: bool, **asked: Any) -> tuple[int, bytes]:
    """(status, body) of one request; with `stay` false the client leaves once its request is sent."""
    body = json.dumps({"model": "base", **asked}).encode()
    sent, sending = list[Any](), [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if sending:
            return sending.pop()
        if stay == (False,):
            return {"type": "http.disconnect"}
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": [], "asgi": {"spec_version": "2.3"}}  # fmt: skip
    asyncio.run(application(service)(scope, receive, send))
    return sent[0]["status"], b"".join(one.get("body", b"") for one in sent)


def told(service: Any, path: str = ROUTED, **asked: Any) -> Any:
    """The answer's content."""
    status, body = put(service, path, **asked)
    assert status == 200, body
    return json.loads(body)


def events(service: Any, path: str = ROUTED, **asked: Any) -> list[Any]:
    """The events of a stream without the last one."""
    _, body = put(service, path, stream=True, **asked)
    *found, last = [one.removeprefix("data: ") for one in body.decode().strip().split("\n\n")]
    assert last == "[DONE]"
    return [json.loads(one) for one in found]


ASKED: dict[str, Any] = {"prompt": "the gene binds", "max_tokens": 6, "temperature": 0}


def test_the_answers_are_those_that_openais_package_reads(service: Service) -> None:
    whole = Completion.model_validate(told(service, **ASKED, logprobs=2, n=2), strict=True)
    assert [choice.index for choice in whole.choices] == [0, 1] and whole.created > 0
    assert whole.usage is not None and whole.usage.completion_tokens == 12
    talk = {"messages": [{"role": "user", "content": [{"type": "text", "text": "the gene"}]}], "temperature": 0}
    answer = ChatCompletion.model_validate(told(service, TALKS, **talk, max_completion_tokens=4, logprobs=True, top_logprobs=1))  # fmt: skip
    assert answer.choices[0].logprobs is not None and len(answer.choices[0].logprobs.content or []) == 4
    chunks = [ChatCompletionChunk.model_validate(one) for one in events(service, TALKS, **talk, max_tokens=4, stream_options={"include_usage": True})]  # fmt: skip
    assert "".join(one.choices[0].delta.content or "" for one in chunks[:-1]) == answer.choices[0].message.content
    assert [one.choices[0].delta.role for one in chunks[:-1]] == ["assistant", *[None] * (len(chunks) - 2)]
    assert chunks[-1].choices == [] and chunks[-1].usage == answer.usage


def test_a_conversation_may_answer_as_long_as_the_context_holds_and_a_completion_sixteen_tokens(
    service: Service,
) -> None:
    assert told(service, prompt="the gene", temperature=0)["usage"]["completion_tokens"] == 16
    long = told(service, TALKS, messages=[{"role": "user", "content": "the gene"}], temperature=0)
    assert long["usage"]["total_tokens"] == 128 and long["choices"][0]["finish_reason"] == "length"


def test_several_prompts_of_text_or_tokens_are_answered_in_their_order(service: Service) -> None:
    one, other = (told(service, **{**ASKED, "prompt": text})["choices"][0]["text"] for text in ("the gene", "a virus"))
    tokens = [service._engine.tokenizer(text)["input_ids"] for text in ("the gene", "a virus")]
    for prompts in (["the gene", "a virus"], tokens):
        found = told(service, **{**ASKED, "prompt": prompts}, n=2)
        assert [choice["text"] for choice in found["choices"]] == [one, one, other, other]
        assert found["usage"]["prompt_tokens"] == sum(map(len, tokens))
    assert told(service, **{**ASKED, "prompt": tokens[0]})["choices"][0]["text"] == one


def test_answers_of_one_seed_differ_by_their_place_and_come_again(service: Service) -> None:
    asked = {**ASKED, "temperature": 1.5, "n": 4, "seed": 5, "max_tokens": 20}
    first, again = (told(service, **asked)["choices"] for _ in range(2))
    assert first == again and len({choice["text"] for choice in first}) > 1


def test_a_stop_text_ends_an_answer_before_it_and_is_never_streamed(service: Service) -> None:
    asked = {**ASKED, "max_tokens": 100}
    text = told(service, **asked)["choices"][0]["text"]
    stop = [letter for letter in text if letter.isascii()][
        -1
    ]  # the weights are random, and many of their words no letters
    expected = text[: text.index(stop)]
    for given in (stop, ["not there", stop]):
        whole = told(service, **asked, stop=given)
        assert (whole["choices"][0]["text"], whole["choices"][0]["finish_reason"]) == (expected, "stop")
        parts = events(service, **asked, stop=given)
        assert "".join(part["choices"][0]["text"] for part in parts) == expected
        assert parts[-1]["choices"][0]["finish_reason"] == "stop"


class Letters:
    """A tokenizer whose tokens are letters."""

    def decode(self, tokens: list[int], **_: Any) -> str:
        """The letters as text."""
        return "".join(map(chr, tokens))


def test_an_answer_that_a_stop_text_ended_is_no_longer_wanted_of_the_engine() -> None:
    row = Row([65], False, 9, Sampling(), tell=lambda _: None)
    choice = Choice(0, row, Text(Letters(), [65], ["!"]), "A")
    for letter, wanted in (("b", True), ("!", False)):
        choice.hear(Token(ord(letter)))
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
    found = told(service, prompt=[tokens], temperature=0, max_tokens=1, logprobs=1, seed=1234, echo=True)
    choice = found["choices"][0]
    scores, best = choice["logprobs"]["token_logprobs"], choice["logprobs"]["top_logprobs"]
    # lm-eval sums what stands between the context and the one token that it had to ask for.
    assert len(scores) == len(best) == len(tokens) + 1 and scores[0] is best[0] is None
    assert all(max(top.values()) >= score for score, top in zip(scores[1:], best[1:], strict=True))
    assert choice["text"].startswith("the gene binds")
    parts = events(service, prompt=[tokens], temperature=0, max_tokens=1, logprobs=1, echo=True)
    assert sum(len(part["choices"][0]["logprobs"]["tokens"]) for part in parts) == len(scores)


@pytest.mark.parametrize(
    ("path", "changes", "parameter"),
    [
        *[(ROUTED, {name: value}, name) for name, value in (
            ("tools", [{"type": "function"}]), ("frequency_penalty", 0.5), ("response_format", {"type": "json_object"}), ("logit_bias", {"5": 1}),
            ("best_of", 3), ("n", 0), ("n", 200), ("stop", [""]), ("stop", ["x"] * 17), ("logprobs", 21), ("max_tokens", 0), ("temperature", 2.5), ("top_p", 0), ("guided_json", {}),
            ("never_heard_of", 1), ("prompt", []), ("prompt", [[]]), ("prompt", [10**6]), ("max_tokens", 129), ("messages", [{"role": "user", "content": "a"}]),
        )],
        (TALKS, {"messages": []}, "messages"), (TALKS, {"messages": [{"role": "user", "content": [{"type": "image_url", "text": ""}]}]}, "messages"),
        (TALKS, {"messages": [{"role": "user", "content": "a"}], "echo": True}, "echo"),
        (ROUTED, {"stream_options": {"continuous_usage_stats": True}}, "body.stream_options"), (ROUTED, {"seed": "x"}, "body.seed"),
    ],
)  # fmt: skip
def test_what_is_not_served_is_refused_by_its_name(service: Service, path: str, changes: Any, parameter: str) -> None:
    asked = {} if path == TALKS else ASKED
    for stream in (False, True):
        status, body = put(service, path, **{**asked, **changes, "stream": stream})
        error = json.loads(body)["error"]
        assert (status, error["param"]) == (400, parameter) and error["message"]


def test_what_openais_package_can_send_is_served_or_refused_by_name(service: Service) -> None:
    """Each argument of the package's own resource, with a value of another kind than any server takes for its default."""
    import inspect

    own = {"self", "messages", "extra_headers", "extra_query", "extra_body", "timeout"}
    for name in set(inspect.signature(AsyncTalks.create).parameters) - own - set(SERVED) - set(NO_MATTER):
        with pytest.raises(Refused) as caught:
            read(TALKS, json.dumps({"messages": [{"role": "user", "content": "a"}], name: ["a value"]}).encode())
        assert name in str(caught.value) and caught.value.parameter == name
    for name, value in WITHOUT_EFFECT.items():
        assert told(service, **ASKED, **{name: value})["choices"]


def test_malformed_requests_and_templates_that_refuse_are_told(service: Service) -> None:
    for body in (b"{nope", b"[" * 100_000, b"[]"):
        with pytest.raises(Refused) as caught:
            read(ROUTED, body)
        assert (caught.value.status, caught.value.kind) == (400, "Bad Request")
    service._engine.tokenizer.chat_template = "{{ raise_exception('turns must alternate') }}"
    status, body = put(service, TALKS, messages=[{"role": "user", "content": "a"}])
    service._engine.tokenizer.chat_template = TEMPLATE
    assert status == 400 and b"turns must alternate" in body


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_its_answers(service: Service, stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = list[Row]()
    monkeypatch.setattr(service._engine, "submit", rows.append)
    put(service, ROUTED, False, **{**ASKED, "n": 3, "stream": stream})
    assert len(rows) == 3 and all(row.left for row in rows)
