"""What a setting may be: each check takes what a person wrote, as cdk.json or `-c` gives it, and answers the value in its type.

Every check raises ValueError with the way to mend the value; the setting's name is put before it by stacks/configuration/settings.py.
"""

import difflib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from common.hyperparameters import LIMITS

Value = TypeVar("Value")


@dataclass(frozen=True)
class Check(Generic[Value]):
    """How a setting is read, and its accepted values in a few words, for the table of docs/configure.md."""

    read: Callable[[object], Value]
    accepts: str


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

# A step learns from four sequences at most (training/arguments.py), so that more machines would only wait for one another.
MOST_TRAINING_INSTANCES = 4

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
_MONTH = re.compile(r"20\d\d-(0[1-9]|1[0-2])", re.ASCII)
_DOMAIN = re.compile(r"[a-z][a-z0-9-]{0,30}[a-z0-9]")


def _text(raw: object) -> str:
    if not isinstance(raw, str):
        raise ValueError("write it as text")
    return raw.strip()


def whole(low: int, high: int, unit: str) -> Check[int]:
    """A whole number from `low` to `high`; the unit stands in the error only."""

    def read(raw: object) -> int:
        text = str(int(raw)) if isinstance(raw, float) and raw.is_integer() else str(raw).strip()
        if isinstance(raw, bool) or not re.fullmatch(r"-?\d{1,12}", text, re.ASCII) or not low <= int(text) <= high:
            raise ValueError(f"write a whole number of {unit} from {low} to {high}")
        return int(text)

    return Check(read, f"{low} to {high}")


def hyperparameter(name: str, unit: str) -> Check[int]:
    """A whole number in the range of the training script."""
    low, high = LIMITS[name]
    return whole(int(low), int(high), unit)


def switch(meaning: str) -> Check[bool]:
    """True or false; `meaning` says what the one that is not the default does."""

    def read(raw: object) -> bool:
        text = str(raw).strip().lower()
        if text not in ("true", "false"):
            raise ValueError(f"write true or false ({meaning})")
        return text == "true"

    return Check(read, "`true` or `false`")


def choice(options: tuple[str, ...], advice: str = "", *, hints: int = 1, accepts: str = "") -> Check[str]:
    """One of some words; the error lists them, the `hints` nearest ones, and the advice."""

    def read(raw: object) -> str:
        text = _text(raw)
        if text not in options:
            nearest = difflib.get_close_matches(text.lower(), options, n=hints)
            hint = f" (nearest: {', '.join(nearest)})" if nearest else ""
            raise ValueError(f"choose one of {', '.join(options)}{hint}{advice}")
        return text

    return Check(read, accepts or " or ".join(f'`"{option}"`' for option in options))


def empty_or(pattern: re.Pattern[str], advice: str, accepts: str) -> Check[str]:
    """An empty text, or one of a form; the advice names both."""

    def read(raw: object) -> str:
        text = _text(raw)
        if text and not pattern.fullmatch(text):
            raise ValueError(advice)
        return text

    return Check(read, accepts)


def auto_or_number(name: str, example: str) -> Check[str]:
    """The word auto, or a number in the range of the training script."""
    low, high = LIMITS[name]
    limits = f"{low:g} to {high:g}".replace("e-0", "e-")

    def read(raw: object) -> str:
        text = str(raw).strip().lower()
        if text == "auto":
            return text
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if isinstance(raw, bool) or not low <= number <= high:
            raise ValueError(f"write auto, or a number from {limits} such as {example}")
        return f"{number:g}"

    return Check(read, limits)


def _domain(raw: object) -> str:
    text = _text(raw)
    if text == "base":
        raise ValueError("the endpoint calls the untuned model base; choose another name")
    if not _DOMAIN.fullmatch(text):
        raise ValueError("use 2 to 32 lower-case letters, digits and hyphens, starting with a letter")
    return text


def _instance_type(raw: object) -> str:
    text = _text(raw)
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
    parts = raw if isinstance(raw, (list, tuple)) else _text(raw).split(",")
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
            "that bucket hands its weights out under base_model only: choose it there, and leave this empty"
        )
    return text


LEARNING_RATE = auto_or_number("learning_rate", "0.0003")
ADAPTER_STRENGTH = auto_or_number("adapter_strength", "0.6")
DOMAIN = Check(_domain, "lower-case letters, digits, hyphens (2 to 32)")
INSTANCE_TYPES = Check(_instance_types, "one to five types")
HOSTING_IMAGE = empty_or(IMAGE_ADDRESS, WRITE_AN_ADDRESS, "a whole address in Amazon ECR, in the region of the run")
WEIGHTS_URI = Check(_weights_uri, _FOLDER.accepts)
MONTH = empty_or(_MONTH, "write one month such as 2026-11, or leave it empty", "a month such as `2026-11`")
EMAIL = empty_or(_EMAIL, "write one address such as you@example.com, or leave it empty", "one address")
