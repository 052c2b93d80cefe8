"""The Guardrail stack: its budget by the settings, what its action waits for, and ten alarms that cost nothing.

Kill switch, deny policy, topics and rules are in the snapshot; a rehearsal starts each TearDown by the rule of the template.
"""

import json
import re
from typing import Any

import pytest

from common.logs import NAMESPACE
from common.pricing import durations
from stacks.guardrail_stack import SWEEP_MINUTES
from stacks.watching.alarms import NAMES
from tests.doubles.machines.stacks_bench import ROOT, Stacks

pytestmark = pytest.mark.slow


def alarms(stacks: Stacks) -> dict[str, dict[str, Any]]:
    """The whole resource of each alarm, by its name without the prefix."""
    found = stacks.resources("Guardrail", "AWS::CloudWatch::Alarm").values()
    return {entry["Properties"]["AlarmName"].removeprefix("captune-"): entry for entry in found}


def alarm(stacks: Stacks, name: str) -> dict[str, Any]:
    return dict(alarms(stacks)[name]["Properties"])


def test_there_are_as_many_alarms_as_cost_nothing(stacks: Stacks) -> None:
    """CloudWatch bills by the metric of an alarm, and ten are free."""
    assert sorted(alarms(stacks)) == sorted(NAMES)
    assert len(NAMES) == 10
    assert not any("Metrics" in one["Properties"] for one in alarms(stacks).values()), "each metric of one is billed"


def test_no_run_can_have_what_is_as_old_as_its_alarm(stacks: Stacks, own_weights: Stacks, abroad: Stacks) -> None:
    """With a short deadline a forgotten endpoint is reported hours earlier: each hour costs more than a dollar."""
    reservation = alarm(stacks, "reservation-too-old")["Threshold"]
    assert reservation == durations.LONGEST_RESERVATION_SECONDS
    allowed = durations.LONGEST_KEEP_SECONDS + durations.TEAR_DOWN_ALLOWANCE_SECONDS
    for built, minutes in ((own_weights, 35), (stacks, 60), (abroad, 240)):
        assert alarm(built, "endpoint-too-old")["Threshold"] == 60 * minutes + allowed
    assert 60 * 240 + allowed == durations.LONGEST_ENDPOINT_SECONDS


def test_the_sweepers_alarm_waits_for_three_missed_sweeps_and_each_metric_of_ours_is_written(stacks: Stacks) -> None:
    silent = alarm(stacks, "sweeper-silent")
    assert (silent["Period"], silent["EvaluationPeriods"]) == (60 * SWEEP_MINUTES, 3)
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "lambdas" / "sweeper").glob("*.py"))
    written = [alarm(stacks, name) for name in NAMES if alarm(stacks, name)["Namespace"] == "Captune"]
    assert len(written) == 3 and all(one["MetricName"] in sources for one in written)


def test_the_owner_is_mailed_each_alarm_and_no_budget_message_twice(stacks: Stacks, own_weights: Stacks) -> None:
    """AWS Budgets writes to the address itself; of the topic it gets only what has an AlarmName in its body."""
    subscription = own_weights.one("Guardrail", "AWS::SNS::Subscription", "AlarmsByEmail")
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "owner@example.org")
    assert "Warnings" in subscription["TopicArn"]["Ref"]
    assert subscription["FilterPolicyScope"] == "MessageBody"
    assert subscription["FilterPolicy"] == {"AlarmName": [{"exists": True}]}
    assert not any("Email" in key for key in stacks.resources("Guardrail", "AWS::SNS::Subscription"))


def test_the_dashboard_has_no_more_metrics_than_cost_nothing(stacks: Stacks) -> None:
    """CloudWatch bills a dashboard of more than 50 metrics; a search without a limit finds those of every run."""
    parts = stacks.one("FineTuning", "AWS::CloudWatch::Dashboard")["DashboardBody"]["Fn::Join"][1]
    body = json.loads("".join(part if isinstance(part, str) else "x" for part in parts))
    shown = 0
    for widget in body["widgets"]:
        shown += len(widget["properties"].get("alarms", []))
        for metric in widget["properties"].get("metrics", []):
            expression = metric[-1].get("expression", "") if isinstance(metric[-1], dict) else ""
            limit = re.fullmatch(r"SORT\(SEARCH\(.*\), MAX, DESC, (\d+)\)", expression)
            assert bool(limit) == ("SEARCH" in expression)
            shown += int(limit[1]) if limit else not expression
    assert 40 < shown <= 50


def test_the_page_of_the_cap_prices_what_the_free_allowances_cover(stacks: Stacks) -> None:
    """us-east-1: a dashboard $3.00, an alarm $0.10 and a metric $0.30 a month, a budget action $0.10 a day."""
    watching = [entry["Properties"] for entry in alarms(stacks).values()]
    metrics = {one["MetricName"] for one in watching if one["Namespace"] == NAMESPACE}  # what each sweep writes
    dashboards = stacks.resources("FineTuning", "AWS::CloudWatch::Dashboard")
    stops = stacks.resources("Guardrail", "AWS::Budgets::BudgetsAction")
    prices = (len(dashboards) * 3.0, len(stops) * 31 * 0.1, len(watching) * 0.1, len(metrics) * 0.3)
    (row,) = [line for line in (ROOT / "docs" / "cap.md").read_text("utf-8").splitlines() if "use up its free" in line]
    assert re.findall(r"\$\d+\.\d\d", row) == [f"${price:.2f}" for price in (*prices, sum(prices))]


def budget(stacks: Stacks) -> dict[str, Any]:
    return stacks.one("Guardrail", "AWS::Budgets::Budget")


def test_the_budget_is_the_cap_of_a_month_in_its_scope(stacks: Stacks, own_weights: Stacks) -> None:
    spent = {"Not": {"Dimensions": {"Key": "RECORD_TYPE", "Values": ["Credit", "Refund"]}}}
    tagged = {"And": [spent, {"Tags": {"Key": "project", "Values": ["captune"]}}]}
    for built, limit, counted in ((stacks, 25, spent), (own_weights, 40, tagged)):
        # And no name, because a replaced budget could not take it over.
        assert budget(built)["Budget"] == {
            "BudgetLimit": {"Amount": limit, "Unit": "USD"},
            "BudgetType": "COST",
            "TimeUnit": "MONTHLY",
            "FilterExpression": counted,
            "Metrics": ["UnblendedCost"],
        }


def test_every_notification_goes_to_an_address_that_is_given_too(stacks: Stacks, own_weights: Stacks) -> None:
    for built, kinds in ((stacks, ["SNS"]), (own_weights, ["SNS", "EMAIL"])):
        for one in budget(built)["NotificationsWithSubscribers"]:
            assert [subscriber["SubscriptionType"] for subscriber in one["Subscribers"]] == kinds
