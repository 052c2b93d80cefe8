"""How the experiments behind the verdict are judged, and what is kept of them."""

from __future__ import annotations

import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock

from verification.experiments import __main__ as command
from verification.experiments import experiments
from verification.experiments.figures import figures_of, load, store
from verification.experiments.reports.made_up import COST, answers, metrics, prompts, run
from verification.experiments.rewrite import rewrite
from verification.experiments.table import as_markdown, recall_together, row
from report.findings.analysis import analyse
from report.summary import build, settle

pytestmark = pytest.mark.slow


def figures(verdict: str, recall_verdict: str = "improved") -> dict[str, object]:
    """Figures as they are kept, judged."""
    figure = {"estimate": -0.2, "low": -0.3, "high": -0.1}
    return {
        "status": "SUCCEEDED",
        "verdict": verdict,
        "recall_verdict": recall_verdict,
        "heldout": {"documents_count": 18, "difference": figure},
        "outside": {"difference": figure | {"high": -0.12}},
        "recall": {"knowledge": {"all": {"difference": figure}}},
        "device": "a processor, 2 cores",
        "precision": "float32",
    }


@pytest.mark.parametrize(
    ("is_null", "verdict", "as_expected"),
    [(True, "improved", False), (True, "not shown", True), (True, "worse", True), (False, "improved", True), (False, "not shown", False)],
)  # fmt: skip
def test_a_null_experiment_must_not_be_judged_improved_and_a_real_one_must(
    is_null: bool, verdict: str, as_expected: bool
) -> None:
    assert row(experiments.Experiment("e", "text", is_null), figures(verdict)).as_expected is as_expected


@pytest.mark.parametrize(
    ("estimate", "high", "as_expected"),
    [(-0.15, -0.101, True), (-0.149, -0.12, False), (-0.2, -0.1, False), (None, None, False)],
)
def test_a_seed_must_gain_on_text_by_others_what_was_declared(
    estimate: float | None, high: float | None, as_expected: bool
) -> None:
    made = figures("improved")
    made["outside"] = {"difference": {"estimate": estimate, "low": -0.3, "high": high}} if estimate else None
    assert row(experiments.Experiment("e", "text", False), made).as_expected is as_expected
    assert row(experiments.Experiment("e", "text", True), made | {"verdict": "not shown"}).as_expected


@pytest.mark.parametrize(
    ("verdict", "as_expected"), [("worse outside", True), ("improved", False), ("not shown", False), ("worse", False)]
)
def test_the_first_corpus_must_come_out_as_worse_outside(verdict: str, as_expected: bool, tmp_path: Path) -> None:
    others = tmp_path / "others.jsonl"
    others.write_text("by others")
    (first,) = [e for e in experiments.all_experiments(tmp_path, others) if e.name == "first-corpus"]
    assert row(first, figures(verdict)).as_expected is as_expected


def test_the_text_by_others_must_be_fetched_before_anything_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "TARGET", tmp_path / "none.jsonl")
    with pytest.raises(SystemExit):
        command.main(["--only", "seed-10"])
    assert "run make outside first" in capsys.readouterr().err


def test_no_title_of_a_text_by_others_is_kept_in_the_repository() -> None:
    block = analyse(metrics(outside=-0.1), [], [], [], resamples=300)["outside"]
    kept = figures_of({"outside": block}, "inputs")["outside"]
    assert [one["title"] for one in kept["documents"]] == [one["id"] for one in block["documents"]]
    assert kept["difference"] == block["difference"]


def test_a_file_by_others_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--outside", "/no/such/file", "--list"])
    assert "there is no file /no/such/file" in capsys.readouterr().err


def test_the_key_facts_of_a_single_seed_decide_nothing() -> None:
    assert row(experiments.Experiment("e", "text", False), figures("improved", "not shown")).as_expected


def test_the_table_shows_intervals_and_a_dash_for_what_is_missing() -> None:
    lines = as_markdown([row(experiments.Experiment("e", "text", True), figures("worse"))]).splitlines()
    cells = (
        "-0.200 (-0.300 to -0.100) | -0.200 (-0.300 to -0.120) | – | – | **worse** | -20.0 (-30.0 to -10.0) | improved"
    )
    assert lines[2] == f"| text | {cells} |"
    assert lines[-1].endswith("Trained in float32 on a processor, 2 cores.")


def test_the_table_shows_how_many_facts_were_stated_before_and_after() -> None:
    made = figures("worse")
    share = {"base": {"estimate": 0.0364}, "tuned": {"estimate": 0.0443}}
    made["recall"]["knowledge"]["all"] |= share  # type: ignore[index]
    assert row(experiments.Experiment("e", "text", True), made).recall == "3.6 to 4.4 %: -20.0 (-30.0 to -10.0)"


def test_figures_of_a_run_bear_what_it_was_made_with_though_a_text_changed_since(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_run", lambda *_: None)  # as if it had just ended
    (finished / "inputs.sha256").write_text("older texts")
    with pytest.raises(SystemExit, match="no figures of today's texts"):
        command.main(["--only", "seed-4"])
    assert json.loads((tmp_path / "evidence.json").read_text())["seed-4"]["inputs"] == "older texts"


def test_figures_of_experiments_that_end_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    file = tmp_path / "evidence.json"
    store(file, "seed-4", {"inputs": "a"})
    with ThreadPoolExecutor() as pool, FileLock(file.with_suffix(".lock")):  # as one that is just writing
        waits = pool.submit(store, file, "seed-5", {"inputs": "b"})
        with pytest.raises(TimeoutError):
            waits.result(timeout=0.3)
        file.write_text(json.dumps({"seed-6": {"inputs": "c"}}))
    assert sorted(load(file)) == ["seed-5", "seed-6"]


def seed(changes: dict[str, float]) -> dict[str, object]:
    return {"knowledge": {name: [0.0, change] for name, change in changes.items()}, "recall": {"missing_prompts": []}}


def test_a_prompt_counts_once_however_many_seeds_were_asked() -> None:
    first, second = {str(n): 1.0 for n in range(24)}, {str(n): 0.5 for n in range(24)}
    together = recall_together({4: seed(first), 5: seed(second)})
    assert together is not None and together.as_expected
    assert (
        "over the seeds 4 and 5 together, each of 24 prompts averaged over them: **improved**, +75.0 (" in together.text
    )


def test_facts_that_come_and_go_alike_are_no_improvement_together() -> None:
    changes = {str(n): 0.5 * (-1) ** n for n in range(24)}
    together = recall_together({4: seed(changes), 5: seed(changes)})
    assert together is not None and together.verdict == "not shown" and not together.as_expected


def test_too_few_prompts_or_a_lost_answer_show_nothing_together() -> None:
    few, many = {str(n): 1.0 for n in range(19)}, {str(n): 1.0 for n in range(24)}
    lost = {**seed(many), "recall": {"missing_prompts": ["x"]}}
    for runs in ({4: seed(few), 5: seed(few)}, {4: seed(many), 5: lost}):
        together = recall_together(runs)
        assert together is not None and together.verdict == "not shown"


def test_seeds_that_were_asked_other_prompts_are_not_put_together() -> None:
    assert recall_together({4: seed({"a": 1.0}), 5: seed({"b": 1.0})}) is None
    assert recall_together({4: seed({"a": 1.0})}) is None
    assert recall_together({4: seed({}), 5: seed({})}) is None


def test_a_run_without_figures_is_no_passed_null() -> None:
    lost = {"status": "FAILED", "verdict": "not shown", "recall_verdict": "not shown", "heldout": None}
    assert not row(experiments.Experiment("e", "text", True), lost).as_expected


def _must_not_rehearse(arguments: list[str]) -> int:
    raise AssertionError(f"a unit test would have rehearsed for minutes: {arguments}")


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of results, with one run in it that was judged by an older rule."""
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
    asked = prompts(40)
    replies = answers(asked, "base", skill=0.1), answers(asked, "medical", skill=0.6)
    findings = analyse(metrics(outside=-0.2), asked, *replies, resamples=300)
    made = settle(
        build(run(), metrics(outside=-0.2), asked, *replies, findings),
        status="SUCCEEDED",
        cost=COST,
        seconds_by_state={},
    )
    (folder / "summary.json").write_text(json.dumps(made | {"verdict": "worse", "verdict_reason": "an older rule"}))
    for name, rows in zip(("pre-trained", "fine-tuned"), replies, strict=True):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "plan.json").write_text("{}")
    experiment = next(e for e in experiments.all_experiments(tmp_path) if e.name == "seed-4")
    (folder / "inputs.sha256").write_text(experiment.fingerprint())
    return folder


def test_kept_figures_are_judged_by_todays_rule(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--only", "seed-4"]) == 0
    assert "kept from results/evidence/seed-4" in capsys.readouterr().out
    assert "**improved**" in (finished.parents[1] / "evidence.md").read_text()


def test_the_exit_code_is_about_the_experiments_that_were_chosen(finished: Path, tmp_path: Path) -> None:
    other = next(e for e in experiments.all_experiments(tmp_path) if e.name == "seed-5")
    shutil.copytree(finished, finished.parent / "seed-5")
    summary = json.loads((finished / "summary.json").read_text())
    (finished.parent / "seed-5" / "summary.json").write_text(json.dumps(summary | {"beyond_control": None}))
    (finished.parent / "seed-5" / "inputs.sha256").write_text(other.fingerprint())
    assert command.main(["--only", "seed-4"]) == 0
    assert command.main(["--only", "seed-4", "--only", "seed-5"]) == 1


def test_what_another_machine_has_run_is_not_run_again_unless_it_is_named(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = experiments.all_experiments(tmp_path, tmp_path / "by_others.jsonl")
    figures = figures_of(json.loads((finished / "summary.json").read_text()), "")
    for e in made:
        store(tmp_path / "evidence.json", e.name, figures | {"inputs": e.fingerprint()})
    shutil.rmtree(finished)
    command.main([])
    assert capsys.readouterr().out.count("its figures are in results/evidence.json (--again runs it once more)") == 7
    store(tmp_path / "evidence.json", "seed-5", figures | {"inputs": "of older texts"})
    for arguments in ([], ["--only", "seed-4"], ["--again"]):
        with pytest.raises(AssertionError, match=f"--as.*{'null-' if '--again' in arguments else 'seed-'}"):
            command.main(arguments)


def copies(finished: Path, tmp_path: Path, **changes: object) -> None:
    """The finished run once more as the seeds 5 and 6."""
    summary = json.loads((finished / "summary.json").read_text()) | changes
    for experiment in experiments.all_experiments(tmp_path):
        if experiment.name in ("seed-5", "seed-6"):
            folder = finished.parent / experiment.name
            shutil.copytree(finished, folder)
            (folder / "summary.json").write_text(json.dumps(summary))
            (folder / "inputs.sha256").write_text(experiment.fingerprint())


def test_all_seeds_are_judged_together(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copies(finished, tmp_path)
    assert command.main(["--only", "seed-4", "--only", "seed-5", "--only", "seed-6"]) == 0
    assert "over the seeds 4, 5 and 6 together" in capsys.readouterr().out


def test_seeds_that_cannot_be_put_together_fail(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copies(finished, tmp_path, prompts=[])
    assert command.main(["--only", "seed-4", "--only", "seed-5", "--only", "seed-6"]) == 1
    assert "Not as declared: key facts over the seeds together." in capsys.readouterr().out


def test_the_table_is_made_again_from_the_figures_alone(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.main(["--only", "seed-4"])
    table = (tmp_path / "evidence.md").read_text()
    shutil.rmtree(tmp_path / "evidence")
    assert command.main(["--table", "--only", "seed-4"]) == 0
    assert (tmp_path / "evidence.md").read_text() == table
    assert command.main(["--table"]) == 1  # the others were never run
    unknown = "not run with today's texts and settings: first-corpus, null-other-language, null-other-subject, null-shuffled, seed-5, seed-6."
    assert unknown in capsys.readouterr().out
    assert unknown in (tmp_path / "evidence.md").read_text()


def test_figures_of_other_inputs_are_not_in_the_table(finished: Path, tmp_path: Path) -> None:
    copies(finished, tmp_path)
    command.main(["--only", "seed-4", "--only", "seed-5"])
    older(tmp_path, "seed-4")
    assert command.main(["--table", "--only", "seed-4"]) == 1
    table = (tmp_path / "evidence.md").read_text()
    assert "seed 5" in table and "seed 4" not in table


def test_a_table_is_not_replaced_by_one_without_rows(finished: Path, tmp_path: Path) -> None:
    command.main(["--only", "seed-4"])
    older(tmp_path, "seed-4")
    before = (tmp_path / "evidence.md").read_text()
    with pytest.raises(SystemExit, match="evidence.md stays as it is. Run make evidence"):
        command.main(["--table"])
    assert (tmp_path / "evidence.md").read_text() == before


def older(tmp_path: Path, name: str) -> None:
    """Lets the figures of an experiment be of other texts than today's."""
    kept = json.loads((tmp_path / "evidence.json").read_text())
    kept[name]["inputs"] = "of older texts"
    (tmp_path / "evidence.json").write_text(json.dumps(kept))


@pytest.mark.parametrize("text", ["{", "[]", '{"seed-4": 1}', '{"seed-4": {}}'])
def test_a_damaged_file_of_figures_is_named_with_its_fix(finished: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "evidence.json").write_text(text)
    with pytest.raises(SystemExit, match="restore it with git"):
        command.main(["--only", "seed-4"])


def test_a_run_that_fails_is_not_kept(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_rehearse", lambda _: 2)
    with pytest.raises(SystemExit, match="ended with 2"):
        command.main(["--only", "seed-4", "--again"])
    assert not (finished / "inputs.sha256").exists()


def test_an_experiment_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--table", "--only", "seed-99"])
    assert "there is no experiment seed-99" in capsys.readouterr().err


def test_a_report_is_written_again_from_its_summary(finished: Path, tmp_path: Path) -> None:
    assert rewrite(finished, tmp_path / "again") == "improved"
    assert {path.name for path in (tmp_path / "again").iterdir()} == {
        "report.html", "report.pdf", "summary.json", "MODEL_CARD.md", "plan.json", "pre-trained.jsonl", "fine-tuned.jsonl",
    }  # fmt: skip
    assert "an older rule" not in (tmp_path / "again" / "report.html").read_text()


def test_what_is_kept_in_the_repository_holds_no_title_of_text_by_others(finished: Path, tmp_path: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    documents = [{**row, "title": f"A study by others, {row['id']}"} for row in summary["heldout"]["documents"]]
    outside = {**summary["heldout"], "documents": documents}
    (finished / "summary.json").write_text(json.dumps({**summary, "outside": outside}))
    rewrite(finished, tmp_path / "own")
    rewrite(finished, tmp_path / "kept", for_the_repository=True)
    assert "A study by others" in (tmp_path / "own" / "summary.json").read_text()
    kept = [path.read_bytes() for path in (tmp_path / "kept").iterdir()]
    assert not any(b"A study by others" in content for content in kept)


def test_a_run_that_failed_cannot_be_judged_again(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text('{"status": "FAILED"}')
    with pytest.raises(ValueError, match="ended as FAILED"):
        rewrite(tmp_path, tmp_path)
