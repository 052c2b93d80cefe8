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
