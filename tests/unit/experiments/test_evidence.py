"""How the experiments are judged, what is kept of them, and how a report is written again."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from report.findings.analysis import analyse
from report.summary import build, settle
from verification.experiments import __main__ as command
from verification.experiments import experiments
from verification.experiments.experiments import Experiment, all_experiments
from verification.experiments.figures import figures_of, store
from verification.experiments.reports.made_up import COST, answers, metrics, prompts, run
from verification.experiments.rewrite import rewrite
from verification.experiments.table import recall_together, row

pytestmark = pytest.mark.slow


def figures(verdict: str) -> dict[str, Any]:
    """Figures as they are kept, judged."""
    figure = {"estimate": -0.2, "low": -0.3, "high": -0.1}
    return {
        "status": "SUCCEEDED",
        "verdict": verdict,
        "recall_verdict": "improved",
        "heldout": {"documents_count": 18, "difference": figure},
        "outside": {"difference": figure | {"high": -0.12}},
        "recall": {"knowledge": {"all": {"difference": figure}}},
        "device": "a processor, 2 cores",
        "precision": "float32",
    }


@pytest.mark.parametrize(
    ("is_null", "must_be", "verdict", "as_declared"),
    [
        (True, None, "improved", False), (True, None, "not shown", True), (True, None, "worse", True),
        (False, None, "improved", True), (False, None, "not shown", False),
        (True, "worse outside", "worse outside", True), (True, "worse outside", "not shown", False),
    ],
)  # fmt: skip
def test_nulls_must_not_improve_and_seeds_must(
    is_null: bool, must_be: str | None, verdict: str, as_declared: bool
) -> None:
    assert row(Experiment("e", "text", is_null, must_be=must_be), figures(verdict)).as_declared is as_declared


@pytest.mark.parametrize(
    ("estimate", "high", "as_declared"),
    [(-0.15, -0.101, True), (-0.149, -0.12, False), (-0.2, -0.1, False), (None, None, False)],
)
def test_seed_must_gain_the_declared_amount_on_outside_text(
    estimate: float | None, high: float | None, as_declared: bool
) -> None:
    made = figures("improved")
    made["outside"] = {"difference": {"estimate": estimate, "low": -0.3, "high": high}} if estimate else None
    assert row(Experiment("e", "text", False), made).as_declared is as_declared
    assert row(Experiment("e", "text", True), made | {"verdict": "not shown"}).as_declared
    assert not row(Experiment("e", "text", True), made | {"verdict": "not shown", "heldout": None}).as_declared


def seed(changes: dict[str, float]) -> dict[str, Any]:
    return {"knowledge": {name: [0.0, change] for name, change in changes.items()}, "recall": {"missing_prompts": []}}


def test_prompt_counts_once_however_many_seeds_were_asked() -> None:
    together = recall_together({4: seed({str(n): 1.0 for n in range(24)}), 5: seed({str(n): 0.5 for n in range(24)})})
    assert together is not None and together.as_declared
    assert "24 prompts" in together.text and "+75.0 (" in together.text


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({str(n): 0.5 * (-1) ** n for n in range(24)}, []),  # facts come and go alike
        ({str(n): 1.0 for n in range(19)}, []),  # too few prompts
        ({str(n): 1.0 for n in range(24)}, ["x"]),  # a lost answer
    ],
)  # fmt: skip
def test_seeds_together_may_show_nothing(changes: dict[str, float], missing: list[str]) -> None:
    together = recall_together({4: seed(changes), 5: {**seed(changes), "recall": {"missing_prompts": missing}}})
    assert together is not None and together.verdict == "not shown" and not together.as_declared


def test_seeds_with_other_prompts_are_not_put_together() -> None:
    assert recall_together({4: seed({"a": 1.0}), 5: seed({"b": 1.0})}) is None
    assert recall_together({4: seed({"a": 1.0})}) is None


def _must_not_rehearse(arguments: list[str]) -> int:
    raise AssertionError(f"a unit test would have rehearsed for minutes: {arguments}")


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of one finished run, seed 4, which an older rule judged; the seeds 5 and 6 were not run."""
    monkeypatch.setattr(command, "RESULTS", tmp_path / "evidence")
    monkeypatch.setattr(command, "TABLE", tmp_path / "evidence.md")
    monkeypatch.setattr(command, "FIGURES", tmp_path / "evidence.json")
    monkeypatch.setattr(command, "TARGET", tmp_path / "by_others.jsonl")
    (tmp_path / "by_others.jsonl").write_text("by others")
    monkeypatch.setattr(experiments, "OUTSIDE_SHA256", hashlib.sha256(b"by others").hexdigest())
    monkeypatch.setattr(experiments, "SEEDS", (4, 5, 6))
    monkeypatch.setattr(command, "_rehearse", _must_not_rehearse)
    folder = tmp_path / "evidence" / "seed-4"
    folder.mkdir(parents=True)
    asked, measured = prompts(40), metrics(outside=-0.2)
    replies = answers(asked, "base", skill=0.1), answers(asked, "medical", skill=0.6)
    built = build(run(), measured, asked, *replies, analyse(measured, asked, *replies, resamples=300))
    made = settle(built, status="SUCCEEDED", cost=COST, seconds_by_state={})
    (folder / "summary.json").write_text(json.dumps(made | {"verdict": "worse", "verdict_reason": "an older rule"}))
    for name, rows in zip(("pre-trained", "fine-tuned"), replies, strict=True):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "plan.json").write_text("{}")
    (folder / "inputs.sha256").write_text(named("seed-4", tmp_path).fingerprint())
    return folder


def named(name: str, folder: Path) -> Experiment:
    return next(one for one in all_experiments(folder) if one.name == name)


def copies(finished: Path, tmp_path: Path, names: tuple[str, ...] = ("seed-5", "seed-6"), **changes: object) -> None:
    """The finished run once more as other experiments."""
    summary = json.loads((finished / "summary.json").read_text()) | changes
    for name in names:
        shutil.copytree(finished, finished.parent / name)
        (finished.parent / name / "summary.json").write_text(json.dumps(summary))
        (finished.parent / name / "inputs.sha256").write_text(named(name, tmp_path).fingerprint())


def older(tmp_path: Path, name: str) -> None:
    """The kept figures of an experiment become those of other texts."""
    kept = json.loads((tmp_path / "evidence.json").read_text())
    kept[name]["inputs"] = "of older texts"
    (tmp_path / "evidence.json").write_text(json.dumps(kept))


def only(*names: str) -> list[str]:
    return [word for name in names for word in ("--only", name)]


def test_results_are_kept_and_judged_by_todays_rule(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(only("seed-4")) == 0
    assert "kept from results/evidence/seed-4" in capsys.readouterr().out
    table = (finished.parents[1] / "evidence.md").read_text()
    change = json.loads((finished / "summary.json").read_text())["heldout"]["difference"]
    assert "**improved**" in table
    assert f"{change['estimate']:+.3f} ({change['low']:+.3f} to {change['high']:+.3f})" in table
    (finished / "inputs.sha256").write_text("older texts")
    with pytest.raises(AssertionError, match="--as.*seed-4"):
        command.main(only("seed-4"))


@pytest.mark.parametrize(
    ("arguments", "runs"), [([], "seed-5"), (["--only", "seed-4"], "seed-4"), (["--again"], "null-")]
)
def test_figures_of_today_are_not_made_again_unless_named(
    finished: Path, tmp_path: Path, arguments: list[str], runs: str
) -> None:
    made = figures_of(json.loads((finished / "summary.json").read_text()), "")
    for one in all_experiments(tmp_path, tmp_path / "by_others.jsonl"):
        store(tmp_path / "evidence.json", one.name, made | {"inputs": one.fingerprint()})
    older(tmp_path, "seed-5")
    shutil.rmtree(finished)
    with pytest.raises(AssertionError, match=f"--as.*{runs}"):
        command.main(arguments)


@pytest.mark.parametrize(
    ("changes", "code", "says"), [({}, 0, "seeds 4, 5 and 6"), ({"prompts": []}, 1, "Not as declared")]
)
def test_seeds_are_judged_together(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], code: int, says: str
) -> None:
    copies(finished, tmp_path, **changes)
    assert command.main(only("seed-4", "seed-5", "seed-6")) == code
    assert says in capsys.readouterr().out


def test_table_is_made_again_from_the_figures_alone(finished: Path, tmp_path: Path) -> None:
    command.main(only("seed-4"))
    table = (tmp_path / "evidence.md").read_text()
    shutil.rmtree(tmp_path / "evidence")
    assert command.main(["--table", *only("seed-4")]) == 0
    assert (tmp_path / "evidence.md").read_text() == table
    assert command.main(["--table"]) == 1, "the others were never run"
    assert "first-corpus, null-other-language, null-other-subject, null-shuffled, seed-5, seed-6" in table


def test_figures_of_other_inputs_are_not_in_the_table(finished: Path, tmp_path: Path) -> None:
    copies(finished, tmp_path, ("seed-5",))
    assert command.main(only("seed-4", "seed-5")) == 0
    older(tmp_path, "seed-4")
    assert command.main(["--table", *only("seed-4")]) == 1
    before = (tmp_path / "evidence.md").read_text()
    assert "seed 5" in before and "seed 4" not in before
    older(tmp_path, "seed-5")
    with pytest.raises(SystemExit, match="evidence.md stays as it is"):
        command.main(["--table"])
    assert (tmp_path / "evidence.md").read_text() == before


@pytest.mark.parametrize("text", ["{", "[]", '{"seed-4": {}}'])
def test_damaged_file_of_figures_is_refused(finished: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "evidence.json").write_text(text)
    with pytest.raises(SystemExit, match="restore it with git"):
        command.main(only("seed-4"))


def test_failed_run_is_not_kept(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_rehearse", lambda _: 2)
    with pytest.raises(SystemExit, match="ended with 2"):
        command.main([*only("seed-4"), "--again"])
    assert not (finished / "inputs.sha256").exists()


def test_wrong_command_line_is_refused(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "by_others.jsonl").unlink()
    for arguments, named_in in ((["--table", *only("seed-99")], "seed-99"), (only("seed-4"), "captune outside")):
        with pytest.raises(SystemExit):
            command.main(arguments)
        assert named_in in capsys.readouterr().err


def test_report_is_written_again_from_its_summary(finished: Path, tmp_path: Path) -> None:
    assert rewrite(finished, tmp_path / "again") == "improved"
    assert {path.name for path in (tmp_path / "again").iterdir()} == {
        "report.html", "report.pdf", "summary.json", "MODEL_CARD.md", "plan.json", "pre-trained.jsonl", "fine-tuned.jsonl",
    }  # fmt: skip
    assert "an older rule" not in (tmp_path / "again" / "report.html").read_text()


def test_report_for_the_repository_has_no_title_by_others(finished: Path, tmp_path: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    documents = [{**row, "title": f"A study by others, {row['id']}"} for row in summary["heldout"]["documents"]]
    outside = {**summary["heldout"], "documents": documents}
    (finished / "summary.json").write_text(json.dumps({**summary, "outside": outside}))
    rewrite(finished, tmp_path / "own")
    rewrite(finished, tmp_path / "kept", for_the_repository=True)
    assert "A study by others" in (tmp_path / "own" / "summary.json").read_text()
    assert not any(b"A study by others" in path.read_bytes() for path in (tmp_path / "kept").iterdir())
    assert "A study by others" not in json.dumps(figures_of({"outside": outside}, "inputs"))
