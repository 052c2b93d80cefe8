"""A checkpoint is used only where it is whole and of the same run; and what an interruption cost is counted."""

import json
import os
from pathlib import Path

import pytest

import checkpoints
from checkpoints import STARTS, Starts, count_start, precision_of_earlier_starts
from tests.doubles import MovedTime


def written(folder: Path, step: int, identity: str = "me") -> Path:
    place = folder / f"checkpoint-{step}"
    place.mkdir(exist_ok=True)
    for name in ("adapter_model.safetensors", "optimizer.pt", "trainer_state.json"):
        (place / name).write_text(f"{name} of step {step}")
    checkpoints.seal(place, {"seconds": float(step)}, identity)
    return place


def found_step(folder: Path, identity: str = "me") -> float | None:
    found = checkpoints.newest(folder, identity)
    return found[1]["seconds"] if found else None


@pytest.mark.parametrize("file", ["adapter_model.safetensors", "optimizer.pt", checkpoints.MANIFEST])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path, file: str, damage: str) -> None:
    written(tmp_path, 9)
    path = written(tmp_path, 10) / file
    assert checkpoints.newest(tmp_path, "me") == (path.parent, {"seconds": 10.0}), "not by the order of letters"
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-9])
    assert found_step(tmp_path) == 9
    if (file, damage) == (checkpoints.MANIFEST, "gone"):
        assert not path.parent.exists(), "what a killed write left is removed"


def test_a_checkpoint_of_another_run_is_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, 1)
    written(tmp_path, 2, identity="someone else")
    assert found_step(tmp_path) == 1
    assert "checkpoint-2 belongs to other settings, corpus or model" in capsys.readouterr().out
    assert found_step(tmp_path, "a third") is None
    assert checkpoints.fingerprint({"a": 1, "b": 2}) == checkpoints.fingerprint({"b": 2, "a": 1})
    assert checkpoints.fingerprint({"a": 1}) != checkpoints.fingerprint({"a": 2})


def test_a_checkpoint_with_an_unfinished_seal_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced: list[str] = []
    monkeypatch.setattr(os, "replace", lambda old, new: replaced.append(Path(old).name))
    written(tmp_path, 1)
    assert replaced == ["manifest.json.sagemaker-ignore"], "SageMaker does not upload what is half written"
    assert found_step(tmp_path) is None


def test_sagemakers_own_marks_may_come_and_go(tmp_path: Path) -> None:
    place = tmp_path / "checkpoint-1"
    place.mkdir()
    marks = [place / f"optimizer.pt.sagemaker-{word}" for word in ("uploading", "uploaded", "ignore")]
    for mark in marks:
        mark.touch()
    written(tmp_path, 1)
    for mark in marks:  # none of them is there when SageMaker has brought the folder back
        mark.unlink()
    assert found_step(tmp_path) == 1


def started(folder: Path, resumed: int = 0, identity: str = "me", begun: float = 0.0) -> Starts:
    return count_start(
        folder, identity, resumed_step=resumed, checkpoint_minutes=1e-6, begun=begun, precision="float32"
    )


def test_steps_since_the_last_checkpoint_are_made_again_and_add_up(tmp_path: Path) -> None:
    first = started(tmp_path / "checkpoints")
    assert (first.count, first.steps_again, first.seconds_before) == (1, 0, 0.0)
    started(tmp_path).note(20)
    second = started(tmp_path, resumed=12)
    assert (second.count, second.steps_again) == (2, 8)
    assert started(tmp_path, resumed=12).steps_again == 8, "a start lost before its first step costs nothing again"
    second.note(13)
    assert started(tmp_path, resumed=12).steps_again == 9
    assert started(tmp_path, resumed=21).steps_again == 9, "nor does a checkpoint beyond the last note"


def test_the_seconds_of_all_starts_are_carried_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hand = MovedTime()
    monkeypatch.setattr(checkpoints, "time", hand)
    hand.now = 100
    started(tmp_path, begun=0)
    hand.now = 150
    second = started(tmp_path, begun=110)
    assert second.seconds_before == 100
    hand.now = 160
    second.note(2)
    assert started(tmp_path, begun=160).seconds_before == 150
    assert started(tmp_path, identity="another run").seconds_before == 0


@pytest.mark.parametrize("text", ["", "[]", '{"identity": "me", "count": "x"}', '{"identity": "me"}'])
def test_a_damaged_count_stops_nothing_and_is_replaced(tmp_path: Path, text: str) -> None:
    (tmp_path / STARTS).write_text(text, encoding="utf-8")
    assert precision_of_earlier_starts(tmp_path) == ""
    assert started(tmp_path).count == 1
    assert precision_of_earlier_starts(tmp_path) == "float32"
    assert json.loads((tmp_path / STARTS).read_text(encoding="utf-8"))["count"] == 1
