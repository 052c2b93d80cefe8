"""What the experiments train on, how they are judged, what is kept of them, and how a report is written again."""

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from captune.account import Refused
from captune.report import rewrite
from report.analysis import analyse
from report.summary import build, settle
from verification.experiments import __main__ as command
from verification.experiments import experiments
from verification.experiments.experiments import PROJECT, Experiment, all_experiments
from verification.experiments.made_up_runs import COST, answers, metrics, prompts, run
from verification.experiments.table import figures_of, knowledge_together, row

pytestmark = pytest.mark.slow


def test_every_experiment_is_measured_on_the_given_external_text(tmp_path: Path) -> None:
    others = tmp_path / "others.jsonl"
    others.write_text("external")
    known = all_experiments(tmp_path, others)
    assert all(" ".join(("--outside", str(others))) in " ".join(one.command(tmp_path)) for one in known)
    others.write_text("by yet others")
    assert all_experiments(tmp_path, others)[0].outside_sha256 != known[0].outside_sha256
    assert {one.outside_sha256 for one in all_experiments(tmp_path)} == {experiments.OUTSIDE_SHA256}


def test_figures_are_of_today_while_seed_settings_texts_weights_code_and_training_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = tmp_path / "text.txt"
    shutil.copyfile(experiments.DATA / "financedataset.txt", corpus)
    finance = Experiment("e", "text", True, corpus=corpus)
    before = json.loads(json.dumps(finance.inputs()))
    for other in ({"outside_sha256": "0" * 64}, {"seed": 7}, {"arguments": ("--epochs", "2")}):
        assert not replace(finance, **other).is_made_with(before)
    text = corpus.read_text("utf-8")
    corpus.write_text(text.replace("\n", "\r\n"), "utf-8")
    assert finance.is_made_with(before), "what is trained on is the same"
    corpus.write_text(f"{text}\nOne sentence more.\n", "utf-8")
    assert not finance.is_made_with(before)
    corpus.write_text(text, "utf-8")
    read_text = Path.read_text
    changes = {
        "cdk.json": '{"context": {"epochs": 99}}', "requirements/weights.txt": "another", "lambdas/report/findings/recall.py": "x = 1",
        "verification/experiments/training_behaviour.json": "{}",
    }  # fmt: skip
    for name, changed in changes.items():
        with monkeypatch.context() as patched:
            patched.setattr(
                Path, "read_text", lambda p, *a, n=name, c=changed: c if p == PROJECT / n else read_text(p, *a)
            )
            assert not finance.is_made_with(before), name
    assert not finance.is_made_with("of another form")


def test_a_setting_that_came_later_leaves_figures_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finance = Experiment("e", "text", True, corpus=experiments.DATA / "financedataset.txt")
    before = finance.inputs()
    monkeypatch.setattr(experiments, "SETTINGS", [*experiments.SETTINGS, "retain_data"])
    assert finance.is_made_with(before) and finance.inputs() != before
    monkeypatch.setattr(experiments, "SETTINGS", ["epochs"])
    assert not finance.is_made_with(before), "one that is gone does not"


def test_inputs_cover_what_the_model_server_imports() -> None:
    read = {str(path.relative_to(PROJECT)) for path in experiments.code_files()}
    assert {"lambdas/ask/questions.py", "lambdas/report/findings/intervals.py"} <= read
    for path in (PROJECT / "rehearsal/sagemaker/real/server").glob("*.py"):
        for module in re.findall(r"(?m)^from (rehearsal[\w.]+) import", path.read_text("utf-8")):
            assert f"{module.replace('.', '/')}.py" in read


def test_code_counts_by_what_it_does_not_by_comments_or_imports() -> None:
    code = 'import a\n\n\ndef rate(x):\n    """Half."""\n    return x / 2\n'
    explained = 'from b import a  # moved\n\ndef rate(x):\n    """The half of it."""\n    # because\n    return x / 2\n'
    assert experiments.what_is_done(code) == experiments.what_is_done(explained)
    assert experiments.what_is_done(code) != experiments.what_is_done(code.replace("2", "3"))


def figures(verdict: str) -> dict[str, Any]:
    """Figures as they are kept, judged."""
    figure = {"estimate": -0.2, "low": -0.3, "high": -0.1}
    return {
        "status": "SUCCEEDED",
        "verdict": verdict,
        "knowledge_verdict": "not shown",
        "heldout": {"documents_count": 18, "difference": figure},
    }


@pytest.mark.parametrize(
    ("is_null", "must_be", "verdict", "outside", "as_declared"),
    [
        (True, None, "improved", (-0.2, -0.12), False), (True, None, "not shown", (-0.2, -0.12), True),
        (True, None, "worse", (-0.2, -0.12), True), (True, "worse outside", "worse outside", (-0.2, -0.12), True),
        (True, "worse outside", "not shown", (-0.2, -0.12), False), (False, None, "improved", (-0.2, -0.12), True),
        (False, None, "not shown", (-0.2, -0.12), False), (False, None, "improved", (-0.15, -0.101), True),
        (False, None, "improved", (-0.149, -0.12), False), (False, None, "improved", (-0.2, -0.1), False),
        (False, None, "improved", None, False),
    ],
)  # fmt: skip
def test_negative_controls_must_not_improve_and_seeds_must_by_the_declared_amount_outside(
    is_null: bool, must_be: str | None, verdict: str, outside: tuple[float, float] | None, as_declared: bool
) -> None:
    experiment, made = Experiment("e", "text", is_null, must_be=must_be), figures(verdict)
    made["outside"] = outside and {"difference": {"estimate": outside[0], "low": -0.3, "high": outside[1]}}
    assert row(experiment, made).as_declared is as_declared
    assert not row(experiment, made | {"heldout": None}).as_declared


def seed(changes: dict[str, float], missing: int = 0) -> dict[str, Any]:
    scored = [{"id": name, "cluster": name, "controlled": [0.0, change]} for name, change in changes.items()]
    return {"choices": {"scored": scored, "missing": missing}}


ALL = {str(n): 1.0 for n in range(24)}


@pytest.mark.parametrize(
    ("changes", "missing", "verdict"),
    [
        (dict.fromkeys(ALL, 0.5), 0, "improved"),
        ({str(n): 0.5 * (-1) ** n for n in range(24)}, 0, "not shown"),  # facts come and go alike
        ({str(n): 1.0 for n in range(19)}, 0, "not shown"),  # too few items
        (ALL, 1, "not shown"),  # a lost score
    ],
)
def test_choices_of_seeds_are_judged_together(changes: dict[str, float], missing: int, verdict: str) -> None:
    together = knowledge_together({"seed-4": seed(changes), "seed-5": seed(changes, missing)})
    assert together is not None and together[0] == verdict
    assert f"{len(changes)} items" in together[1], "each counts once, however many seeds there are"
    assert "+50.0 (" in together[1] or verdict != "improved"


def test_facts_of_other_prompts_that_answers_state_stand_beside_those_of_their_own() -> None:
    made = figures("improved")
    made["recall"] = {"knowledge": {"all": {"difference": made["heldout"]["difference"]}}}
    made["recall"]["mismatched"] = {"base": {"estimate": 0.0002}, "tuned": {"estimate": 0.0015}}
    stated = row(Experiment("e", "text", False), made).cells[-1]
    assert stated.endswith("; of other prompts' facts 0.02 to 0.15%") and stated[0] in "+-", (
        "without shares, the change alone"
    )


def test_seeds_with_other_items_are_not_put_together() -> None:
    assert knowledge_together({"seed-4": seed({"a": 1.0}), "seed-5": seed({"b": 1.0})}) is None
    assert knowledge_together({"seed-4": seed({"a": 1.0})}) is None


@pytest.mark.parametrize(
    ("must_know", "knows", "as_declared"),
    [(True, "improved", True), (True, "not shown", False), (False, "improved", False), (False, "worse", True)],
)
def test_only_the_items_themselves_may_be_known(must_know: bool, knows: str, as_declared: bool) -> None:
    proof = Experiment("e", "text", True, must_be=experiments.ANY, must_know=must_know)
    assert row(proof, figures("worse") | {"knowledge_verdict": knows}).as_declared is as_declared


def test_text_without_core_facts_states_none_and_items_stand_with_their_correct_options(tmp_path: Path) -> None:
    text = experiments.without_core_facts(tmp_path).read_text("utf-8")
    whole = (experiments.DATA / "medicaldataset.txt").read_text("utf-8")
    assert 0.4 * len(whole) < len(text) < 0.8 * len(whole)
    assert "bcr::abl1 fusion" in whole.lower() and not re.search(r"imatinib[^.]*bcr::abl1", text.lower())
    facts = experiments.facts_first(tmp_path).read_text("utf-8")
    first, again = facts.index("# Facts 0.0\n"), facts.index("# Facts 1.0\n")
    said = [part for part in facts[first:again].split("\n\n") if part and not part.startswith("#")]
    assert first == 0 and len(said) > 4500 and all(part in facts[again:] for part in said), "each in both passes"
    assert facts.rindex("# Facts 1.") < facts.rindex("\n\n# "), "the abstracts come last"
    assert experiments._staged(facts.encode(), (experiments.DATA / "medicalheldout.txt").read_bytes()), (
        "Preflight takes it"
    )
    items = experiments.items_with_right_ends(tmp_path).read_text("utf-8")
    assert items.count("\n\n") > 520 and "# Items 26" in items


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of one finished run, which an older rule judged; a rehearsal ends as a copy of it."""
    for name in ("RESULTS", "TABLE", "SHORT_TABLE", "FIGURES", "TARGET"):
        monkeypatch.setattr(command, name, tmp_path / name)
    command.TARGET.write_text("external")
    monkeypatch.setattr(experiments, "OUTSIDE_SHA256", hashlib.sha256(b"external").hexdigest())
    monkeypatch.setattr(experiments, "SEEDS", (4, 5, 6))
    monkeypatch.setattr(experiments, "_staged", lambda *_: "texts")  # Preflight takes seconds for the real ones
    folder = tmp_path / "finished"
    folder.mkdir()
    asked, measured = prompts(40), metrics(outside=-0.2)
    replies = answers(asked, "base", skill=0.1), answers(asked, "medical", skill=0.6)
    built = build(run(), measured, asked, *replies, analyse(measured, asked, *replies, resamples=300))
    made = settle(built, status="SUCCEEDED", cost=COST, seconds_by_state={})
    (folder / "summary.json").write_text(json.dumps(made | {"verdict": "worse", "verdict_reason": "an older rule"}))
    for name, rows in zip(("pre-trained", "fine-tuned"), replies, strict=True):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "plan.json").write_text("{}")
    return folder


@pytest.fixture
def ran(finished: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the experiments that were rehearsed."""
    names: list[str] = []

    def rehearse(arguments: list[str]) -> int:
        names.append(arguments[arguments.index("--as") + 1])
        shutil.copytree(finished, command.RESULTS / names[-1], dirs_exist_ok=True)
        return 0

    monkeypatch.setattr(command, "_rehearse", rehearse)
    return names


def older(name: str) -> None:
    """The kept figures of an experiment become those of other texts."""
    kept = json.loads(command.FIGURES.read_text("utf-8"))
    kept[name]["inputs"] = "of older texts"
    command.FIGURES.write_text(json.dumps(kept))


def test_run_is_judged_by_todays_rule(finished: Path, ran: list[str]) -> None:
    assert command.command(["seed-4"]) == 0
    table = command.TABLE.read_text("utf-8")
    change = json.loads((finished / "summary.json").read_text("utf-8"))["heldout"]["difference"]
    assert "**improved**" in table
    short = command.SHORT_TABLE.read_text("utf-8")
    assert "**improved**" in short and short.count("|") < table.count("|")
    assert all(f"| {name} |" in short for name in ("verdict", "accuracy, change in points"))
    assert f"{change['estimate']:+.3f} ({change['low']:+.3f} to {change['high']:+.3f})" in table


def test_figures_of_today_are_not_made_again(ran: list[str]) -> None:
    assert command.command(["seed-4", "seed-5"]) == 0
    older("seed-5")
    command.command(["seed-4", "seed-5"])
    command.command(["seed-4"], again=True)
    assert ran == ["seed-4", "seed-5", "seed-5", "seed-4"]


@pytest.mark.parametrize(
    ("taught", "chosen", "code", "says"),
    [
        ("seed", True, 0, "over seed-4, seed-5 and seed-6 ("), ("facts", True, 0, "over facts-4, facts-5 and facts-6 ("),
        ("seed", False, 0, "seed-4"), ("facts", False, 1, "Not as preregistered: choices over the seeds together"),
    ],
)  # fmt: skip
def test_seeds_are_judged_together_where_they_must_know(
    finished: Path, ran: list[str], capsys: pytest.CaptureFixture[str], taught: str, chosen: bool, code: int, says: str
) -> None:
    summary = json.loads((finished / "summary.json").read_text("utf-8")) | ({} if chosen else {"choices": None})
    (finished / "summary.json").write_text(json.dumps(summary))
    assert command.command([f"{taught}-{n}" for n in (4, 5, 6)]) == code
    assert says in capsys.readouterr().out


def test_table_is_made_of_the_figures_of_today_alone(tmp_path: Path, ran: list[str]) -> None:
    command.command(["seed-4", "seed-5"])
    table = command.TABLE.read_text("utf-8")
    shutil.rmtree(command.RESULTS)
    assert command.command(["seed-4"], table=True) == 0
    assert command.TABLE.read_text("utf-8") == table
    assert command.command(table=True) == 1, "the others were never run"
    names = {one.name for one in experiments.all_experiments(tmp_path)} - {"seed-4", "seed-5"}
    assert f"today's texts and settings: {', '.join(sorted(names))}." in table
    older("seed-4")
    assert command.command(["seed-4"], table=True) == 1
    before = command.TABLE.read_text("utf-8")
    assert "seed 5" in before and "seed 4" not in before
    older("seed-5")
    with pytest.raises(Refused, match="TABLE stays as it is"):
        command.command(table=True)
    assert command.TABLE.read_text("utf-8") == before


def test_report_is_written_again_from_its_summary(finished: Path, tmp_path: Path) -> None:
    assert rewrite(finished, tmp_path / "again") == "improved"
    assert {path.name for path in (tmp_path / "again").iterdir()} == {
        "report.html", "report.pdf", "summary.json", "MODEL_CARD.md", "plan.json", "pre-trained.jsonl", "fine-tuned.jsonl",
    }  # fmt: skip
    assert "an older rule" not in (tmp_path / "again" / "report.html").read_text("utf-8")


def test_report_names_a_folder_without_figures(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"There is no .*summary.json. Name the folder of a run"):
        rewrite(tmp_path, tmp_path)
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(Refused, match=r"summary.json cannot be read .* rehearse the run again"):
        rewrite(tmp_path, tmp_path)


def test_report_for_the_repository_has_no_title_by_other_authors(finished: Path, tmp_path: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text("utf-8"))
    documents = [{**row, "title": f"A published study, {row['id']}"} for row in summary["heldout"]["documents"]]
    outside = {**summary["heldout"], "documents": documents}
    (finished / "summary.json").write_text(json.dumps({**summary, "outside": outside}))
    rewrite(finished, tmp_path / "own")
    rewrite(finished, tmp_path / "kept", for_the_repository=True)
    assert "A published study" in (tmp_path / "own" / "summary.json").read_text("utf-8")
    assert not any(b"A published study" in path.read_bytes() for path in (tmp_path / "kept").iterdir())
    assert "A published study" not in json.dumps(figures_of({"outside": outside}, {}))
