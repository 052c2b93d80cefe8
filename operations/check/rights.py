"""Whether the roles allow what the machines and containers do, as IAM itself evaluates it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from operations.check.clients import Iam
from operations.check.findings import Finding, ok, problem, warning
from operations.check.needs import Need, Unread

_NOBODY_ALLOWS = "no statement allows it"


@dataclass(frozen=True)
class Role:
    """One role: what it is for, its inline policies as the template has them, and its ARN once it is deployed."""

    title: str
    policies: Sequence[dict[str, Any]]
    arn: str | None = None


@dataclass(frozen=True)
class _Refusal:
    need: Need
    result: dict[str, Any]

    @property
    def is_no_answer(self) -> bool:
        """Whether it may only be that IAM knows no policy of the resource's owner, who has to allow it as well."""
        return self.need.is_of_others and self.reason == _NOBODY_ALLOWS

    @property
    def reason(self) -> str:
        """Who refuses, as far as IAM says."""
        if self.result.get("OrganizationsDecisionDetail", {}).get("AllowedByOrganizations") is False:
            return "a policy of your organisation"
        if self.result.get("PermissionsBoundaryDecisionDetail", {}).get("AllowedByPermissionsBoundary") is False:
            return "the permissions boundary of the role"
        return "an explicit deny" if self.result["EvalDecision"] == "explicitDeny" else _NOBODY_ALLOWS


def check(iam: Iam, role: Role, needs: Sequence[Need], unread: Sequence[Unread] = ()) -> Iterator[Finding]:
    """Simulates every right: on the template's policies, or on the deployed role with all that is attached to it.

    A deployed role is judged with its organisation's policies and its boundary, which the template does not know.
    """
    subject = f"rights of {role.title}"
    all_refused = [refusal for group in _groups(needs) for refusal in _refusals(iam, role, group)]
    refused = [refusal for refusal in all_refused if not refusal.is_no_answer]
    untold = sorted({refusal.need.resource for refusal in all_refused if refusal.is_no_answer})
    where = "as deployed" if role.arn else "as the template has them"
    if not refused:
        yield ok(subject, f"all {len(needs) - len(all_refused)} are allowed, {where}")
    for refusal in refused:
        fix = (
            "if the budget alarm went off: make release; else ask who set that deny"
            if refusal.reason == "an explicit deny"
            else "make deploy; if it stays, add it in stacks/access/permissions.py"
        )
        if "organisation" in refusal.reason or "boundary" in refusal.reason:
            fix = "ask your administrator to allow it"
        yield problem(
            subject, f"{refusal.need.action} on {refusal.need.resource} is refused: {refusal.reason}, {where}", fix
        )
    if untold:
        yield warning(
            subject,
            f"IAM's simulation does not tell whether the owner of {', '.join(untold)} allows it",
            "nothing: TryModel of the first run tells, before anything is paid",
        )
    if unread:
        names = ", ".join(f"{one.call} ({one.state})" for one in unread)
        yield warning(subject, f"not simulated: {names}", "teach operations/check/needs.py what it is authorised on")


def _groups(needs: Sequence[Need]) -> list[list[Need]]:
    """Needs that one request can ask for: IAM evaluates every action of a request on every resource of it."""
    groups: dict[tuple[str, tuple[tuple[str, str], ...]], list[Need]] = {}
    for need in needs:
        groups.setdefault((need.resource, need.context), []).append(need)
    return list(groups.values())


def _refusals(iam: Iam, role: Role, group: Sequence[Need]) -> Iterator[_Refusal]:
    first = group[0]
    request: dict[str, Any] = {
        "ActionNames": [need.action for need in group],
        "ResourceArns": [first.resource],
    }
    if first.context:
        request["ContextEntries"] = [
            {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
            for key, value in first.context
        ]
    if role.arn:
        pages = iam.get_paginator("simulate_principal_policy").paginate(PolicySourceArn=role.arn, **request)
    else:
        documents = [json.dumps(document) for document in role.policies]
        pages = iam.get_paginator("simulate_custom_policy").paginate(PolicyInputList=documents, **request)
    results = {result["EvalActionName"]: result for page in pages for result in page["EvaluationResults"]}
    for need in group:
        # An action that IAM leaves out of its answer is one that it does not know.
        result = results.get(need.action, {"EvalDecision": "implicitDeny"})
        if result["EvalDecision"] != "allowed":
            yield _Refusal(need, result)
