"""What a person does, in the README's order: bootstrap, deploy, one run with {}, destroy. Each step gives a contract."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from verification.conformance.contract import Contract
from verification.conformance.deploy import inventory
from verification.conformance.deploy.account import REGION, Account
from verification.conformance.deploy.account import version as emulator_version
from verification.conformance.deploy.cdk import Commands
from verification.conformance.deploy.cdk import version as cdk_version
from verification.conformance.deploy.expected import Expected, calls_of

STORAGE, RUNS, GUARDRAIL = "Captune-Storage", "Captune-FineTuning", "Captune-Guardrail"
_ALL = (STORAGE, RUNS, GUARDRAIL)
_RUN_SECONDS, _TEAR_DOWN_SECONDS, _PAUSE_SECONDS = 300.0, 180.0, 0.5
Found = TypeVar("Found")
_RIGHTS = "what the functions call of the emulator (not of the SageMaker stand-in) is held against their roles' policies by its IAM"
_HEARD = "conformance-hears"  # the queue that stands for the owner's mailbox


class NeverCame(RuntimeError):
    """Something did not happen within its time."""


class Journey:
    """One person's way through an empty account.

    Args:
        account: the account.
        commands: the person's shell.
        expected: what the rehearsal does.
        assembly: a synthesized project to deploy as it is; None lets the CDK CLI synthesize it, as it does for a person.
        weights: the S3 URI of the gated weights, of which the account has to have one object.
    """

    def __init__(
        self, account: Account, commands: Commands, expected: Expected, assembly: Path | None, weights: str
    ) -> None:
        self._account, self._commands, self._expected = account, commands, expected
        self._app = ["--app", str(assembly)] if assembly is not None else ["--context", "accept_eula=true"]
        self._weights = weights
        self._against = f"aws-cdk CLI {cdk_version()} and {emulator_version()}"
        self._before: inventory.Inventory = frozenset()
        self._outputs: dict[str, str] = {}
        self._execution = ""

    def deploy(self) -> Contract:
        """`cdk bootstrap` and `cdk deploy --all`: every resource of every stack is there."""
        begin = time.monotonic()
        self._commands.cdk("bootstrap", "bootstrap", *self._app)
        self._put_weights()
        self._before = inventory.take(self._account.client)
        self._commands.cdk("deploy", "deploy", "--all", "--require-approval", "never", *self._app)
        problems, resources = list[str](), 0
        client = self._account.client("cloudformation")
        for name in _ALL:
            (stack,) = client.describe_stacks(StackName=name)["Stacks"]
            self._outputs |= {item["OutputKey"]: item["OutputValue"] for item in stack.get("Outputs", [])}
            if stack["StackStatus"] != "CREATE_COMPLETE":
                problems.append(f"{name} is {stack['StackStatus']}")
            for resource in client.describe_stack_resources(StackName=name)["StackResources"]:
                resources += 1
                if resource["ResourceStatus"] != "CREATE_COMPLETE":
                    problems.append(f"{name}, {resource['LogicalResourceId']}: {resource['ResourceStatus']}")
        figures = f"{resources} resources of {len(_ALL)} stacks in {time.monotonic() - begin:.0f} s; {self._ignored()}"
        return Contract("deploy", resources, self._against, tuple(problems), figures)

    def run(self) -> Contract:
        """`start-execution` with {}: it succeeds through the states of a success, and its report is there."""
        self._listen()
        begin, states = time.monotonic(), self._account.client("stepfunctions")
        started = states.start_execution(stateMachineArn=self._outputs["FineTuningArn"], input="{}")
        self._execution = started["executionArn"]
        ended = self._until_over(self._execution, _RUN_SECONDS)
        entered = self._entered(self._execution)
        problems = differences(entered, self._expected.run)
        if ended["status"] != "SUCCEEDED":
            problems.append(f"the run {ended['status']}: {ended.get('error')}: {ended.get('cause')}")
        else:
            bucket, _, prefix = str(json.loads(ended["output"])["report"]).removeprefix("s3://").partition("/")
            files = self._account.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
            problems += [] if files else [f"there is no report at {bucket}/{prefix}"]
        figures = f"{len(entered)} of {len(self._expected.run)} states of a success in {time.monotonic() - begin:.0f} s; {_RIGHTS}"
        return Contract("run", len(entered), self._against, tuple(problems), figures)

    def tear_down(self) -> Contract:
        """The deployed rule starts TearDown: it succeeds, settles, publishes, and nothing is left that bills."""
        begin, states = time.monotonic(), self._account.client("stepfunctions")
        machine = self._outputs["TearDownArn"]

        def started() -> str:
            for one in states.list_executions(stateMachineArn=machine)["executions"]:
                told = json.loads(states.describe_execution(executionArn=one["executionArn"])["input"])
                if told.get("executionArn") == self._execution and told.get("reason") == "event":
                    return str(one["executionArn"])
            return ""

        arn = self._until(started, "an execution of TearDown, started by the event rule", _TEAR_DOWN_SECONDS)
        ended = self._until_over(arn, _TEAR_DOWN_SECONDS)
        entered = self._entered(arn)
        problems = differences(entered, self._expected.tear_down)
        if ended["status"] != "SUCCEEDED":
            problems.append(f"TearDown {ended['status']}: {ended.get('error')}: {ended.get('cause')}")
        problems += [f"left: {kind} {names}" for kind, names in self._account.sagemaker.leftovers().items() if names]
        schedules = [one["Name"] for one in self._account.client("scheduler").list_schedules()["Schedules"]]
        problems += [f"left: schedule {name}" for name in schedules]
        problems += [] if self._heard() else ["no result was published to the topic"]
        problems += self._ledger()
        made = calls_of(self._account.sagemaker.calls)
        if made != self._expected.calls:
            problems.append(f"{dict(made)} were called, in the rehearsal {dict(self._expected.calls)}")
        figures = (
            f"{len(entered)} states in {time.monotonic() - begin:.0f} s; settled, published, nothing left; "
            f"{made.total()} calls of {len(made)} SageMaker operations, as in the rehearsal"
        )
        return Contract("tear-down", len(entered), self._against, tuple(problems), figures if not problems else "")

    def destroy(self) -> Contract:
        """`make destroy`, step by step: what is left is what the Storage stack retains."""
        begin = time.monotonic()
        full = inventory.take(self._account.client)
        self._commands.run("destroy", [sys.executable, "-m", "operations", "--region", REGION, "destroy", "--yes"])
        self._commands.cdk("destroy", "destroy", GUARDRAIL, RUNS, "--force", *self._app)
        client = self._account.client("cloudformation")
        kept = client.describe_stack_resources(StackName=STORAGE)["StackResources"]
        ids = [str(resource["PhysicalResourceId"]) for resource in kept]
        names = {*ids, *(one.rpartition("/")[2] for one in ids)}  # of a policy, the id is its ARN
        after = inventory.take(self._account.client)
        extra = frozenset(one for one in after - self._before if one[1] not in names and one[1] != STORAGE)
        gone = len(full - after)
        problems = [f"left behind: {inventory.words(extra)}"] if extra else []
        missing = {"AWS::S3::Bucket", "AWS::DynamoDB::Table"} - {resource["ResourceType"] for resource in kept}
        problems += [f"{kind} was not kept" for kind in sorted(missing)]
        problems += [f"{one[1]} was not kept" for one in full - after if one[1] in names]
        figures = f"{gone} things gone, {STORAGE} with its {len(ids)} resources kept; {time.monotonic() - begin:.0f} s"
        return Contract("destroy", gone, self._against, tuple(problems), figures)

    # what a person sees in the console ----------------------------------------------------------------------------

    def _put_weights(self) -> None:
        bucket, _, prefix = self._weights.removeprefix("s3://").partition("/")
        s3 = self._account.client("s3")
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key=f"{prefix}config.json", Body=b"a stand-in for a gated file\n")

    def _listen(self) -> None:
        sqs, sns = self._account.client("sqs"), self._account.client("sns")
        url = sqs.create_queue(QueueName=_HEARD)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        topic = self._outputs["ResultTopicArn"]
        may_send = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [may_send]})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    def _heard(self) -> bool:
        sqs = self._account.client("sqs")
        url = sqs.get_queue_url(QueueName=_HEARD)["QueueUrl"]
        heard = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5).get("Messages", [])
        sqs.delete_queue(QueueUrl=url)
        return any("Verdict:" in str(message["Body"]) for message in heard)

    def _ledger(self) -> list[str]:
        command = [sys.executable, "-m", "operations", "--region", REGION, "ledger", "--json"]
        said = self._commands.run("ledger", command)
        name = self._execution.rpartition(":")[2]
        return (
            []
            if name in said and "settled" in said
            else [f"the ledger has no settled run {name}: {said.strip()[:300]}"]
        )

    def _ignored(self) -> str:
        kinds: dict[str, set[str]] = {}
        for line in self._account.ignored.read_text(encoding="utf-8").splitlines():
            one = json.loads(line)
            if one["stack"] in _ALL:
                kinds.setdefault(one["type"], set()).update(one["unread"])
        unread = [f"{kind} {', '.join(sorted(names))}" for kind, names in sorted(kinds.items()) if names]
        return f"not looked at by the emulator: {'; '.join(unread) or 'nothing'}"

    def _entered(self, execution: str) -> frozenset[str]:
        pages = self._account.client("stepfunctions").get_paginator("get_execution_history")
        events = (event for page in pages.paginate(executionArn=execution) for event in page["events"])
        return frozenset(e["stateEnteredEventDetails"]["name"] for e in events if "stateEnteredEventDetails" in e)

    def _until_over(self, execution: str, seconds: float) -> Mapping[str, Any]:
        client = self._account.client("stepfunctions")

        def over() -> Mapping[str, Any] | None:
            described: Mapping[str, Any] = client.describe_execution(executionArn=execution)
            return None if described["status"] == "RUNNING" else described

        return self._until(over, f"the end of {execution}", seconds)

    def _until(self, look: Callable[[], Found | None], what: str, seconds: float) -> Found:
        deadline = time.monotonic() + seconds
        while not (found := look()):
            self._account.check()
            if time.monotonic() > deadline:
                raise NeverCame(f"waited {seconds:.0f} s in vain for {what}")
            time.sleep(_PAUSE_SECONDS)
        return found


def differences(entered: frozenset[str], expected: frozenset[str]) -> list[str]:
    """Two interpreters take the same way through one definition."""
    missed, more = sorted(expected - entered), sorted(entered - expected)
    return [
        *([f"not entered, but in the rehearsal: {', '.join(missed)}"] if missed else []),
        *([f"entered, but not in the rehearsal: {', '.join(more)}"] if more else []),
    ]


def steps(journey: Journey) -> Sequence[Callable[[], Contract]]:
    """The steps in their order."""
    return (journey.deploy, journey.run, journey.tear_down, journey.destroy)
