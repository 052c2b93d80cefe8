"""A model folder with the shape of Llama 2 7B and random weights: every name and size is the real one's, no value is."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .llama_vocabulary import ensure_vocabulary
from .model_folders import in_the_making, put_in_place, remove_abandoned

NAME = "Llama-2-7B-shape-random-weights"
PARAMETERS = 6_738_415_616
FORM = 1  # raised when what is written changes
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
INDEX = "model.safetensors.index.json"


def ensure_large_model(cache: Path, shape: dict[str, Any] | None = None, name: str = NAME) -> Path:
    """The folder of 13.5 GB, made below `cache` if it is not there: a shard for each layer, so that one shard is in memory at a time.

    Args:
        shape: of another Llama, for tests.

    Raises VocabularyMissing for want of the tokenizer, OSError for a full disk.
    """
    remove_abandoned(cache, name)
    final = cache / f"{name}-{FORM}"
    if (final / "config.json").is_file():
        return final
    vocabulary = ensure_vocabulary(cache)
    with in_the_making(cache, name) as partial:
        for file in vocabulary.iterdir():
            shutil.copyfile(file, partial / file.name)
        _write(partial, shape or SHAPE, name)
        put_in_place(partial, final, "config.json")
    return final


def _write(folder: Path, shape: dict[str, Any], name: str) -> None:
    """Shards, their index, and config.json last."""
    import torch
    from safetensors.torch import save_file
    from transformers import LlamaConfig, LlamaForCausalLM

    configuration = LlamaConfig(**shape, architectures=["LlamaForCausalLM"], dtype="bfloat16")
    with torch.device("meta"):
        sizes = {key: value.shape for key, value in LlamaForCausalLM(configuration).named_parameters()}
    shards = list(_shards(sizes))
    generator = torch.Generator().manual_seed(0)
    places: dict[str, str] = {}
    for number, keys in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        tensors = {}
        for key in keys:
            value = torch.empty(sizes[key], dtype=torch.bfloat16)
            if value.dim() == 1:  # a norm's scale
                value.fill_(1.0)
            else:
                value.normal_(0.0, shape["initializer_range"], generator=generator)
            tensors[key] = value
        save_file(tensors, folder / file, metadata={"format": "pt"})
        _out_of_memory(folder / file)
        places |= dict.fromkeys(keys, file)
    total = sum(size.numel() for size in sizes.values())
    index = {"metadata": {"total_size": 2 * total}, "weight_map": places}
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")
    ends = list(range(shape["eos_token_id"], shape["vocab_size"], END_EVERY))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}), encoding="utf-8")
    described = {**configuration.to_dict(), "_name_or_path": name}
    (folder / "config.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")


def _shards(sizes: dict[str, Any]) -> Iterator[list[str]]:
    """The parameters' names, those of one layer together, and what is outside the layers."""
    shards: dict[str, list[str]] = {}
    for key in sizes:
        _, inside, rest = key.partition(".layers.")
        shards.setdefault(rest.partition(".")[0] if inside else "", []).append(key)
    yield from shards.values()


def _out_of_memory(path: Path) -> None:
    """Writes the file to the disk and lets go of its pages: 13.5 GB of them would crowd the memory that is to be measured."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
        with contextlib.suppress(AttributeError, OSError):  # not on every system
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
