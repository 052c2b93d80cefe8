"""A model's folder is there whole or not at all, whoever else makes it, and a killed process leaves nothing for ever."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rehearsal.models import llama_vocabulary, weights
from rehearsal.models.large_model import ensure_large_model
from rehearsal.models.llama_vocabulary import ensure_vocabulary
from rehearsal.models.model_folders import in_the_making, put_in_place, remove_abandoned
from rehearsal.models.weights import ensure_weights

LAST = "config.json"


def folder(path: Path, written: str = "by another") -> Path:
    path.mkdir(parents=True)
    (path / LAST).write_text(written)
    return path


@pytest.fixture(scope="module")
def gone() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


def test_only_what_a_killed_process_left_of_this_model_is_removed(tmp_path: Path, gone: int) -> None:
    kept = {folder(tmp_path / name) for name in (f".Other-{gone}-abc", "Llama-1", ".Llama-abc")}
    folder(tmp_path / f".Llama-{gone}-abc")
    with in_the_making(tmp_path, "Llama") as made:
        remove_abandoned(tmp_path, "Llama")
        assert set(tmp_path.iterdir()) == {*kept, made}
    assert not made.exists()


def test_a_folder_that_another_process_put_there_first_stays_for_its_readers(tmp_path: Path) -> None:
    final = folder(tmp_path / "Llama-1")
    with (final / LAST).open() as reader, in_the_making(tmp_path, "Llama") as made:
        (made / LAST).write_text("second")
        put_in_place(made, final, LAST)
        assert os.fstat(reader.fileno()).st_ino == (final / LAST).stat().st_ino
    assert list(tmp_path.iterdir()) == [final]


def test_a_folder_without_its_last_file_is_replaced(tmp_path: Path) -> None:
    final = tmp_path / "Llama-1"
    final.mkdir()
    (final / "model.safetensors").write_text("a part")
    put_in_place(folder(tmp_path / "made", "whole"), final, LAST)
    assert [path.read_text() for path in final.iterdir()] == ["whole"]


def test_each_model_removes_what_was_left_of_it_even_where_it_is_made_already(tmp_path: Path, gone: int) -> None:
    folder(tmp_path / "Small-1")
    folder(tmp_path / f"{weights.NAME}-{weights.GGUF_SHA256[:12]}-{weights.FORM}")
    vocabulary = folder(tmp_path / f"llama-2-vocabulary-{llama_vocabulary.VERSION}-{llama_vocabulary.FORM}")
    (vocabulary / "tokenizer_config.json").write_text("{}")
    for name in ("Small", weights.NAME, llama_vocabulary.NAME):
        folder(tmp_path / f".{name}-{gone}-abc")
    ensure_large_model(tmp_path, name="Small")
    ensure_weights(tmp_path)
    ensure_vocabulary(tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
