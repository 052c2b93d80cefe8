"""Records on every architecture of the catalogue at toy size: their answers are learnt, measured by group, and asked as they were learnt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from transformers import AutoTokenizer  # noqa: E402

import job  # noqa: E402
from arguments import Arguments  # noqa: E402
from failure import TrainingFailure  # noqa: E402
from inputs import read_inputs  # noqa: E402
from progress import Clock  # noqa: E402
from records.record import SCORED, Record  # noqa: E402
from rehearsal.sagemaker.real.server.model_server import Service  # noqa: E402
from rehearsal.sagemaker.real.server.server_settings import Settings  # noqa: E402
from rehearsal.sagemaker.vllm.routing import CHAT_COMPLETIONS  # noqa: E402
from tests.doubles.rehearsal.toy_families import FAMILIES, prose  # noqa: E402
from text import of_records, tokenize  # noqa: E402

pytestmark = pytest.mark.slow

LENGTH, RANK = 64, 4
# One template for all: what is tried here is what becomes of any.
TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)


TALK = [{"role": "user", "content": prose(3, 12)}, {"role": "assistant", "content": prose(0, 20)}]


def entries(talk: bool, first: int, count: int) -> list[dict[str, Any]]:
    made = []
    for number in range(first, first + count):
        named = {"id": f"r{number}", "group": f"g{number // 2}"}
        asked, answer = prose(number, 12), prose(number % 3, 20)
        messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
        made.append({**named, "messages": messages} if talk else {**named, "prompt": asked, "completion": f" {answer}"})
    return made


def train(root: Path, family: str, *, talk: bool, template: str = TEMPLATE, **more: Any) -> dict[str, Any]:
    """The metrics of a job of a few steps on 24 records."""
    channels = root / "input" / "data"
    for name in ("model", "corpus", "evaluation"):
        (channels / name).mkdir(parents=True)
    FAMILIES[family].make(channels / "model")
    tokenizer = AutoTokenizer.from_pretrained(channels / "model")
    if template:
        tokenizer.chat_template = template
        tokenizer.save_pretrained(channels / "model")
    for path, made in (
        ("corpus/corpus.jsonl", entries(talk, 0, 24)),
        ("evaluation/heldout.jsonl", entries(talk, 50, 6)),
    ):
        (channels / path).write_text("".join(f"{json.dumps(one)}\n" for one in made), encoding="utf-8")
    settings = {"max_steps": 10, "learning_rate": 0.02, "sequence_length": LENGTH, "lora_rank": RANK, "seed": 3, **more}
    job.run(root, read_inputs(channels, LENGTH), Arguments(**settings), Clock(600))
    return dict(json.loads((root / "model" / "metrics.json").read_text()))


@pytest.mark.parametrize("talk", [False, True], ids=["prompts", "conversations"])
@pytest.mark.parametrize("family", FAMILIES)
def test_answers_are_learnt_and_measured_by_group(tmp_path: Path, family: str, talk: bool) -> None:
    metrics = train(tmp_path, family, talk=talk)
    heldout = metrics["evaluation"]["heldout"]
    assert [row["id"] for row in heldout["documents"]] == ["g25", "g26", "g27"]
    assert heldout["tuned_loss"] < heldout["base_loss"] - 0.1, "the three answers come back in every group"
    assert metrics["corpus"]["documents"] == 24
    assert 0 < metrics["corpus"]["answer_tokens"] < metrics["corpus"]["tokens"]
    answer = AutoTokenizer.from_pretrained(tmp_path / "input/data/model")(prose(0, 20), add_special_tokens=False)
    assert heldout["documents"][0]["tokens"] < 3 * len(answer["input_ids"]), "prompts are not scored"


def test_the_server_asks_a_conversation_as_it_was_learnt(tmp_path: Path) -> None:
    train(tmp_path, "Llama 3.1", talk=True)
    settings = Settings(base="base", adapter="medical", adapter_folder=tmp_path / "model", longest=128, dtype="float32")
    folder = tmp_path / "input/data/model"
    service = Service(folder, settings)
    (read,) = tokenize([of_records([Record("r", "g", messages=tuple(TALK))])], AutoTokenizer.from_pretrained(folder))[
        0
    ].read
    context = read.marks.index(SCORED)
    said = {}
    for model in ("base", "medical"):
        body = {"model": model, "messages": TALK[:1], "max_tokens": 12, "temperature": 0}
        answer = service.complete(CHAT_COMPLETIONS, json.dumps(body).encode())
        assert (answer["object"], answer["model"]) == ("chat.completion", model)
        assert answer["usage"]["prompt_tokens"] == context, "all that stands before an answer, and nothing else"
        said[model] = answer["choices"][0]["message"]["content"]
    assert said["medical"] != said["base"]


def test_a_model_without_a_chat_template_cannot_learn_conversations(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailure, match="no chat template"):
        train(tmp_path, "Mistral", talk=True, template="")


def test_records_that_are_longer_than_a_sequence_are_split_and_counted_or_refused(tmp_path: Path) -> None:
    short: dict[str, Any] = {"sequence_length": 24, "max_steps": 1}
    assert train(tmp_path / "split", "Qwen 2.5", talk=False, **short)["corpus"]["split_records"] == 24
    with pytest.raises(TrainingFailure, match="24 of 24 records are longer than sequence_length, 24 tokens: r0"):
        train(tmp_path / "refused", "Qwen 2.5", talk=False, long_records="refuse", **short)
