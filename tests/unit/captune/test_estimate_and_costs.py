"""`captune estimate` and `captune costs`: tokens, seconds, dollars and memory before anything is asked of AWS."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from captune import costs, estimate
from captune.__main__ import app
from captune.data import DATA
from common.errors import BudgetExceeded
from common.text.tokens import estimated_tokens
from preflight.texts import large_text, text_file
from stacks.configuration.settings import Settings


def said(*words: str) -> tuple[int, str]:
    answer = CliRunner().invoke(app, ["estimate", *words])
    return answer.exit_code, answer.output


def first_line(file: Path, *more: str) -> str:
    code, text = said("--corpus", str(file), *more)
    assert code == 0, text
    return text.splitlines()[0]


def figures(settings: Settings) -> dict[str, str]:
    lines = estimate.of(settings, []).splitlines()
    return {line[:24].strip(): line[24:34].strip() for line in lines[1:]}


def test_the_command_prints_tokens_seconds_dollars_and_memory(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one.txt", "two.txt")]
    for file in files:
        file.write_text("word " * 500, encoding="utf-8")
    code, text = said("--corpus", *map(str, files), "-c", "epochs=3")
    lines = text.splitlines()
    assert (code, lines[0]) == (0, "Llama 2 7B on ml.g5.2xlarge, 1,000 words")
    assert lines[1].split()[:2] == ["tokens", f"{3 * estimated_tokens(1000):,}"]
    named = {line[:24].strip(): line[24:34].strip() for line in lines[1:]}
    assert named["expected"].startswith("$") and named["worst case"].startswith("$")
    assert {"image", "weights", "learn", "endpoint starts", "to train", "to serve", "host"} <= set(named)


def test_the_texts_of_records_are_counted_and_not_their_marks(tmp_path: Path) -> None:
    records, table = tmp_path / "records.jsonl", tmp_path / "RECORDS.CSV"
    pairs = [(f"What is gene {number}?", "It codes for a protein.") for number in range(3)]
    records.write_text("\n".join(json.dumps({"prompt": one, "completion": two}) for one, two in pairs), "utf-8")
    table.write_text("prompt,completion\n" + "\n".join(f"{one},{two}" for one, two in pairs), "utf-8")
    assert first_line(records).endswith(", 27 words") and first_line(table).endswith(", 27 words")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("records.jsonl", b'{"prompt": "What?", "completion": ""}', "line 1"),
        ("windows.txt", "naïve\n".encode("cp1252") * 30, "windows.txt is not UTF-8"),
    ],
)
def test_a_file_that_preflight_would_refuse_is_refused(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    code, text = said("--corpus", str(tmp_path / name))
    assert code == 1 and words in text


@pytest.mark.parametrize(("name", "largest"), [("a.txt", large_text.LARGEST_BYTES), ("a.csv", text_file.MAXIMUM_BYTES)])
def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path, name: str, largest: int) -> None:
    file = tmp_path / name
    with file.open("wb") as written:
        written.truncate(largest + 1)  # of which nothing is on the disk
    code, text = said("--corpus", str(file))
    assert code == 1 and f"{name} has" in text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("epochs=1", ", 1,048,576 words"),
        ("epochs=50", " 838,860 of 1,048,576 words: a run of this length"),
        ("corpus_words=200", " 200 of 1,048,576 words: corpus_words"),
    ],
)
def test_a_large_text_counts_as_much_as_a_run_learns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, words: str
) -> None:
    file = tmp_path / "large.txt"
    file.write_text("word " * 2**20, "utf-8")  # 5 MiB
    assert words in first_line(file, "-c", given)
    monkeypatch.setattr(estimate, "MOST_LEARNT_BYTES", 1)
    assert "the most that is checked" in first_line(file, "-c", "epochs=50")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["-c", "base_model=llama-9"], "llama-9"),
        (["-c", "odd"], "KEY=VALUE"),
        (["--corpus", "no-such-file.txt"], "no-such-file.txt"),
        (["-c", "budget_usd=3"], "Set budget_usd in cdk.json to at least 4"),
    ],
)
def test_a_wrong_setting_or_file_ends_with_its_reason(words: list[str], reason: str) -> None:
    code, text = said(*words)
    assert code == 1 and reason in text


def test_a_run_that_the_cap_shortens_says_to_what() -> None:
    texts = {usd: estimate.of(Settings(budget_usd=usd), []) for usd in (6, 25)}
    assert "shortened to 1 h 22 min of training, 1 h 0 min of endpoint" in texts[6]
    assert "shortened" not in texts[25]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"training_instance_type": "ml.g6e.2xlarge"}, "no speed is known for L40S"),
        ({"training_instance_type": "ml.p5.48xlarge"}, "No price is known for ml.p5.48xlarge"),
        ({"base_model": "llama-2-13b", "weights_uri": "s3://mine/models/one/"}, "does not fit the 20.5 GB"),
        ({"weights_uri": "s3://mine/models/one/"}, "what lies at s3://mine/models/one/ is read by Preflight"),
    ],
)
def test_what_is_not_known_or_does_not_fit_is_printed(given: dict[str, str], words: str) -> None:
    assert words in estimate.of(Settings.from_context(given), [])


def test_several_instances_learn_faster_and_cost_more_at_worst() -> None:
    one, two, four = (figures(Settings(training_instance_count=instances)) for instances in (1, 2, 4))
    seconds = [int(each["learn"].removesuffix(" s").replace(",", "")) for each in (one, two, four)]
    # The corpus leaves a step two sequences: two cards learn twice as fast, and two more have nothing to do.
    assert abs(seconds[0] - 2 * seconds[1]) <= 2 and seconds[2] == seconds[1]
    dollars = [float(each["worst case"].removeprefix("$")) for each in (one, four)]
    assert dollars[1] > 2 * dollars[0]


def test_the_table_in_the_results_is_what_the_code_reserves() -> None:
    printed = costs.table()
    assert (DATA.parent / "results" / "costs.md").read_text("utf-8").strip() == printed
    rows = [line for line in printed.splitlines() if "$" in line and line.startswith("| ")]
    assert [row.split("|")[2].split()[0] for row in rows] == ["about", "$6.39", "$7.68", "$2.66", "$3.04", "$0.95"]


def test_the_worst_case_follows_the_settings_that_move_it() -> None:
    def worst(**given: int) -> int:
        return costs.allowance_of(Settings(**given)).worst.cents  # type: ignore[arg-type]

    # 2 h 22 min at $1.515 an hour, for two instances more; a cent of rounding.
    assert abs(worst(training_instance_count=3) - worst() - 2 * 8520 * 151.5 / 3600) <= 1
    assert worst(spot=True) == 768
    assert worst(checkpoint_minutes=60) < worst() < worst(checkpoint_minutes=1)
    with pytest.raises(BudgetExceeded, match="Set budget_usd in cdk.json to at least"):
        worst(budget_usd=3)
