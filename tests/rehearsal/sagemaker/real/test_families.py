"""Every architecture of the catalogue is trained by training/, loaded by PEFT and served, at toy size."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from peft import PeftModel  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

import job  # noqa: E402
from arguments import Arguments  # noqa: E402
from common.architecture import Shape, shape_of  # noqa: E402
from inputs import read_inputs  # noqa: E402
from progress import Clock  # noqa: E402
from rehearsal.sagemaker.real.server.model_server import Service  # noqa: E402
from rehearsal.sagemaker.real.server.server_settings import Settings  # noqa: E402
from rehearsal.sagemaker.vllm.routing import COMPLETIONS  # noqa: E402
from stacks.configuration.catalog import BASE_MODELS  # noqa: E402
from tests.doubles.rehearsal.toy_families import FAMILIES, Family, prose  # noqa: E402

pytestmark = pytest.mark.slow

RANK, STEPS, LENGTH = 4, 4, 64
LINEAR = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
PROMPT, ANSWER = "the gene binds", 8


@dataclass(frozen=True)
class Trained:
    """One family's toy after its job."""

    family: Family
    base: Path
    adapter: Path
    metrics: dict[str, Any]

    @property
    def shape(self) -> Shape:
        return shape_of(json.loads((self.base / "config.json").read_text()))

    def causal(self) -> Any:
        """The base model in float32."""
        return AutoModelForCausalLM.from_pretrained(self.base, dtype=torch.float32)

    def tuned(self) -> Any:
        """The base model with the adapter, as PEFT loads it."""
        return PeftModel.from_pretrained(self.causal(), self.adapter).eval()


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda name: name)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """A job of a few steps on the toy of a family."""
    family = FAMILIES[request.param]
    root = tmp_path_factory.mktemp("job")
    channels = root / "input" / "data"
    for name in ("model", "corpus", "evaluation"):
        (channels / name).mkdir(parents=True)
    family.make(channels / "model")
    corpus = "\n\n".join(f"# Document {number}\n\n{prose(number, 80)}" for number in range(4))
    (channels / "corpus" / "corpus.txt").write_text(corpus, encoding="utf-8")
    entries = [{"id": f"heldout-{n}", "title": f"T{n}", "text": prose(n + 50, 40)} for n in range(3)]
    (channels / "evaluation" / "heldout.jsonl").write_text("\n".join(map(json.dumps, entries)), encoding="utf-8")
    arguments = Arguments(max_steps=STEPS, learning_rate=0.02, sequence_length=LENGTH, lora_rank=RANK, seed=3)
    job.run(root, read_inputs(channels, LENGTH), arguments, Clock(600))
    metrics = json.loads((root / "model" / "metrics.json").read_text())
    yield Trained(family, channels / "model", root / "model", metrics)


def test_every_model_of_the_catalogue_is_of_a_family_that_is_tried_here() -> None:
    assert sorted(name for family in FAMILIES.values() for name in family.models) == sorted(BASE_MODELS)
    for family in FAMILIES.values():
        for name in family.models:
            assert BASE_MODELS[name].architecture == family.causal.__name__
            assert BASE_MODELS[name].shape.tied_embeddings is bool(family.sizes.get("tie_word_embeddings"))


def test_its_config_json_tells_its_size(trained: Trained) -> None:
    model = trained.metrics["base_model"]
    assert trained.shape.parameters == model["parameters"]
    assert trained.shape.adapter_parameters(RANK) == model["trainable_parameters"]
    assert model["architecture"] == trained.family.causal.__name__


def test_all_its_linear_layers_but_the_output_layer_get_an_adapter(trained: Trained) -> None:
    assert set(json.loads((trained.adapter / "adapter_config.json").read_text())["target_modules"]) == LINEAR


def test_it_learns_its_text_and_is_measured_before_and_after(trained: Trained) -> None:
    assert trained.metrics["training"]["steps"] == STEPS
    learned, heldout = (trained.metrics["evaluation"][name] for name in ("training_text", "heldout"))
    assert learned["tuned_loss"] < learned["base_loss"] - 0.05
    assert math.isfinite(heldout["base_loss"]) and heldout["tuned_loss"] != heldout["base_loss"]


def test_peft_loads_the_adapter_whole_and_it_changes_what_is_predicted(trained: Trained) -> None:
    tuned = trained.tuned()
    states = {name: value for name, value in tuned.named_parameters() if "lora_" in name}
    assert sum(value.numel() for value in states.values()) == trained.metrics["base_model"]["trainable_parameters"]
    assert all(value.abs().sum() > 0 for name, value in states.items())
    tokens = torch.arange(5, 25)[None]
    with torch.no_grad(), tuned.disable_adapter():
        before = tuned(tokens).logits
    with torch.no_grad():
        assert not torch.allclose(before, tuned(tokens).logits, atol=1e-2)


def _greedy(model: Any, tokens: list[int], ends: int) -> list[int]:
    """The continuation by the whole text read anew for each token, up to the end of the text."""
    written = list(tokens)
    with torch.inference_mode():
        for _ in range(ANSWER):
            following = int(model(torch.tensor([written])).logits[0, -1].argmax())
            if following == ends:
                break
            written.append(following)
    return written


def test_the_server_answers_as_the_base_model_and_as_the_tuned_one(trained: Trained) -> None:
    service = Service(
        trained.base,
        Settings(base="base", adapter="medical", adapter_folder=trained.adapter, longest=128, dtype="float32"),
    )
    tokenizer = AutoTokenizer.from_pretrained(trained.base)
    tokens = tokenizer(PROMPT)["input_ids"]
    said = {}
    for name, model in (("base", trained.causal().eval()), ("medical", trained.tuned())):
        body = json.dumps({"model": name, "prompt": PROMPT, "max_tokens": ANSWER, "temperature": 0})
        answer = service.complete(COMPLETIONS, body.encode())
        said[name] = answer["choices"][0]["text"]
        written = _greedy(model, tokens, tokenizer.eos_token_id)
        whole = tokenizer.decode(written, skip_special_tokens=True)
        assert said[name] == whole[len(tokenizer.decode(tokens, skip_special_tokens=True)) :]
        assert answer["model"] == name
        assert answer["usage"]["prompt_tokens"] == len(tokens)
    assert said["base"] != said["medical"]
