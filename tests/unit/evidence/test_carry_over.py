"""Figures outlive a change of the code where a small run shows that nothing of what is measured has changed."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from verification.experiments import carry_over, experiments
from verification.experiments.carry_over import NothingCarried, carried, measured, told_by
from verification.experiments.figures import load, store
from verification.experiments.table import as_markdown, carried_over

TODAY = {"seed-4": ["texts", "new"], "seed-5": ["texts", "newer"]}
THEN = {"seed-4": ["texts", "old"], "seed-5": ["texts", "older"]}


def kept(**inputs: str) -> dict[str, dict[str, Any]]:
    return {name.replace("_", "-"): {"inputs": value} for name, value in inputs.items()}


def test_figures_of_the_earlier_code_get_todays_fingerprint() -> None:
    assert carried(kept(seed_4="old", seed_5="older"), TODAY, THEN) == {"seed-4": "new", "seed-5": "newer"}


@pytest.mark.parametrize(
    ("figures", "then", "why"),
    [
        (kept(), THEN, "seed-4: there are no figures"),
        (kept(seed_4="oldest"), THEN, "seed-4: there are no figures of it that were made with that commit"),
        (kept(seed_4="old"), {}, "seed-4: there are no figures"),
        (kept(seed_4="new"), THEN, "seed-4: its figures are of today's code already"),
        (kept(seed_4="old"), {"seed-4": ["other texts", "old"]}, "seed-4: its texts, prompts, settings or weights"),
    ],
)
def test_what_was_made_otherwise_is_not_carried_over(
    figures: dict[str, dict[str, Any]], then: dict[str, list[str]], why: str
) -> None:
    with pytest.raises(NothingCarried, match=why):
        carried(figures, TODAY, then)


def block(loss: float = 2.5, **changes: Any) -> dict[str, Any]:
    """The losses on one text, of one document."""
    return {"documents_count": 1, "unusable_documents": 0, "documents": [{"id": "1", "tuned_loss": loss}], **changes}


def results(folder: Path, run: str = "a", **changes: Any) -> Path:
    """The folder of a run, as far as it is looked at."""
    folder.mkdir(parents=True)
    summary = {
        "run": run,
        "status": "SUCCEEDED",
        "seconds_by_state": {"Train": len(run)},
        "training": {"loss_curve": changes.pop("curve", [{"step": 1, "loss": 3.1}]), "seconds": len(run)},
        "memorisation": {"training_text": changes.pop("training_text", block())},
        **dict.fromkeys(("heldout", "outside", "control"), block()),
        "beyond_control": {"p_value": 0.01},
        "recall": {"prompts": 4},
        **{name: value for name, value in changes.items() if name not in ("greedy", "samples")},
    }
    (folder / "summary.json").write_text(json.dumps(summary), "utf-8")
    answer = {"id": "p", "prompt": "Is it?", "greedy": " yes\u2028no", "samples": [" no"], "seconds": len(run)}
    answer |= {name: value for name, value in changes.items() if name in ("greedy", "samples")}
    for name in ("pre-trained.jsonl", "fine-tuned.jsonl"):
        (folder / name).write_text(json.dumps(answer, ensure_ascii=False) + "\n", "utf-8")
    return folder


def test_two_runs_are_the_same_whatever_they_are_called_and_took(tmp_path: Path) -> None:
    assert measured(results(tmp_path / "a")) == measured(results(tmp_path / "b", run="another"))


@pytest.mark.parametrize(
    "change",
    [
        {"heldout": block(2.5000000000000004)},
        {"outside": block(2.6)},
        {"control": block(2.6)},
        {"training_text": block(2.6)},
        {"curve": [{"step": 1, "loss": 3.10001}]},
        {"beyond_control": {"p_value": 0.02}},
        {"recall": {"prompts": 5}},
        {"greedy": " no"},
        {"samples": [" yes"]},
    ],
)
def test_a_loss_in_its_last_digit_or_an_answer_makes_them_differ(tmp_path: Path, change: dict[str, Any]) -> None:
    assert measured(results(tmp_path / "a")) != measured(results(tmp_path / "b", **change))


@pytest.mark.parametrize(
    "change", [{"heldout": None}, {"outside": block(documents_count=0)}, {"control": block(unusable_documents=1)}]
)
def test_a_run_that_measured_nothing_is_compared_with_none(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(NothingCarried, match="measured nothing"):
        measured(results(tmp_path / "a", **change))


def test_a_commit_from_before_texts_and_code_were_told_apart_is_refused(tmp_path: Path) -> None:
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "experiments.py").write_text("def fingerprint(self): ...", "utf-8")
    with pytest.raises(NothingCarried, match="name a later one"):
        told_by(tmp_path)


def test_this_checkout_tells_what_it_would_run(tmp_path: Path) -> None:
    known = {one.name: one for one in experiments.all_experiments(tmp_path)}
    told = told_by(experiments.PROJECT)
    assert [told[name] for name in known] == [[one.material().hexdigest(), one.fingerprint()] for one in known.values()]


@pytest.fixture
def two_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The earlier code and today's, whose small runs measure what stands here, and figures of one seed."""
    found: dict[str, Any] = {tree: {"curve": [1], "answers": ["yes"], "heldout": 2.5} for tree in ("earlier", "today")}
    monkeypatch.setattr(carry_over, "PROJECT", tmp_path / "today")
    monkeypatch.setattr(carry_over, "FIGURES", tmp_path / "evidence.json")
    monkeypatch.setattr(carry_over, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(carry_over, "_git", lambda *words: "abc1234")
    monkeypatch.setattr(carry_over, "told_by", lambda tree: THEN if tree.name == "earlier" else TODAY)
    monkeypatch.setattr(carry_over, "rehearsed", lambda tree, results: found[tree.name])
    monkeypatch.setattr(carry_over, "checked_out", lambda commit, folder: contextlib.nullcontext(tmp_path / "earlier"))
    store(tmp_path / "evidence.json", "seed-4", {"inputs": "old", "device": "a processor"})
    for name, inputs in (("seed-4", "old"), ("seed-5", "of another code")):
        (tmp_path / "results" / name).mkdir(parents=True)
        (tmp_path / "results" / name / "inputs.sha256").write_text(inputs, "utf-8")
    return found


def test_with_the_same_small_run_the_figures_stand_with_commit_and_reason(
    two_codes: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert carry_over.main(["HEAD~1", "--why", "a message"]) == 0
    figures = load(tmp_path / "evidence.json")["seed-4"]
    assert figures == {
        "inputs": "new",
        "device": "a processor",
        "carried": [{"commit": "abc1234", "why": "a message"}],
    }
    assert "Carried over: seed-4." in capsys.readouterr().out
    marks = [(tmp_path / "results" / name / "inputs.sha256").read_text("utf-8") for name in ("seed-4", "seed-5")]
    assert marks == ["new", "of another code"]


def test_with_another_small_run_nothing_is_written(two_codes: dict[str, Any], tmp_path: Path) -> None:
    two_codes["today"]["heldout"] = 2.51
    with pytest.raises(SystemExit, match=r"gives other figures than with abc1234 \(heldout\)"):
        carry_over.main(["HEAD~1", "--why", "a message"])
    assert load(tmp_path / "evidence.json")["seed-4"] == {"inputs": "old", "device": "a processor"}


def test_figures_that_are_measured_anew_meanwhile_are_not_overwritten(
    two_codes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rehearsed(tree: Path, results: Path) -> dict[str, Any]:
        store(tmp_path / "evidence.json", "seed-4", {"inputs": "new"})
        return dict(two_codes[tree.name])

    monkeypatch.setattr(carry_over, "rehearsed", rehearsed)
    with pytest.raises(SystemExit, match="of today's code already"):
        carry_over.main(["HEAD~1", "--why", "a message"])
    assert load(tmp_path / "evidence.json")["seed-4"] == {"inputs": "new"}


def test_an_earlier_commit_is_checked_out_with_the_weights_of_today_and_taken_away_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    (project / ".rehearsal" / "weights").mkdir(parents=True)
    monkeypatch.setattr(carry_over, "PROJECT", project)
    identity = ("-c", "user.name=Tester", "-c", "user.email=tester@example.org")
    for text in ("then", "now"):
        (project / "code.py").write_text(text, "utf-8")
        for words in (("init", "-q"), ("add", "code.py"), (*identity, "commit", "-q", "-m", text)):
            subprocess.run(["git", *words], cwd=project, check=True)
    with carry_over.checked_out("HEAD~1", tmp_path / "earlier") as tree:
        assert (tree / "code.py").read_text("utf-8") == "then"
        assert (tree / ".rehearsal" / "weights").resolve() == (project / ".rehearsal" / "weights").resolve()
    assert not (tmp_path / "earlier").exists()
    with pytest.raises(subprocess.CalledProcessError), carry_over.checked_out("nothing", tmp_path / "other"):
        pass


def test_the_table_says_which_figures_have_outlived_what() -> None:
    told = {"carried": [{"commit": "abc1234", "why": "a message"}]}
    found = [(experiments.Experiment(name, "text", False), told) for name in ("seed-4", "seed-5")]
    (line,) = carried_over(found)
    assert "commit abc1234" in line and line.endswith("seed-4, seed-5. What has changed: a message.")
    assert line in as_markdown([], carried=[line])
    assert carried_over([(experiments.Experiment("seed-6", "text", False), {})]) == []


def test_the_fingerprint_is_of_the_material_and_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    one = experiments.Experiment("e", "text", False)
    material, fingerprint = one.material().hexdigest(), one.fingerprint()
    monkeypatch.setattr(experiments, "what_is_done", lambda source: source + "pass")
    assert (one.material().hexdigest(), one.fingerprint() == fingerprint) == (material, False)
    assert experiments.Experiment("e", "text", False, seed=1).material().hexdigest() != material
