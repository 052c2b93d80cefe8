"""The end of a rehearsal: whose report it copies out, which prompts its last screen shows, and whether a right was missing."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from rehearsal.conductor.results import copy_out, set_aside, show_missed, show_rights, show_summary

HARD = "Of 1,204 samples (34.4 %; p = 0.03) [12] had an event = end of"
PLAIN = ("The clock on the wall is", "The house stood at the end of", "The cost of a test depends on")


def said(show: Any, *given: Any) -> str:
    """What is on the screen after that."""
    console = Console(file=io.StringIO(), width=160)
    show(cast(Any, SimpleNamespace(console=console, say=lambda text="": console.print(text))), *given)
    return cast(io.StringIO, console.file).getvalue()


def screen(*prompts: str, tuned: str = "so.") -> str:
    answer: dict[str, Any] = {"greedy": {"text": "so."}}
    rows = [{"prompt": text, "base": answer, "tuned": {"greedy": {"text": tuned}}} for text in prompts]
    return said(show_summary, {"verdict": "improved", "prompts": rows})


def test_a_training_that_was_ended_before_its_last_step_is_told_with_what_gives_it_more_time() -> None:
    training = {"stopped_early": "time budget", "steps": 60, "planned_steps": 512}
    shown = said(show_summary, {"verdict": "improved", "training": training})
    assert "Training ended after 60 of 512 steps: time budget." in shown and "max_training_seconds" in shown
    stopped = {**training, "stopped_early": "stop signal"}
    shown = said(show_summary, {"verdict": "improved", "training": stopped})
    assert "of 512 steps: stop signal." in shown and "max_training_seconds" not in shown
    assert "Training ended" not in said(show_summary, {"verdict": "improved", "training": {"stopped_early": None}})


@pytest.mark.parametrize(("starts", "missed"), [(1, "5, 20"), (2, "20"), (3, None)])
def test_an_interruption_that_came_too_late_is_told(starts: int, missed: str | None) -> None:
    shown = said(show_missed, {"training": {"starts": starts}}, (20, 5))
    assert (f"at step {missed}: the training ended before" in shown) if missed else not shown
    assert not said(show_missed, {"training": {"starts": 1}}, ())


def test_the_most_readable_prompts_are_shown() -> None:
    shown = screen(HARD, *PLAIN)
    assert all(text in shown for text in PLAIN)
    assert "1,204" not in shown
    assert "The 3 most readable of 4 prompts" in shown


def test_all_are_shown_where_there_are_no_more() -> None:
    shown = screen(HARD, PLAIN[0])
    assert "1,204" in shown
    assert "most readable" not in shown
    assert shown.index(PLAIN[0]) < shown.index("1,204")


@pytest.mark.parametrize(
    ("refused", "told"),
    [
        ([], "✓ rights: each of 3 calls is one that its role may make"),
        (["role: a right"] * 2, "✗ a right is missing in stacks/access: role: a right"),
    ],
)
def test_a_run_is_not_clean_where_a_right_was_missing_however_it_ended(refused: list[str], told: str) -> None:
    console = Console(file=io.StringIO(), width=160)
    display = SimpleNamespace(say=lambda text="": console.print(text))
    cloud = SimpleNamespace(refused=refused, calls_of_roles=lambda: 3)

    assert show_rights(cast(Any, display), cast(Any, cloud)) is not bool(refused)
    assert cast(io.StringIO, console.file).getvalue().strip() == told


def account(**files: bytes) -> Any:
    """A cloud whose bucket holds these files of the run "mine", by their keys."""
    contents = {f"runs/mine/{path}": content for path, content in files.items()}
    pages = SimpleNamespace(paginate=lambda **_: [{"Contents": [{"Key": key} for key in contents]}])
    s3 = SimpleNamespace(
        get_paginator=lambda _: pages, get_object=lambda Bucket, Key: {"Body": io.BytesIO(contents[Key])}
    )
    return SimpleNamespace(deployment=SimpleNamespace(bucket="bucket"), client=lambda _: s3)


def earlier(target: Path) -> Path:
    target.mkdir()
    (target / "summary.json").write_text('{"verdict": "improved"}')
    (target / "inputs.sha256").write_text("a mark")
    return target


def test_the_summary_is_the_one_that_this_run_wrote(tmp_path: Path) -> None:
    summary = json.dumps({"verdict": "none"}).encode()
    cloud = account(**{"report/summary.json": summary, "answers/fine-tuned.jsonl": b"{}", "input/prompts.jsonl": b"{}"})

    assert copy_out(cloud, "mine", tmp_path / "mine") == {"verdict": "none"}
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {"summary.json", "fine-tuned.jsonl"}


def test_what_a_failed_run_has_trained_is_kept_with_its_losses(tmp_path: Path) -> None:
    trained = "training/mine/output/model"
    cloud = account(
        **{
            f"{trained}/metrics.json": b"{}",
            f"{trained}/adapter_model.safetensors": b"w",
            "training/trial/x/output/model/a": b"",
        }
    )
    assert copy_out(cloud, "mine", tmp_path / "mine", adapter=True) == {}
    assert {path.name for path in (tmp_path / "mine" / "adapter").iterdir()} == {
        "metrics.json",
        "adapter_model.safetensors",
    }
    copy_out(cloud, "mine", tmp_path / "other")
    assert not (tmp_path / "other" / "adapter").exists()


def test_an_earlier_runs_summary_is_not_taken_for_that_of_a_run_without_one(tmp_path: Path) -> None:
    assert copy_out(account(**{"plan.json": b"{}"}), "mine", earlier(tmp_path / "mine")) == {}


def test_what_an_earlier_run_left_is_moved_aside_whole(tmp_path: Path) -> None:
    moved = [set_aside(earlier(tmp_path / "mine")) for _ in range(2)]

    assert moved == [tmp_path / "mine-earlier-1", tmp_path / "mine-earlier-2"]
    assert {path.name for path in (tmp_path / "mine-earlier-1").iterdir()} == {"summary.json", "inputs.sha256"}
    assert not (tmp_path / "mine").exists()


def test_a_folder_in_which_no_run_has_left_anything_stays_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert set_aside(tmp_path) is None
    assert set_aside(tmp_path / "nowhere") is None
    assert (tmp_path / "notes.txt").is_file()
