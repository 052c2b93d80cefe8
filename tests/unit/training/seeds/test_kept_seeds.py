"""What earlier starts of a job have finished of its further seeds: only what is whole, and of the same job, is used again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seeds.further import _keep, _kept

RESULT: dict[str, Any] = {"seed": 8, "steps": 3, "evaluation": {}}


def test_a_finished_seed_is_not_trained_again(tmp_path: Path) -> None:
    _keep(tmp_path, RESULT, "this job")
    assert _kept(tmp_path, (8, 9), "this job") == {8: RESULT}


def test_a_seed_of_other_settings_texts_or_model_is_trained_again(tmp_path: Path) -> None:
    _keep(tmp_path, RESULT, "another job")
    assert _kept(tmp_path, (8,), "this job") == {}


def test_a_seed_whose_file_is_damaged_is_trained_again(tmp_path: Path) -> None:
    _keep(tmp_path, RESULT, "this job")
    whole = (tmp_path / "seed-8.json").read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"[]", b"{}"):
        (tmp_path / "seed-8.json").write_bytes(damaged)
        assert _kept(tmp_path, (8,), "this job") == {}
