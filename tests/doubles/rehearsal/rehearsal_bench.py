"""A small account for tests of the rehearsal itself: machines and functions of a few lines."""

from __future__ import annotations

import io
import json
import textwrap
import zipfile
from typing import Any

from rehearsal.account.cloud import Cloud
from rehearsal.step_functions.executions import Execution

ROLE = "arn:aws:iam::123456789012:role/machine-role"
FUNCTION_ROLE = "arn:aws:iam::123456789012:role/function-role"

LAMBDA_TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
        ],
    }
)


class Bench:
    """Makes state machines and Lambda functions in a cloud."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._count = 0
        cloud.client("iam").create_role(
            RoleName=FUNCTION_ROLE.rpartition("/")[2], AssumeRolePolicyDocument=LAMBDA_TRUST
        )

    def machine(self, states: dict[str, Any], **more: Any) -> str:
        """Create a JSONata state machine that starts at its first state; return its ARN."""
        self._count += 1
        definition = {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states, **more}
        answer = self.cloud.client("stepfunctions").create_state_machine(
            name=f"machine-{self._count}", definition=json.dumps(definition), roleArn=ROLE
        )
        return str(answer["stateMachineArn"])

    def run(self, states: dict[str, Any], run_input: Any = None, **more: Any) -> Execution:
        """Run a machine to its end."""
        execution = self.cloud.start(run_input, machine=self.machine(states, **more))
        self.cloud.settle(execution, timeout=20)
        return execution

    def evaluate(self, expression: str, run_input: Any = None) -> Execution:
        """Run a machine whose output is one JSONata expression."""
        return self.run({"Say": {"Type": "Pass", "Output": f"{{% {expression} %}}", "End": True}}, run_input)

    def function(self, name: str, code: str, *, timeout: int = 5, **variables: str) -> str:
        """Create a Lambda function `main.handle`; return its name."""
        memory = io.BytesIO()
        with zipfile.ZipFile(memory, "w") as archive:
            archive.writestr("main.py", textwrap.dedent(code))
        self.cloud.client("lambda").create_function(
            FunctionName=name, Role=FUNCTION_ROLE, Runtime="python3.14", Handler="main.handle", Timeout=timeout,
            Code={"ZipFile": memory.getvalue()}, Environment={"Variables": variables},
        )  # fmt: skip
        return name

    def invoke(self, name: str, event: Any = None) -> tuple[Any, bool]:
        """Invoke a function; return its answer and whether that is an error."""
        answer = self.cloud.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event).encode())
        return json.loads(answer["Payload"].read()), "FunctionError" in answer


def call(name: str, payload: Any = "{% $states.input %}", **fields: Any) -> dict[str, Any]:
    """A Task state that invokes a function and ends."""
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": name, "Payload": payload},
        "Output": "{% $states.result.Payload %}",
        **({"End": True} if "Next" not in fields else {}),
        **fields,
    }


def sdk(action: str, arguments: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A Task state that calls an AWS API and ends."""
    end = {"End": True} if "Next" not in fields else {}
    return {"Type": "Task", "Resource": f"arn:aws:states:::aws-sdk:{action}", "Arguments": arguments, **end, **fields}
