"""Whole runs at the edge of the cap (nearly nothing left, little left, two runs that want the same dollars), and one on two hosts."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from common.clock import month_of, start_after
from common.ledger.ledger import Reservation, dollars
from common.pricing import costs
from common.pricing.durations import MINIMUM_TRAINING_SECONDS
from proof.matrix import audit
from proof.matrix.bench import INPUT, PATIENCE, Bench
from rehearsal.sagemaker.fake import TrainingPlan
from rehearsal.step_functions.executions import Execution

_CREATES = ("CreateTrainingJob", "CreateModel", "CreateEndpointConfig", "CreateEndpoint")


def _spend_before(bench: Bench, left_cents: int) -> int:
    """Leaves so many cents of the cap for runs, this month and in the next, and answers how many are gone."""
    bench.empty(training_minutes=10)  # a clamped run has a quarter of an hour
    moment = bench.cloud.clock()
    month = month_of(moment)
    gone, ledger = costs.for_runs(audit.cap_cents(bench)) - left_cents, bench.ledger()
    months = (month, month_of(start_after(month)))
    ledger.reserve(Reservation("captune-earlier", "arn:earlier", gone, months, {}), 10**6, moment)
    # It is settled at what it reserved, so that nothing is in flight beside the run.
    parts: dict[str, str | int] = {"training_cents": gone, "endpoint_cents": 0}
    ledger.settle("captune-earlier", dict.fromkeys(months, gone), parts, moment)
    return gone


def _money(bench: Bench) -> list[str]:
    """The promises about money; the run that spent before is in two months, each with the whole of it."""
    return [words for words in audit.money(bench) if not words.startswith("captune-earlier settled")]


def _created(bench: Bench) -> list[str]:
    return [call.operation for call in bench.cloud.sagemaker.calls if call.operation in _CREATES]


def one_dollar_left(bench: Bench) -> list[str]:
    """With one dollar left the run is refused by name, with the amount that is missing, before SageMaker is asked for anything."""
    _spend_before(bench, 100)
    run = bench.cloud.start(INPUT)
    bench.cloud.settle(run, timeout=PATIENCE)
    wrong = [] if run.error == "BudgetExceeded" else [f"ended as {run.status} {run.error}"]
    if "$1.00 of the" not in str(run.cause) or "is missing" not in str(run.cause):
        wrong.append(f"the amount that is missing is not in: {run.cause}")
    wrong += [f"{operation} was called" for operation in _created(bench)]
    return wrong + audit.nothing_left(bench) + _money(bench)


def four_dollars_left(bench: Bench) -> list[str]:
    """With four dollars left the run goes all the way, with less time than usual."""
    _spend_before(bench, 400)
    run = bench.cloud.start(INPUT)
    bench.cloud.settle(run, timeout=PATIENCE)
    wrong = [] if run.status == "SUCCEEDED" else [f"ended as {run.status} {run.error}: {run.cause}"]
    jobs = [call.request for call in bench.cloud.sagemaker.calls if call.operation == "CreateTrainingJob"]
    allowed = [int(job["StoppingCondition"]["MaxRuntimeInSeconds"]) for job in jobs]
    if not allowed or not MINIMUM_TRAINING_SECONDS <= allowed[0] < 7200:
        wrong.append(f"the training time was not clamped: {allowed}")
    reserved = [row.item["reserved_cents"] for row in bench.ledger().rows() if "earlier" not in row.run]
    if not reserved or int(reserved[0]) > 400:
        wrong.append(f"{[dollars(int(cents)) for cents in reserved]} were reserved of $4.00")
    return wrong + audit.nothing_left(bench) + _money(bench)


def two_at_once(bench: Bench) -> list[str]:
    """Two runs whose checks both found room for one: exactly one runs, the other is refused by name."""
    _spend_before(bench, 700)
    both = threading.Barrier(2, timeout=PATIENCE / 2)
    reserve = bench.deployment.functions["reserve"]
    bench.cloud.faults.add(
        operation="Invoke",
        when=lambda request: reserve in str(request.get("path")),
        times=2,
        before=lambda call: _meet(both),
    )
    runs: list[Execution] = [bench.cloud.start(INPUT), bench.cloud.start(INPUT)]
    bench.cloud.settle(timeout=PATIENCE)
    ends = sorted((run.status, run.error or "") for run in runs)
    wrong = [] if ends == [("FAILED", "BudgetExceeded"), ("SUCCEEDED", "")] else [f"they ended as {ends}"]
    jobs = _created(bench).count("CreateTrainingJob")
    if jobs != 1:
        wrong.append(f"{jobs} training jobs were created")
    return wrong + audit.nothing_left(bench) + _money(bench)


def one_of_two_hosts_dies(bench: Bench) -> list[str]:
    """A job on two instances, one of which is lost, fails with that reason; both are booked, and nothing is left."""
    reason = "AlgorithmError: Another process of this job ended, or its host was lost., exit code: 1"
    bench.empty(jobs=[TrainingPlan("failed", reason=reason)])
    with _instances(bench, 2):
        run = bench.cloud.start(INPUT)
        bench.cloud.settle(run, timeout=PATIENCE)
    wrong = [] if (run.status, run.error) == ("FAILED", "TrainingFailed") else [f"ended as {run.status} {run.error}"]
    if "its host was lost" not in str(run.cause):
        wrong.append(f"why is not in: {run.cause}")
    jobs = [call.request for call in bench.cloud.sagemaker.calls if call.operation == "CreateTrainingJob"]
    counts = [job["ResourceConfig"]["InstanceCount"] for job in jobs]
    if counts != [2]:
        wrong.append(f"the jobs were asked for on {counts} instances")
    # Of one instance it would be 20 minutes.
    booked = [int(row.item.get("training_seconds", 0)) for row in bench.ledger().rows()]
    if len(booked) != 1 or not 2 * 1200 <= booked[0] < 2 * 1300:
        wrong.append(f"{booked} seconds were booked")
    return wrong + audit.nothing_left(bench) + audit.money(bench)


@contextmanager
def _instances(bench: Bench, count: int) -> Iterator[None]:
    """Deploys Preflight with another training_instance_count for a while."""
    functions, name = bench.cloud.client("lambda"), bench.deployment.functions["preflight"]
    before = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    settings = {**json.loads(before["SETTINGS_JSON"]), "training_instance_count": count}
    changed = {**before, "SETTINGS_JSON": json.dumps(settings)}
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": changed})
    try:
        yield
    finally:
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": before})


def _meet(barrier: threading.Barrier) -> None:
    barrier.wait()


STORIES: dict[str, Callable[[Bench], list[str]]] = {
    "$1 left: refused by name, nothing created": one_dollar_left,
    "$4 left: runs, clamped": four_dollars_left,
    "two at once, room for one: exactly one runs": two_at_once,
    "one of two hosts dies: both are booked": one_of_two_hosts_dies,
}
