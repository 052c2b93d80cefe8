"""An account with the stacks in it, as the owner's commands see it."""

from __future__ import annotations

from typing import Any

from tests.doubles.lambda_fakes import MACHINE, TEAR_DOWN, SageMaker, StepFunctions, arn, refusal
from tests.doubles.ledger_fakes import FakeLedger


class Machines(StepFunctions):
    """State machines that can be described as well; `deployed` holds those that exist, with their status."""

    def __init__(self, executions: dict[str, dict[str, Any]], deployed: dict[str, str]) -> None:
        super().__init__(executions)
        self.deployed = deployed

    def on_describe_state_machine(self, stateMachineArn: str) -> dict[str, Any]:
        if stateMachineArn not in self.deployed:
            raise refusal("StateMachineDoesNotExist")
        return {"stateMachineArn": stateMachineArn, "status": self.deployed[stateMachineArn]}


class Account:
    """A boto3 session of an account in which the stacks are deployed, or were, or never have been."""

    region_name = "us-east-1"

    def __init__(
        self,
        ledger: FakeLedger | None = None,
        running: tuple[str, ...] = (),
        outputs: bool = True,
        machines: dict[str, str] | None = None,
        **resources: Any,
    ) -> None:
        self._outputs = {"FineTuningArn": MACHINE, "TearDownArn": TEAR_DOWN, "LedgerTable": "ledger"} if outputs else {}
        deployed = dict.fromkeys((MACHINE, TEAR_DOWN), "ACTIVE") if machines is None else machines
        self._services = {
            "cloudformation": self,
            "sagemaker": SageMaker(**resources),
            "stepfunctions": Machines({arn(name): {"status": "RUNNING"} for name in running}, deployed),
            "dynamodb": (ledger or FakeLedger()).table,
        }

    def client(self, service: str) -> Any:
        return self._services[service]

    def get_paginator(self, operation: str) -> Account:
        assert operation == "describe_stacks"
        return self

    def paginate(self) -> list[dict[str, Any]]:
        outputs = [{"OutputKey": key, "OutputValue": value} for key, value in self._outputs.items()]
        return [{"Stacks": [{"StackName": "Captune-FineTuning", "Outputs": outputs}]}]
