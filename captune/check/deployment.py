"""What is deployed: bootstrap, stacks, definitions, the budget with its guards, and who is e-mailed."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from captune.check.findings import Finding, Findings, Level, later, ok, problem, warning
from captune.destroy import GUARDRAIL, RUNS, STORAGE
from common.aws import unless
from preflight.account.guardrail import Guards, missing
from stacks.names import ONE_PER_ACCOUNT

_HEALTHY = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE")
_NEVER_MADE = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "REVIEW_IN_PROGRESS")
_BOOTSTRAP = "make bootstrap"
_MOST_DIAGNOSTICS = 100  # the API's own limit of maxResults


@dataclass
class Deployed:
    """What CloudFormation knows of the stacks: outputs by name, physical ids by stack and logical id.

    `stacks` are those of ours that exist, without the remains of a failed first deployment. None means unknown.
    """

    stacks: set[str] | None = None
    outputs: dict[str, str] = field(default_factory=dict)
    ids: dict[tuple[str, str], str] = field(default_factory=dict)


def bootstrap(ssm: Any, parameter: str, needed: int) -> Findings:
    """Whether `cdk bootstrap` was run in this account and region, and new enough for these stacks."""
    kept = unless("ParameterNotFound", ssm.get_parameter, Name=parameter)
    version = int(kept["Parameter"]["Value"]) if kept else 0
    if not kept:
        yield problem("cdk bootstrap", "was not run in this account and region", _BOOTSTRAP)
    elif version < needed:
        yield problem("cdk bootstrap", f"is of version {version}, and {needed} is needed", _BOOTSTRAP)
    else:
        yield ok("cdk bootstrap", f"version {version}")


def read(cloudformation: Any, names: Mapping[str, dict[str, Any]], deployed: Deployed) -> Findings:
    """The state of each stack, and whether it is what this checkout would deploy; fills `deployed`."""
    pages = cloudformation.get_paginator("describe_stacks").paginate()
    found = {stack["StackName"]: stack for page in pages for stack in page["Stacks"] if stack["StackName"] in names}
    deployed.stacks = {name for name, stack in found.items() if stack["StackStatus"] not in _NEVER_MADE}
    # First what later questions need of all stacks: a refusal ends this reading.
    for stack in found.values():
        deployed.outputs.update({one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])})
    for name in found:
        for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=name):
            for resource in page["StackResourceSummaries"]:
                if "PhysicalResourceId" in resource and resource["ResourceStatus"] != "DELETE_COMPLETE":
                    deployed.ids[name, resource["LogicalResourceId"]] = resource["PhysicalResourceId"]
    for name, template in names.items():
        if name in found:
            yield _state_of_stack(cloudformation, found[name], template)
        elif name == GUARDRAIL and RUNS in deployed.stacks:
            text = "is not deployed, and Captune-FineTuning is: runs are rejected (GuardrailMissing)"
            yield problem(name, text, "make deploy; if AWS rejects the budget, fix that first")
        else:
            yield later(name, "is not deployed")


def only_region(iam: Any, account: str, deployed: Deployed) -> Findings:
    """Whether another region of the account has a deployment, or has kept its data: Any would refuse a second one."""
    if deployed.stacks is None or STORAGE in deployed.stacks:
        return  # not known, or it is this one
    arn = f"arn:aws:iam::{account}:policy/{ONE_PER_ACCOUNT}"
    if not unless("NoSuchEntity", iam.get_policy, PolicyArn=arn):
        yield ok("one region", "no other region of this account has a deployment")
        return
    text = f"another region of this account has a deployment, or its data ({ONE_PER_ACCOUNT} exists), and a second one would have a cap of its own"
    fix = "go on in that region, or destroy it there with its data: deploy with retain_data=false, then make destroy DATA=delete"
    yield problem("one region", text, fix)


def _state_of_stack(cloudformation: Any, stack: dict[str, Any], template: dict[str, Any]) -> Finding:
    name, status = stack["StackName"], stack["StackStatus"]
    if status == "REVIEW_IN_PROGRESS":
        return later(name, "is not deployed: a first deployment was begun and not gone on with")
    if status in _NEVER_MADE:
        # cdk deploy deletes such a stack first, but not one that is protected, as the CDK does before it makes anything of it.
        fix = "make deploy, which first deletes them"
        if stack.get("EnableTerminationProtection"):
            allow = f"aws cloudformation update-termination-protection --no-enable-termination-protection --stack-name {name}"
            fix = f"{allow}, then make deploy"
        return problem(name, "its first deployment failed, and only its remains are there", fix)
    if status.endswith("_IN_PROGRESS"):
        return warning(name, f"is being changed ({status})", "wait, then run captune check again")
    if status == "UPDATE_ROLLBACK_COMPLETE":
        return warning(name, "its last deployment failed and was taken back", "see its events, then make deploy")
    if status not in _HEALTHY:
        return problem(name, f"is {status}", "see its events in the CloudFormation console, then make deploy")
    body = cloudformation.get_template(StackName=name, TemplateStage="Original")["TemplateBody"]
    if _as_given_back(json.loads(body) if isinstance(body, str) else body) != _as_given_back(template):
        return warning(name, f"{status}, but not what this checkout would deploy", "make deploy")
    return ok(name, f"{status}, as in this checkout")


def _as_given_back(template: Mapping[str, Any]) -> str:
    """A template as text, without what differs between the one that was synthesized and what GetTemplate makes of it.

    The CDK CLI adds Metadata to resources, the paths of constructs and assets. CloudFormation gives `?` for each
    character beyond ASCII (aws-cloudformation/cloudformation-coverage-roadmap#814); an e-mail address may have some.
    """
    resources = {
        name: {key: value for key, value in resource.items() if key != "Metadata"}
        for name, resource in template.get("Resources", {}).items()
    }
    text = json.dumps({**template, "Resources": resources}, sort_keys=True, ensure_ascii=False)
    return re.sub(r"[^\x00-\x7f]", "?", text)


def definition(states: Any, name: str, text: str) -> Findings:
    """Whether Step Functions accepts a definition. Of its validation only `result` is promised to stay: it decides."""
    subject = f"definition of {name}"
    request = {"definition": text, "type": "STANDARD", "severity": "WARNING", "maxResults": _MOST_DIAGNOSTICS}
    answer = states.validate_state_machine_definition(**request)
    said = [f"{one.get('location') or 'the whole'}: {one['message']} ({one['code']})" for one in answer["diagnostics"]]
    shown = "; ".join(said) or "no reason was given"
    file = f"stacks/{name.removeprefix('captune-').replace('-', '_')}.asl.yaml"
    if answer["result"] != "OK":
        yield problem(subject, f"Step Functions rejects it: {shown}", f"fix the state in {file}")
    elif said:
        yield warning(subject, f"accepted, with doubts: {shown}", f"look at the state in {file}")
    else:
        yield ok(subject, f"accepted, {len(json.loads(text)['States'])} states, {len(text) / 1024:.0f} KiB")


# CloudFormation compares a template with the one before, not with what is there, unless it is told to.
_PUT_BACK = "make deploy, and if it was changed or removed by hand: make deploy ARGS=--revert-drift"
_CONFIRM = "follow the link in the mail of SNS, or subscribe again in its console"
_TAKE_BACK = "in the Budgets console, open the action's history and choose Undo, then Reset"
# Instead of a subscription's ARN, SNS answers PendingConfirmation, or Deleted after its end.
_CONFIRMED = "arn:"


def budget(budgets: Any, deny_policy: str, limit_usd: int) -> Findings:
    """The budget with its action: there, of the right size, not blind to spending that credits pay, and watching."""
    account = deny_policy.split(":")[4]
    pages = budgets.get_paginator("describe_budget_actions_for_account").paginate(AccountId=account)
    # By the policy that it attaches: the action's own id is AWS's choice.
    actions = [
        one for page in pages for one in page["Actions"]
        if one["Definition"].get("IamActionDefinition", {}).get("PolicyArn") == deny_policy
    ]  # fmt: skip
    if not actions:
        yield problem("budget", "no budget action attaches the deny policy", _PUT_BACK)
        return
    named = {"AccountId": account, "BudgetName": actions[0]["BudgetName"], "ShowFilterExpression": True}
    answer = unless("NotFoundException", budgets.describe_budget, **named)
    if not answer:
        yield problem("budget", f"there is no budget {named['BudgetName']}", _PUT_BACK)
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
    # ActionStatus of the Budgets API. A reversed action does not watch again before it is reset.
    status, subject = actions[0]["Status"], "budget action"
    if status == "STANDBY":
        yield ok(subject, "it watches the spending")
    elif status == "EXECUTION_SUCCESS":
        yield problem(subject, "the alarm went off: new spending is denied", f"look at the bill, then {_TAKE_BACK}")
    else:
        yield warning(subject, f"it is {status}, and watches nothing until it is STANDBY", _TAKE_BACK)


def guards(events: Any, sns: Any, needed: Guards) -> Findings:
    """Whether what ends a run is there and on: the rule of its end, the sweeper's, and who hears the budget's 100 %."""
    found = missing(events, sns, needed)
    for text in found:
        yield problem("rules and kill switch", f"{text}; runs are rejected (GuardrailMissing)", _PUT_BACK)
    if not found:
        yield ok("rules and kill switch", "a run's end starts TearDown, the sweeper runs and hears the 100% alarm")


def email(sns: Any, topic: str, address: str, subject: str, unconfirmed: Level) -> Findings:
    """Whether the owner's address, or anybody where there is none, gets what the topic sends; `unconfirmed` is how bad that is."""
    pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
    listed = [one for page in pages for one in page["Subscriptions"]]
    # One that has ended stays listed for days beside its successor, which counts.
    confirmed_last = sorted(listed, key=lambda one: str(one["SubscriptionArn"]).startswith(_CONFIRMED))
    found = {one["Endpoint"]: one["SubscriptionArn"] for one in confirmed_last}
    heard = sorted(endpoint for endpoint, arn in found.items() if arn.startswith(_CONFIRMED))
    if address and address not in found:
        yield problem(subject, f"{address} is not subscribed", _PUT_BACK)
    elif address and address not in heard:
        text = f"{address} has not confirmed, or has unsubscribed, so nothing reaches it"
        yield Finding(unconfirmed, subject, text, _CONFIRM)
    elif not heard:
        yield warning(
            subject, "has no confirmed address", "set alert_email in cdk.json, make deploy, confirm the mail of SNS"
        )
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
