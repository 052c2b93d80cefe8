"""The synthesized templates with every reference filled in: by what is deployed, else by a name of the right form."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from captune.check.rights import Role
from preflight.account.guardrail import Guards
from stacks.assembly import substituted

# The resource part of an ARN, by the type of the resource; what CloudFormation calls Ref is its name unless it is in _REF_IS_ARN.
_ARNS = {
    "AWS::DynamoDB::Table": "dynamodb:{region}:{account}:table/{name}",
    "AWS::Events::Rule": "events:{region}:{account}:rule/{name}",
    "AWS::IAM::ManagedPolicy": "iam::{account}:policy/{name}",
    "AWS::IAM::Role": "iam::{account}:role/{name}",
    "AWS::Lambda::Function": "lambda:{region}:{account}:function:{name}",
    "AWS::Logs::LogGroup": "logs:{region}:{account}:log-group:{name}:*",
    "AWS::S3::Bucket": "s3:::{name}",
    "AWS::SNS::Topic": "sns:{region}:{account}:{name}",
    "AWS::SQS::Queue": "sqs:{region}:{account}:{name}",
    "AWS::StepFunctions::StateMachine": "states:{region}:{account}:stateMachine:{name}",
}
_REF_IS_ARN = ("AWS::IAM::ManagedPolicy", "AWS::SNS::Topic", "AWS::StepFunctions::StateMachine")
_NAMES = ("StateMachineName", "LogGroupName", "TopicName")  # where the template gives one


@dataclass(frozen=True)
class Templates:
    """The templates of an account and region. `deployed` holds physical ids by stack and logical id."""

    account: str
    region: str
    stacks: Mapping[str, dict[str, Any]]
    deployed: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def machines(self) -> list[tuple[str, str]]:
        """Name and definition of every state machine, its substitutions filled in. Raises ValueError for a reference of an unknown kind."""
        found = []
        for stack, properties in self._of_type("AWS::StepFunctions::StateMachine"):
            given = self.resolve(stack, properties.get("DefinitionSubstitutions", {}))
            found.append((properties["StateMachineName"], substituted(properties["DefinitionString"], given)))
        return found

    def alarms(self) -> list[str]:
        """The names of the CloudWatch alarms."""
        return [str(properties["AlarmName"]) for _, properties in self._of_type("AWS::CloudWatch::Alarm")]

    def guards(self) -> Guards:
        """What Preflight looks for before a run, as the template names it to Preflight."""
        functions = self._of_type("AWS::Lambda::Function")
        stack, preflight = next((stack, one) for stack, one in functions if one["Handler"].startswith("preflight."))
        given = preflight["Environment"]["Variables"]
        return Guards(**{one.name: self.resolve(stack, given[one.name.upper()]) for one in fields(Guards)})

    def roles(self) -> list[Role]:
        """The roles that are deployed, each with the statements of its inline policies."""
        found = []
        for stack, template in self.stacks.items():
            for logical_id, resource in template["Resources"].items():
                if resource["Type"] == "AWS::IAM::Role" and (stack, logical_id) in self.deployed:
                    policies = self.resolve(stack, resource["Properties"].get("Policies", []))
                    statements = [one for policy in policies for one in policy["PolicyDocument"]["Statement"]]
                    name = re.sub(r"[0-9A-F]{8}$", "", logical_id)
                    found.append(Role(name, self._attribute(stack, logical_id, "Arn"), statements))
        return found

    def resolve(self, stack: str, value: Any) -> Any:
        """A piece of a stack's template without references. Raises ValueError for one of an unknown kind."""
        match value:
            case list():
                return [self.resolve(stack, part) for part in value]
            case {"Ref": name} if len(value) == 1:
                return self._reference(stack, name)
            case {"Fn::GetAtt": [logical_id, attribute]}:
                return self._attribute(stack, logical_id, attribute)
            case {"Fn::ImportValue": export}:
                return self._imported(self.resolve(stack, export))
            case {"Fn::Join": [separator, parts]}:
                return separator.join(str(self.resolve(stack, part)) for part in parts)
            case dict() if any(key.startswith("Fn::") for key in value):
                raise ValueError(f"{stack} uses {value}, which the check cannot fill in")
            case dict():
                return {name: self.resolve(stack, part) for name, part in value.items()}
        return value

    def _reference(self, stack: str, logical_id: str) -> str:
        fixed = {"AccountId": self.account, "Partition": "aws", "Region": self.region, "URLSuffix": "amazonaws.com"}
        if (name := logical_id.removeprefix("AWS::")) in fixed:
            return fixed[name]
        kind, name = self._resource(stack, logical_id)
        return self._attribute(stack, logical_id, "Arn") if kind in _REF_IS_ARN else name

    def _attribute(self, stack: str, logical_id: str, attribute: str) -> str:
        kind, name = self._resource(stack, logical_id)
        # The physical id of a queue is its address, which ends in its name.
        own = name.rpartition("/")[2] if name.startswith("https://") else name
        if (kind, attribute) == ("AWS::SQS::Queue", "QueueName"):
            return own
        if attribute != "Arn" or kind not in _ARNS:
            raise ValueError(f"{stack} uses {attribute} of {kind}, which the check cannot fill in")
        if name.startswith("arn:"):
            return name
        return f"arn:aws:{_ARNS[kind].format(region=self.region, account=self.account, name=own)}"

    def _imported(self, export: str) -> Any:
        for stack, template in self.stacks.items():
            for entry in template.get("Outputs", {}).values():
                if entry.get("Export", {}).get("Name") == export:
                    return self.resolve(stack, entry["Value"])
        raise ValueError(f"no stack exports {export}")

    def _resource(self, stack: str, logical_id: str) -> tuple[str, str]:
        """Type and physical id of a resource; before it is deployed, a name of the right form."""
        if logical_id not in self.stacks[stack]["Resources"]:
            raise ValueError(f"{stack} has no resource {logical_id}")
        resource = self.stacks[stack]["Resources"][logical_id]
        given = [one for name in _NAMES if isinstance(one := resource.get("Properties", {}).get(name), str)]
        # Lower case, because the names of buckets are.
        own = given[0] if given else f"not-deployed-{logical_id.lower()}"
        return str(resource["Type"]), self.deployed.get((stack, logical_id), own)

    def _of_type(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for stack, template in self.stacks.items():
            for resource in template["Resources"].values():
                if resource["Type"] == kind:
                    yield stack, resource.get("Properties", {})
