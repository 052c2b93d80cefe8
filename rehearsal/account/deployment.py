"""Deployment into the rehearsed account: assets uploaded, stacks and state machines created, functions subscribed.

Everything is found by its type and by what refers to what, never by a logical id.
"""

import json
import logging
import warnings
from typing import Any, Self

from moto.cloudformation.models import cloudformation_backends
from moto.cloudformation.parsing import clean_json, resource_class_from_type
from moto.dynamodb.models import dynamodb_backends
from moto.scheduler.models import scheduler_backends

from rehearsal.sagemaker.s3_folders import is_jumpstart, split
from stacks.assembly import Assembly, Stack, substituted

from .clients import ACCOUNT, Clients

_MACHINE = "AWS::StepFunctions::StateMachine"
_WEIGHTS_MARKERS = ("config.json", "tokenizer.model", "model-00001-of-00002.safetensors")


class Deployment:
    """What was deployed: the `definitions` that the state machines (ARNs) run, resource types that moto leaves out (`unsupported`), and `functions` by the first part of their handler, for example "preflight".

    FineTuning's own calls are known by the name of its role; `topic` is the ARN of the topic of results.
    """

    def __init__(self, clients: Clients, assembly: Assembly) -> None:
        self._clients = clients
        self.assembly = assembly
        self.definitions: dict[str, str] = {}
        self.unsupported: set[str] = set()
        self.functions: dict[str, str] = {}
        self.fine_tuning = self.fine_tuning_role = self.tear_down = self.bucket = self.table = self.topic = ""
        self._kept: set[tuple[str, str]] = set()

    @classmethod
    def create(cls, clients: Clients, assembly: Assembly) -> Self:
        """Deploy an assembly. Raises RuntimeError where a stack failed."""
        deployment = cls(clients, assembly)
        deployment._bootstrap()
        for stack in assembly.stacks():
            deployment._create_stack(stack)
        deployment._find_functions()
        deployment._weights_bucket()
        deployment._kept = set(deployment._objects())
        return deployment

    def _bootstrap(self) -> None:
        """What `cdk bootstrap` makes, and what `cdk deploy` uploads."""
        s3, region = self._clients.get("s3"), self._clients.region
        self._clients.get("ssm").put_parameter(Name="/cdk-bootstrap/hnb659fds/version", Value="30", Type="String")
        made: set[str] = set()
        for asset in self.assembly.assets(ACCOUNT, region):
            if asset.bucket not in made:
                _create_bucket(s3, asset.bucket, region)
                made.add(asset.bucket)
            s3.put_object(Bucket=asset.bucket, Key=asset.key, Body=asset.content())

    def _create_stack(self, stack: Stack) -> None:
        client = self._clients.get("cloudformation")
        declared = stack.template.get("Resources", {})
        machines = {name for name, resource in declared.items() if resource["Type"] == _MACHINE}
        # Moto logs each resource that it does not simulate, each time: `unsupported` holds their types.
        logging.getLogger("moto").setLevel(logging.ERROR)
        for resource in declared.values():
            if resource_class_from_type(resource["Type"]) is None:
                self.unsupported.add(resource["Type"])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*not supported by moto's CloudFormation.*")
            client.create_stack(
                StackName=stack.name, TemplateBody=json.dumps(_by_reference(stack.template, machines)),
                Capabilities=["CAPABILITY_NAMED_IAM"],
            )  # fmt: skip
        described = client.describe_stacks(StackName=stack.name)["Stacks"][0]
        if described["StackStatus"] != "CREATE_COMPLETE":
            raise RuntimeError(
                f"The stack {stack.name} is {described['StackStatus']}: {described.get('StackStatusReason')}. Correct its template in stacks/."
            )
        backend = cloudformation_backends[ACCOUNT][self._clients.region]
        resources = backend.get_stack(stack.name).resource_map
        for logical_id, resource in declared.items():
            if resource["Type"] == _MACHINE:
                self._make_executable(resource, resources[logical_id], resources)
            elif resource["Type"] == "AWS::SNS::Subscription":
                properties = clean_json(resource["Properties"], resources)
                if properties["Protocol"] == "lambda":  # which moto does not make from a template
                    self._clients.get("sns").subscribe(
                        TopicArn=properties["TopicArn"], Protocol="lambda", Endpoint=properties["Endpoint"]
                    )

    def _make_executable(self, resource: dict[str, Any], machine: Any, resources: Any) -> None:
        """Create the machine where it is run, with the substitutions that moto leaves out."""
        properties = resource["Properties"]
        values = clean_json(properties.get("DefinitionSubstitutions", {}), resources)
        definition = substituted(properties["DefinitionString"], values)
        self._clients.get("stepfunctions").create_state_machine(
            name=machine.name,
            definition=definition,
            roleArn=machine.roleArn,
        )
        self.definitions[machine.arn] = definition
        if "TearDownArn" in values:
            self.fine_tuning = machine.arn
            self.fine_tuning_role = str(machine.roleArn).rpartition("/")[2]
        else:
            self.tear_down = machine.arn
            self.topic = str(values.get("ResultTopicArn", ""))

    def _find_functions(self) -> None:
        for function in self._clients.get("lambda").list_functions()["Functions"]:
            self.functions[function["Handler"].split(".")[0]] = function["FunctionName"]
            variables = function.get("Environment", {}).get("Variables", {})
            self.bucket = variables.get("BUCKET_NAME", self.bucket)
            self.table = variables.get("LEDGER_TABLE", self.table)

    def _weights_bucket(self) -> None:
        """The bucket of the weights; JumpStart's with a few names in it, so that a look at it succeeds. A person's own stays empty."""
        s3, region = self._clients.get("s3"), self._clients.region
        bucket, prefix = split(self.weights_uri)
        _create_bucket(s3, bucket, region)
        if is_jumpstart(self.weights_uri):
            for name in _WEIGHTS_MARKERS:
                s3.put_object(Bucket=bucket, Key=f"{prefix}{name}", Body=b"a stand-in for a file of weights\n")

    @property
    def weights_uri(self) -> str:
        """Where the deployed definition reads the base model's weights."""
        for stack in self.assembly.stacks():
            for resource in stack.template.get("Resources", {}).values():
                values = resource.get("Properties", {}).get("DefinitionSubstitutions", {})
                if "WeightsUri" in values:
                    return str(values["WeightsUri"])
        raise LookupError("No state machine of the assembly reads WeightsUri. Correct stacks/fine_tuning_stack.py.")

    def subscribers(self, topic_arn: str) -> list[str]:
        """The Lambda functions (ARNs) that subscribe to a topic."""
        listed = self._clients.get("sns").list_subscriptions_by_topic(TopicArn=topic_arn)["Subscriptions"]
        return [one["Endpoint"] for one in listed if one["Protocol"] == "lambda"]

    def _objects(self) -> list[tuple[str, str]]:
        s3 = self._clients.get("s3")
        if not self.bucket:
            return []
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return [(self.bucket, item["Key"]) for page in pages for item in page.get("Contents", [])]

    def clean(self) -> None:
        """Remove what runs have left in the bucket, the ledger and the scheduler."""
        s3 = self._clients.get("s3")
        for bucket, key in set(self._objects()) - self._kept:
            s3.delete_object(Bucket=bucket, Key=key)
        for table in dynamodb_backends[ACCOUNT][self._clients.region].tables.values():
            table.items.clear()
        for group in scheduler_backends[ACCOUNT][self._clients.region].schedule_groups.values():
            group.schedules.clear()


def _by_reference(part: Any, machines: set[str]) -> Any:
    """A template that asks for the ARN of a state machine by its Ref, which is the ARN as well: moto lacks the attribute."""
    if isinstance(part, dict):
        if list(part) == ["Fn::GetAtt"] and part["Fn::GetAtt"][1] == "Arn" and part["Fn::GetAtt"][0] in machines:
            return {"Ref": part["Fn::GetAtt"][0]}
        return {key: _by_reference(value, machines) for key, value in part.items()}
    return [_by_reference(value, machines) for value in part] if isinstance(part, list) else part


def _create_bucket(s3: Any, name: str, region: str) -> None:
    where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    s3.create_bucket(Bucket=name, **where)
