"""make estimate: tokens, seconds, dollars and memory before anything is asked of AWS."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.text.tokens import estimated_tokens
from operations import __main__ as command
from operations import estimate as printed
from stacks.settings import Settings


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
