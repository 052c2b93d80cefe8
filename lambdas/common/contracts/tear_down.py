"""TearDown's input, of which one key is enough for a person who starts it, and what its states pass on."""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from common.endpoint_lives import Seen
from common.errors import InvalidInput
from common.names import execution_name_of, is_run_name, run_name


class TearDownEvent(TypedDict, total=False):
    """TearDown's input, and what RemoveResources saw so far and left alone. `reason` is event, schedule, sweeper or person."""

    runName: str
    executionName: str
    executionArn: str
    status: str
    reason: str
    seen: Seen
    leftAlone: list[str]


class Removed(TypedDict):
    """What one pass of RemoveResources answers.

    It is `quiet` when nothing was found and no trouble met. `running` tells that the run goes on and nothing was touched, `cutOff` that the
    execution may have ended in the middle of a call, which can still arrive. What is in `leftAlone` has the run's name and somebody else's tags.
    """

    runName: str
    found: list[str]
    quiet: bool
    keep: bool
    keepUntil: NotRequired[str]
    running: bool
    cutOff: bool
    seen: Seen
    problems: list[str]
    leftAlone: list[str]


class FinalCost(TypedDict):
    """What a run did cost, in US cents, and what is left of the cap in the month of the settlement. A run that reserved nothing has no seconds."""

    reserved_cents: int
    actual_cents: int
    training_cents: int
    endpoint_cents: int
    other_cents: int
    training_seconds: NotRequired[int]
    endpoint_seconds: NotRequired[int]
    remaining_cents: int
    cap_cents: int
    month: str


class Record(TypedDict):
    """What a settlement knows of a run: FinishReport's input, and what the e-mail is made of.

    `ownsPrefix` is false where the run's name belongs to an earlier run. FinishReport knows the report's
    `headline`, and may tell a closer `outcome` than the verdict for the subject.
    """

    run: str
    executionArn: str
    ownsPrefix: bool
    status: str
    error: str
    cause: str
    verdict: str
    reason: str
    secondsByState: dict[str, float]
    cost: FinalCost
    unreserved: list[str]
    leftAlone: list[str]
    outcome: NotRequired[str]
    headline: NotRequired[str]


class TearDownResult(TypedDict):
    """The output of a TearDown that recorded the actual cost. `status` is the status of the run."""

    run: str
    status: str
    verdict: str
    actualCents: int
    leftCents: int


class NoOutput(TypedDict):
    """The output of a TearDown after which another one follows."""


class Settled(TypedDict):
    """What SettleLedger answers: the e-mail, TearDown's own output, and the record."""

    subject: str
    message: str
    result: TearDownResult
    record: Record


class Finished(TypedDict):
    """What FinishReport answers: the e-mail again, with what only the report knows."""

    subject: str
    message: str
    verdict: str


def run_of_event(event: Mapping[str, Any]) -> str:
    """The run that {runName?, executionName?, executionArn?} name. Raises InvalidInput when they name none, or more than one."""
    run = event.get("runName")
    if run and not (isinstance(run, str) and is_run_name(run)):
        raise InvalidInput(
            f"{str(run)[:80]!r} is not the name of a run. Take a name from captune ledger; it begins with captune-."
        )
    executions = event.get("executionName"), str(event.get("executionArn") or "").rpartition(":")[2]
    runs = {*([run] if run else []), *(run_name(str(name)) for name in executions if name)}
    if not runs:
        raise InvalidInput(
            'The input of TearDown names no run. Pass {"executionArn": "…"}, {"executionName": "…"} or {"runName": "captune-…"}.'
        )
    if len(runs) > 1:
        raise InvalidInput(f"The input names several runs: {', '.join(sorted(runs))}. Name one run.")
    return runs.pop()


def execution_arn_of(event: Mapping[str, Any], fine_tuning_arn: str) -> str | None:
    """The execution's ARN: as given, or made from its name, or None where only a run is given whose name does not contain it."""
    if event.get("executionArn"):
        return str(event["executionArn"])
    name = event.get("executionName") or execution_name_of(str(event.get("runName") or ""))
    return f"{fine_tuning_arn.replace(':stateMachine:', ':execution:')}:{name}" if name else None


def refuse_another_machine(event: Mapping[str, Any], fine_tuning_arn: str) -> None:
    """Raises InvalidInput for an ARN of another account, region or state machine than this project's FineTuning."""
    told = str(event.get("executionArn") or "")
    if told and told.rpartition(":")[0] != fine_tuning_arn.replace(":stateMachine:", ":execution:"):
        raise InvalidInput(
            f"{told[:300]} is not an execution of {fine_tuning_arn}. TearDown stopped nothing. Pass the ARN of one of its executions."
        )
