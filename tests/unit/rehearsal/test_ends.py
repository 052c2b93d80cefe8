"""The end of a rehearsal: what it copies out, shows and leaves; and what is left of one that was killed."""

import io
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from captune.fetch import keep
from rehearsal.conductor import folders
from rehearsal.conductor.display import Display
from rehearsal.conductor.folders import RunFolders, clear_abandoned, new_name
from rehearsal.conductor.results import answers_of, copy_out, set_aside, show_missed, show_summary
from rehearsal.models.weights import SMALL
from tests.doubles.run_bucket import ADAPTER, BUCKET, RUN, RunBucket, files_of_run
from tests.doubles.texts import lines

HARD = "Of 1,204 samples (34.4%; p = 0.03) [12] had an event = end of"
PLAIN = ("The clock on the wall is", "The house stood at the end of", "The cost of a test depends on")
KILLED = "rehearsal-20260102-030405-0002"


def said(show: Any, *given: Any) -> str:
    """What is on the screen after that."""
    console = Console(file=io.StringIO(), width=160)
    show(cast(Any, SimpleNamespace(console=console, say=lambda text="": console.print(text))), *given)
    return cast(io.StringIO, console.file).getvalue()


def screen(*prompts: str) -> str:
    answer = {"greedy": {"text": "so."}}
    rows = [{"prompt": text, "base": answer, "tuned": answer} for text in prompts]
    return said(show_summary, {"verdict": "improved", "prompts": rows})


@pytest.mark.parametrize("reason", ["time budget", "stop signal"])
def test_a_training_that_ended_early_is_shown_with_what_gives_it_more_time(reason: str) -> None:
    training = {"stopped_early": reason, "steps": 60, "planned_steps": 512}
    shown = said(show_summary, {"verdict": "improved", "training": training})
    assert f"Training ended after 60 of 512 steps: {reason}." in shown
    assert ("max_training_seconds" in shown) == (reason == "time budget")


@pytest.mark.parametrize(("starts", "missed"), [(1, "5, 20"), (2, "20"), (3, None)])
def test_an_interruption_that_came_too_late_is_shown(starts: int, missed: str | None) -> None:
    shown = said(show_missed, {"training": {"starts": starts}}, (20, 5))
    assert (f"at step {missed}: the training ended before" in shown) if missed else not shown


def test_the_first_prompts_are_shown_and_all_where_there_are_no_more() -> None:
    shown = screen(*PLAIN, HARD)
    assert all(text in shown for text in PLAIN)
    assert "1,204" not in shown and "The first 3 of 4 prompts" in shown
    assert "prompts; all are in the report" not in screen(HARD, PLAIN[0])


def test_items_that_gained_and_lost_most_are_shown_with_the_rule_that_chose_them() -> None:
    rows = [
        {"prompt": f"{HARD} {n}", "correct": f"[{n}]", "margin": [0.25, 0.25 + change]}
        for n, change in enumerate((0.5, 0.25, 0.0, -0.5))
    ]
    shown = said(show_summary, {"verdict": "improved", "choices": {"most_changed": rows}})
    assert [re.findall(r"([+-]0\.\d\d)", line) for line in shown.splitlines() if "+0.25" in line] == [
        ["+0.25", after] for after in ("+0.75", "+0.50", "+0.25", "-0.25")
    ]
    assert "Of 2 the preference rose most, of 2 it fell most or rose least" in shown and "[3]" in shown
    assert "rose most" not in said(show_summary, {"verdict": "improved", "choices": {"items": 3}})


@pytest.mark.parametrize(("domain", "fits"), [("medical", True), ("support", False), (None, False)])
def test_medical_abstracts_are_recommended_to_a_medical_run_only(domain: str | None, fits: bool) -> None:
    shown = said(show_summary, {"verdict": "improved", "domain": domain, "heldout": {"tokens": 9}, "outside": None})
    assert ("captune external" in shown) == fits


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def of_run(path: str = "", content: bytes = b"", **plan: Any) -> Any:
    """A cloud whose bucket holds a run with this file too."""
    bucket = RunBucket({RUN: files_of_run(**plan) | {path: content}})
    return SimpleNamespace(deployment=SimpleNamespace(bucket=BUCKET), client=lambda _: bucket)


def test_everything_that_can_be_fetched_of_a_run_is_kept(tmp_path: Path) -> None:
    display, mine, other = Display(), tmp_path / "mine", tmp_path / "other"
    assert copy_out(of_run(), RUN, [mine], SMALL, display, keep) == (mine, {})
    assert names(mine / "adapter") == set(ADAPTER)
    assert copy_out(of_run(), "captune-refused", [other], SMALL, display, keep) == (other, {})
    assert names(other) == set()


@pytest.mark.parametrize(("samples", "answers"), [(0, 2 * (2 + 1)), (2, 2 * (3 + 3))])
def test_as_many_answers_are_expected_as_both_models_are_asked_for(samples: int, answers: int) -> None:
    prompts = lines([{"id": kind, "kind": kind} for kind in ("starter", "central")])
    assert answers_of(of_run("input/prompts.jsonl", prompts, samplesPerPrompt=samples), RUN) == answers


@pytest.mark.parametrize(("matches", "named"), [(None, SMALL.name), (True, "Llama 2 7B")])
def test_a_run_that_was_not_measured_is_named_after_its_model(tmp_path: Path, matches: bool | None, named: str) -> None:
    planned = {"name": "Llama 2 7B", "planned_name": "Llama 2 7B", "matches_plan": matches}
    cloud = of_run("report/summary.json", json.dumps({"base_model": planned}).encode())
    _, summary = copy_out(cloud, RUN, [tmp_path / "mine"], SMALL, Display(), keep)
    assert summary == json.loads((tmp_path / "mine" / "summary.json").read_bytes())
    assert (summary["base_model"]["name"], summary["base_model"]["planned_name"]) == (named, "Llama 2 7B")


def test_a_run_that_no_place_takes_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError):
        copy_out(of_run(), RUN, [tmp_path / "file" / "mine"], SMALL, Display(), keep)


def test_a_folder_in_which_no_run_has_left_anything_stays_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert (set_aside(tmp_path), set_aside(tmp_path / "nowhere"), names(tmp_path)) == (None, None, {"notes.txt"})


def left(project: Path, name: str, with_assembly: bool = True) -> RunFolders:
    """The folders of a rehearsal that is under way, or was killed."""
    folders = RunFolders(project, name)
    (folders.account / "lambda" / "logs").mkdir(parents=True)
    (folders.account / "lambda" / "logs" / "Ask.log").write_text("asked")
    (folders.account / "sagemaker").mkdir()
    if with_assembly:
        folders.assembly.mkdir()
    return folders


@pytest.mark.parametrize("with_assembly", [True, False])
def test_a_killed_rehearsal_keeps_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_assembly: bool) -> None:
    monkeypatch.setattr(folders.psutil, "pids", lambda: [1, os.getpid()])
    killed = left(tmp_path, KILLED, with_assembly)
    clear_abandoned(tmp_path)
    assert (killed.logs / "Ask.log").read_text("utf-8") == "asked"
    assert killed.account.exists() == with_assembly
    assert not (killed.account / "sagemaker").exists()


@pytest.mark.parametrize(
    ("name", "running"), [(KILLED, 4_190_002), (new_name(), os.getpid()), ("rehearsal-of-mine", 1)],
    ids=["its process runs: a name has the last four digits", "this process", "it is no rehearsal's"],
)  # fmt: skip
def test_other_folders_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, running: int) -> None:
    monkeypatch.setattr(folders.psutil, "pids", lambda: [running])
    other = left(tmp_path, name)
    clear_abandoned(tmp_path)
    assert (other.account / "sagemaker").is_dir()
