"""How a run went, as its report says: what was cut, who trained the adapter, what was saved, how sure it is."""

from __future__ import annotations

import re
from typing import Any

import pytest

from report import render
from report.content import circumstances
from report.run_facts import run_facts, spot_facts
from settle import notice

TYPES = ["ml.g5.2xlarge", "ml.g6.2xlarge"]
RESERVED: Any = {"reservedCents": 639, "capCents": 2500}
PLAN: Any = {
    "executionArn": "arn:r",
    "training": {"instanceType": TYPES[0], "instanceTypes": TYPES, "maxRuntimeSeconds": 7200},
    "hosting": {"instanceType": TYPES[0], "instanceTypes": TYPES},
    "budget": {
        "trainingHourlyUsd": "1.515", "hostingHourlyUsd": "1.515",
        "ledgerDetails": {
            "training_prices": "ml.g5.2xlarge=1.515 ml.g6.2xlarge=1.222",
            "hosting_prices": "ml.g5.2xlarge=1.515 ml.g6.2xlarge=1.23",
        },
    },
}  # fmt: skip
SPOT_PLAN: Any = {**PLAN, "training": {**PLAN["training"], "spot": True}}
EARLIER = "s3://bucket/runs/captune-first/training/captune-first-try2/output/model/"
SWAPPED = {"trainingInstanceType": TYPES[1], "hostingInstanceType": TYPES[0]}
OF_TRAINING = ("training_instance_type", "training_hourly_cents", "max_training_seconds", "spot")
JOB = {"interruptions": 2, "trainingSeconds": 4000, "billedSeconds": 1500}


@pytest.mark.parametrize(
    ("plan", "event", "expected"),
    [
        # The types that really trained and served, each with its own price.
        (PLAN, SWAPPED, {"training_instance_type": TYPES[1], "training_hourly_cents": pytest.approx(122.2)}),
        # Without an event no type is claimed where there was a choice.
        (PLAN, None, {"training_instance_type": None, "training_hourly_cents": None}),
        ({**PLAN, "adapterUri": ""}, {"adapterUri": EARLIER}, {"adapter_run": None, "max_training_seconds": 7200}),
        # A run that served an earlier adapter claims no training of its own.
        (
            {**SPOT_PLAN, "adapterUri": EARLIER},
            {**SWAPPED, "trainingJob": JOB},
            {"adapter_run": "captune-first", **dict.fromkeys(OF_TRAINING), "training_instance_types": []},
        ),
    ],
)
def test_facts_are_those_of_what_really_ran(plan: Any, event: Any, expected: dict[str, Any]) -> None:
    told = run_facts(plan, RESERVED, event)
    assert {key: told[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("changes", "count", "hourly", "saved"),
    [
        ({}, 1, 151.5, 105),  # 2,500 seconds at $1.515 an hour
        ({}, 2, 151.5, 210),
        ({"billedSeconds": 5000}, 1, 151.5, 0),
        ({"billedSeconds": 0}, 1, 151.5, None),
        ({}, 1, None, None),
    ],
)
def test_spot_savings_are_the_time_that_was_not_billed(
    changes: dict[str, int], count: int, hourly: float | None, saved: int | None
) -> None:
    assert spot_facts(JOB | changes, count, hourly)["saved_cents"] == saved


@pytest.mark.parametrize(
    ("changes", "again", "sentence"),
    [
        ({}, 14, "2 interruptions, at least 14 steps made again, $1.05 saved against on-demand"),
        ({"saved_cents": None, "interruptions": None}, None, "nothing is known of its interruptions"),
    ],
)
def test_spot_is_told_without_what_nobody_knows(
    made: dict[str, Any], changes: dict[str, Any], again: int | None, sentence: str
) -> None:
    document = made["improved"]
    assert "interruption" not in everywhere(document)[0], "of a run on demand"
    document["configuration"]["spot"] = {**spot_facts(JOB, 1, 151.5), **changes}
    document["training"]["steps_again"] = again
    assert all(sentence in text for text in everywhere(document)[:2])


def everywhere(document: Any) -> list[str]:
    """The page, the card and the e-mail, each as plain words."""
    told: Any = {**document, "reason": document["verdict_reason"], "unreserved": [], "leftAlone": []}
    e_mail = notice.message(told, [f"{title}: {text}" for title, text in circumstances.notes(document)])
    texts = [render.page(document).decode(), render.card(document), e_mail]
    return [re.sub(r"\s+", " ", re.sub(r"<[^>]+>|[>*\\]", "", text).replace("\u00a0", " ")) for text in texts]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("earlier-adapter", "the adapter of the run captune-first"),
        ("not-as-planned", "120 of 120 steps"),
        ("not-as-planned", "quantised to 4 bits"),
        ("smoke", "It shows nothing about the model"),
    ],
)
def test_page_card_and_mail_tell_what_limits_the_verdict(made: dict[str, Any], kind: str, words: str) -> None:
    for text in everywhere(made[kind]):
        assert words.lower() in text.lower()


def test_only_a_training_that_went_otherwise_than_planned_has_a_note(made: dict[str, Any]) -> None:
    assert circumstances.notes(made["improved"]) == []
    for changes, words in (
        ({"steps": 60, "planned_steps": 512, "stopped_early": "time budget"}, "60 of 512 steps: time budget."),
        ({"unmeasured": "RuntimeError: the card is gone."}, "RuntimeError: the card is gone."),
    ):
        document = made["improved"]
        document["training"] |= changes
        assert words in circumstances.notes(document)[0][1]


def test_few_documents_are_a_limit(made: dict[str, Any]) -> None:
    one = made["improved"]
    for count, few in ((0, False), (4, True), (10, False)):
        one["heldout"]["documents_count"] = count
        assert ("small effects cannot be seen" in everywhere(one)[0]) is few


@pytest.mark.parametrize(("given", "domain"), [({"seed": 7}, "medical"), ({"corpus": "corpora/mine.txt"}, None)])
def test_the_domain_is_that_of_the_text_trained_on(given: dict[str, Any], domain: str | None) -> None:
    plan: Any = {"runName": "r", "domain": "medical", "executionArn": "arn:r", "input": given}
    served: Any = {**plan, "domain": "finance", "input": {"adapterUri": "s3://b/runs/r/"}}
    for facts in (run_facts(plan, RESERVED), run_facts(served, RESERVED, trained_by=plan)):
        assert facts["domain"] == domain


def test_the_plans_estimate_stands_beside_what_was_measured(made: dict[str, Any]) -> None:
    phases = [{"name": "learn", "seconds": 131, "source": "logs"}]
    plan: Any = {"executionArn": "arn", "estimate": {"tokens": 156_186, "expectedCents": 110, "phases": phases}}
    one = made["improved"]
    one["configuration"]["expected"] = run_facts(plan, RESERVED)["expected"]
    one["cost"]["actual_cents"] = 97
    one["training"] |= {"tokens_seen": 150_000, "seconds": 140.0}
    rows = [re.findall(r">([^<]+)<", row) for row in re.findall('<tr role="row">(.*?)</tr>', render.page(one).decode())]
    for row in (
        ["Cost, all together", "$1.10", "$0.97"],
        ["Tokens learned", "156\u202f186", "150\u202f000"],
        ["Learning", "2 min 11 s", "2 min 20 s"],
    ):
        assert row in rows


@pytest.mark.parametrize(("actual", "back"), [(400, True), (600, False)])
def test_a_reservation_that_was_used_up_does_not_go_back(made: dict[str, Any], actual: int, back: bool) -> None:
    one = made["improved"]
    one["cost"] |= {"actual_cents": actual, "reserved_cents": 600}
    assert ("The rest went back." in render.page(one).decode()) == back
