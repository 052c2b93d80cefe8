"""`captune estimate` and `captune costs`: tokens, seconds, dollars and memory before anything is asked of AWS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from captune import costs, estimate
from captune.__main__ import app
from captune.data import DATA
from common.text import estimated_tokens
from preflight.texts import text_file
from stacks.configuration.settings import Settings


def said(*words: str) -> tuple[int, str]:
    answer = CliRunner().invoke(app, ["estimate", *words])
    return answer.exit_code, answer.output


def first_line(file: Path, *more: str) -> str:
    code, text = said("--corpus", str(file), *more)
    assert code == 0, text
    return text.splitlines()[0]


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
    ("name", "content", "size", "words"),
    [
        ("records.jsonl", b'{"prompt": "What?", "completion": ""}', 0, "line 1"),
        ("windows.txt", "naïve\n".encode("cp1252") * 30, 0, "windows.txt is not UTF-8"),
        ("a.txt", b"", text_file.MOST_CORPUS_BYTES + 1, "captune sample FILE --megabytes 32"),
    ],
)
def test_a_file_that_preflight_would_refuse_is_refused(
    tmp_path: Path, name: str, content: bytes, size: int, words: str
) -> None:
    with (tmp_path / name).open("wb") as file:
        file.write(content)
        file.truncate(size or len(content))  # of which nothing is on the disk
    code, text = said("--corpus", str(tmp_path / name))
    assert code == 1 and words in text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("epochs=1", ", 1,048,576 words"),
        ("epochs=50", " 838,860 of 1,048,576 words: a run of this length"),
        ("corpus_words=200", " 200 of 1,048,576 words: corpus_words"),
    ],
)
def test_a_large_text_counts_as_much_as_a_run_learns(tmp_path: Path, given: str, words: str) -> None:
    file = tmp_path / "large.txt"
    file.write_text("word " * 2**20, "utf-8")  # 5 MiB
    assert words in first_line(file, "-c", given)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("base_model=llama-9", "llama-9"),
        ("odd", "KEY=VALUE"),
        ("budget_usd=3", "Set budget_usd in cdk.json to at least 4"),
    ],
)
def test_a_wrong_setting_ends_with_its_reason(words: str, reason: str) -> None:
    code, text = said("-c", words)
    assert code == 1 and reason in text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"budget_usd": 6}, "shortened to 1 h 16 min of training, 1 h 0 min of endpoint"),
        ({"training_instance_type": "ml.g6e.2xlarge"}, "no speed is known for L40S"),
        ({"training_instance_type": "ml.p5.48xlarge"}, "No price is known for ml.p5.48xlarge"),
        ({"base_model": "llama-2-13b", "weights_uri": "s3://mine/one/"}, "does not fit the 20.5 GB"),
        ({"weights_uri": "s3://mine/one/"}, "what lies at s3://mine/one/ is read by Preflight"),
    ],
)
def test_what_is_shortened_not_known_or_does_not_fit_is_printed(given: dict[str, Any], words: str) -> None:
    assert words in estimate.of(Settings.from_context(given), []) and words not in estimate.of(Settings(), [])


def test_the_table_in_the_results_is_what_the_code_reserves() -> None:
    printed = costs.table()
    assert (DATA.parent / "results" / "costs.md").read_text("utf-8").strip() == printed
    rows = [line for line in printed.splitlines() if "$" in line and line.startswith("| ")]
    assert [row.split("|")[2].split()[0] for row in rows] == ["about", "$6.55", "$7.84", "$2.82", "$3.17", "$1.00"]


def test_the_worst_case_follows_the_settings_that_move_it() -> None:
    def worst(**given: int) -> int:
        return costs.allowance_of(Settings(**given)).worst.cents  # type: ignore[arg-type]

    # 2 h 22 min at $1.515 an hour, for two instances more; a cent of rounding.
    assert abs(worst(training_instance_count=3) - worst() - 2 * 8520 * 151.5 / 3600) <= 1
    assert worst(spot=True) == 784
    assert worst(checkpoint_minutes=60) < worst() < worst(checkpoint_minutes=1)
