"""Rehearsed accounts whose jobs and endpoints finish at once: with the deployed project, or with machines and functions of a few lines."""

import fcntl
import io
import json
import os
import textwrap
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from common.contracts import run_folder
from common.names import run_name
from rehearsal.account.cloud import Cloud
from rehearsal.conductor.files import upload
from rehearsal.conductor.options import Options
from rehearsal.step_functions.executions import Execution
from stacks.assembly import Assembly, synthesize
from tests.doubles import PATIENCE_SECONDS
from verification.fake_engines import FakeHosting, FakeTraining

PROJECT = Path(__file__).parents[3]


def shared_assembly(folders: pytest.TempPathFactory, **settings: str) -> Path:
    """The project's cloud assembly, made once for all processes of a test run: synthesis takes ten seconds and more."""
    base = folders.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    name = "-".join(("assembly", *(f"{key}={value}" for key, value in sorted(settings.items()))))
    folder = shared / name.replace("/", "_")
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released as the file is closed
        if not folder.exists():
            synthesize(PROJECT, Path(f"{folder}.part"), settings).folder.rename(folder)
    return folder


class DeployedProject:
    """Starts runs of the deployed project and reads what they called, wrote and reported."""

    def __init__(self, cloud: Cloud, assembly: Path) -> None:
        self.cloud = cloud
        self.deployment = cloud.deploy(Assembly(assembly))

    def start(self, **run_input: Any) -> Execution:
        """Starts FineTuning with one answer to each prompt; on a slice of the project's own texts if no corpus is named."""
        if "corpus" not in run_input:
            run_input = {**upload(self.cloud, Options(project=PROJECT, quick=True), "medical"), **run_input}
        return self.cloud.start({"samplesPerPrompt": 0, **run_input})

    def run(self, **run_input: Any) -> Execution:
        """The same, and waits until the run and its TearDown have ended."""
        execution = self.start(**run_input)
        self.cloud.settle(execution, timeout=PATIENCE_SECONDS)
        return execution

    def tear_downs(self) -> list[Execution]:
        return self.cloud.executions.of_machine(self.deployment.tear_down)

    def requests(self, operation: str) -> list[dict[str, Any]]:
        return [dict(call.request) for call in self.cloud.calls if call.operation == operation]

    def put(self, key: str, content: bytes) -> None:
        self.cloud.client("s3").put_object(Bucket=self.deployment.bucket, Key=key, Body=content)

    def read(self, key: str) -> bytes:
        return bytes(self.cloud.client("s3").get_object(Bucket=self.deployment.bucket, Key=key)["Body"].read())

    def document(self, execution: Execution, path: str) -> dict[str, Any]:
        return dict(json.loads(self.read(run_folder.key(run_name(execution.name), path))))

    def ledger_item(self, execution: Execution) -> dict[str, Any]:
        key = {"pk": {"S": f"RUN#{run_name(execution.name)}"}}
        item = self.cloud.client("dynamodb").get_item(TableName=self.deployment.table, Key=key).get("Item", {})
        return {name: next(iter(value.values())) for name, value in item.items()}

    def emails(self) -> list[tuple[str, str]]:
        """The subject and text of each e-mail to the owner."""
        return [(str(subject), text) for topic, subject, text in self.cloud.messages if topic == self.deployment.topic]

    def role_of(self, function: str) -> str:
        """The name of the role that a function acts as, which is the access key id of its calls."""
        name = self.deployment.functions[function]
        configuration = self.cloud.client("lambda").get_function_configuration(FunctionName=name)
        return str(configuration["Role"]).rpartition("/")[2]

    def nothing_left(self) -> bool:
        """Whether nothing that bills, and no schedule, is left of any run."""
        return not any(self.cloud.leftovers().values())


@contextmanager
def deployed_project(folder: Path, assembly: Path, **account: Any) -> Iterator[DeployedProject]:
    """A new account with the project in it; `account` goes to `Cloud`, such as its quotas, prices and time scale."""
    usual: dict[str, Any] = {"training": FakeTraining(), "hosting": FakeHosting(), "time_scale": 5000}
    with Cloud(folder, **usual | account) as cloud:
        yield DeployedProject(cloud, assembly)


# a small account for tests of the rehearsal itself

ROLE = "arn:aws:iam::123456789012:role/machine-role"
FUNCTION_ROLE = "arn:aws:iam::123456789012:role/function-role"


class Workbench:
    """Makes state machines and Lambda functions in a cloud."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._count = 0
        trusted = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
        trust = json.dumps({"Version": "2012-10-17", "Statement": [trusted]})
        cloud.client("iam").create_role(RoleName=FUNCTION_ROLE.rpartition("/")[2], AssumeRolePolicyDocument=trust)

    def machine(self, states: dict[str, Any], **more: Any) -> str:
        """Create a JSONata state machine that starts at its first state; return its ARN."""
        self._count += 1
        definition = {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states, **more}
        answer = self.cloud.client("stepfunctions").create_state_machine(
            name=f"machine-{self._count}", definition=json.dumps(definition), roleArn=ROLE
        )
        return str(answer["stateMachineArn"])

    def run(self, states: dict[str, Any], run_input: Any = None, **more: Any) -> Execution:
        execution = self.cloud.start(run_input, machine=self.machine(states, **more))
        self.cloud.settle(execution, timeout=PATIENCE_SECONDS)
        return execution

    def evaluate(self, expression: str, run_input: Any = None) -> Execution:
        """Run a machine whose output is one JSONata expression."""
        return self.run({"Say": {"Type": "Pass", "Output": f"{{% {expression} %}}", "End": True}}, run_input)

    def function(self, name: str, code: str, *, timeout: int = PATIENCE_SECONDS, **variables: str) -> str:
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


def sdk(action: str, arguments: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A Task state that calls an AWS API and ends."""
    resource = f"arn:aws:states:::aws-sdk:{action}"
    return {"Type": "Task", "Resource": resource, "Arguments": arguments, "End": True, **fields}
