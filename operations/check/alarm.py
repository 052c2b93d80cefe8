"""Whether the second line of defence is armed, and whether a person hears of it and of the guards' own failures."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from botocore.exceptions import ClientError

from common.aws import error_code
from operations.budget_action import find
from operations.check.clients import Budgets, CloudWatch, Sns
from operations.check.findings import Finding, ok, problem, warning

# CloudFormation compares a template with the one before, not with what is there, unless it is told to.
_PUT_BACK = "make deploy, and where somebody changed or removed it by hand: make deploy ARGS=--revert-drift"
# In place of a subscription's ARN, SNS answers PendingConfirmation, or Deleted after its end.
_CONFIRMED = "arn:"


def budget(budgets: Budgets, deny_policy: str, limit_usd: int) -> Iterator[Finding]:
    """The budget with its action: there, of the right size, blind to credits, and watching."""
    action = find(budgets, deny_policy)
    if action is None:
        yield problem("budget", "no budget action attaches the deny policy", _PUT_BACK)
        return
    try:
        kept = budgets.describe_budget(AccountId=action.account, BudgetName=action.budget)["Budget"]
    except ClientError as error:
        if error_code(error) != "NotFoundException":
            raise
        yield problem("budget", f"there is no budget {action.budget}", _PUT_BACK)
        return
    limit = Decimal(kept["BudgetLimit"]["Amount"])
    counted = kept.get("CalculatedSpend")  # AWS may have counted nothing yet
    spent = Decimal(counted["ActualSpend"]["Amount"]) if counted else Decimal(0)
    costs = kept.get("CostTypes", {})
    if limit != limit_usd:
        yield warning("budget", f"its limit is ${limit:.2f}, and budget_usd is {limit_usd}", _PUT_BACK)
    elif costs.get("IncludeCredit", True) or costs.get("IncludeRefund", True):
        yield warning("budget", "credits or refunds hide spending from it", _PUT_BACK)
    elif spent >= limit:
        yield warning(
            "budget",
            f"${spent:.2f} of ${limit:.2f} were spent this month, so the alarm stops every run, or will as soon as AWS has seen it",
            "raise budget_usd and make deploy, or wait for the next month",
        )
    else:
        yield ok("budget", f"${spent:.2f} of ${limit:.2f} this month, as far as AWS has counted")
    yield _state(action.status)


def _state(status: str) -> Finding:
    match status:
        case "STANDBY":
            return ok("budget action", "it watches the spending")
        case "EXECUTION_SUCCESS":
            return problem(
                "budget action", "the alarm went off: new spending is denied", "look at the bill, then make release"
            )
        case "REVERSE_SUCCESS":
            text = "it was reversed and not reset, so it watches no more this month"
            return warning("budget action", text, "make release, which resets it")
        case "EXECUTION_FAILURE" | "REVERSE_FAILURE" | "RESET_FAILURE":
            text = f"AWS could not carry it out ({status})"
            return problem("budget action", text, "make release; the console's action history has the reason")
    return warning("budget action", f"it is {status}", "run make check-aws again in some minutes")


def email(sns: Sns, topic: str, address: str) -> Iterator[Finding]:
    """Whether the owner's address hears of each run's result. AWS Budgets writes to it without a confirmation."""
    found = _subscriptions(sns, topic, "email")
    if address not in found:
        yield problem("e-mail", f"{address} is not subscribed to the results", _PUT_BACK)
    elif not found[address].startswith(_CONFIRMED):
        yield warning(
            "e-mail",
            f"{address} has not confirmed, or does not want to hear of them any more",
            "follow the link in the mail of SNS, or subscribe again in its console",
        )
    else:
        yield ok("e-mail", f"{address} hears of every result")


def kill_switch(sns: Sns, topic: str) -> Iterator[Finding]:
    """Whether the budget's 100 % reaches the sweeper, which stops every run."""
    if _subscriptions(sns, topic, "lambda"):
        yield ok("kill switch", "the sweeper hears of 100 %")
    else:
        yield problem("kill switch", "nobody hears of 100 %", _PUT_BACK)


def alarms(sns: Sns, topic: str, address: str) -> Iterator[Finding]:
    """Whether anybody hears of CloudWatch's alarms: SNS sends nothing to who has not confirmed."""
    subject = "e-mail of alarms"
    pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
    found = _by_endpoint([one for page in pages for one in page["Subscriptions"]])
    heard = sorted(endpoint for endpoint, arn in found.items() if arn.startswith(_CONFIRMED))
    if address and address not in found:
        yield problem(subject, f"{address} is not subscribed to them", _PUT_BACK)
    elif address and address not in heard:
        text = f"{address} has not confirmed, so no alarm reaches it"
        yield problem(subject, text, "follow the link in the mail of SNS, or subscribe again in its console")
    elif not heard:
        yield warning(
            subject, "nobody hears of them", "set alert_email in cdk.json, make deploy, confirm the mail of SNS"
        )
    else:
        yield ok(subject, f"{', '.join(heard)} hears of a guard that fails")


def states(cloudwatch: CloudWatch, names: Collection[str]) -> Iterator[Finding]:
    """Whether an alarm is on, and whether all that the templates name are there."""
    pages = cloudwatch.get_paginator("describe_alarms").paginate(AlarmTypes=["MetricAlarm"])
    listed = {alarm["AlarmName"]: alarm for page in pages for alarm in page.get("MetricAlarms", [])}
    found = {name: listed[name] for name in names if name in listed}
    missing = sorted(set(names) - found.keys())
    if missing:
        yield problem("alarms", f"not there: {', '.join(missing)}", _PUT_BACK)
    on = [alarm for alarm in found.values() if alarm["StateValue"] == "ALARM"]
    for alarm in on:
        text, _, what_to_do = str(alarm.get("AlarmDescription", "")).partition(". ")
        yield problem(f"alarm {alarm['AlarmName']}", f"is on. {text}", what_to_do or "see it in the CloudWatch console")
    muted = sorted(name for name, alarm in found.items() if not alarm.get("ActionsEnabled", True))
    if muted:
        yield warning("alarms", f"their actions are switched off: {', '.join(muted)}", _PUT_BACK)
    if not missing and not on and not muted:
        yield ok("alarms", f"none of {len(found)} is on")


def _subscriptions(sns: Sns, topic: str, protocol: str) -> dict[str, str]:
    pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
    return _by_endpoint([one for page in pages for one in page["Subscriptions"] if one["Protocol"] == protocol])


def _by_endpoint(subscriptions: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The ARN by endpoint, or what SNS answers in its place. One that has ended stays listed for days beside its successor."""
    confirmed_last = sorted(subscriptions, key=lambda one: one["SubscriptionArn"].startswith(_CONFIRMED))
    return {one["Endpoint"]: one["SubscriptionArn"] for one in confirmed_last}
