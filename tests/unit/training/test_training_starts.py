"""How the starts of a job are counted, and what an interruption is seen to have cost."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from checkpoints import STARTS, Starts, count_start


def started(
    folder: Path, resumed: int = 0, identity: str = "me", minutes: float = 1e-6, seconds_ago: float = 0.0
) -> Starts:
    begun = time.monotonic() - seconds_ago
    return count_start(folder, identity, resumed_step=resumed, checkpoint_minutes=minutes, begun=begun)


def test_the_first_start_has_made_nothing_again(tmp_path: Path) -> None:
    first = started(tmp_path / "checkpoints")
    assert (first.count, first.steps_again, first.seconds_before) == (1, 0, 0.0)


def test_what_was_made_since_the_last_checkpoint_is_made_again_and_adds_up(tmp_path: Path) -> None:
    started(tmp_path).note(20)
    second = started(tmp_path, resumed=12)
    assert (second.count, second.steps_again) == (2, 8)
    second.note(13)
    third = started(tmp_path, resumed=12)
    assert (third.count, third.steps_again) == (3, 9)


def test_a_start_that_is_lost_before_its_first_step_costs_nothing_again(tmp_path: Path) -> None:
    started(tmp_path).note(20)
    started(tmp_path, resumed=12)
    assert started(tmp_path, resumed=12).steps_again == 8


def test_a_checkpoint_beyond_the_last_note_costs_nothing(tmp_path: Path) -> None:
    started(tmp_path).note(20)
    assert started(tmp_path, resumed=21).steps_again == 0


def test_the_seconds_of_all_starts_are_carried_on(tmp_path: Path) -> None:
    started(tmp_path, seconds_ago=100)
    second = started(tmp_path, seconds_ago=50)
    assert 100 <= second.seconds_before < 110
    second.note(2)
    assert 150 <= started(tmp_path).seconds_before < 170


def test_another_run_counts_for_nothing(tmp_path: Path) -> None:
    started(tmp_path).note(20)
    other = started(tmp_path, identity="another")
    assert (other.count, other.steps_again, other.seconds_before) == (1, 0, 0.0)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"identity": "me", "count": "x"}', '{"identity": "me"}'])
def test_a_damaged_file_stops_nothing_and_is_replaced(tmp_path: Path, text: str) -> None:
    (tmp_path / STARTS).write_text(text, encoding="utf-8")
    assert started(tmp_path).count == 1
    assert json.loads((tmp_path / STARTS).read_text(encoding="utf-8"))["count"] == 1


@pytest.mark.parametrize(("minutes", "pause"), [(10, 20), (1, 2), (0, 20)])
def test_thirty_notes_lie_between_two_checkpoints(tmp_path: Path, minutes: float, pause: float) -> None:
    assert started(tmp_path, minutes=minutes).pause == pause


def test_a_note_that_comes_too_soon_is_left_out(tmp_path: Path) -> None:
    first = started(tmp_path, minutes=10)
    first.note(7)
    assert json.loads((tmp_path / STARTS).read_text(encoding="utf-8"))["step"] == 0
    first.note(8, at_once=True)
    assert json.loads((tmp_path / STARTS).read_text(encoding="utf-8"))["step"] == 8
    assert [path.name for path in tmp_path.iterdir()] == [STARTS]
