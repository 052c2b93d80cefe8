"""A model's folder is there whole or not at all, whoever else makes it, and a killed process leaves nothing for ever."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from rehearsal.models.model_folders import make_once, partial_of


def write(folder: Path) -> None:
    (folder / "config.json").write_text("whole")


def test_a_folder_is_made_by_one_process_at_a_time_and_once(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        threading.Event().wait(0.2)
        write(folder)

    threads = [threading.Thread(target=make_once, args=(tmp_path / "cache", "Llama-1", make)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert [(path.name, len(list(path.iterdir()))) for path in (tmp_path / "cache").iterdir()] == [("Llama-1", 1)]


def test_what_a_killed_process_left_is_not_taken_for_a_part_of_the_model(tmp_path: Path) -> None:
    partial = partial_of(tmp_path, "Llama-1")
    partial.mkdir()
    (partial / "model.safetensors").write_text("a part")
    final = make_once(tmp_path, "Llama-1", write)
    assert [path.name for path in final.iterdir()] == ["config.json"]
    assert list(tmp_path.iterdir()) == [final]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        write(folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        make_once(tmp_path, "Llama-1", fail)
    assert list(tmp_path.iterdir()) == []
