"""The runs in which the expressions are recorded: what a person does, what the hardware does, and every way a call can fail.

The failures are generated from the deployed definitions, so that a new state has its runs at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from proof.matrix import spot_runs, whole_runs
from proof.matrix.bench import INPUT, Bench
from proof.matrix.case import ENDPOINTS, PERSON, TRAININGS, Case
from proof.matrix.expectations import waits
from proof.matrix.states import ANY, TaskState
from rehearsal.sagemaker.fake import HostingPlan, TrainingPlan

_PATIENCE_SECONDS = 90.0
_NO_INSTANCE, _NO_ENDPOINT = TrainingPlan(outcome="capacity"), HostingPlan(outcome="capacity", deleting_looks=0)
_CUT, _WAITING = TrainingPlan(outcome="cut"), TrainingPlan(outcome="waits")
_ENOUGH = 6  # attempts without capacity: more than any run makes
_FAILED_PASSES = 3  # of a state that is tried again until its trouble is over
# Minutes that a job is at work when somebody looks: over the MaxRuntimeInSeconds of a usual run, 2 hours, and before its tear-down's
# schedule, 5 and a half, which would race with the run for its end.
_LONGER_THAN_ALLOWED = 200


@dataclass(frozen=True)
class Scenario:
    """One or two runs and their tear-downs on an emptied account."""

    name: str
    play: Callable[[Bench], None]


def scenarios(bench: Bench) -> list[Scenario]:
    """Return every scenario of the deployed definitions."""
    return [*_scripted(), *(one for state in bench.states() for one in of_state(state))]


def _scripted() -> Iterator[Scenario]:
    yield Scenario("a run that succeeds", lambda bench: _run(bench))
    yield Scenario("no instance for training at first", lambda bench: _run(bench, jobs=[_NO_INSTANCE, TrainingPlan()]))
    yield Scenario("no instance for training", lambda bench: _run(bench, jobs=[_NO_INSTANCE] * _ENOUGH))
    yield Scenario("training fails", lambda bench: _run(bench, jobs=[TrainingPlan(outcome="failed")]))
    yield Scenario("training is killed", lambda bench: _run(bench, jobs=[TrainingPlan(outcome="killed")]))
    yield Scenario("training runs out of time", _run_out_of_time)
    yield Scenario("training is cut and saves what it has", lambda bench: _run(bench, jobs=[_CUT]))
    yield Scenario("training waits for an instance in vain", lambda bench: _run(bench, jobs=[_WAITING] * _ENOUGH))
    yield Scenario("training is stopped", _stopped_training)
    yield Scenario("no instance for the endpoint at first", lambda bench: _run(bench, _NO_ENDPOINT, HostingPlan()))
    yield Scenario("no instance for the endpoint", lambda bench: _run(bench, *[_NO_ENDPOINT] * _ENOUGH))
    yield Scenario("the endpoint fails", lambda bench: _run(bench, HostingPlan(outcome="failed")))
    yield Scenario("the run is stopped by a person", _stopped_run)
    yield Scenario("the endpoint is kept for a while", _kept)
    yield Scenario("the corpus does not exist", lambda bench: _run(bench, corpus="corpora/nowhere.txt"))
    yield Scenario("a smoke run", lambda bench: _run(bench, smoke=True))
    yield Scenario("an adapter that an earlier run left", _second_hosting)
    yield Scenario("a tear-down that is told of no run", _told_of_no_run)
    yield Scenario("no spot instance for training", lambda bench: _run(bench, jobs=[_NO_INSTANCE], spot=True))
    for name, story in {**whole_runs.STORIES, **spot_runs.STORIES}.items():
        yield Scenario(name, lambda bench, story=story: _told(story, bench))  # type: ignore[misc]


def _told(story: Callable[[Bench], list[str]], bench: Bench) -> None:
    story(bench)


def of_state(state: TaskState) -> Iterator[Scenario]:
    """Every way in which the call of a Task state can fail, one scenario each."""
    for code in _codes(state):
        yield Scenario(f"{state.name} is answered {code}", lambda bench, code=code: _refused(bench, state, code))  # type: ignore[misc]
    if not state.is_lambda:
        yield Scenario(f"the answer to {state.name} is lost", lambda bench: _lost(bench, state))
    if state.reads_its_result:
        yield Scenario(f"the answer to {state.name} is empty", lambda bench: _emptied(bench, state))


def _codes(state: TaskState) -> list[str]:
    """Error codes that take each Catch of a state: those that it names, and one that nobody names."""
    named = [name for rule in state.body.get("Catch", []) for name in rule["ErrorEquals"] if name != ANY]
    codes = [name.partition(".")[2] for name in named if name.lower().startswith(f"{state.service}.")]
    if state.service == "sagemaker":  # its codes have no such ending; Step Functions adds it
        codes = [code.removesuffix("Exception") for code in codes]
    return list(dict.fromkeys(["AccessDeniedException", *codes]))


def _run(bench: Bench, *endpoints: HostingPlan, jobs: list[TrainingPlan] | None = None, **more: Any) -> None:
    bench.empty(*endpoints, jobs=jobs or ())
    _start(bench, **more)


def _start(bench: Bench, **more: Any) -> None:
    execution = bench.cloud.start({**INPUT, **more})
    bench.cloud.settle(execution, timeout=_PATIENCE_SECONDS)


def _run_out_of_time(bench: Bench) -> None:
    bench.empty(jobs=[TrainingPlan(outcome="hangs")], training_minutes=_LONGER_THAN_ALLOWED)
    _start(bench)


def _stopped_training(bench: Bench) -> None:
    bench.empty(jobs=[TrainingPlan(outcome="hangs")])

    def stop(_: object) -> None:
        for name in list(bench.cloud.sagemaker.store.jobs):
            bench.cloud.client("sagemaker").stop_training_job(TrainingJobName=name)

    bench.cloud.sagemaker.faults.add(operation="DescribeTrainingJob", by=bench.cloud.machine_role, skip=1, before=stop)
    _start(bench)


def _stopped_run(bench: Bench) -> None:
    bench.empty(jobs=[TrainingPlan(outcome="hangs")])
    reached = bench.cloud.sagemaker.faults.add(operation="DescribeTrainingJob", by=bench.cloud.machine_role, skip=1)
    execution = bench.cloud.start(INPUT)
    bench.wait_for(lambda: reached.hits > 0 or execution.is_over, "a look at the training job")
    bench.cloud.stop(execution, error=PERSON, cause="Stopped in the console.")
    bench.cloud.settle(timeout=_PATIENCE_SECONDS)


def _kept(bench: Bench) -> None:
    bench.empty()
    _start(bench, keepEndpointMinutes=10)
    bench.cloud.clock.advance(minutes=11)
    bench.cloud.settle(timeout=_PATIENCE_SECONDS)


def _second_hosting(bench: Bench) -> None:
    bench.empty()
    _start(bench)
    job = next(iter(bench.cloud.sagemaker.store.jobs.values()), None)
    if job is not None:
        _start(bench, adapterUri=f"{job.output_prefix}/model/")


def _told_of_no_run(bench: Bench) -> None:
    bench.empty()
    execution = bench.cloud.start({}, machine=bench.deployment.tear_down)
    bench.cloud.settle(execution, timeout=_PATIENCE_SECONDS)


def _refused(bench: Bench, state: TaskState, code: str) -> None:
    _with_fault(bench, state, error=code, status=400 if code != "AccessDeniedException" else 403, times=None)


def _lost(bench: Bench, state: TaskState) -> None:
    _with_fault(bench, state, error="InternalFailure", status=500, after=True)


def _emptied(bench: Bench, state: TaskState) -> None:
    _with_fault(bench, state, answer={}, times=None, after=not state.is_lambda)


def _with_fault(bench: Bench, state: TaskState, **what: Any) -> None:
    case = Case(bench, state)
    bench.empty(*ENDPOINTS.get(state.name, ()), training=TRAININGS.get(state.name, "completed"))
    case.fault(**what)
    case.start()
    if waits(case, ANY):  # for as long as it fails: a few passes show all that there is
        case.until_reached(attempts=_FAILED_PASSES)
        case.lift()
    case.settle()
    case.lift()
    if case.until_the_schedule():  # a TearDown that failed, or an endpoint that is kept
        case.settle()
