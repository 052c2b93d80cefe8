"""Whole runs on spot instances: interrupted and resumed, interrupted and never back, and interrupted while TearDown runs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

from common.contracts import run_folder
from common.names import run_name
from proof.matrix import audit
from proof.matrix.bench import INPUT, PATIENCE, TRAINING_MINUTES, Bench
from rehearsal.sagemaker.fake import TrainingPlan
from rehearsal.sagemaker.records import TrainingJob
from rehearsal.sagemaker.training_record import SPOT_SHARE
from rehearsal.step_functions.executions import Execution

_ON_SPOT = {**INPUT, "spot": True}
_FOR_EVER = 10**9


def _job(bench: Bench) -> TrainingJob | None:
    return next(iter(bench.cloud.sagemaker.store.jobs.values()), None)


def _after(bench: Bench, run: Execution, end: tuple[str, str]) -> list[str]:
    """What is wrong once all is quiet: the end, what is left, and the money; the job is billed for its instance's time alone."""
    bench.cloud.settle(run, timeout=PATIENCE)
    wrong = [] if (run.status, run.error or "") == end else [f"ended as {run.status} {run.error}: {run.cause}"]
    job = _job(bench)
    billed = job.describe().get("BillableTimeInSeconds", 0) if job else 0
    with_instance = 60 * TRAINING_MINUTES * SPOT_SHARE
    if not with_instance <= billed <= with_instance + 60:
        wrong.append(f"{billed} seconds were billed, not about {with_instance:.0f}")
    return wrong + audit.nothing_left(bench) + audit.money(bench)


def interrupted_and_resumed(bench: Bench) -> list[str]:
    """The job goes on by itself, the run succeeds, and the report counts the interruptions and what was saved."""
    bench.empty(jobs=[TrainingPlan(interruptions=2)])
    run = bench.cloud.start(_ON_SPOT)
    wrong = _after(bench, run, ("SUCCEEDED", ""))
    key = f"{run_folder.key(run_name(run.name), run_folder.REPORT)}{run_folder.SUMMARY}"
    body = bench.cloud.client("s3").get_object(Bucket=bench.deployment.bucket, Key=key)["Body"].read()
    spot = json.loads(body)["configuration"]["spot"] or {}
    if spot.get("interruptions") != 2 or not spot.get("saved_cents"):
        wrong.append(f"the report says of spot {spot}")
    return wrong


def never_back(bench: Bench) -> list[str]:
    """The job ends when its clock is over, the run by name, and what it had trained until then is settled."""
    bench.empty(jobs=[TrainingPlan("taken")])
    return _after(bench, bench.cloud.start(_ON_SPOT), ("FAILED", "SpotOutOfTime"))


def aborted_while_it_waits(bench: Bench) -> list[str]:
    """A job without an instance is stopped as any other, and its waiting is not billed."""
    bench.empty(jobs=[TrainingPlan("taken", looks=_FOR_EVER)])
    run = bench.cloud.start(_ON_SPOT)
    bench.wait_for(lambda: (job := _job(bench)) is not None and job.secondary == "Interrupted", "the interruption")
    bench.cloud.clock.advance(minutes=30)
    bench.cloud.stop(run, error="StoppedByPerson", cause="The matrix stopped it.")
    return _after(bench, run, ("ABORTED", "StoppedByPerson"))


def interrupted_while_tear_down_runs(bench: Bench) -> list[str]:
    """TearDown has asked the job to stop when its instance goes: the second pass finds it stopped and nothing else."""
    bench.empty(jobs=[TrainingPlan("hangs", stop_looks=3)])
    teardown, taken = bench.deployment.functions["teardown"], threading.Event()

    def take() -> None:
        job = _job(bench)
        if job is not None and job.status == "Stopping":
            job.interrupt()
            taken.set()

    bench.cloud.faults.add(
        operation="Invoke",
        by=bench.role_of(bench.deployment.tear_down),
        when=lambda request: teardown in str(request.get("path")),
        skip=1,
        before=lambda call: take(),
    )
    run = bench.cloud.start(_ON_SPOT)
    bench.wait_for(lambda: (job := _job(bench)) is not None and job.started is not None, "the training job")
    bench.cloud.stop(run, error="StoppedByPerson", cause="The matrix stopped it.")
    wrong = _after(bench, run, ("ABORTED", "StoppedByPerson"))
    return wrong if taken.is_set() else [*wrong, "it was not interrupted while TearDown ran"]


STORIES: dict[str, Callable[[Bench], list[str]]] = {
    "spot: interrupted twice and resumed": interrupted_and_resumed,
    "spot: interrupted and never back": never_back,
    "spot: aborted while it waits": aborted_while_it_waits,
    "spot: interrupted while TearDown runs": interrupted_while_tear_down_runs,
}
