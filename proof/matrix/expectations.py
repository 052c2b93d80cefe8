"""By which rule a cell must end: from the Retry and Catch of its state, and from where its state stands in the machine."""

from __future__ import annotations

from dataclasses import dataclass

from proof.matrix.case import Case
from proof.matrix.states import SUCCEEDED, TaskState

THROTTLED = 2  # times, which every state has to bear
# What AWS answers to a call that has already been made: the fate of a lost answer. Others can simply be repeated.
SECOND_TIME = {
    "CreateSchedule": "Scheduler.ConflictException",
    "CreateTrainingJob": "SageMaker.ResourceInUseException",
    "CreateModel": "SageMaker.SageMakerException",
    "CreateEndpointConfig": "SageMaker.SageMakerException",
    "CreateEndpoint": "SageMaker.SageMakerException",
    "DeleteEndpoint": "SageMaker.SageMakerException",
    "DeleteSchedule": "Scheduler.ResourceNotFoundException",
}
NOTHING, SCHEDULE, SWEEPER, NOBODY_KNOWS = "", "the schedule", "the sweeper", "nothing to do"


@dataclass(frozen=True)
class Expected:
    """How a cell has to end. `healer` is who has to finish it after the run's own event; `tear_down` is how the first one ends."""

    run: tuple[str, str] = SUCCEEDED
    tear_down: tuple[str, str] = SUCCEEDED
    healer: str = NOTHING
    mail: bool = True
    note: bool = True
    final: bool = True  # whether the report tells the end; if not, the e-mail has to say so


def schedules(state: TaskState) -> bool:
    """Whether a run in this state has a schedule that will start TearDown."""
    return any(state.comes_after(name) for name in _names(state, "CreateSchedule"))


def _names(state: TaskState, operation: str) -> list[str]:
    states = state.definition["States"].items()
    return [n for n, body in states if str(body.get("Resource")).lower().endswith(f":{operation.lower()}")]


def reserves(case: Case) -> bool:
    """Whether a run in this state has its reservation."""
    reserve = case.bench.deployment.functions["reserve"]
    states = case.state.definition["States"].items()
    names = [n for n, body in states if reserve in str(body.get("Arguments", {}).get("FunctionName"))]
    return any(case.state.comes_after(name) for name in names)


def out_of_order(case: Case) -> list[str]:
    """What must have happened before something bills, and did not: the expectations below would only adapt to it."""
    state = case.state
    needed = {"CreateTrainingJob": ["CreateSchedule"], "CreateEndpoint": ["CreateSchedule", "UpdateSchedule"]}
    if state.operation not in needed:
        return []
    missing = [what for what in needed[state.operation] if not any(state.comes_after(n) for n in _names(state, what))]
    missing += [] if reserves(case) else ["the reservation"]
    return [f"{state.name} can begin to bill without {what}" for what in missing]


def keeps(case: Case) -> str:
    """Who ends an endpoint that was kept after a success."""
    return SCHEDULE if case.in_tear_down and case.state.operation == "UpdateSchedule" else NOTHING


def fine(case: Case) -> Expected:
    """As if nothing had happened."""
    return Expected(healer=keeps(case))


def ended(case: Case, end: tuple[str, str]) -> Expected:
    """The state goes on failing: its execution ends as its Catch says, and TearDown, where it is the one, is started again."""
    if not case.in_tear_down:
        return Expected(run=end)
    undeleted = case.state.operation == "DeleteSchedule"
    mail = case.state.service != "sns"  # the message itself could not be sent, and there is nothing else to do
    healer = SCHEDULE if end != SUCCEEDED or undeleted else NOTHING
    # Only the report may be left unfinished: all that bills is gone and settled.
    final = not (case.state.is_lambda and case.state.function == case.bench.deployment.functions["finish"])
    return Expected(tear_down=end, healer=healer, mail=mail, final=final)


def waits(case: Case, error: str) -> bool:
    """Whether TearDown waits in this state until an error has passed: it never gives up what bills, nor the books."""
    return case.in_tear_down and case.state.waits_out(error)


def failing(case: Case, error: str) -> Expected:
    """The state fails with an error for ever, or for as long as the trouble lasts where it waits."""
    if waits(case, error):
        return fine(case)
    return ended(case, case.state.fate(error))


def cut_off(case: Case, status: str, error: str) -> Expected:
    """The execution is ended from outside while the call is on its way, which still arrives."""
    if not case.in_tear_down:
        return Expected(run=(status, error))
    deletes = case.state.operation == "DeleteSchedule"
    after = any(case.state.comes_after(name) for name in _names(case.state, "DeleteSchedule"))
    # Nothing is left that would start TearDown a second time: only the e-mail of the cut-off one is missing.
    return Expected(tear_down=(status, error), healer=NOTHING if deletes or after else SCHEDULE, mail=not deletes)


def refused_error(state: TaskState) -> str:
    """The error name of a call that a role may not make."""
    names = {"lambda": "Lambda.AWSLambdaException", "sagemaker": "SageMaker.SageMakerException"}
    return names.get(state.service, f"{state.service.title()}.{state.service.title()}Exception")
