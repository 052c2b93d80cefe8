"""The settings a person changes, read from the CDK context, checked in one place before anything is synthesized.

Defaults live in `Settings`; cdk.json repeats them so that a person sees what there is to change; `-c key=value`
overrides both. Every problem is reported at once, each with the setting's name and the way to mend it.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

from stacks.configuration import catalog

# AWS CloudFormation has AWS::Budgets::Budget and AWS::Budgets::BudgetsAction in these regions of the standard partition
# (resource schemas of cfn-lint 1.58). Elsewhere the Guardrail stack could not be deployed, and without it there is no alarm.
BUDGET_REGIONS = (
    "us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1", "eu-west-1", "eu-west-2",
    "eu-west-3", "eu-central-1", "ap-northeast-1", "ap-northeast-2", "ap-south-1", "ap-southeast-1", "ap-southeast-2",
)  # fmt: skip

# 4-bit training computes in bfloat16 and the serving image is built for CUDA 13: both need an Ampere GPU or newer.
GPU_FAMILIES = ("g5", "g6", "g6e", "g7e", "p4d", "p4de", "p5", "p5e", "p5en", "p6-b200", "p6-b300")

# One for each attempt that the state machines make when AWS has no free instance.
MOST_INSTANCE_TYPES = 3

# A step learns from four sequences at most (training/arguments.py), so that more machines would only wait for one another.
MOST_TRAINING_INSTANCES = 4

# Keys that the CDK command line itself puts beside ours; all its others contain a colon or start with @.
_CDK_KEYS = ("acknowledged-issue-numbers", "cdk-migrate", "cli-telemetry")

_EMAIL = re.compile(r"[^@\s,;<>\"]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_INSTANCE_TYPE = re.compile(r"ml\.([a-z0-9-]+)\.(\d*xlarge|large|medium)")
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
# What the names of IAM's resources and the definition's text hold without a meaning of its own.
_WEIGHTS_URI = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/([A-Za-z0-9._=+@-]+/){1,16}", re.ASCII)
_DOMAIN = re.compile(r"[a-z][a-z0-9-]{0,30}[a-z0-9]")


class SettingsError(ValueError):
    """One or more settings are wrong. The message names each of them and how to mend it."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of one deployment, validated. Build it with `from_context`."""

    region: str = "us-east-1"
    domain: str = "medical"
    base_model: str = "llama-2-7b"
    weights_uri: str = ""  # a folder of one's own in place of JumpStart's, such as s3://bucket/models/mine/
    training_instance_type: tuple[str, ...] = ("ml.g5.2xlarge",)  # in order of preference, at most three
    training_instance_count: int = (
        1  # machines that share each step; more change the time and the cost, not what is learnt
    )
    hosting_instance_type: tuple[str, ...] = ("ml.g5.2xlarge",)
    hosting_image: str = (
        ""  # empty: the one of stacks/configuration/images.py; another must route requests by their CustomAttributes
    )
    budget_usd: int = 25
    alert_email: str = ""
    epochs: int = 1  # with more, the first corpus made the model far worse on text by others (docs/verdict.md)
    max_training_seconds: int = 7200
    spot: bool = False  # true trains on AWS's spare instances, which cost less and may be taken away
    checkpoint_minutes: int = 10  # what an interruption may cost; each is kept for a week, and 0 writes none
    endpoint_deadline_minutes: int = 60
    accept_eula: bool = False
    retain_data: bool = True
    budget_scope: str = "account"
    samples_per_prompt: int = 2
    seed: int = 42
    sequence_length: int = 512
    learning_rate: str = "auto"  # the peak; auto takes it from the model's width
    lora_rank: int = 16  # of the adapter that is trained, and the largest that the endpoint makes room for
    adapter_strength: float = 0.6  # share of what was learnt that is kept: text by others gains more (docs/verdict.md)
    corpus_words: int = 0  # 0 trains on all of it; else on whole documents of about so many words, spread over it
    long_records: str = "split"  # what becomes of a record that is longer than a sequence; "refuse" ends the run
    accept_lost_ledger: str = ""  # the month, such as 2026-11, that gets its whole cap although its ledger was lost

    @property
    def cap_cents(self) -> int:
        """The cap of a calendar month in cents."""
        return self.budget_usd * 100

    @property
    def model(self) -> catalog.BaseModel:
        """The catalog's entry of the base model."""
        return catalog.BASE_MODELS[self.base_model]

    @property
    def weights(self) -> catalog.Weights:
        """Where the weights lie that training and hosting read."""
        return catalog.weights_of(self.model, self.region, self.weights_uri)

    def warnings(self) -> list[str]:
        """What may be meant, but is more often forgotten: a setting given with -c counts for that one deployment only."""
        if self.alert_email:
            return []
        return [
            "no alert_email: nobody is told when the budget alarm goes off or a run ends; set alert_email in cdk.json"
        ]

    @classmethod
    def from_context(cls, context: Mapping[str, object]) -> Settings:
        """Reads and checks the settings in a CDK context; values may be strings, as `-c` passes them.

        Raises SettingsError that lists every unknown key and every bad value.
        """
        problems = []
        values: dict[str, object] = {}
        for key, raw in context.items():
            if key in _CHECKS:
                try:
                    values[key] = _CHECKS[key](raw)
                except ValueError as error:
                    problems.append(f"{key} is {raw!r}: {error}")
            elif not _belongs_to_cdk(key):
                nearest = difflib.get_close_matches(key.lower().replace("-", "_"), _CHECKS, n=1, cutoff=0.0)
                problems.append(f"{key} is not a setting; the nearest one is {nearest[0]}")
        if not problems:
            problems = _together(cls(**values))  # type: ignore[arg-type]
        if problems:
            listed = "\n".join(f"  - {problem}" for problem in problems)
            raise SettingsError(f'Mend these in cdk.json under "context", or with -c key=value:\n{listed}')
        return cls(**values)  # type: ignore[arg-type]


def _together(settings: Settings) -> list[str]:
    """What is wrong with settings that are right one by one."""
    problems = []
    if settings.spot and not settings.checkpoint_minutes:
        problems.append(
            "spot is True and checkpoint_minutes 0: a spot job that was interrupted would begin anew each time; set checkpoint_minutes "
            "to 10, or spot to false"
        )
    try:
        catalog.weights_of(settings.model, settings.region, settings.weights_uri)
    except ValueError as error:
        problems.append(
            f"base_model is {settings.base_model!r}: {error}; copy the model's folder into a bucket of yours in {settings.region} "
            "and name it in weights_uri"
        )
    return problems


def _belongs_to_cdk(key: str) -> bool:
    """Feature flags (@aws-cdk/…), CLI switches (aws:cdk:…) and cached look-ups (ssm:account=…) are not ours to judge."""
    return key.startswith("@") or ":" in key or key in _CDK_KEYS


def _text(raw: object) -> str:
    if not isinstance(raw, str):
        raise ValueError("write it as text")
    return raw.strip()


def _whole(low: int, high: int, unit: str) -> Callable[[object], int]:
    def check(raw: object) -> int:
        text = str(int(raw)) if isinstance(raw, float) and raw.is_integer() else str(raw).strip()
        if isinstance(raw, bool) or not re.fullmatch(r"-?\d{1,12}", text, re.ASCII) or not low <= int(text) <= high:
            raise ValueError(f"write a whole number of {unit} from {low} to {high}")
        return int(text)

    return check


def _switch(meaning: str) -> Callable[[object], bool]:
    def check(raw: object) -> bool:
        text = str(raw).strip().lower()
        if text not in ("true", "false"):
            raise ValueError(f"write true or false ({meaning})")
        return text == "true"

    return check


def _choice(options: tuple[str, ...], advice: str = "", *, hints: int = 1) -> Callable[[object], str]:
    def check(raw: object) -> str:
        text = _text(raw)
        if text not in options:
            nearest = difflib.get_close_matches(text.lower(), options, n=hints)
            hint = f" (nearest: {', '.join(nearest)})" if nearest else ""
            raise ValueError(f"choose one of {', '.join(options)}{hint}{advice}")
        return text

    return check


def _learning_rate(raw: object) -> str:
    text = str(raw).strip().lower()
    if text == "auto":
        return text
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if isinstance(raw, bool) or not 1e-7 <= number <= 1:  # the limits of training/arguments.py
        raise ValueError("write auto, or a number from 1e-7 to 1 such as 0.0003")
    return f"{number:g}"


def _strength(raw: object) -> float:
    try:
        number = float(str(raw).strip())
    except ValueError:
        number = math.nan
    if isinstance(raw, bool) or not 0.05 <= number <= 1:  # the limits of training/arguments.py
        raise ValueError("write a number from 0.05 to 1 such as 0.5")
    return number


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


def _hosting_image(raw: object) -> str:
    text = _text(raw)
    if text and not IMAGE_ADDRESS.fullmatch(text):
        raise ValueError(WRITE_AN_ADDRESS)
    return text


def _weights_uri(raw: object) -> str:
    text = _text(raw)
    if text and not _WEIGHTS_URI.fullmatch(text):
        raise ValueError(
            "write a folder as s3://bucket/folder/ with a slash at its end, of letters, digits and . _ = + @ -, or leave it empty"
        )
    if text.startswith("s3://jumpstart-private-cache-"):
        raise ValueError(
            "that bucket hands its weights out under base_model only: choose it there, and leave this empty"
        )
    return text


def _month(raw: object) -> str:
    text = _text(raw)
    if text and not re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", text, re.ASCII):
        raise ValueError("write one month such as 2026-11, or leave it empty")
    return text


def _email(raw: object) -> str:
    text = _text(raw)
    if text and (len(text) > 254 or not _EMAIL.fullmatch(text)):  # 254: longest address SMTP can carry
        raise ValueError("write one address such as you@example.com, or leave it empty")
    return text


_CHECKS: dict[str, Callable[[object], object]] = {
    "region": _choice(
        BUDGET_REGIONS, "; AWS CloudFormation offers AWS Budgets only there, and Captune does not run without its alarm"
    ),
    "domain": _domain,
    "base_model": _choice(
        tuple(catalog.BASE_MODELS),
        "; for any other model choose its nearest kin, and name its folder in weights_uri",
        hints=3,
    ),
    "weights_uri": _weights_uri,
    "training_instance_type": _instance_types,
    "training_instance_count": _whole(1, MOST_TRAINING_INSTANCES, "instances"),
    "hosting_instance_type": _instance_types,
    "hosting_image": _hosting_image,
    "budget_usd": _whole(1, 1000, "US dollars"),
    "alert_email": _email,
    "epochs": _whole(1, 50, "passes over the corpus"),
    "max_training_seconds": _whole(1800, 21600, "seconds"),  # the least of lambdas/common/pricing/durations.py
    "spot": _switch("true trains on spot instances"),
    "checkpoint_minutes": _whole(0, 60, "minutes"),
    "endpoint_deadline_minutes": _whole(20, 240, "minutes"),
    "accept_eula": _switch("true says that you have read and accept the licence of the base model"),
    "retain_data": _switch("false lets cdk destroy delete the bucket and the ledger"),
    "budget_scope": _choice(("account", "tag"), "; tag only after activating the cost-allocation tag project"),
    "samples_per_prompt": _whole(0, 8, "sampled answers"),
    "seed": _whole(0, 2**31 - 1, "any kind"),
    "sequence_length": _whole(128, 4096, "tokens"),
    "learning_rate": _learning_rate,
    "lora_rank": _whole(1, 64, "any kind"),  # 64 fits a 24 GB card beside 7 billion parameters
    "adapter_strength": _strength,
    "corpus_words": _whole(0, 10_000_000, "words"),
    "long_records": _choice(("split", "refuse")),
    "accept_lost_ledger": _month,
}

assert set(_CHECKS) == {field.name for field in fields(Settings)}, "every setting needs its check"
