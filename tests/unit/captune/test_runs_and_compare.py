"""`captune runs` and `captune compare`: which runs are found, and that every figure between them is the report's own."""

import copy
import json
import random
import re
from pathlib import Path
from typing import Any, cast

import pytest
from botocore.exceptions import NoCredentialsError

from captune import account, runs
from captune.account import Refused
from captune.compare import DifferentTexts, compare, page
from captune.kept_run import kept
from captune.runs import FETCHED, REHEARSED, Run, find
from common.names import REHEARSED_ACCOUNT
from report.findings.recall import clustered_mean
from report.findings.statistics import compare_losses
from tests.doubles.aws_account import deployed, said
from tests.doubles.run_bucket import RUN, RunBucket, files_of_run, kept_here

EXAMPLE = Path(__file__).resolve().parents[3] / "results" / "example"
SUMMARY = json.loads((EXAMPLE / "summary.json").read_bytes())
PLAN = json.loads((EXAMPLE / "plan.json").read_bytes())
FOURTH_DOCUMENT = SUMMARY["heldout"]["documents"][3]["id"]


def seeded(seed: int, **changes: Any) -> Run:
    """The example as another seed would have trained it: other losses and answers, on the same texts."""
    rng, summary = random.Random(seed), copy.deepcopy(SUMMARY) | {"resamples": 200}
    for text in ("heldout", "outside", "control"):
        del summary[text]["documents"][20:]
        for document in summary[text]["documents"]:
            document["tuned_loss"] += rng.gauss(0.01 * seed, 0.02)
    for row in summary["prompts"]:
        if row["facts"] and rng.random() < 0.1:
            row["tuned"]["recall"] = 1 - row["tuned"]["recall"]
    summary["configuration"]["settings"] |= {"seed": seed, "time_budget_seconds": 6_000 + seed, **changes}
    plan = PLAN | {"runName": f"captune-{seed}", "startedAt": f"2026-11-{seed:02d}T05:38:06+00:00"}
    return Run(f"captune-{seed}", REHEARSED, plan, lambda: json.dumps(summary).encode())


def difference(first: Run, other: Run, text: str) -> Any:
    """What the report's function says of two runs' losses on a text, one beside the other."""
    sides = zip(first.summary[text]["documents"], other.summary[text]["documents"], strict=True)
    pairs = [
        {"tokens": one["tokens"], "base_nll": one["tuned_loss"] * one["tokens"], "tuned_nll": two["tuned_loss"] * one["tokens"]}
        for one, two in sides
    ]  # fmt: skip
    return compare_losses({"documents": pairs}, seed=SUMMARY["analysis_seed"], resamples=200)


def written(folder: Path, *found: Run) -> Path:
    for run in found:
        (folder / run.name).mkdir()
        (folder / run.name / "plan.json").write_text(json.dumps(run.plan))
        (folder / run.name / "summary.json").write_bytes(run.read() or b"")
    return folder


def in_an_account(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    session = deployed()
    session.services["s3"] = RunBucket({name: files_of_run(name) for name in names})
    monkeypatch.setattr(account, "session", lambda region: session)


def test_figures_of_seeds_one_two_and_three_equal_the_reports_own() -> None:
    three = [seeded(1), seeded(2), seeded(3)]
    found = compare(three)
    for pair, other in zip(found["pairs"], three[1:], strict=True):
        for text in ("heldout", "outside", "control"):
            expected = difference(three[0], other, text)
            for figure in ("difference", "p_value"):
                assert pair[text][figure] == pytest.approx(expected[figure])
    (spread,) = found["seeds"]
    changes = [one["heldout"]["difference"]["estimate"] for one in found["runs"]]
    assert (spread["seeds"], spread["letters"]) == ([1, 2, 3], ["A", "B", "C"])
    assert (spread["heldout"]["lowest"], spread["heldout"]["highest"]) == (min(changes), max(changes))
    assert spread["heldout"]["mean"]["difference"]["estimate"] == pytest.approx(sum(changes) / 3)


def test_a_run_against_its_base_is_what_its_own_report_says() -> None:
    short = {key: value for key, value in SUMMARY.items() if key not in ("outside", "prompts")} | {"resamples": 200}
    first = Run("other", REHEARSED, PLAN | {"runName": "other"}, json.dumps(short).encode)
    found = compare([first, Run("as reported", REHEARSED, PLAN, json.dumps(SUMMARY).encode)])["runs"][1]
    for text in ("heldout", "control"):
        assert found[text]["difference"] == pytest.approx(SUMMARY[text]["difference"])
        assert found[text]["p_value"] == SUMMARY[text]["p_value"]


def test_key_facts_are_paired_on_the_prompts_that_both_were_asked_alike() -> None:
    first, other = seeded(1), seeded(2)
    rows = [row for row in other.summary["prompts"] if row["facts"] and row["kind"] != "control"]
    rows[0]["prompt"] += " else"
    rows[1]["tuned"]["samples"].append({})
    before = {row["id"]: row["tuned"]["recall"] for row in first.summary["prompts"] if row["tuned"]}
    changes = [row["tuned"]["recall"] - before[row["id"]] for row in rows[2:]]
    clusters = [row["cluster"] for row in rows[2:]]
    expected = clustered_mean(changes, clusters, seed=SUMMARY["analysis_seed"], resamples=200)
    facts = compare([first, other])["pairs"][0]["facts"]
    assert any(changes) and facts["difference"] == pytest.approx(expected["mean"])
    assert (facts["p_value"], facts["prompts"]) == (expected["p_value"], len(changes))


def test_only_documents_that_all_measured_count() -> None:
    short = seeded(2)
    del short.summary["heldout"]["documents"][12:]
    found = compare([seeded(1), short])
    assert [one["heldout"]["documents_count"] for one in (*found["runs"], *found["pairs"])] == [12, 12, 12]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda summary: summary["heldout"]["documents"][3].update(tokens=9), DifferentTexts, f"{FOURTH_DOCUMENT} has"),
        (lambda summary: summary["heldout"]["documents"][3].update(base_loss=2.0), DifferentTexts, "base loss of 2.000"),
        (lambda summary: [one.update(id="x") for one in summary["heldout"]["documents"]], DifferentTexts, "captune-1, captune-2"),
        (lambda summary: summary["base_model"].update(name="Llama 2 7B"), Refused, "captune-2 on Llama 2 7B"),
        (lambda summary: summary["base_model"].update(quantization="nf4"), Refused, "Instruct (nf4)"),
        (lambda summary: summary.update(heldout=None), Refused, "captune-2 measured no held-out loss"),
    ],
    ids=["tokens", "base loss", "other ids", "model", "precision", "no losses"],
)  # fmt: skip
def test_runs_that_cannot_be_compared_are_rejected_by_name(change: Any, error: type[Exception], words: str) -> None:
    other = seeded(2)
    change(other.summary)
    with pytest.raises(error, match=re.escape(words)):
        compare([seeded(1), other])


def test_another_external_test_set_is_left_out_and_named() -> None:
    other = seeded(2)
    other.summary["outside"]["documents"][0]["tokens"] += 1
    found = compare([seeded(1), other])
    assert "captune-1 and captune-2 were measured on different texts" in found["not_compared"]["outside"]
    assert "outside" not in found["pairs"][0] and found["pairs"][0]["heldout"]


def test_another_setting_is_no_spread_between_seeds() -> None:
    three = [seeded(1), seeded(2), seeded(3, epochs=2)]
    assert [group["letters"] for group in compare(three)["seeds"]] == [["A", "B"]]
    words = page(three, compare(three)).decode()
    assert all(part in words for part in ("C: seed 3, epochs 2", "AB: mean of seeds", "2026-11-03"))


@pytest.mark.parametrize(("domain", "medical"), [("medical", True), ("support", False), (None, False)])
def test_the_page_is_medical_where_a_run_is(domain: str | None, medical: bool) -> None:
    both = seeded(1), seeded(2)
    for run in both:
        cast(dict[str, Any], run.summary)["domain"] = domain
    assert ("medical device" in page(both, compare(both)).decode()) == medical


def test_a_page_has_one_chart_and_asks_for_nothing(tmp_path: Path) -> None:
    results, file = written(tmp_path, seeded(1), seeded(2, hostile="<script>")), tmp_path / "page.html"
    compared = ["compare", "captune-1", "--results", results]
    code, text = said(*compared, "captune-2", "--out", file)
    html = file.read_text("utf-8")
    assert code == 0 and "B\u00a0\u2212\u00a0A" in text and "<script>" not in html and "&lt;script&gt;" in html
    assert html.count("<figure>") == 1 and "Content-Security-Policy" in html
    assert not re.search(r"https?://(?!www.w3)", html)
    code, text = said(*compared, results / "captune-2", "--json")
    assert code == 0 and [one["name"] for one in json.loads(text)["runs"]] == ["captune-1", "captune-2"]
    code, text = said(*compared, "captune-1")
    assert code == 1 and "each once" in text


def test_runs_here_and_of_the_account_are_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_an_account(monkeypatch, "captune-one", "captune-2")
    cut = Run("cut", FETCHED, PLAN | {"runName": "cut", "startedAt": "2026-10"}, lambda: b"{")
    written(tmp_path, seeded(1), seeded(2, epochs=3), cut)
    code, text = said("runs", "--results", tmp_path, "--json", "--region", "us-east-1")
    listed = json.loads(text[: text.rindex("]") + 1])
    assert [(one["name"], one["where"]) for one in listed] == [
        ("captune-2", "rehearsed"), ("captune-1", "rehearsed"), ("captune-one", "account")
    ]  # fmt: skip
    assert code == 0 and "The summary of the run cut cannot be read" in text and listed[2]["verdict"] == "no report yet"
    code, text = said("runs", "--results", tmp_path, "--last", "2", "--here")
    assert runs.verdict(Run("again", runs.ACCOUNT, {"serveOnly": True}, lambda: None)) == "served only"
    assert "captune-one" not in text and "1 older run not shown" in text and "≤" not in text


def test_runs_says_so_where_no_account_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "session", lambda region: deployed(stacks=()))
    code, text = said("runs", "--results", written(tmp_path, seeded(1)))
    assert code == 0 and text.splitlines()[1].startswith("1 ") and "the account did not answer" in text
    with pytest.raises(Refused, match="captune-1"):
        find(["captune-7"], tmp_path, None)


def test_a_run_that_is_not_here_is_found_in_the_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_an_account(monkeypatch, "captune-one")
    assert [(run.name, run.where) for run in find(["one"], tmp_path, None)] == [("captune-one", runs.ACCOUNT)]
    with pytest.raises(Refused, match=r"no run captune-two .* nor in the bucket bucket. There are: captune-one"):
        find(["captune-two"], tmp_path, None)


def rejected(folder: Path) -> None:
    arn = f"arn:aws:states:us-east-1:{REHEARSED_ACCOUNT}:execution:m:rejected"
    summary = {"run": "captune-rejected", "status": "FAILED", "error": "DatasetRejected", "execution_arn": arn}
    folder.mkdir()
    (folder / "summary.json").write_text(json.dumps(summary | {"cause": "mine.txt repeats itself."}))


def test_a_rejected_run_is_listed_with_its_error(tmp_path: Path) -> None:
    rejected(tmp_path / "captune-rejected")
    (listed,) = json.loads(said("runs", "--here", "--json", "--results", tmp_path)[1])
    assert (listed["run"], listed["where"]) == ("captune-rejected", REHEARSED)
    assert listed["verdict"] == "DatasetRejected"
    assert "rejected rehearsed" in said("runs", "--here", "--results", tmp_path)[1]
    for words in (("use", "rejected"), ("export", "rejected", "--to", "peft"), ("compare", "rejected", "rejected"), ("fetch", "rejected")):  # fmt: skip
        code, text = said(*words, "--results", tmp_path)
        assert code == 1 and "DatasetRejected: mine.txt repeats itself." in text and "credentials" not in text


def test_latest_and_the_beginning_of_a_name_name_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The folder's name may be of the person's own choice.
    written(tmp_path, seeded(3), seeded(21), seeded(22))
    (tmp_path / "captune-3").rename(tmp_path / "mine")
    rejected(tmp_path / "refused")

    def found(named: str, **more: bool) -> str:
        run = kept(named, tmp_path, **more)
        return run.folder.name if run else ""

    assert found("latest") == "captune-22" and capsys.readouterr().err == "latest: captune-22\n"
    names = {"21": "captune-21", "captune-21": "captune-21", "mi": "mine", "mine": "mine", "nobody": ""}
    assert {one: found(one) for one in names} == names
    assert found("captune-21", whole_name=True) == "captune-21" and not found("mi", whole_name=True)
    with pytest.raises(Refused, match="captune-21, captune-22"):
        found("2")
    with pytest.raises(Refused, match="was rejected and has left no model"):
        found("refused")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["use", "latest"], "There is no run in {results} yet. Make one: make rehearse"),
        (["export", "latest", "--to", "peft"], "There is no run in {results} yet. Make one: make rehearse"),
        (["export", "example", "--to", "peft"], "is the example report that comes with Captune, without its adapter. Make a run"),
        (["use", "example"], "is the example report that comes with Captune, without its adapter. Make a run"),
    ],
)  # fmt: skip
def test_the_example_that_comes_with_captune_is_no_run_of_yours(tmp_path: Path, words: list[str], told: str) -> None:
    (tmp_path / "example").mkdir()
    (tmp_path / "example" / "plan.json").write_text(json.dumps(PLAN))
    code, text = said(*words, "--results", tmp_path)
    assert code == 1 and told.format(results=tmp_path) in text


@pytest.mark.parametrize("name", ["adapter_config.json", "metrics.json"])
def test_a_damaged_file_of_an_adapter_is_named(tmp_path: Path, name: str) -> None:
    adapter = kept_here(tmp_path, {"name": "Llama"}, executionArn=f"x:{REHEARSED_ACCOUNT}:y") / "adapter"
    (adapter / name).write_text("{")
    for words in (["use", RUN], ["export", RUN, "--to", "peft"]):
        code, text = said(*words, "--results", tmp_path)
        assert code == 1 and f"{adapter / name} is damaged" in text and "Fetch or rehearse the run again." in text


@pytest.mark.parametrize("words", [["use", "nosuchrun"], ["fetch", "nosuchrun"], ["compare", "nosuchrun", "other"]])
def test_a_run_that_is_not_here_is_named_without_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    def signed_out(region: str | None) -> None:
        raise NoCredentialsError

    monkeypatch.setattr(account, "session", signed_out)
    code, text = said(*words, "--results", written(tmp_path, seeded(1)))
    assert code == 1 and f"There is no run nosuchrun in {tmp_path}, and your account did not answer" in text
    assert "There are: captune-1." in text


def test_each_run_is_one_line_of_eighty_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = Run("captune-rehearsal-20261202-142215-2747", REHEARSED, PLAN, lambda: None), seeded(2)
    other.summary["configuration"]["settings"]["lora_alpha"] = None
    monkeypatch.setattr(runs, "_WIDTH", 80)
    runs._show_rows([one, other])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["rehearsal-20261202-142215-2747", REHEARSED], ["2", REHEARSED]]
    assert max(map(len, lines)) <= 80
    assert runs.setting_words({"seed": None, "steps": None, "epochs": 2}) == "epochs 2"


@pytest.mark.parametrize("width", [60, 80, 170, 400])
def test_a_runs_name_can_be_copied_at_any_width(
    tmp_path: Path, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "captune-rehearsal-20261201-050032-1526-of-a-name-that-is-long"
    monkeypatch.setenv("COLUMNS", str(width))
    head = ("Run", *(f"Column {number}" for number in range(6)))
    runs.show("Runs", head, [(name, *["a word or two more"] * 5, "$1.46"), ("short", *["–"] * 5, "$1.47")])
    lines = capsys.readouterr().out.splitlines()
    assert any(name in line for line in lines) and any("$1.46" in line for line in lines)
