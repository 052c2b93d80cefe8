"""The ten alarms: what each looks at, when it goes off, whom it tells, and what a person does."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from common.pricing import durations
from stacks.guardrail_stack import SWEEP_MINUTES
from tests.doubles.machines.stacks_bench import ROOT, Stacks

pytestmark = pytest.mark.slow

ALARM = "AWS::CloudWatch::Alarm"
ABOVE, BELOW = "GreaterThanThreshold", "LessThanThreshold"
TEAR_DOWN, SWEEPER = ("StateMachineArn", "TearDown"), ("FunctionName", "Sweeper")
MESSAGES, QUIET = "ApproximateNumberOfMessagesVisible", "notBreaching"
# Namespace, metric, comparison, threshold, minutes of a period, periods, missing data, and what is watched.
EXPECTED: dict[str, tuple[str, str, str, int, int, int, str, tuple[str, str] | None]] = {
    "tear-down-failed": ("AWS/States", "ExecutionsFailed", ABOVE, 0, 5, 1, QUIET, TEAR_DOWN),
    "tear-down-timed-out": ("AWS/States", "ExecutionsTimedOut", ABOVE, 0, 5, 1, QUIET, TEAR_DOWN),
    "sweeper-failed": ("AWS/Lambda", "Errors", ABOVE, 0, 15, 1, QUIET, SWEEPER),
    "sweeper-throttled": ("AWS/Lambda", "Throttles", ABOVE, 0, 15, 1, QUIET, SWEEPER),
    # After three missed sweeps and not after a late one.
    "sweeper-silent": ("AWS/Lambda", "Invocations", BELOW, 1, SWEEP_MINUTES, 3, "breaching", SWEEPER),
    "events-undelivered": ("AWS/SQS", MESSAGES, ABOVE, 0, 5, 1, QUIET, ("QueueName", "Undelivered")),
    "sweeps-given-up": ("AWS/SQS", MESSAGES, ABOVE, 0, 5, 1, QUIET, ("QueueName", "FailedSweeps")),
    # The sweeper writes its metrics without dimensions.
    "reservation-too-old": ("Captune", "OldestReservationSeconds", ABOVE, 60_000, 15, 1, "ignore", None),
    "endpoint-too-old": ("Captune", "OldestEndpointSeconds", ABOVE, 20_400, 15, 1, "ignore", None),
    "ledger-damaged": ("Captune", "DamagedLedgerItems", ABOVE, 0, 15, 1, "ignore", None),
}


def alarm(stacks: Stacks, name: str) -> dict[str, Any]:
    """The whole resource of an alarm."""
    found = stacks.resources("Guardrail", ALARM).values()
    (one,) = [entry for entry in found if entry["Properties"]["AlarmName"] == f"captune-{name}"]
    return one


def test_there_are_as_many_alarms_as_cost_nothing(stacks: Stacks) -> None:
    """CloudWatch bills by the metric of an alarm, and ten are free."""
    found = stacks.resources("Guardrail", ALARM).values()
    assert sorted(one["Properties"]["AlarmName"] for one in found) == sorted(f"captune-{name}" for name in EXPECTED)
    assert len(found) == 10
    assert not any("Metrics" in one["Properties"] for one in found), "an expression is billed for each of its metrics"


@pytest.mark.parametrize("name", EXPECTED)
def test_each_alarm_has_its_metric_threshold_and_action(stacks: Stacks, name: str) -> None:
    whole = alarm(stacks, name)
    one = whole["Properties"]
    namespace, metric, comparison, threshold, minutes, periods, missing, watched = EXPECTED[name]
    assert (one["Namespace"], one["MetricName"]) == (namespace, metric)
    assert (one["ComparisonOperator"], one["Threshold"]) == (comparison, threshold)
    assert (one["Period"], one["EvaluationPeriods"], one["TreatMissingData"]) == (60 * minutes, periods, missing)
    # A gauge shows its peak in a period, a count everything that happened in it.
    assert one["Statistic"] == ("Maximum" if namespace in ("Captune", "AWS/SQS") else "Sum")
    found = [(dimension["Name"], json.dumps(dimension["Value"])) for dimension in one.get("Dimensions", [])]
    assert len(found) == (watched is not None)
    assert all(watched and key == watched[0] and watched[1] in owner for key, owner in found)
    (policy,) = [key for key in stacks.resources("Guardrail", "AWS::SNS::TopicPolicy") if "Warnings" in key]
    (topic,) = [key for key in stacks.resources("Guardrail", "AWS::SNS::Topic") if "Warnings" in key]
    assert one["AlarmActions"] == [{"Ref": topic}]
    assert policy in whole["DependsOn"], "the topic takes its message only then"
    assert 0 < len(one["AlarmDescription"]) <= 1024, "CloudWatch's limit"


def test_no_run_can_have_what_is_as_old_as_its_alarm(stacks: Stacks, own_weights: Stacks, abroad: Stacks) -> None:
    """With a short deadline a forgotten endpoint is reported hours earlier: each hour costs more than a dollar."""
    reservation = alarm(stacks, "reservation-too-old")["Properties"]["Threshold"]
    assert reservation == durations.LONGEST_RESERVATION_SECONDS
    allowed = durations.LONGEST_KEEP_SECONDS + durations.TEAR_DOWN_ALLOWANCE_SECONDS
    for built, minutes in ((own_weights, 35), (stacks, 60), (abroad, 240)):
        assert alarm(built, "endpoint-too-old")["Properties"]["Threshold"] == 60 * minutes + allowed
    assert 60 * 240 + allowed == durations.LONGEST_ENDPOINT_SECONDS


def test_the_sweeper_runs_as_often_as_its_alarm_expects(stacks: Stacks) -> None:
    rule = stacks.one("Guardrail", "AWS::Events::Rule", "Sweep")
    assert rule["ScheduleExpression"] == f"rate({SWEEP_MINUTES} minutes)" == "rate(15 minutes)"
    assert rule["Targets"][0]["Input"] == '{"reason":"sweep"}'
    permission = stacks.one("Guardrail", "AWS::Lambda::Permission", "AllowEventRule")
    assert permission["Principal"] == "events.amazonaws.com"
    assert permission["FunctionName"] == rule["Targets"][0]["Arn"]
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "lambdas" / "sweeper").glob("*.py"))
    assert all(metric in sources for namespace, metric, *_ in EXPECTED.values() if namespace == "Captune")


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


def test_the_dashboard_shows_every_alarm_without_needing_their_stack(stacks: Stacks) -> None:
    body = json.dumps(stacks.one("FineTuning", "AWS::CloudWatch::Dashboard")["DashboardBody"])
    assert all(f":alarm:captune-{name}" in body for name in EXPECTED)
    for shown in ("CommittedCents", "ActualCents", "CapCents", "ExecutionsFailed", "GPUUtilization", "Invocations"):
        assert shown in body
    assert "Guardrail" not in json.dumps(stacks.template("FineTuning"))
