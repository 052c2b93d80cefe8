"""A model folder with the shape of Llama 2 7B and random weights: every name and size is the real one's, no value is."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from .llama_vocabulary import ensure_vocabulary
from .model_folders import make_once, set_name

NAME = "Llama-2-7B-shape-random-weights"
PARAMETERS = 6_738_415_616
FORM = 2  # raised when what is written changes
# Llama 2 7B's config.json (Touvron et al. 2023, table 1, and the published configuration).
SHAPE: dict[str, Any] = {
    "vocab_size": 32_000,
    "hidden_size": 4096,
    "intermediate_size": 11_008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "initializer_range": 0.02,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
# Every third token ends an answer: with random weights answers then have three tokens on average. InvokeEndpoint gives up after 60
# seconds, and on two cores each of 64 tokens takes one or two.
END_EVERY = 3


def ensure_large_model(cache: Path, shape: dict[str, Any] | None = None, name: str = NAME) -> Path:
    """The folder of 13.5 GB, made below `cache` if it is not there; the whole model is in memory meanwhile.

    Args:
        shape: of another Llama, for tests.

    Raises VocabularyMissing for want of the tokenizer, OSError for a full disk.
    """
    vocabulary = ensure_vocabulary(cache)

    def make(folder: Path) -> None:
        for file in vocabulary.iterdir():
            shutil.copyfile(file, folder / file.name)
        _write(folder, shape or SHAPE)
        set_name(folder, name)

    return make_once(cache, f"{name}-{FORM}", make)


def _write(folder: Path, shape: dict[str, Any]) -> None:
    """Weights and configuration."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(**shape, dtype="bfloat16")).to(torch.bfloat16)
    model.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in model.parameters():
            if value.dim() == 1:  # a norm's scale
                value.fill_(1.0)
            else:
                value.normal_(0.0, shape["initializer_range"], generator=generator)
    model.generation_config.eos_token_id = list(range(shape["eos_token_id"], shape["vocab_size"], END_EVERY))
    model.save_pretrained(folder, max_shard_size="1GB")
