"""What FineTuning hands to its functions beside the plan, and what it takes from them."""

from typing import Any, NotRequired, TypedDict

from common.contracts.plan import Plan


class PreflightEvent(TypedDict):
    """What Preflight is handed. `input` is what a person gave the execution, of whatever form."""

    executionName: str
    executionArn: str
    definitionVersion: str
    input: Any


class Reserved(TypedDict):
    """The answer of ReserveBudget, in US cents."""

    reservedCents: int
    committedCents: int
    capCents: int


class Staged(TypedDict):
    """What StageInput answers: the digest is of every file that it has written."""

    runName: str
    inputDigest: str


class AskEvent(TypedDict):
    """What AskBaseModel and AskFineTunedModel hand over."""

    runName: str
    endpointName: str
    model: str
    answersKey: str
    promptsKey: str
    samplesPerPrompt: int
    seed: int


class Asked(TypedDict):
    """How many prompts one model has answered, and how many remain."""

    model: str
    answered: int
    remaining: int


class TrainingJobEnd(TypedDict, total=False):
    """SageMaker's last figures of the training job; empty where the run trained none."""

    interruptions: int
    trainingSeconds: int
    billedSeconds: int


class ReportEvent(TypedDict):
    """What WriteReport is handed. The types are those that really trained and served."""

    plan: Plan
    reservation: Reserved
    adapterUri: str
    trainingCut: NotRequired[bool]
    trainingJob: NotRequired[TrainingJobEnd]
    trainingInstanceType: NotRequired[str]
    hostingInstanceType: NotRequired[str]


class Reported(TypedDict):
    """The answer of WriteReport and the output of the execution: the verdict, and the report's address."""

    run: str
    verdict: str
    reason: str
    report: str
    reportConsole: str
    summary: str
    reservedCents: int


class Served(TypedDict):
    """The output of an execution that only serves an earlier adapter."""

    run: str
    verdict: str
    reason: str
    reservedCents: int
