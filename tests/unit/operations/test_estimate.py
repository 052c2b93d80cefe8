"""What a run is expected to take: each figure with its source, and nothing guessed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from common import estimate
from common.architecture import Shape
from common.cards import CARDS
from common.text.tokens import estimated_tokens
from operations import __main__ as command
from operations import estimate as printed
from stacks.catalog import BASE_MODELS
from stacks.settings import Settings
from tests.doubles.preflight_site import Site

SEVEN = Shape(**dataclasses.asdict(BASE_MODELS["llama-2-7b"].shape))
ONE = Shape(**dataclasses.asdict(BASE_MODELS["llama-3.2-1b"].shape))


def seconds(found: estimate.Estimate) -> dict[str, int | None]:
    return {phase.name: phase.seconds for phase in (*found.training, *found.endpoint)}


def test_a_usual_run_is_the_sum_of_what_was_logged() -> None:
    found = estimate.of_run(SEVEN, CARDS["g5"], tokens=119_000, answers=690)
    assert seconds(found) == {
        "image": 450, "weights": 180, "load, measure, save": 240, "learn": 100, "endpoint starts": 570, "answers, report, removal": 600,
    }  # fmt: skip
    assert (found.training_seconds, found.endpoint_seconds) == (970, 1170)
    assert all(phase.source for phase in (*found.training, *found.endpoint))


def test_another_size_is_reckoned_in_proportion_and_says_so() -> None:
    found = {phase.name: phase for phase in estimate.of_run(ONE, CARDS["g5"], tokens=119_000, answers=1).training}
    assert (found["learn"].seconds, found["weights"].seconds) == (18, 33)
    assert found["learn"].source.endswith("in proportion to the parameters")


@pytest.mark.parametrize("card", [CARDS["g6e"], None])
def test_a_card_of_unknown_speed_leaves_time_and_cost_unknown(card: Any) -> None:
    found = estimate.of_run(SEVEN, card, tokens=1000, answers=690)
    assert seconds(found)["learn"] is None and found.training_seconds is None
    assert "no speed is known" in {phase.name: phase.source for phase in found.training}["learn"]
    assert found.endpoint_seconds == 1170


def test_more_answers_take_longer_in_proportion() -> None:
    assert seconds(estimate.of_run(SEVEN, None, tokens=0, answers=1380))["answers, report, removal"] == 1200


def test_a_run_that_trains_nothing_has_no_training() -> None:
    found = estimate.of_run(SEVEN, CARDS["g5"], tokens=1000, answers=690, trains=False)
    assert (found.tokens, found.training, found.training_seconds) == (0, (), 0)


def test_the_plan_holds_the_estimate_beside_the_worst_case(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Site(monkeypatch).run({"epochs": 2})
    expected = plan["estimate"]
    assert expected["tokens"] == 2 * estimated_tokens(plan["corpus"]["words"])
    assert 0 < expected["expectedCents"] < plan["budget"]["worstCaseCents"]
    assert expected["trainingSeconds"] == sum(phase["seconds"] for phase in expected["phases"][:4])
    memory = expected["memory"]
    assert (memory["trainingCard"], memory["hostingCard"], memory["quantised"]) == ("A10G", "A10G", False)
    assert memory["trainingBytes"] < memory["trainingFreeBytes"]
    assert memory["hostingBytes"] < memory["hostingUsableBytes"]
    json.dumps(plan)


def test_a_smoke_run_is_expected_to_learn_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Site(monkeypatch).run({"smoke": True})
    assert plan["estimate"]["tokens"] == 512


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
