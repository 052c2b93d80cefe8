"""A checkpoint is used only where it is whole and of the same run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import checkpoints


def written(folder: Path, step: int, identity: str = "me") -> Path:
    """A checkpoint as the trainer leaves it, sealed."""
    place = folder / f"checkpoint-{step}"
    place.mkdir(exist_ok=True)
    for name in ("adapter_model.safetensors", "optimizer.pt", "trainer_state.json"):
        (place / name).write_text(f"{name} of step {step}")
    checkpoints.seal(place, {"seconds": float(step)}, identity)
    return place


def found_step(folder: Path, identity: str = "me") -> float | None:
    found = checkpoints.newest(folder, identity)
    return found[1]["seconds"] if found else None


def test_the_newest_is_used_with_what_was_noted_beside_it(tmp_path: Path) -> None:
    for step in (5, 20, 100):  # not in the order of their letters
        written(tmp_path, step)
    assert checkpoints.newest(tmp_path, "me") == (tmp_path / "checkpoint-100", {"seconds": 100.0})


@pytest.mark.parametrize("file", ["adapter_model.safetensors", "optimizer.pt", "trainer_state.json"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_one_gives_way_to_the_one_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, damage: str
) -> None:
    written(tmp_path, 1)
    path = written(tmp_path, 2) / file
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])
    assert found_step(tmp_path) == 1
    assert "checkpoint-2 is damaged" in capsys.readouterr().out


def test_a_manifest_that_was_cut_off_gives_way_too(tmp_path: Path) -> None:
    written(tmp_path, 1)
    path = written(tmp_path, 2) / checkpoints.MANIFEST
    path.write_bytes(path.read_bytes()[:-9])
    assert found_step(tmp_path) == 1


def test_one_of_another_run_is_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, 1)
    written(tmp_path, 2, identity="somebody else")
    assert found_step(tmp_path) == 1
    assert "checkpoint-2 belongs to other settings, corpus or model" in capsys.readouterr().out
    assert found_step(tmp_path, "a third") is None


def test_what_a_killed_write_left_is_swept_away(tmp_path: Path) -> None:
    written(tmp_path, 1)
    (written(tmp_path, 2) / checkpoints.MANIFEST).unlink()
    assert found_step(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1"]


def test_one_that_is_written_again_is_not_whole_before_it_is_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = written(tmp_path, 1)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.seal(place, {}, "me")
    monkeypatch.undo()
    assert found_step(tmp_path) is None


def test_sagemakers_own_marks_may_come_and_go(tmp_path: Path) -> None:
    place = tmp_path / "checkpoint-1"
    place.mkdir()
    marks = [place / f"optimizer.pt.sagemaker-{word}" for word in ("uploading", "uploaded", "ignore")]
    for mark in marks:
        mark.touch()
    written(tmp_path, 1)
    assert found_step(tmp_path) == 1

    for mark in marks:  # none of them is there when SageMaker has brought the folder back
        mark.unlink()
    assert found_step(tmp_path) == 1


def test_what_is_half_written_has_a_name_that_sagemaker_leaves_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced: list[str] = []
    monkeypatch.setattr(os, "replace", lambda old, new: replaced.append(Path(old).name))
    written(tmp_path, 1)
    checkpoints.write_whole(tmp_path / "starts.json", {})
    assert replaced == ["manifest.json.sagemaker-ignore", "starts.json.sagemaker-ignore"]


def test_the_manifest_names_every_file(tmp_path: Path) -> None:
    manifest = json.loads((written(tmp_path, 3) / checkpoints.MANIFEST).read_text())
    assert sorted(manifest["files"]) == ["adapter_model.safetensors", "optimizer.pt", "trainer_state.json"]


def test_a_fingerprint_tells_settings_apart() -> None:
    assert checkpoints.fingerprint({"a": 1, "b": 2}) == checkpoints.fingerprint({"b": 2, "a": 1})
    assert checkpoints.fingerprint({"a": 1}) != checkpoints.fingerprint({"a": 2})
