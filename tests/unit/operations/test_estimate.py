"""make estimate: tokens, seconds, dollars and memory before anything is asked of AWS."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.text.tokens import estimated_tokens
from operations import __main__ as command
from operations import estimate as printed
from preflight import learnable
from preflight.texts import large_text, text_file
from stacks.configuration.settings import Settings


def test_the_command_prints_tokens_seconds_dollars_and_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / name for name in ("one.txt", "two.txt")]
    for file in files:
        file.write_text("word " * 500, encoding="utf-8")
    assert command.main(["estimate", "--corpus", *map(str, files), "-c", "epochs=3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Llama 2 7B on ml.g5.2xlarge, 1,000 words"
    assert lines[1].split()[:2] == ["tokens", f"{3 * estimated_tokens(1000):,}"]
    named = {line[:24].strip(): line[24:34].strip() for line in lines[1:]}
    assert named["expected"].startswith("$") and named["worst case"].startswith("$")
    assert {"image", "weights", "learn", "endpoint starts", "to train", "to serve", "host"} <= set(named)


def test_of_records_the_texts_are_counted_and_not_the_files_own_marks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records, table = tmp_path / "records.jsonl", tmp_path / "RECORDS.CSV"
    pairs = [(f"What is gene {number}?", "It codes for a protein.") for number in range(3)]
    records.write_text("\n".join(json.dumps({"prompt": one, "completion": two}) for one, two in pairs), "utf-8")
    table.write_text("prompt,completion\n" + "\n".join(f"{one},{two}" for one, two in pairs), "utf-8")
    for file in (records, table):
        assert command.main(["estimate", "--corpus", str(file)]) == 0
        assert capsys.readouterr().out.splitlines()[0].endswith(", 27 words")


def test_records_that_preflight_would_refuse_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "records.jsonl"
    file.write_text('{"prompt": "What?", "completion": ""}', "utf-8")
    assert command.main(["estimate", "--corpus", str(file)]) == 1
    assert "line 1" in capsys.readouterr().err


def test_a_text_in_another_code_is_refused_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "windows.txt"
    file.write_bytes("naïve\n".encode("cp1252") * 30)
    assert command.main(["estimate", "--corpus", str(file)]) == 1
    assert f"{file} is not UTF-8" in (said := capsys.readouterr().err) and "Save it as UTF-8." in said


def first_line(capsys: pytest.CaptureFixture[str], file: Path, *more: str) -> str:
    """What is said of a run that learns from a file."""
    assert command.main(["estimate", "--corpus", str(file), *more]) == 0
    return capsys.readouterr().out.splitlines()[0]


@pytest.mark.parametrize(
    ("most", "most_of_any", "said"),
    [
        (1250, 5000, "250 of 1,000 words: a run of this length learns no more (max_training_seconds, epochs)"),
        (1250, 1250, "250 of 1,000 words: the most that is checked and learnt of any"),
        (5000, 5000, "1,000 words"),
    ],
)
def test_of_a_large_text_as_much_is_counted_as_preflight_lets_a_run_learn(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    most_of_any: int,
    said: str,
) -> None:
    monkeypatch.setattr(learnable, "most_bytes", lambda settings, request, model: most)
    monkeypatch.setattr(printed, "MOST_LEARNT_BYTES", most_of_any)
    file = tmp_path / "large.txt"
    file.write_text("word " * 1000, "utf-8")
    assert first_line(capsys, file) == f"Llama 2 7B on ml.g5.2xlarge, {said}"
    asked = first_line(capsys, file, "-c", "corpus_words=200")
    assert asked.endswith("200 of 1,000 words: corpus_words asks for no more")


def test_the_most_of_a_large_text_is_what_preflight_reckons_from_the_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "large.txt"
    file.write_text("word " * 2**20, "utf-8")  # 5 MiB, of which 4 are learnt whatever the settings are
    assert first_line(capsys, file).endswith(" 1,048,576 words")
    assert " 838,860 of 1,048,576 words: " in first_line(capsys, file, "-c", "epochs=50")


@pytest.mark.parametrize(("name", "largest"), [("a.txt", large_text.LARGEST_BYTES), ("a.csv", text_file.MAXIMUM_BYTES)])
def test_a_file_that_preflight_would_not_read_is_refused_by_its_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, largest: int
) -> None:
    file = tmp_path / name
    with file.open("wb") as written:
        written.truncate(largest + 1)  # of which nothing is on the disk
    assert command.main(["estimate", "--corpus", str(file)]) == 1
    assert f"{name} has" in (said := capsys.readouterr().err) and "Take a part of it" in said


def test_a_cap_that_pays_for_no_run_is_a_refusal_with_its_way_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["estimate", "-c", "budget_usd=3"]) == 1
    assert "Set budget_usd in cdk.json to at least 4" in capsys.readouterr().err


def test_a_run_that_the_cap_shortens_is_said_to_be_shortened_and_to_what() -> None:
    worst = [
        next(line for line in printed.of(Settings(budget_usd=usd), []).splitlines() if line.startswith("worst case"))
        for usd in (6, 25)
    ]
    assert "shortened to 1 h 22 min of training, 1 h 0 min of endpoint" in worst[0]
    assert "shortened" not in worst[1]


def test_what_is_not_known_is_printed_as_not_known() -> None:
    text = printed.of(Settings.from_context({"training_instance_type": "ml.g6e.2xlarge"}), [])
    assert "no speed is known for L40S" in text
    assert [line.split()[1:3] for line in text.splitlines() if line.startswith("expected")] == [["not", "known"]]
    text = printed.of(Settings.from_context({"training_instance_type": "ml.p5.48xlarge"}), [])
    assert "No price is known for ml.p5.48xlarge" in text


def test_what_does_not_fit_and_weights_of_ones_own_are_told() -> None:
    text = printed.of(Settings.from_context({"base_model": "llama-2-13b", "weights_uri": "s3://mine/models/one/"}), [])
    assert "does not fit the 20.5 GB that the server may use of the A10G" in text
    assert "These are the figures of base_model; what lies at s3://mine/models/one/ is read by Preflight." in text


@pytest.mark.parametrize("arguments", [["-c", "base_model=llama-9"], ["-c", "odd"], ["--corpus", "no-such-file.txt"]])
def test_a_wrong_setting_or_file_ends_with_its_reason(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["estimate", *arguments]) == 1
    assert capsys.readouterr().err


def test_several_instances_learn_in_a_share_of_the_time_and_cost_more_at_worst() -> None:
    def told(instances: int) -> dict[str, str]:
        lines = printed.of(Settings(training_instance_count=instances), []).splitlines()
        return {line[:24].strip(): line[24:34].strip() for line in lines[1:]}

    one, two, four = told(1), told(2), told(4)
    seconds = [int(each["learn"].removesuffix(" s").replace(",", "")) for each in (one, two, four)]
    # The corpus leaves a step two sequences: two cards learn twice as fast, and two more have nothing to do.
    assert abs(seconds[0] - 2 * seconds[1]) <= 2 and seconds[2] == seconds[1]
    dollars = [float(each["worst case"].removeprefix("$")) for each in (one, four)]
    assert dollars[1] > 2 * dollars[0]
