"""What is deployed: the CDK bootstrap, the stacks beside what this checkout would deploy, and whether Step Functions accepts the definitions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from captune.check.findings import Finding, Findings, later, ok, problem, unless, warning
from captune.destroy import STORAGE
from stacks.names import ONE_PER_ACCOUNT

TOOLKIT = "CDKToolkit"  # the stack that `cdk bootstrap` makes
_OWN_KEY = "FileAssetsBucketEncryptionKey"
_HEALTHY = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE")
_NEVER_MADE = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "REVIEW_IN_PROGRESS")
_BOOTSTRAP = "make bootstrap"
_MOST_DIAGNOSTICS = 100  # the API's own limit of maxResults


@dataclass
class Deployed:
    """What CloudFormation knows of the stacks: outputs by name, physical ids by stack and logical id.

    `stacks` are those of ours that exist, without the remains of a failed first deployment. None means unknown.
    """

    stacks: set[str] | None = None
    outputs: dict[str, str] = field(default_factory=dict)
    ids: dict[tuple[str, str], str] = field(default_factory=dict)


def bootstrap(ssm: Any, parameter: str, needed: int) -> Findings:
    """Whether `cdk bootstrap` was run in this account and region, and new enough for these stacks."""
    kept = unless("ParameterNotFound", lambda: ssm.get_parameter(Name=parameter))
    version = int(kept["Parameter"]["Value"]) if kept else 0
    if not kept:
        yield problem("cdk bootstrap", "was not run in this account and region", _BOOTSTRAP)
    elif version < needed:
        yield problem("cdk bootstrap", f"is of version {version}, and {needed} is needed", _BOOTSTRAP)
    else:
        yield ok("cdk bootstrap", f"version {version}")


def assets_key(s3: Any, cloudformation: Any, bucket: str) -> Findings:
    """Whether Preflight may decrypt its own files. The key that the bootstrap makes lets every role of the account do so."""
    found = unless("NoSuchBucket", lambda: s3.get_bucket_encryption(Bucket=bucket))
    if not found:
        return  # what is to be mended is the bootstrap, and that was said
    rules = found["ServerSideEncryptionConfiguration"]["Rules"]
    keys = [rule.get("ApplyServerSideEncryptionByDefault", {}).get("KMSMasterKeyID") for rule in rules]
    given = [key for key in keys if key and not key.endswith("alias/aws/s3")]
    # ValidationError: no such stack, or no such resource in it.
    own = {"StackName": TOOLKIT, "LogicalResourceId": _OWN_KEY}
    if not given or unless("ValidationError", lambda: cloudformation.describe_stack_resource(**own)):
        yield ok("bootstrap's key", "Preflight may read what is deployed")
        return
    fix = "its policy must let roles of this account decrypt through S3 (kms:Decrypt with kms:ViaService); else runs end as AssetUnreadable"
    yield warning("bootstrap's key", f"the assets are encrypted with a key of yours, {given[0]}", fix)


def read(cloudformation: Any, names: Mapping[str, dict[str, Any]], deployed: Deployed) -> Findings:
    """The state of each stack, and whether it is what this checkout would deploy; fills `deployed`."""
    pages = cloudformation.get_paginator("describe_stacks").paginate()
    found = {stack["StackName"]: stack for page in pages for stack in page["Stacks"] if stack["StackName"] in names}
    deployed.stacks = {name for name, stack in found.items() if stack["StackStatus"] not in _NEVER_MADE}
    # First what later questions need of all stacks: whichever question AWS refuses ends this reading.
    for stack in found.values():
        deployed.outputs.update({one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])})
    for name in found:
        for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=name):
            for resource in page["StackResourceSummaries"]:
                if "PhysicalResourceId" in resource and resource["ResourceStatus"] != "DELETE_COMPLETE":
                    deployed.ids[name, resource["LogicalResourceId"]] = resource["PhysicalResourceId"]
    for name, template in names.items():
        if name in found:
            yield _state(cloudformation, found[name], template)
        else:
            yield later(name, "is not deployed")


def only_region(iam: Any, account: str, deployed: Deployed) -> Findings:
    """Whether another region of the account has a deployment, or has kept its data: Any would refuse a second one."""
    if deployed.stacks is None or STORAGE in deployed.stacks:
        return  # not known, or it is this one
    arn = f"arn:aws:iam::{account}:policy/{ONE_PER_ACCOUNT}"
    if not unless("NoSuchEntity", lambda: iam.get_policy(PolicyArn=arn)):
        yield ok("one region", "no other region of this account has a deployment")
        return
    text = f"another region of this account has a deployment, or its data ({ONE_PER_ACCOUNT} exists), and a second one would have a cap of its own"
    fix = "go on in that region, or destroy it there with its data: deploy with retain_data=false, then make destroy DATA=delete"
    yield problem("one region", text, fix)


def _state(cloudformation: Any, stack: dict[str, Any], template: dict[str, Any]) -> Finding:
    name, status = stack["StackName"], stack["StackStatus"]
    if status == "REVIEW_IN_PROGRESS":
        return later(name, "is not deployed: a first deployment was begun and not gone on with")
    if status in _NEVER_MADE:
        # The CDK protects a stack before it makes anything of it, and so cannot remove what its own failure leaves.
        protected = stack.get("EnableTerminationProtection", False)
        allow = "update-termination-protection --no-enable-termination-protection"
        first = f"aws cloudformation {allow} --stack-name {name}, then " if protected else ""
        fix = f"{first}aws cloudformation delete-stack --stack-name {name}, then make deploy"
        return problem(name, "its first deployment failed, and only its remains are there", fix)
    if status.endswith("_IN_PROGRESS"):
        return warning(name, f"is being changed ({status})", "wait, then run captune check again")
    if status == "UPDATE_ROLLBACK_COMPLETE":
        return warning(name, "its last deployment failed and was taken back", "see its events, then make deploy")
    if status not in _HEALTHY:
        return problem(name, f"is {status}", "see its events in the CloudFormation console, then make deploy")
    body = cloudformation.get_template(StackName=name, TemplateStage="Original")["TemplateBody"]
    if _as_given_back(json.loads(body) if isinstance(body, str) else body) != _as_given_back(template):
        return warning(name, f"{status}, but not what this checkout would deploy", "make deploy")
    return ok(name, f"{status}, as in this checkout")


def _as_given_back(template: Mapping[str, Any]) -> str:
    """A template as text, without what differs between the one that was synthesized and what GetTemplate makes of it.

    The CDK CLI adds Metadata to resources, the paths of constructs and assets. CloudFormation gives `?` for each
    character beyond ASCII (aws-cloudformation/cloudformation-coverage-roadmap#814); an e-mail address may have some.
    """
    resources = {
        name: {key: value for key, value in resource.items() if key != "Metadata"}
        for name, resource in template.get("Resources", {}).items()
    }
    text = json.dumps({**template, "Resources": resources}, sort_keys=True, ensure_ascii=False)
    return re.sub(r"[^\x00-\x7f]", "?", text)


def definition(states: Any, name: str, text: str) -> Findings:
    """Whether Step Functions' own validation accepts a definition with its substitutions.

    Only `result` is promised to stay as it is (API reference of ValidateStateMachineDefinition), so it alone decides.
    """
    subject = f"definition of {name}"
    request = {"definition": text, "type": "STANDARD", "severity": "WARNING", "maxResults": _MOST_DIAGNOSTICS}
    answer = states.validate_state_machine_definition(**request)
    said = [f"{one.get('location') or 'the whole'}: {one['message']} ({one['code']})" for one in answer["diagnostics"]]
    shown = "; ".join(said) or "no reason was given"
    file = f"stacks/{name.removeprefix('captune-').replace('-', '_')}.asl.yaml"
    if answer["result"] != "OK":
        yield problem(subject, f"Step Functions refuses it: {shown}", f"mend the state in {file}")
    elif said:
        yield warning(subject, f"accepted, with doubts: {shown}", f"look at the state in {file}")
    else:
        yield ok(subject, f"accepted, {len(json.loads(text)['States'])} states, {len(text) / 1024:.0f} KiB")
