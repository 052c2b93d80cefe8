"""What a person does, in the README's order: bootstrap, deploy, check, one run with {}, destroy. Each step gives a contract."""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jmespath

from rehearsal.calls import Call
from rehearsal.programs import PROJECT, StepFailed, beside_python, locked_version, node_packages, run
from rehearsal.sagemaker.s3_folders import split
from verification.conformance.contracts import Contract
from verification.conformance.deploy import account as emulator
from verification.conformance.deploy.account import NUMBER, REGION, Account

STORAGE, RUNS, GUARDRAIL = "Captune-Storage", "Captune-FineTuning", "Captune-Guardrail"
_ALL = (STORAGE, RUNS, GUARDRAIL)
_RUN_SECONDS, _TEAR_DOWN_SECONDS, _PAUSE_SECONDS = 300.0, 180.0, 0.5
_CONSOLE_INPUT = '{"Comment": "Insert your JSON here"}'
_MAILBOX = "conformance-mailbox"  # the queue that stands for the owner's mailbox
_RIGHTS = (
    "the emulator's IAM checks what the functions call of it (not of the fake SageMaker) against their roles' policies"
)
_PROPERTIES = "a property that the emulator ignores is checked by the templates' schemas alone"
Found = TypeVar("Found")
# Service, operation, where the names stand in its answer, parameters.
_LISTS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("cloudformation", "list_stacks", "StackSummaries[?StackStatus != 'DELETE_COMPLETE'].StackName", {}),
    ("s3", "list_buckets", "Buckets[].Name", {}),
    ("dynamodb", "list_tables", "TableNames[]", {}),
    ("lambda", "list_functions", "Functions[].FunctionName", {}),
    ("stepfunctions", "list_state_machines", "stateMachines[].name", {}),
    ("events", "list_rules", "Rules[].Name", {}),
    ("scheduler", "list_schedules", "Schedules[].Name", {}),
    ("sns", "list_topics", "Topics[].TopicArn", {}),
    ("logs", "describe_log_groups", "logGroups[].logGroupName", {}),
    ("cloudwatch", "describe_alarms", "MetricAlarms[].AlarmName", {}),
    ("cloudwatch", "list_dashboards", "DashboardEntries[].DashboardName", {}),
    ("iam", "list_roles", "Roles[].RoleName", {}),
    ("iam", "list_policies", "Policies[].PolicyName", {"Scope": "Local"}),
    ("sqs", "list_queues", "QueueUrls[]", {}),
    ("budgets", "describe_budgets", "Budgets[].BudgetName", {"AccountId": NUMBER}),
)


class Success(NamedTuple):
    """What a successful run does: the states it and its tear-down enter, and how often it calls each SageMaker operation.

    The states inside a Parallel are left out, as in ministack's history; the calls show that these happened.
    """

    run: set[str]
    tear_down: set[str]
    calls: Counter[str]


def calls_of(calls: Iterable[Call]) -> Counter[str]:
    """Count the calls by operation, without those that only read: their number depends on the pace."""
    reads = ("Describe", "List", "Get", "Batch")
    return Counter(call.operation for call in calls if not call.operation.startswith(reads))


@dataclass
class Journey:
    """One person's way through an empty account.

    Args:
        account: the account.
        logs: where each command's output goes.
        expected: what a success does in the rehearsal.
        app: the CDK CLI's options that say what to deploy.
        weights: the S3 URI of the gated weights, of which the account has to have one object.
    """

    account: Account
    logs: Path
    expected: Success
    app: Sequence[str]
    weights: str
    _before: frozenset[tuple[str, str]] = frozenset()
    _outputs: dict[str, str] = field(default_factory=dict)
    _execution: str = ""

    def deploy(self) -> Contract:
        """`cdk bootstrap`, `captune dev deployable` and `cdk deploy --all`: every resource of every stack is there."""
        begin = time.monotonic()
        self._cdk("bootstrap", "bootstrap")
        self._put_weights()
        self._before = inventory_of(self.account.client)
        self._captune("dev deployable", *self.app)
        self._cdk("deploy", "deploy", "--all", "--require-approval", "never")
        client, states = self.account.client("cloudformation"), dict[str, str]()
        for name in _ALL:
            (stack,) = client.describe_stacks(StackName=name)["Stacks"]
            self._outputs |= {item["OutputKey"]: item["OutputValue"] for item in stack.get("Outputs", [])}
            resources = client.describe_stack_resources(StackName=name)["StackResources"]
            states |= {f"{name}, {one['LogicalResourceId']}": one["ResourceStatus"] for one in resources}
            states[name] = stack["StackStatus"]
        problems = [f"{what} is {state}" for what, state in states.items() if state != "CREATE_COMPLETE"]
        count = len(states) - len(_ALL)
        figures = f"{count} resources of {len(_ALL)} stacks in {time.monotonic() - begin:.0f} s"
        return self._contract("deploy", count, problems, f"{figures}; {_PROPERTIES}")

    def check(self) -> Contract:
        """`captune check`: each deployed stack is what this checkout would deploy, as the emulator gives its template back."""
        begin = time.monotonic()
        # Code 1: the emulator knows no quotas, for example, which are problems of their own.
        printed = self._captune("check", *self.app, accepted=(0, 1))
        expected = [f"{name}: CREATE_COMPLETE, as in this checkout" for name in _ALL]
        problems = [f"captune check does not say: {line}" for line in expected if line not in printed]
        self.account.gateway.clear()  # its calls are not the run's
        return self._contract("check", len(expected), problems, f"in {time.monotonic() - begin:.0f} s")

    def run(self) -> Contract:
        """`start-execution` with the console's example input: it succeeds through the states of a success with {}, and its report is there."""
        self._open_mailbox()
        begin, states = time.monotonic(), self.account.client("stepfunctions")
        started = states.start_execution(stateMachineArn=self._outputs["FineTuningArn"], input=_CONSOLE_INPUT)
        self._execution = started["executionArn"]
        ended, entered, problems = self._end_of(self._execution, self.expected.run, _RUN_SECONDS)
        if not problems:
            bucket, prefix = split(json.loads(ended["output"])["report"])
            files = self.account.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
            problems += [] if files else [f"there is no report at {bucket}/{prefix}"]
        figures = f"{entered} of {len(self.expected.run)} states of a success in {time.monotonic() - begin:.0f} s"
        return self._contract("run", entered, problems, f"{figures}; {_RIGHTS}")

    def tear_down(self) -> Contract:
        """The deployed rule starts TearDown: it succeeds, settles, publishes, and nothing is left that bills."""
        begin, states = time.monotonic(), self.account.client("stepfunctions")

        def started() -> str:
            executions = states.list_executions(stateMachineArn=self._outputs["TearDownArn"])["executions"]
            return str(executions[0]["executionArn"]) if executions else ""

        arn = self._wait_for(started, "an execution of TearDown", _TEAR_DOWN_SECONDS)
        ended, entered, problems = self._end_of(arn, self.expected.tear_down, _TEAR_DOWN_SECONDS)
        given = json.loads(ended["input"])
        if (given.get("executionArn"), given.get("reason")) != (self._execution, "event"):
            problems.append(f"it was not the run's event that started it: {given}")
        problems += [
            f"left: {kind} {names}" for kind, names in self.account.sagemaker.control_plane.leftovers().items() if names
        ]
        schedules = self.account.client("scheduler").list_schedules()["Schedules"]
        problems += [f"left: schedule {schedule['Name']}" for schedule in schedules]
        problems += [] if self._result_published() else ["no result was published to the topic"]
        printed, name = self._captune("ledger", "--json"), self._execution.rpartition(":")[2]
        if name not in printed or "settled" not in printed:
            problems.append(f"the ledger has no run with a recorded cost {name}: {printed.strip()[:300]}")
        calls = calls_of(self.account.gateway.calls)
        if calls != self.expected.calls:
            problems.append(f"the calls were {dict(calls)}, in the rehearsal {dict(self.expected.calls)}")
        figures = f"{entered} states in {time.monotonic() - begin:.0f} s; cost recorded, report published, nothing left"
        figures += f"; {calls.total()} calls of {len(calls)} SageMaker operations, as in the rehearsal"
        return self._contract("tear-down", entered, problems, figures if not problems else "")

    def destroy(self) -> Contract:
        """`make destroy`, step by step: what is left is what the Storage stack retains."""
        begin, client = time.monotonic(), self.account.client("cloudformation")
        full = inventory_of(self.account.client)
        self._captune("destroy", "--yes")
        self._cdk("cdk-destroy", "destroy", GUARDRAIL, RUNS, "--force")
        kept = client.describe_stack_resources(StackName=STORAGE)["StackResources"]
        ids = [str(resource["PhysicalResourceId"]) for resource in kept]
        names = {STORAGE, *ids, *(one.rpartition("/")[2] for one in ids)}  # the id of a policy is its ARN
        after = inventory_of(self.account.client)
        extra = sorted(one for one in after - self._before if one[1] not in names)
        problems = [f"left behind: {kind} {name}" for kind, name in extra]
        missing = {"AWS::S3::Bucket", "AWS::DynamoDB::Table"} - {resource["ResourceType"] for resource in kept}
        problems += [f"{name} was not kept" for name in (*missing, *(one for _, one in full - after if one in names))]
        gone, seconds = len(full - after), time.monotonic() - begin
        figures = f"{gone} things gone, {STORAGE} with its {len(ids)} resources kept; {seconds:.0f} s"
        return self._contract("destroy", gone, problems, figures)

    def _contract(self, name: str, count: int, problems: Sequence[str], figures: str) -> Contract:
        against = f"aws-cdk CLI {locked_version(PROJECT, 'aws-cdk')} and {emulator.version()}"
        return Contract(name, count, against, problems, figures)

    # a person's commands and what the console shows ---------------------------------------------------------------

    def _cdk(self, log: str, *arguments: str) -> None:
        cdk = node_packages(PROJECT, "conformance-cdk") / "node_modules" / ".bin" / "cdk"
        self._command(log, str(cdk), *arguments, *self.app)

    def _captune(self, command: str, *arguments: str, accepted: Collection[int] = (0,)) -> str:
        words = [sys.executable, "-m", "captune", *command.split(), "--region", REGION, *arguments]
        return self._command(command.replace(" ", "-"), *words, accepted=accepted)

    def _command(self, log: str, *command: str, accepted: Collection[int] = (0,)) -> str:
        environment = {
            **self.account.environment(),
            "PATH": f"{beside_python('node').parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONDONTWRITEBYTECODE": "1",  # what Python leaves behind would change the assets
            "CI": "true",  # plain lines
            "CDK_DISABLE_CLI_TELEMETRY": "true",
            "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20",
        }
        return run(command, environment, self.logs / f"{log}.log", accepted=accepted)

    def _put_weights(self) -> None:
        bucket, prefix = split(self.weights)
        s3 = self.account.client("s3")
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key=f"{prefix}config.json", Body=b"a stand-in for a gated file\n")

    def _open_mailbox(self) -> None:
        sqs, topic = self.account.client("sqs"), self._outputs["ResultTopicArn"]
        url = sqs.create_queue(QueueName=_MAILBOX)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        may_send = {
            "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }  # fmt: skip
        policy = json.dumps({"Version": "2012-10-17", "Statement": [may_send]})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        self.account.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    def _result_published(self) -> bool:
        sqs = self.account.client("sqs")
        url = sqs.get_queue_url(QueueName=_MAILBOX)["QueueUrl"]
        messages = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5).get("Messages", [])
        sqs.delete_queue(QueueUrl=url)
        return any("Verdict:" in str(message["Body"]) for message in messages)

    def _end_of(self, execution: str, expected: set[str], seconds: float) -> tuple[Mapping[str, Any], int, list[str]]:
        """Waits for the end of an execution: its description, how many states it entered, and what is wrong with them."""
        client = self.account.client("stepfunctions")

        def over() -> Mapping[str, Any] | None:
            described: Mapping[str, Any] = client.describe_execution(executionArn=execution)
            return None if described["status"] == "RUNNING" else described

        ended = self._wait_for(over, f"the end of {execution}", seconds)
        pages = client.get_paginator("get_execution_history").paginate(executionArn=execution)
        entered = set(pages.search("events[].stateEnteredEventDetails.name"))
        problems = [f"{name}: not entered, but in the rehearsal" for name in sorted(expected - entered)]
        problems += [f"{name}: entered, but not in the rehearsal" for name in sorted(entered - expected)]
        if ended["status"] != "SUCCEEDED":
            problems.append(f"it ended as {ended['status']} {ended.get('error')}: {ended.get('cause')}")
        return ended, len(entered), problems

    def _wait_for(self, look: Callable[[], Found | None], what: str, seconds: float) -> Found:
        deadline = time.monotonic() + seconds
        while not (found := look()):
            if time.monotonic() > deadline:
                raise StepFailed(f"waited {seconds:.0f} s in vain for {what}")
            time.sleep(_PAUSE_SECONDS)
        return found


def inventory_of(client: Callable[[str], Any]) -> frozenset[tuple[str, str]]:
    """Return the kind and name of everything in an account, through clients made by service name; deleted stacks are left out."""
    found: set[tuple[str, str]] = set()
    for service, operation, names, parameters in _LISTS:
        api = client(service)
        if api.can_paginate(operation):
            answers = api.get_paginator(operation).paginate(**parameters)
        else:
            answers = [getattr(api, operation)(**parameters)]
        kind = f"{service} {names.partition('[')[0]}"
        found |= {(kind, name) for answer in answers for name in jmespath.search(names, answer) or ()}
    return frozenset(found)
