"""What the settings may be that only the stacks know: regions, names, instance types and addresses."""

import re

from common.settings import Check, empty_or, text_of

# AWS CloudFormation has AWS::Budgets::Budget and AWS::Budgets::BudgetsAction in these regions of the standard partition
# (resource schemas of cfn-lint 1.58). Elsewhere the Guardrail stack could not be deployed, and without it there is no alarm.
BUDGET_REGIONS = (
    "us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1", "eu-west-1", "eu-west-2",
    "eu-west-3", "eu-central-1", "ap-northeast-1", "ap-northeast-2", "ap-south-1", "ap-southeast-1", "ap-southeast-2",
)  # fmt: skip

# Of these, the regions without SageMaker's instance pools, of which an endpoint of several types is made: the 16 that a public sample
# lists as of May 2026 hold all others.
REGIONS_WITHOUT_POOLS = ("us-west-1", "eu-west-3")

# 4-bit training computes in bfloat16 and the serving image is built for CUDA 13: both need an Ampere GPU or newer.
GPU_FAMILIES = ("g5", "g6", "g6e", "g7e", "p4d", "p4de", "p5", "p5e", "p5en", "p6-b200", "p6-b300")

# SageMaker's limit (botocore, InstancePreferenceList and InstancePoolList).
MOST_INSTANCE_TYPES = 5

_EMAIL = re.compile(
    r"(?=.{1,254}$)[^@\s,;<>\"]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+"
)  # 254: longest address SMTP can carry
_INSTANCE_TYPE = re.compile(r"ml\.([a-z0-9-]+)\.(\d*xlarge|large|medium)", re.ASCII)
# An address in Amazon ECR, the only registry that SageMaker pulls an endpoint's image from without a network of one's own.
IMAGE_ADDRESS = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z]{2}(-[a-z]+)+-\d)\.amazonaws\.com/"
    r"(?P<repository>[a-z0-9]+([._/-][a-z0-9]+)*):(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127})",
    re.ASCII,
)
WRITE_AN_ADDRESS = (
    "write a whole address such as 763104351884.dkr.ecr.us-east-1.amazonaws.com/vllm:server-sagemaker-cuda-v2.6, or leave it "
    "empty for the one of stacks/configuration/images.py"
)
# Characters without a special meaning in ARNs and in the definition.
_WEIGHTS_URI = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/([A-Za-z0-9._=+@-]+/){1,16}", re.ASCII)
_DOMAIN = re.compile(r"[a-z][a-z0-9-]{0,30}[a-z0-9]")


def _domain(raw: object) -> str:
    text = text_of(raw)
    if text == "base":
        raise ValueError("the endpoint uses the name base for the base model; choose another name")
    if not _DOMAIN.fullmatch(text):
        raise ValueError("use 2 to 32 lower-case letters, digits and hyphens, starting with a letter")
    return text


def _instance_type(raw: object) -> str:
    text = text_of(raw)
    match = _INSTANCE_TYPE.fullmatch(text)
    if not match:
        raise ValueError("write a SageMaker instance type such as ml.g5.2xlarge")
    if match[1] not in GPU_FAMILIES:
        raise ValueError(
            f"the family {match[1]} has no GPU with bfloat16; choose from {', '.join(GPU_FAMILIES)}, for example ml.g5.2xlarge"
        )
    return text


def _instance_types(raw: object) -> tuple[str, ...]:
    """One type, a list, or a text with commas, as -c passes it."""
    parts = raw if isinstance(raw, (list, tuple)) else text_of(raw).split(",")
    types = tuple(_instance_type(part) for part in parts)
    if not 1 <= len(types) <= MOST_INSTANCE_TYPES or len(set(types)) != len(types):
        raise ValueError(f"list one to {MOST_INSTANCE_TYPES} different types, in order of preference")
    return types


_FOLDER = empty_or(
    _WEIGHTS_URI,
    "write a folder as s3://bucket/folder/ with a slash at its end, of letters, digits and . _ = + @ -, or leave it empty",
    "a folder, such as `s3://my-models/one/`",
)


def _weights_uri(raw: object) -> str:
    text = _FOLDER.read(raw)
    if text.startswith("s3://jumpstart-private-cache-"):
        raise ValueError(
            "SageMaker reads that bucket only through base_model: choose the model there, and leave this empty"
        )
    return text


DOMAIN = Check(_domain, "lower-case letters, digits, hyphens (2 to 32)")
INSTANCE_TYPES = Check(_instance_types, "one to five types")
HOSTING_IMAGE = empty_or(IMAGE_ADDRESS, WRITE_AN_ADDRESS, "a whole address in Amazon ECR, in the region of the run")
WEIGHTS_URI = Check(_weights_uri, _FOLDER.accepts)
EMAIL = empty_or(_EMAIL, "write one address such as you@example.com, or leave it empty", "one address")
