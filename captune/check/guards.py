"""Whether the second line of defence is armed, and whether a person hears of it and of the guards' own failures."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import Any

from captune.check.findings import Finding, Findings, Level, ok, problem, unless, warning
from captune.release import find

# CloudFormation compares a template with the one before, not with what is there, unless it is told to.
_PUT_BACK = "make deploy, and where somebody changed or removed it by hand: make deploy ARGS=--revert-drift"
_CONFIRM = "follow the link in the mail of SNS, or subscribe again in its console"
# In place of a subscription's ARN, SNS answers PendingConfirmation, or Deleted after its end.
_CONFIRMED = "arn:"


def budget(budgets: Any, deny_policy: str, limit_usd: int) -> Findings:
    """The budget with its action: there, of the right size, not blind to spending that credits pay, and watching."""
    action = find(budgets, deny_policy)
    if action is None:
        yield problem("budget", "no budget action attaches the deny policy", _PUT_BACK)
        return
    named = {"AccountId": action.account, "BudgetName": action.budget, "ShowFilterExpression": True}
    answer = unless("NotFoundException", lambda: budgets.describe_budget(**named))
    if not answer:
        yield problem("budget", f"there is no budget {action.budget}", _PUT_BACK)
        return
    kept = answer["Budget"]
    limit = Decimal(kept["BudgetLimit"]["Amount"])
    spending = kept.get("CalculatedSpend")  # AWS may have counted nothing yet
    spent = Decimal(spending["ActualSpend"]["Amount"]) if spending else Decimal(0)
    counted = kept.get("FilterExpression", {})
    parts = counted.get("And", [counted])
    left_out = {value for part in parts for value in part.get("Not", {}).get("Dimensions", {}).get("Values", [])}
    if limit != limit_usd:
        yield warning("budget", f"its limit is ${limit:.2f}, and budget_usd is {limit_usd}", _PUT_BACK)
    elif not left_out >= {"Credit", "Refund"}:
        yield warning("budget", "credits or refunds hide spending from it", _PUT_BACK)
    elif spent >= limit:
        text = f"${spent:.2f} of ${limit:.2f} were spent this month, so the alarm stops every run, or will as soon as AWS has seen it"
        yield warning("budget", text, "raise budget_usd and make deploy, or wait for the next month")
    else:
        yield ok("budget", f"${spent:.2f} of ${limit:.2f} this month, as far as AWS has counted")
    yield _state(action.status)


def _state(status: str) -> Finding:
    subject = "budget action"
    match status:
        case "STANDBY":
            return ok(subject, "it watches the spending")
        case "EXECUTION_SUCCESS":
            return problem(
                subject, "the alarm went off: new spending is denied", "look at the bill, then captune release"
            )
        case "REVERSE_SUCCESS":
            text = "it was reversed and not reset, so it watches no more this month"
            return warning(subject, text, "captune release, which resets it")
        case "EXECUTION_FAILURE" | "REVERSE_FAILURE" | "RESET_FAILURE":
            text = f"AWS could not carry it out ({status})"
            return problem(subject, text, "captune release; the console's action history has the reason")
    return warning(subject, f"it is {status}", "run captune check again in some minutes")


def kill_switch(sns: Any, topic: str) -> Findings:
    """Whether the budget's 100 % reaches the sweeper, which stops every run."""
    if _subscriptions(sns, topic, "lambda"):
        yield ok("kill switch", "the sweeper receives the 100 % alarm")
    else:
        yield problem("kill switch", "nothing receives the 100 % alarm", _PUT_BACK)


def email(sns: Any, topic: str, address: str, subject: str, unconfirmed: Level) -> Findings:
    """Whether the owner's address gets what the topic sends. SNS sends nothing to an address that has not confirmed.

    Without an address, whether anybody else gets it. `unconfirmed` is how much a missing confirmation matters.
    """
    found = _subscriptions(sns, topic)
    heard = sorted(endpoint for endpoint, arn in found.items() if arn.startswith(_CONFIRMED))
    if address and address not in found:
        yield problem(subject, f"{address} is not subscribed", _PUT_BACK)
    elif address and address not in heard:
        text = f"{address} has not confirmed, or has unsubscribed, so nothing reaches it"
        yield Finding(unconfirmed, subject, text, _CONFIRM)
    elif not heard:
        yield warning(subject, "reaches nobody", "set alert_email in cdk.json, make deploy, confirm the mail of SNS")
    else:
        yield ok(subject, f"reaches {', '.join(heard)}")


def alarms(cloudwatch: Any, names: Collection[str]) -> Findings:
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


def _subscriptions(sns: Any, topic: str, protocol: str | None = None) -> dict[str, str]:
    """The ARN by endpoint, or what SNS answers in its place. One that has ended stays listed for days beside its successor."""
    pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
    found = [one for page in pages for one in page["Subscriptions"] if protocol in (None, one["Protocol"])]
    confirmed_last = sorted(found, key=lambda one: str(one["SubscriptionArn"]).startswith(_CONFIRMED))
    return {one["Endpoint"]: one["SubscriptionArn"] for one in confirmed_last}
