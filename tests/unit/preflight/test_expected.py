"""The expectation of a run in its plan."""

from __future__ import annotations

import json

import pytest

from common.text.tokens import estimated_tokens
from tests.doubles.preflight_site import Site
from tests.doubles.texts.prompt_lines import GOOD
from tests.doubles.texts.prompt_lines import lines as json_lines


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


def test_a_deadline_that_may_come_before_all_answers_is_told_beforehand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Site(monkeypatch)
    site.data["medicalprompts.jsonl"] = json_lines(*({**GOOD, "id": f"p{n}"} for n in range(1500)))
    (told,) = site.run({"samplesPerPrompt": 2})["warnings"]
    assert json.loads(capsys.readouterr().out)["warnings"] == [told], "the log has all of the plan's"
    assert "is expected to need 74 minutes" in told
    assert "is removed after 60. Raise endpoint_deadline_minutes" in told
    site.settings["endpoint_deadline_minutes"] = 90
    assert site.run({"samplesPerPrompt": 2})["warnings"] == []


def test_a_smoke_run_is_expected_to_learn_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Site(monkeypatch).run({"smoke": True})
    assert plan["estimate"]["tokens"] == 512


def test_a_run_over_much_text_has_larger_steps_and_work_for_more_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(monkeypatch)
    words = site.run()["corpus"]["words"]
    site.settings |= {"sequence_length": 128, "training_instance_count": 2}
    site.quotas.applied |= {"L-2D6DEB3C": 9.0, "L-9614C779": 9.0}

    def learning(epochs: int) -> tuple[float, bool]:
        """Tokens a second, and whether idle cards are told of."""
        plan = site.run({"epochs": epochs})
        seconds = next(phase["seconds"] for phase in plan["estimate"]["phases"] if phase["name"] == "learn")
        return plan["estimate"]["tokens"] / seconds, any("paid for" in one for one in plan["warnings"])

    few = 1
    many = -(-2 * 512 * 128 // estimated_tokens(words))  # passes that leave 512 steps of two sequences
    assert few < many <= 50, "what a request may ask"
    (slow, idle), (fast, busy) = learning(few), learning(many)
    assert fast / slow == pytest.approx(2, rel=0.1) and (idle, busy) == (True, False)
    assert site.run({"epochs": many, "smoke": True})["estimate"]["tokens"] == 2 * 128
