"""Every architecture of the catalogue is trained by training/, loaded by PEFT and served, at toy size; on text and on records."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from starlette.testclient import TestClient
from transformers import AutoTokenizer

import job
from arguments import Arguments
from common.architecture import shape_of
from common.records import Record
from inputs import read_inputs
from progress import Clock
from records.record import SCORED
from rehearsal.sagemaker.real.server.contract import Settings
from rehearsal.sagemaker.real.server.model_server import Service, application
from rehearsal.sagemaker.vllm.routing import CHAT_COMPLETIONS, COMPLETIONS
from stacks.configuration.catalog import BASE_MODELS, BaseModel
from tests.doubles.rehearsal.toy_container import corpus_of
from tests.doubles.rehearsal.toy_models import FAMILIES, Family, References, prose
from text import of_records, tokenize

pytestmark = pytest.mark.slow
torch.set_num_threads(1)  # with matrices this small, threads would only wait for each other
RANK, STEPS, LENGTH = 4, 4, 64
LINEAR = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
PROMPT, ANSWER = "the gene binds", 8
# One template for all: what is tried here is what becomes of any.
TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)


@dataclass(frozen=True)
class Trained:
    """One family's toy after its job."""

    family: Family
    base: Path
    adapter: Path
    metrics: dict[str, Any]

    def client(self) -> TestClient:
        settings = Settings("base", "medical", self.adapter, longest=128, dtype="float32")
        return TestClient(application(Service(self.base, settings)))


def channels_of(root: Path, family: Family) -> Path:
    channels = root / "input" / "data"
    for name in ("model", "corpus", "evaluation"):
        (channels / name).mkdir(parents=True)
    family.make(channels / "model")
    return channels


def trained_on(root: Path, family: Family, files: dict[str, str], max_steps: int) -> Trained:
    channels = root / "input" / "data"
    for path, text in files.items():
        (channels / path).write_text(text, encoding="utf-8")
    settings = Arguments(learning_rate=0.02, sequence_length=LENGTH, lora_rank=RANK, seed=3, max_steps=max_steps)
    job.run(root, read_inputs(channels, LENGTH), settings, Clock(600))
    metrics = json.loads((root / "model" / "metrics.json").read_text("utf-8"))
    return Trained(family, channels / "model", root / "model", metrics)


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda name: name)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    root, family = tmp_path_factory.mktemp("job"), FAMILIES[request.param]
    channels_of(root, family)
    entries = [{"id": f"heldout-{n}", "title": f"T{n}", "text": prose(n + 50, 40)} for n in range(3)]
    files = {"corpus/corpus.txt": corpus_of(4, 80), "evaluation/heldout.jsonl": "\n".join(map(json.dumps, entries))}
    yield trained_on(root, family, files, max_steps=STEPS)


@pytest.mark.parametrize("model", BASE_MODELS.values(), ids=lambda model: model.id)
def test_every_model_of_the_catalogue_is_of_a_family_that_is_tried_here(model: BaseModel) -> None:
    (family,) = [one for one in FAMILIES.values() if model.id.startswith(one.begins)]
    assert model.architecture == family.causal.__name__
    assert model.shape.tied_embeddings is bool(family.sizes.get("tie_word_embeddings"))


def test_it_is_counted_adapted_and_learns(trained: Trained) -> None:
    model = trained.metrics["base_model"]
    shape = shape_of(json.loads((trained.base / "config.json").read_text("utf-8")))
    assert (shape.parameters, shape.adapter_parameters(RANK)) == (model["parameters"], model["trainable_parameters"])
    assert model["architecture"] == trained.family.causal.__name__
    assert set(json.loads((trained.adapter / "adapter_config.json").read_text("utf-8"))["target_modules"]) == LINEAR
    assert trained.metrics["training"]["steps"] == STEPS
    learned, heldout = (trained.metrics["evaluation"][name] for name in ("training_text", "heldout"))
    assert learned["tuned_loss"] < learned["base_loss"] - 0.05
    assert math.isfinite(heldout["base_loss"]) and heldout["tuned_loss"] != heldout["base_loss"]


def test_the_server_answers_as_peft_does_with_the_whole_adapter(trained: Trained) -> None:
    client, tokenizer = trained.client(), AutoTokenizer.from_pretrained(trained.base)
    references = References((trained.base, trained.adapter))
    weights = [value for name, value in references.tuned.named_parameters() if "lora_" in name]
    assert sum(value.numel() for value in weights) == trained.metrics["base_model"]["trainable_parameters"]
    assert all(value.abs().sum() > 0 for value in weights)
    tokens = tokenizer(PROMPT)["input_ids"]
    for name in ("base", "medical"):
        body = {"model": name, "prompt": PROMPT, "max_tokens": ANSWER, "temperature": 0}
        answer = client.post(COMPLETIONS, json=body).json()
        written, _ = references.tokens(tokens, ANSWER, adapted=name == "medical")
        whole = tokenizer.decode([*tokens, *written], skip_special_tokens=True)
        assert answer["choices"][0]["text"] == whole[len(tokenizer.decode(tokens, skip_special_tokens=True)) :]
        assert (answer["model"], answer["usage"]["prompt_tokens"]) == (name, len(tokens))


def records(talk: bool, first: int, count: int) -> str:
    lines = []
    for number in range(first, first + count):
        named = {"id": f"r{number}", "group": f"g{number // 2}"}
        asked, answer = prose(number, 12), prose(number % 3, 20)
        messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
        lines.append({**named, **({"messages": messages} if talk else {"prompt": asked, "completion": f" {answer}"})})
    return "".join(f"{json.dumps(line)}\n" for line in lines)


def trained_on_records(root: Path, family: str, *, talk: bool) -> Trained:
    channels = channels_of(root, FAMILIES[family])
    tokenizer = AutoTokenizer.from_pretrained(channels / "model")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(channels / "model")
    files = {"corpus/corpus.jsonl": records(talk, 0, 24), "evaluation/heldout.jsonl": records(talk, 50, 6)}
    return trained_on(root, FAMILIES[family], files, max_steps=10)


# A family of each kind of tokenizer; tests/training has every kind cut into tokens.
@pytest.mark.parametrize(("family", "talk"), [("Mistral", False), ("Qwen 2.5", True), ("Llama 3.1", True)])
def test_answers_of_records_are_learned_by_group_and_served_as_learned(tmp_path: Path, family: str, talk: bool) -> None:
    trained = trained_on_records(tmp_path, family, talk=talk)
    heldout, corpus = trained.metrics["evaluation"]["heldout"], trained.metrics["corpus"]
    tokenizer = AutoTokenizer.from_pretrained(trained.base)
    assert [row["id"] for row in heldout["documents"]] == ["g25", "g26", "g27"]
    assert heldout["tuned_loss"] < heldout["base_loss"] - 0.1, "the three answers come back in every group"
    assert corpus["documents"] == 24 and 0 < corpus["answer_tokens"] < corpus["tokens"]
    answer_tokens = tokenizer(prose(0, 20), add_special_tokens=False)["input_ids"]
    assert heldout["documents"][0]["tokens"] < 3 * len(answer_tokens), "prompts are not scored"
    if not talk:
        return
    client, said = trained.client(), {"base": "", "medical": ""}
    for model, number in product(said, (3, 4, 5)):
        question = prose(number, 12)
        turns = (("user", question), ("assistant", prose(0, 20)))
        (read,) = tokenize([of_records([Record("r", "g", turns=turns)])], tokenizer)[0].read
        body = {"model": model, "messages": [{"role": "user", "content": question}], "max_tokens": 12, "temperature": 0}
        answer = client.post(CHAT_COMPLETIONS, json=body).json()
        assert (answer["object"], answer["model"]) == ("chat.completion", model)
        assert answer["usage"]["prompt_tokens"] == read.marks.index(SCORED), "all that stands before an answer"
        said[model] += answer["choices"][0]["message"]["content"]
    assert said["medical"] != said["base"]
