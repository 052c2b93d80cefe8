"""IAM with the role that the budget action denies new spending to."""

from __future__ import annotations

from typing import Any

from tests.doubles.lambda_fakes import Service, refusal
from tests.doubles.operations.budget_fakes import POLICY


class Iam(Service):
    """IAM with one role, to which the deny policy is attached or not."""

    name = "iam"

    def __init__(self, attached: bool) -> None:
        super().__init__()
        self.attached = attached

    def on_detach_role_policy(self, RoleName: str, PolicyArn: str) -> dict[str, Any]:
        assert (RoleName, PolicyArn) == ("fine-tuning", POLICY)
        if not self.attached:
            raise refusal("NoSuchEntity")
        self.attached = False
        return {}
