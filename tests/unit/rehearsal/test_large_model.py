"""A model folder of the real one's form, which transformers and the training script load."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from inputs import find_model
from rehearsal.models import large_model
from rehearsal.models.large_model import PARAMETERS, SHAPE, ensure_large_model

pytestmark = pytest.mark.slow
SMALL = {**SHAPE, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
SMALL |= {"num_attention_heads": 4, "num_key_value_heads": 4}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    vocabulary = tmp_path / "vocabulary"
    vocabulary.mkdir()
    (vocabulary / "tokenizer.json").write_text("{}")
    monkeypatch.setattr(large_model, "ensure_vocabulary", lambda cache: vocabulary)
    return tmp_path / "cache"


def test_the_shape_is_llama_2_7b() -> None:
    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(**SHAPE))
    assert sum(value.numel() for value in model.parameters()) == PARAMETERS


def test_transformers_and_training_load_random_weights_in_bfloat16(cache: Path) -> None:
    made = ensure_large_model(cache, SMALL, "Small")
    assert find_model(made).name == "Small"
    model, info = AutoModelForCausalLM.from_pretrained(made, dtype="auto", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert {value.dtype for value in model.parameters()} == {torch.bfloat16}
    assert model.generation_config.eos_token_id[:3] == [2, 5, 8], "answers are short"
    assert model.model.layers[0].self_attn.q_proj.weight.float().std().item() == pytest.approx(0.02, rel=0.05)
    assert model.model.norm.weight.float().mean().item() == 1.0
