"""The alarms: what each looks at, when it goes off, whom it tells, and that the person hears of everything once."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from common.pricing import durations
from stacks.guardrail_stack import SWEEP_MINUTES
from stacks.watching import alarms
from tests.doubles.machines.stacks_bench import ROOT, Stacks, synthesize

pytestmark = pytest.mark.slow  # templates of settings of their own

ALARM = "AWS::CloudWatch::Alarm"
ABOVE, BELOW = "GreaterThanThreshold", "LessThanThreshold"
# Namespace, metric, comparison, threshold, minutes of a period, periods, missing data.
EXPECTED: dict[str, tuple[str, str, str, int, int, int, str]] = {
    "tear-down-failed": ("AWS/States", "ExecutionsFailed", ABOVE, 0, 5, 1, "notBreaching"),
    "tear-down-timed-out": ("AWS/States", "ExecutionsTimedOut", ABOVE, 0, 5, 1, "notBreaching"),
    "sweeper-failed": ("AWS/Lambda", "Errors", ABOVE, 0, 15, 1, "notBreaching"),
    "sweeper-throttled": ("AWS/Lambda", "Throttles", ABOVE, 0, 15, 1, "notBreaching"),
    "sweeper-silent": ("AWS/Lambda", "Invocations", BELOW, 1, 15, 3, "breaching"),
    "events-undelivered": ("AWS/SQS", "ApproximateNumberOfMessagesVisible", ABOVE, 0, 5, 1, "notBreaching"),
    "sweeps-given-up": ("AWS/SQS", "ApproximateNumberOfMessagesVisible", ABOVE, 0, 5, 1, "notBreaching"),
    "reservation-too-old": ("Captune", "OldestReservationSeconds", ABOVE, 60_000, 15, 1, "ignore"),
    "endpoint-too-old": ("Captune", "OldestEndpointSeconds", ABOVE, 20_400, 15, 1, "ignore"),
    "ledger-damaged": ("Captune", "DamagedLedgerItems", ABOVE, 0, 15, 1, "ignore"),
}
WATCHED = {
    "tear-down-failed": ("StateMachineArn", "AWS::StepFunctions::StateMachine", "TearDown"),
    "tear-down-timed-out": ("StateMachineArn", "AWS::StepFunctions::StateMachine", "TearDown"),
    "sweeper-failed": ("FunctionName", "AWS::Lambda::Function", "Sweeper"),
    "sweeper-throttled": ("FunctionName", "AWS::Lambda::Function", "Sweeper"),
    "sweeper-silent": ("FunctionName", "AWS::Lambda::Function", "Sweeper"),
    "events-undelivered": ("QueueName", "AWS::SQS::Queue", "Undelivered"),
    "sweeps-given-up": ("QueueName", "AWS::SQS::Queue", "FailedSweeps"),
}


def alarm(stacks: Stacks, name: str) -> dict[str, Any]:
    found = [entry["Properties"] for entry in stacks.resources("Guardrail", ALARM).values()]
    (one,) = [properties for properties in found if properties["AlarmName"] == f"captune-{name}"]
    return dict(one)


def test_there_are_as_many_alarms_as_cost_nothing(stacks: Stacks) -> None:
    """CloudWatch bills by the metric of an alarm, and ten are free."""
    found = stacks.resources("Guardrail", ALARM).values()
    assert sorted(one["Properties"]["AlarmName"] for one in found) == sorted(f"captune-{name}" for name in EXPECTED)
    assert len(found) == 10
    assert not any("Metrics" in one["Properties"] for one in found), "an expression is billed for each of its metrics"


@pytest.mark.parametrize("name", EXPECTED)
def test_each_alarm_has_its_metric_and_threshold(stacks: Stacks, name: str) -> None:
    one = alarm(stacks, name)
    namespace, metric, comparison, threshold, minutes, periods, missing = EXPECTED[name]
    assert (one["Namespace"], one["MetricName"]) == (namespace, metric)
    assert (one["ComparisonOperator"], one["Threshold"]) == (comparison, threshold)
    assert (one["Period"], one["EvaluationPeriods"], one["TreatMissingData"]) == (60 * minutes, periods, missing)
    # A gauge shows its peak in a period, a count everything that happened in it.
    assert one["Statistic"] == ("Maximum" if namespace in ("Captune", "AWS/SQS") else "Sum")


@pytest.mark.parametrize("name", EXPECTED)
def test_each_alarm_looks_at_the_resource_that_it_names(stacks: Stacks, name: str) -> None:
    dimensions = alarm(stacks, name).get("Dimensions", [])
    if name not in WATCHED:
        assert dimensions == [], "the sweeper writes its metrics without dimensions"
        return
    key, kind, part = WATCHED[name]
    (dimension,) = dimensions
    assert dimension["Name"] == key
    assert logical_id(stacks, dimension["Value"]) in owners(stacks, kind, part)


def owners(stacks: Stacks, kind: str, part: str) -> list[str]:
    return [key for name in ("FineTuning", "Guardrail") for key in stacks.resources(name, kind) if part in key]


def logical_id(stacks: Stacks, value: dict[str, Any]) -> str:
    """The resource that a reference means, in this stack or through an export of the other one."""
    if "Fn::ImportValue" in value:
        outputs = stacks.template("FineTuning")["Outputs"].values()
        (value,) = [one["Value"] for one in outputs if one.get("Export", {}).get("Name") == value["Fn::ImportValue"]]
    return str(value["Ref"] if "Ref" in value else value["Fn::GetAtt"][0])


@pytest.mark.parametrize("name", EXPECTED)
def test_each_alarm_tells_the_warnings_topic_once_its_policy_is_there(stacks: Stacks, name: str) -> None:
    (policy,) = [key for key in stacks.resources("Guardrail", "AWS::SNS::TopicPolicy") if "Warnings" in key]
    (topic,) = [key for key in stacks.resources("Guardrail", "AWS::SNS::Topic") if "Warnings" in key]
    assert alarm(stacks, name)["AlarmActions"] == [{"Ref": topic}]
    (whole,) = [
        one for one in stacks.resources("Guardrail", ALARM).values()
        if one["Properties"]["AlarmName"] == f"captune-{name}"
    ]  # fmt: skip
    assert policy in whole["DependsOn"]


def test_only_alarms_of_the_project_may_publish(stacks: Stacks) -> None:
    policy = stacks.one("Guardrail", "AWS::SNS::TopicPolicy", "Warnings")["PolicyDocument"]["Statement"]
    (statement,) = [s for s in policy if s.get("Principal") == {"Service": "cloudwatch.amazonaws.com"}]
    arn = json.dumps(statement["Condition"]["ArnLike"]["aws:SourceArn"])
    assert ":cloudwatch:us-east-1:" in arn
    assert ":alarm:captune-*" in arn


@pytest.mark.parametrize("name", EXPECTED)
def test_each_alarm_says_what_happened_and_what_a_person_does(stacks: Stacks, name: str) -> None:
    text = alarm(stacks, name)["AlarmDescription"]
    assert len(text) <= 1024, "CloudWatch's limit"
    sentences = [sentence for sentence in text.split(". ") if sentence]
    assert len(sentences) >= 2
    steps = ("see ", "look", "read", "delete", "mend", "open ")
    assert any(step in text.lower() for step in steps), "it names no step"


def test_no_run_can_have_a_reservation_as_old_as_the_alarm_of_it(stacks: Stacks) -> None:
    assert alarm(stacks, "reservation-too-old")["Threshold"] == durations.LONGEST_RESERVATION_SECONDS


@pytest.mark.parametrize("minutes", ["20", "240"])
def test_no_run_of_a_deployment_can_have_an_endpoint_as_old_as_the_alarm_of_it(minutes: str) -> None:
    """A deployment with a short deadline hears of a forgotten endpoint hours earlier: each hour costs more than a dollar."""
    threshold = alarm(synthesize(f"endpoint_deadline_minutes={minutes}"), "endpoint-too-old")["Threshold"]
    assert threshold == 60 * int(minutes) + durations.LONGEST_KEEP_SECONDS + durations.TEAR_DOWN_ALLOWANCE_SECONDS
    assert threshold <= durations.LONGEST_ENDPOINT_SECONDS
    assert (threshold == durations.LONGEST_ENDPOINT_SECONDS) == (minutes == "240")


def test_the_stacks_have_the_durations_of_the_lambdas() -> None:
    for name in ("LONGEST_EXECUTION_SECONDS", "LONGEST_KEEP_SECONDS", "TEAR_DOWN_ALLOWANCE_SECONDS"):
        assert getattr(alarms, name) == getattr(durations, name)


def test_silence_is_told_after_three_missed_sweeps_and_not_after_a_late_one(stacks: Stacks) -> None:
    one = alarm(stacks, "sweeper-silent")
    assert one["Period"] == 60 * SWEEP_MINUTES
    assert (
        stacks.one("Guardrail", "AWS::Events::Rule", "Sweep")["ScheduleExpression"] == f"rate({SWEEP_MINUTES} minutes)"
    )
    assert one.get("DatapointsToAlarm", one["EvaluationPeriods"]) == 3


def test_the_owner_is_mailed_each_alarm_and_no_budget_message_twice() -> None:
    """AWS Budgets writes to the address itself; of the topic it gets only what has an AlarmName in its body."""
    stacks = synthesize("alert_email=owner@example.org")
    subscription = stacks.one("Guardrail", "AWS::SNS::Subscription", "AlarmsByEmail")
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "owner@example.org")
    assert "Warnings" in subscription["TopicArn"]["Ref"]
    assert subscription["FilterPolicyScope"] == "MessageBody"
    assert subscription["FilterPolicy"] == {"AlarmName": [{"exists": True}]}


def test_without_an_address_nobody_is_subscribed(stacks: Stacks) -> None:
    assert not any("Email" in key for key in stacks.resources("Guardrail", "AWS::SNS::Subscription"))


def test_the_dashboard_shows_every_alarm_without_needing_the_stack_that_holds_them(stacks: Stacks) -> None:
    body = json.dumps(stacks.one("FineTuning", "AWS::CloudWatch::Dashboard")["DashboardBody"])
    for name in EXPECTED:
        assert f":alarm:captune-{name}" in body
    assert "Guardrail" not in json.dumps(stacks.template("FineTuning"))


def test_every_metric_of_the_sweeper_is_one_that_it_writes(stacks: Stacks) -> None:
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "lambdas" / "sweeper").glob("*.py"))
    for one in stacks.resources("Guardrail", ALARM).values():
        if one["Properties"]["Namespace"] == "Captune":
            assert re.search(rf'"?\b{one["Properties"]["MetricName"]}\b"?[:=] ?', sources)
