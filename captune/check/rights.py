"""Whether AWS allows each deployed role what its template allows it: an organisation's policy, a boundary or the budget's deny may not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from captune.check.findings import Findings, ok, problem, warning
from common.names import PREFIX

# In place of a wildcard: no run can have this name.
_ANY = f"{PREFIX}-check-aws"
_NOBODY_ALLOWS, _DENIED = "no statement allows it", "an explicit deny"
_FIXES = {
    _DENIED: "if the budget alarm went off, undo its action (docs/troubleshoot.md); else ask who set that deny",
    _NOBODY_ALLOWS: "make deploy ARGS=--revert-drift, which puts the role's policy back",
}
# ContextKeyType by how an operator begins; every other key is a string.
_KINDS = {"ForAllValues": "stringList", "NumericLessThanEquals": "numeric"}


@dataclass(frozen=True)
class Role:
    """A deployed role: its name in the template, its ARN, and the statements that the template gives it."""

    name: str
    arn: str
    statements: Sequence[dict[str, Any]]


def check(iam: Any, role: Role, account: str) -> Findings:
    """Simulates what each statement allows on the deployed role, with its organisation's policies, its boundary and all that is attached to it."""
    subject = f"permissions of {role.name}"
    results = [result for statement in role.statements for result in _simulated(iam, role.arn, statement)]
    refused = [(action, resource, reason) for action, resource, reason in results if reason]
    # The simulation does not read policies of other accounts, which may allow it.
    undecided = {
        resource
        for _, resource, reason in refused
        if reason == _NOBODY_ALLOWS and resource.startswith("arn:") and resource.split(":")[4] not in ("", account)
    }
    for action, resource, reason in refused:
        if resource not in undecided:
            fix = _FIXES.get(reason, "ask your administrator to allow it")
            yield problem(subject, f"{action} on {resource} is denied: {reason}", fix)
    if undecided:
        text = f"IAM's simulation cannot decide whether the owner of {', '.join(sorted(undecided))} allows it"
        yield warning(subject, text, "nothing: TryModel of the first run shows it, before anything is paid")
    if not refused:
        yield ok(subject, f"all {len(results)} are allowed")


def _simulated(iam: Any, arn: str, statement: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Each action of a statement on each of its resources, and who denies it; "" if it is allowed."""
    actions = _listed(statement["Action"])
    request: dict[str, Any] = {"PolicySourceArn": arn, "ActionNames": actions}
    conditions = [
        (operator, key, value)
        for operator, wanted in statement.get("Condition", {}).items()
        for key, value in wanted.items()
        if operator != "Null"
    ]
    if conditions:
        request["ContextEntries"] = [
            {
                "ContextKeyName": key,
                "ContextKeyValues": [_example(_listed(value)[-1])],
                "ContextKeyType": _KINDS.get(operator.partition(":")[0], "string"),
            }
            for operator, key, value in conditions
        ]
    for pattern in _listed(statement["Resource"]):
        resource = _example(pattern)
        pages = iam.get_paginator("simulate_principal_policy").paginate(ResourceArns=[resource], **request)
        decisions = {result["EvalActionName"]: result for page in pages for result in page["EvaluationResults"]}
        # An action that IAM leaves out of its answer is one that it does not know.
        for action in actions:
            yield action, resource, _reason(decisions.get(action, {"EvalDecision": "implicitDeny"}))


def _reason(result: dict[str, Any]) -> str:
    """Who refuses, as far as IAM says."""
    if result["EvalDecision"] == "allowed":
        return ""
    if result.get("OrganizationsDecisionDetail", {}).get("AllowedByOrganizations") is False:
        return "a policy of your organisation"
    if result.get("PermissionsBoundaryDecisionDetail", {}).get("AllowedByPermissionsBoundary") is False:
        return "the permissions boundary of the role"
    return _DENIED if result["EvalDecision"] == "explicitDeny" else _NOBODY_ALLOWS


def _example(pattern: str) -> str:
    """A value that a pattern matches; "*" alone stays, which IAM takes for no resource in particular."""
    return pattern if pattern == "*" else pattern.replace("*", _ANY)


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
