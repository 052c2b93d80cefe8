"""How a run went, as its report says: what was cut, who trained the adapter, what was saved, how sure it is."""

import re
from functools import reduce
from operator import getitem
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
INVENTED = "All of it is invented."
JOB = {"interruptions": 2, "trainingSeconds": 4000, "billedSeconds": 1500}


@pytest.mark.parametrize(
    ("plan", "event", "expected"),
    [
        # The types that really trained and served, each with its own price.
        (PLAN, SWAPPED, {"training_instance_type": TYPES[1], "training_hourly_cents": pytest.approx(122.2)}),
        # Without an event no type is claimed where there was a choice.
        (PLAN, None, {"training_instance_type": None, "training_hourly_cents": None}),
        ({**PLAN, "adapterUri": ""}, {"adapterUri": EARLIER}, {"adapter_run": None, "max_training_seconds": 7200}),
        ({**PLAN, "corpus": {"note": INVENTED}}, None, {"corpus_note": INVENTED}),
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


EVERYWHERE, PAGE, CARD = ("page", "card", "mail"), ("page",), ("card",)
ON_SPOT = {"configuration.spot": spot_facts(JOB, 1, 151.5), "training.steps_again": 14}
UNKNOWN_SPOT = {"configuration.spot": {**spot_facts(JOB, 1, 151.5), "saved_cents": None, "interruptions": None}}
BILLED = {"cost.training_seconds": 1000, "cost.endpoint_seconds": 1500}
PLANNED = {**BILLED, "base_model.matches_plan": True, "configuration.training_instance_count": 2}
RECALL = "recall.knowledge.all"
ONE_PROMPT = "Prompts without an answer from both models: p7."
FEW, BACK = "small effects cannot be seen", "The difference was released."
NO_OUTSIDE = "This run had no external test set"
NO_LOSS = "An external test set was given, but no usable loss was measured"
# A kind of run, what is changed of it, which forms of the report, a sentence, and whether they say it.
SAYS: list[tuple[str, dict[str, Any], tuple[str, ...], str, bool]] = [
    ("failed", {}, PAGE, "QuotaTooLow", True),
    ("failed", {}, PAGE, "Total$0.03", True),
    ("running", {}, PAGE, "Actual cost not recorded yet$5.58 is reserved", True),
    ("hostile", {}, PAGE, "&lt;script&gt;alert(1)&lt;/script&gt;", True),
    ("improved", {}, PAGE + CARD, "interruption", False),
    ("improved", ON_SPOT, PAGE + CARD, "2 interruptions, at least 14 steps repeated, $1.05 saved against on-demand", True),
    ("improved", UNKNOWN_SPOT, PAGE + CARD, "interruptions unknown", True),
    # A limit of the verdict appears in every form of the report.
    ("earlier-adapter", {}, EVERYWHERE, "the adapter of the run captune-first", True),
    ("not-as-planned", {}, EVERYWHERE, "120 of 120 steps", True),
    ("not-as-planned", {}, EVERYWHERE, "quantised to 4 bits", True),
    ("smoke", {}, EVERYWHERE, "It shows nothing about the model", True),
    ("improved", {"training.stopped_early": "time budget", "training.steps": 60}, EVERYWHERE, "60 of 120 steps: time budget.", True),
    ("improved", {"training.unmeasured": "RuntimeError: gone."}, EVERYWHERE, "RuntimeError: gone.", True),
    *(("improved", {"heldout.documents_count": count}, PAGE, FEW, count == 4) for count in (0, 4, 10)),
    # Billed are the seconds of both instances; a proxy model names none.
    ("improved", PLANNED, CARD, "Training took 8 min 20 s on 2 ml.g5.2xlarge, the endpoint ran for 25 min on one", True),
    ("improved", BILLED, CARD, "Training took 16 min 40 s, the endpoint", True),
    ("improved", {"cost.actual_cents": 400, "cost.reserved_cents": 600}, PAGE, BACK, True),
    ("improved", {"cost.actual_cents": 600, "cost.reserved_cents": 600}, PAGE, BACK, False),
    # The external test set was measured, or given, or neither.
    ("improved", {}, PAGE + CARD, NO_OUTSIDE, True),
    ("improved", {}, PAGE + CARD, NO_LOSS, False),
    ("outside-not-measured", {}, PAGE + CARD, NO_OUTSIDE, False),
    ("outside-not-measured", {}, PAGE + CARD, NO_LOSS, True),
    ("improved-outside", {}, PAGE + CARD, NO_OUTSIDE, False),
    ("improved-outside", {}, PAGE + CARD, NO_LOSS, False),
    ("improved-outside", {}, PAGE, "40 documents by other authors", True),
    ("improved-outside", {}, CARD, "| external test set | Loss, nats per token |", True),
    ("improved", {f"{RECALL}.prompts": 38, f"{RECALL}.clusters": 30}, PAGE, "95% intervals over 30 clusters", True),
    ("improved", {f"{RECALL}.prompts": 38, f"{RECALL}.clusters": 38}, PAGE, "95% intervals clustered by prompt", True),
    ("improved", {"recall.missing_prompts": ["p7"]}, PAGE, ONE_PROMPT, True),
    ("improved", {}, PAGE + CARD, "Note in the corpus", False),
    ("improved", {"configuration.corpus_note": INVENTED}, PAGE + CARD, f"Note in the corpus: “{INVENTED}”", True),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "changes", "forms", "sentence", "said"), SAYS)
def test_the_report_says_what_bears_on_its_figures(
    made: dict[str, Any], kind: str, changes: dict[str, Any], forms: tuple[str, ...], sentence: str, said: bool
) -> None:
    document = made[kind]
    for path, value in changes.items():
        *parts, last = path.split(".")
        reduce(getitem, parts, document)[last] = value
    for form in forms:
        assert (sentence in report_as(form, document)) is said, form


def report_as(form: str, document: Any) -> str:
    if form == "mail":
        told: Any = {**document, "reason": document["verdict_reason"], "executionArn": ""}
        told |= {"unreserved": [], "leftAlone": []}
        text = notice.message(told, [f"{title}: {text}" for title, text in circumstances.notes(document)])
    else:
        text = render.page(document).decode() if form == "page" else render.card(document)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>|[>*\\]", "", text).replace("\u00a0", " "))


def test_a_run_as_planned_has_no_notes(made: dict[str, Any]) -> None:
    assert circumstances.notes(made["improved"]) == []


OWN = {"corpus": "corpora/mine.txt"}


@pytest.mark.parametrize(
    ("deployed", "given", "domain"),
    [("medical", {"seed": 7}, "medical"), ("medical", OWN, None), ("support", OWN, "support")],
)
def test_the_domain_is_that_of_the_text_trained_on(deployed: str, given: dict[str, Any], domain: str | None) -> None:
    plan: Any = {"runName": "r", "domain": deployed, "executionArn": "arn:r", "input": given}
    served: Any = {**plan, "domain": "finance", "input": {"adapterUri": "s3://b/runs/r/"}}
    for facts in (run_facts(plan, RESERVED), run_facts(served, RESERVED, trained_by=plan)):
        assert facts["domain"] == domain


def test_a_warning_of_the_run_itself_is_told_once() -> None:
    plan: Any = {"runName": "r", "executionArn": "arn:r", "input": {}, "warnings": ["Few passages."]}
    other: Any = {**plan, "warnings": ["Short text."]}
    assert run_facts(plan, RESERVED, trained_by=plan)["warnings"] == ["Few passages."]
    told = run_facts(plan, RESERVED, trained_by=other)["warnings"]
    assert told == ["Few passages.", "Of the run that trained the adapter: Short text."]


@pytest.mark.parametrize(
    ("plan", "given"),
    [
        ({"input": {}, "evaluation": {"outsideDocuments": 44}}, True),
        ({"input": {"heldOutside": "none"}, "evaluation": {"outsideDocuments": 0}}, False),
        ({"input": {"heldOutside": "corpora/others.jsonl"}}, True),
        ({"input": {}}, False),
    ],
    ids=["the deployed set", "none wanted", "an older plan with a file", "an older plan without"],
)
def test_the_plan_decides_whether_an_external_test_set_was_given(plan: Any, given: bool) -> None:
    older: Any = {"executionArn": "arn", **plan}
    assert run_facts(older, RESERVED)["outside_given"] is given


def test_the_plans_estimate_stands_beside_what_was_measured(made: dict[str, Any]) -> None:
    phases = [{"name": "learn", "seconds": 131, "source": "logs"}]
    plan: Any = {"executionArn": "arn", "estimate": {"tokens": 156_186, "expectedCents": 110, "phases": phases}}
    one = made["improved"]
    one["configuration"]["expected"] = run_facts(plan, RESERVED)["expected"]
    one["cost"]["actual_cents"] = 97
    one["training"] |= {"tokens_seen": 150_000, "seconds": 140.0}
    rows = [re.findall(r">([^<]+)<", row) for row in re.findall('<tr role="row">(.*?)</tr>', render.page(one).decode())]
    for row in (
        ["Total cost", "$1.10", "$0.97"],
        ["Training tokens", "156,186", "150,000"],
        ["Training time", "2 min 11 s", "2 min 20 s"],
    ):
        assert row in rows
