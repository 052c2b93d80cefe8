"""How a run went, as its report tells it: cut, smoke, another run's adapter, another instance, another precision."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest

from verification.experiments.reports.examples import KINDS, seeds_that_disagree, several_seeds
from report.content import circumstances
from report.content.headline import headline
from report.html import page
from report.model_card import card
from report.summary_types import Summary
from settle import notice

TYPES = ["ml.g5.2xlarge", "ml.g6.2xlarge"]
PLAN: Any = {
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
OLD_PLAN: Any = {
    "training": {"instanceType": TYPES[0], "maxRuntimeSeconds": 7200}, "hosting": {"instanceType": TYPES[0]},
    "budget": {"trainingHourlyUsd": "1.515", "hostingHourlyUsd": "1.409"},
}  # fmt: skip


@cache
def made(name: str) -> Any:
    """An invented run."""
    return KINDS[name]()


def facts(plan: Any, event: Any = None) -> dict[str, Any]:
    """What is told of a plan and an event, of which a part is enough."""
    return circumstances.facts(plan, event)


def with_configuration(told: dict[str, Any]) -> Any:
    """No more of a summary than this."""
    return {"configuration": told}


def everywhere(document: Summary) -> list[str]:
    """The page, the card and the e-mail, each as plain words."""
    told: Any = {**document, "reason": document["verdict_reason"], "unreserved": []}
    e_mail = notice.message(told, [f"{title}: {text}" for title, text in circumstances.notes(document)])
    texts = [page.render(document), card.render(document), e_mail]
    return [re.sub(r"\s+", " ", re.sub(r"<[^>]+>|[>*\\]", "", text).replace("\u00a0", " ")) for text in texts]


def test_the_types_that_really_trained_and_served_are_told_with_their_own_prices() -> None:
    told = facts(PLAN, {"trainingInstanceType": TYPES[1], "hostingInstanceType": TYPES[0]})
    assert (told["training_instance_type"], told["training_hourly_cents"]) == (TYPES[1], pytest.approx(122.2))
    assert (told["hosting_instance_type"], told["hosting_hourly_cents"]) == (TYPES[0], pytest.approx(151.5))


def test_several_instances_that_trained_together_are_told_by_their_number() -> None:
    plan = {**PLAN, "training": {**PLAN["training"], "instanceCount": 2}}
    told = facts(plan, {"trainingInstanceType": TYPES[1], "hostingInstanceType": TYPES[0]})
    document = with_configuration(told)
    assert told["training_instance_count"] == 2
    assert circumstances.instance(document, "training") == "2 ml.g6.2xlarge (no ml.g5.2xlarge was free)"
    assert circumstances.instance(document, "hosting") == "ml.g5.2xlarge"
    assert circumstances.instance(with_configuration(facts(plan)), "training") == "2 ml.g5.2xlarge or ml.g6.2xlarge"
    whole: Any = {**made("improved")}
    whole["configuration"] = {**whole["configuration"], "training_instance_count": 2}
    text = everywhere(whole)[0]
    assert re.search(r"Training instance ?2 ml.g5.2xlarge", text)
    assert (
        "2 ml.g5.2xlarge for the training at $1.52 an hour each, ml.g5.2xlarge for the endpoint at $1.52 an hour."
        in text
    )


def test_without_an_event_no_type_is_claimed_where_there_was_a_choice() -> None:
    told = facts(PLAN)
    assert (told["training_instance_type"], told["training_hourly_cents"]) == (None, None)
    assert circumstances.instance(with_configuration(told), "training") == "ml.g5.2xlarge or ml.g6.2xlarge"


def test_plans_and_events_of_an_older_deployment_are_still_read() -> None:
    told = facts(OLD_PLAN, {"adapterUri": "s3://bucket/runs/r/training/r/output/model/"})
    assert (told["training_instance_type"], told["hosting_hourly_cents"]) == (TYPES[0], pytest.approx(140.9))
    assert told["training_instance_count"] == 1
    assert (told["training_cut"], told["smoke"], told["adapter_uri"], told["adapter_run"]) == (False, False, None, None)
    assert circumstances.notes(with_configuration(told)) == []


def test_the_adapter_that_a_run_trained_itself_is_not_an_earlier_ones() -> None:
    told = facts({**PLAN, "adapterUri": ""}, {"adapterUri": "s3://bucket/runs/own/training/own/output/model/"})
    assert told["adapter_run"] is None and told["max_training_seconds"] == 7200


def test_a_run_that_served_an_earlier_adapter_claims_no_training_of_its_own() -> None:
    plan = {**PLAN, "adapterUri": "s3://bucket/runs/captune-first/training/captune-first-try2/output/model/"}
    told = facts(plan, {"trainingInstanceType": TYPES[0], "hostingInstanceType": TYPES[1]})
    assert told["adapter_run"] == "captune-first"
    keys = ("instance_type", "instance_types", "instance_count", "hourly_cents")
    assert [told[f"training_{key}"] for key in keys] == [None, [], None, None]
    assert told["max_training_seconds"] is None and told["hosting_instance_type"] == TYPES[1]


def test_a_report_on_an_earlier_adapter_names_the_run_that_measured_it() -> None:
    for text in everywhere(made("earlier-adapter")):
        assert "It served the adapter of the run captune-first." in text
        assert "those that captune-first measured then" in text
    words = card.render(made("earlier-adapter"))
    assert "by the run captune-first." in words and "started 24 November" not in words


def test_a_cut_training_is_told_with_the_steps_it_took() -> None:
    for text in everywhere(made("not-as-planned")):
        assert (
            "stopped the training job when its longest time of 2 h 0 min was over. It had taken 120 of 120 steps."
            in text
        )


def test_the_limit_that_ended_a_spot_job_may_have_been_its_waiting() -> None:
    cut: Any = {**made("not-as-planned")}
    cut["configuration"] = {**cut["configuration"], "spot": {"interruptions": 1}}
    assert (
        "2 h 0 min was over, or its longest time with all waiting for spot instances." in circumstances.notes(cut)[0][1]
    )


def test_a_training_that_ended_by_itself_before_its_last_step_is_told() -> None:
    early: Any = {**made("improved")}
    early["training"] = {**early["training"], "steps": 60, "planned_steps": 512, "stopped_early": "time budget"}
    ((title, text),) = circumstances.notes(early)
    assert title == "Training stopped early" and text.startswith("It ended after 60 of 512 steps: time budget.")


def test_losses_that_lack_are_told_with_their_reason() -> None:
    lacking: Any = {**made("improved")}
    lacking["training"] = {**lacking["training"], "unmeasured": "Unexpected RuntimeError: the card is gone. Run again."}
    ((title, text),) = circumstances.notes(lacking)
    assert title == "The fine-tuned model was not wholly measured"
    lacking["training"] |= {"steps": 60, "planned_steps": 512, "stopped_early": "time budget"}
    assert circumstances.notes(lacking)[0][1].endswith("What it had learned until then is what was served.")
    assert text.startswith("Losses of it lack: Unexpected RuntimeError: the card is gone. Run again. Its adapter had")


def test_seeds_that_disagree_are_told_to_whoever_reads_the_verdict_alone() -> None:
    ((title, text),) = circumstances.notes(seeds_that_disagree())
    assert title == "The seeds disagree" and "The verdict hangs on the seed." in text
    assert circumstances.notes(several_seeds()) == []


def test_a_smoke_run_is_never_judged_whatever_it_measured() -> None:
    smoke = made("smoke")
    assert smoke["heldout"]["difference"]["high"] < 0, "the figures themselves are those of an improvement"
    assert (smoke["verdict"], smoke["recall_verdict"]) == ("not shown", "not shown")
    assert headline(smoke).title == "A smoke run: nothing is shown about the model"
    assert headline(smoke).tone == "neutral"
    for text in everywhere(smoke):
        assert "to show that every step from the corpus to this report works. It shows nothing about the model" in text


def test_a_smoke_run_that_failed_is_not_told_as_one_whose_steps_work() -> None:
    failed: Any = {**made("failed"), "configuration": {"smoke": True}}
    assert headline(failed).title == "The run failed before anything could be compared"
    assert "every step from the corpus to this report works" not in page.render(failed)


def test_training_in_four_bits_is_told_as_another_model_than_the_one_that_answered() -> None:
    for text in everywhere(made("not-as-planned")):
        assert "Training and serving differ" in text and "quantised to 4 bits" in text
    for text in everywhere(made("improved")):
        assert "Training and serving differ" not in text


def test_an_instance_of_second_choice_is_told_with_the_reason() -> None:
    assert "ml.g6.2xlarge (no ml.g5.2xlarge was free)" in page.render(made("not-as-planned"))


def test_a_run_as_it_was_planned_has_nothing_to_add() -> None:
    assert circumstances.notes(made("improved")) == []


@pytest.mark.parametrize("name", ["improved", "worse"])
def test_no_form_of_the_report_claims_more_than_the_held_out_documents(name: str) -> None:
    for text in everywhere(made(name)):
        assert "held-out documents of the same corpus" in text.lower()
        assert "this field" not in text
