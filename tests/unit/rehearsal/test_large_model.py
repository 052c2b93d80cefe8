"""A model folder of the real one's form, written shard by shard."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from model.weights import find_model
from rehearsal.models import large_model
from rehearsal.models.large_model import PARAMETERS, SHAPE, ensure_large_model

pytestmark = pytest.mark.slow


SMALL = {
    **SHAPE,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
}


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    vocabulary = tmp_path / "vocabulary"
    vocabulary.mkdir()
    (vocabulary / "tokenizer.json").write_text("{}")
    monkeypatch.setattr(large_model, "ensure_vocabulary", lambda cache: vocabulary)
    cache = tmp_path / "cache"
    cache.mkdir()
    return ensure_large_model(cache, SMALL, "Small")


def test_the_shape_is_llama_2_7b() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(**SHAPE))
    assert sum(value.numel() for value in model.parameters()) == PARAMETERS


def test_transformers_and_training_load_a_shard_for_each_layer(made: Path) -> None:
    from transformers import AutoModelForCausalLM

    assert find_model(made).name == "Small"
    model, info = AutoModelForCausalLM.from_pretrained(made, dtype="auto", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert {value.dtype for value in model.parameters()} == {torch.bfloat16}
    assert model.generation_config.eos_token_id[:3] == [2, 5, 8]  # answers are short
    shards = set(json.loads((made / large_model.INDEX).read_text())["weight_map"].values())
    assert len(shards) == SMALL["num_hidden_layers"] + 1  # beside the layers: embedding, last norm and output matrix
    first = model.model.layers[0].self_attn.q_proj.weight
    assert not torch.equal(first, model.model.layers[1].self_attn.q_proj.weight)
    assert first.float().std().item() == pytest.approx(0.02, rel=0.05)
    assert model.model.norm.weight.float().mean().item() == 1.0


def test_it_is_made_once_and_a_full_disk_leaves_nothing(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(large_model, "_out_of_memory", full)
    assert ensure_large_model(made.parent, SMALL, "Small") == made
    with pytest.raises(OSError, match="No space"):
        ensure_large_model(made.parent, SMALL, "Other")
    assert [path.name for path in made.parent.iterdir()] == [made.name]
