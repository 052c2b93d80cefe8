"""The model in its channel: where hosting looks for it, whole, or told what is missing."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from failure import TrainingFailure
from model.weights import find_model

pytestmark = pytest.mark.slow


def safetensors(size: int, present: int | None = None) -> bytes:
    """A weight file of one tensor with `size` bytes, of which `present` are there."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(size if present is None else present)


def make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "llama", "_name_or_path": "Tiny"}', encoding="utf-8")
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    (folder / "model.safetensors").write_bytes(safetensors(4096))


def test_a_model_in_the_channels_own_folder_is_found(tmp_path: Path) -> None:
    make(tmp_path)
    found = find_model(tmp_path)
    assert found.path == tmp_path
    assert found.name == "Tiny"


@pytest.mark.parametrize("place", ["llama-2-7b", "artifacts/llama-2-7b"])
def test_a_model_in_a_folder_below_is_refused_because_hosting_would_not_find_it(tmp_path: Path, place: str) -> None:
    make(tmp_path / place)
    with pytest.raises(TrainingFailure, match=f"lies in the folder {place}/ of the model channel") as refusal:
        find_model(tmp_path)
    assert f"Add {place}/ to the end of weights_prefix" in refusal.value.mend


def test_a_broken_model_at_the_top_is_not_made_up_for_by_a_whole_one_below(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    make(tmp_path / "deeper")
    with pytest.raises(TrainingFailure, match="no model_type"):
        find_model(tmp_path)


def test_a_pickled_model_is_accepted(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    assert find_model(tmp_path).path == tmp_path


def test_shards_that_are_all_there_are_accepted(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "model-1.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"w": "model-1.safetensors"}}')
    assert find_model(tmp_path).path == tmp_path


def cut(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(safetensors(4096, present=2000))


def lose_a_shard(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"w": "model-2.safetensors"}}')


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (lambda folder: (folder / "config.json").write_text("{}"), "no model_type"),
        (lambda folder: (folder / "config.json").write_text("<html>"), "not readable JSON"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "no tokenizer"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"no \*.safetensors and no \*.bin"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"pointer"), "only 7 bytes"),
        (cut, "model.safetensors is"),
        (lose_a_shard, "model-2.safetensors is missing"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, damage: Callable[[Path], object], told: str) -> None:
    make(tmp_path)
    damage(tmp_path)
    with pytest.raises(TrainingFailure, match=told) as refusal:
        find_model(tmp_path)
    assert "Hugging Face layout" in refusal.value.mend


def test_an_archive_is_told_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "model.tar.gz").write_bytes(b"x")
    with pytest.raises(TrainingFailure, match=r"only the archive model\.tar\.gz"):
        find_model(tmp_path)


def test_a_missing_and_an_empty_channel_are_told(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailure, match="channel is empty"):
        find_model(tmp_path)
    with pytest.raises(TrainingFailure, match="'model' is missing"):
        find_model(tmp_path / "model")
