"""Rows with a story of their own: what the table of failures, which meets one failure at a time, and random months meet too rarely.

Each is a sentence with one right ending, and answers what was broken.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from common.clock import month_of, start_after
from common.contracts import run_folder
from common.ledger import keys
from common.names import run_name
from common.pricing import costs
from common.pricing.durations import MINIMUM_TRAINING_SECONDS
from preflight import money
from settle import billing
from stacks.names import RUN_ENDED_RULE, SWEEP_RULE
from verification.simulation import accidents, ledger_stories, material, outages, runs, serving_stories
from verification.simulation.account import FINE, Account, Call, calm
from verification.simulation.failures import PERSON
from verification.simulation.lambdas import installed
from verification.simulation.parameters import RunParameters
from verification.simulation.rows import left
from verification.simulation.rows import money as money_of
from verification.simulation.services.dynamodb import number
from verification.simulation.services.sagemaker import Job
from verification.simulation.trial import finish, taking_away, when
from verification.simulation.world import Execution, Process, Steps

HOUR = 3600
CALM = RunParameters(jobs=("completed",), endpoints=("in service",))
TWO_TYPES = ("ml.g5.2xlarge", "ml.g6.2xlarge")  # the second is the cheaper one
LONG_RUN = replace(CALM, jobs=("hangs",))


# on the way to an end -------------------------------------------------------------------------------------------------


def _until(account: Account, reached: Callable[[], bool]) -> None:
    with installed():
        while not reached() and account.world.step():
            pass


def _end(account: Account) -> list[str]:
    """Runs to the end: what is left and what is wrong with the money."""
    with installed():
        account.world.run()
    wrong = left(account) + money_of(account)
    return wrong if account.runs() else [*wrong, "nothing was reserved"]


def _ended(execution: Execution, status: str, error: str = "", cause: str = "") -> list[str]:
    right = (execution.status, execution.error) == (status, error) and cause in execution.cause
    return [] if right else [f"ended as {execution.status} {execution.error}: {execution.cause}"]


def _add_job(account: Account, run: str, start: datetime, end: datetime, seconds_to_stop: float) -> None:
    """A training job of a run that no call of its execution is seen to create."""
    now = account.world.now
    job = Job(run, run, Fraction("1.515"), now, start, end, "Completed", "", seconds_to_stop)
    job.tags = [{"Key": "project", "Value": "captune"}, {"Key": "run", "Value": run}]
    account.sagemaker.jobs[run] = job


def _appears(account: Account, run: str, seconds: float, delay: float) -> None:
    """A training job of a run comes into being after a while, as a call that was under way creates it."""

    def creation() -> Process:
        now = account.world.now
        _add_job(account, run, now, now + timedelta(seconds=seconds), 120)
        return
        yield 0.0, False

    account.world.spawn(creation(), delay)


def _unsettled(account: Account, within: timedelta) -> list[str]:
    """The runs that are not settled, or have left something that bills, after so long."""
    with installed():
        account.world.run(account.world.now + within)
    rows = account.runs()
    if not rows:
        return ["the run reserved nothing"]
    wrong = [
        f"{run} is not settled {within} after its end" for run, row in rows.items() if row["state"]["S"] != "settled"
    ]
    return wrong + [f"{run} left something that bills" for run in rows if account.sagemaker.still_there(run)]


# near the cap ---------------------------------------------------------------------------------------------------------


def _with_left(cents: int) -> Account:
    """An account in which so many cents of the cap are left for runs, this month and in the next."""
    account = calm()
    moment, cap = account.world.now, account.world.cap_cents
    months = (month_of(moment), month_of(start_after(month_of(moment))))
    gone = costs.for_runs(cap) - cents
    parts: Any = {f"{what}_cents": 0 for what in ("training", "endpoint")}
    with installed():
        ledger = account.ledger()
        ledger.reserve(ledger_stories.reservation("earlier", gone, *months), 10**6, moment)
        ledger.settle("captune-earlier", dict.fromkeys(months, gone), parts, moment)
    return account


def one_dollar_left() -> list[str]:
    """With one dollar left a run is refused by name, with the amount that is missing, before SageMaker is asked for anything."""
    account = _with_left(100)
    execution = runs.start(account, "one", CALM)
    wrong = _without_earlier(_end(account)) + _ended(execution, "FAILED", "BudgetExceeded", "$1.00 of the")
    created = [*account.sagemaker.jobs, *account.sagemaker.models, *account.sagemaker.past_endpoints]
    return wrong + [f"{one} was created" for one in created]


def four_dollars_left() -> list[str]:
    """With four dollars left a run goes all the way, with less time than usual."""
    account = _with_left(400)
    execution = runs.start(account, "one", replace(CALM, jobs=("cut",)))
    wrong = _without_earlier(_end(account)) + _ended(execution, "SUCCEEDED")
    row = account.runs().get("captune-one", {})
    reserved = number(row, "reserved_cents", 9999)
    (job,) = account.sagemaker.jobs.values()
    if not MINIMUM_TRAINING_SECONDS <= job.seconds() < 7200:
        wrong.append(f"the training time was not shortened: {job.seconds()}")
    return wrong + ([] if reserved <= 400 else [f"{reserved} cents were reserved of 400"])


def _without_earlier(wrong: list[str]) -> list[str]:
    """What is wrong, but for the run that stands for earlier spending: it is in two months, each with the whole of it."""
    return [words for words in wrong if "captune-earlier" not in words]


def two_at_once() -> list[str]:
    """Of two runs whose checks both found room for one, exactly one runs and the other is refused by name."""
    account = _with_left(700)

    def wait(call: Call) -> Steps[Any]:
        yield 120.0, True
        return call.perform()

    account.faults[FINE, "ReserveBudget"] = wait
    both = [runs.start(account, name, CALM) for name in ("one", "two")]
    wrong = _without_earlier(_end(account))
    ends = sorted((one.status, one.error) for one in both)
    wrong += [] if ends == [("FAILED", "BudgetExceeded"), ("SUCCEEDED", "")] else [f"they ended as {ends}"]
    return wrong + ([] if len(account.sagemaker.jobs) == 1 else [f"{len(account.sagemaker.jobs)} jobs were created"])


# several instances and spot -------------------------------------------------------------------------------------------


def one_of_two_hosts_dies() -> list[str]:
    """A job on two instances, one of which is lost, fails with that reason; both are booked."""
    account = calm(cap_cents=10_000)
    execution = runs.start(account, "one", replace(CALM, training_instances=2, jobs=("failed",)))
    wrong = _end(account) + _ended(execution, "FAILED", "TrainingFailed", "its host was lost")
    booked = [int(row["training_seconds"]["N"]) for row in account.runs().values()]
    return wrong + ([] if booked == [2 * 1200] else [f"{booked} seconds were booked"])


def two_machines() -> list[str]:
    """A job on two instances that lasts as long as it may is paid for out of its reservation, and booked twice."""
    account = calm(cap_cents=10_000)
    runs.start(account, "two", replace(CALM, training_instances=2, jobs=("cut",)))
    return _end(account)


def second_type_selected() -> list[str]:
    """Of two types SageMaker takes the second for training and endpoint: it is booked at its own price, and the report names it."""
    account = calm(whole=True)
    given = replace(CALM, instance_types=TWO_TYPES, jobs=("last",), endpoints=("last",))
    execution = runs.start(account, "one", given, **material.INPUT)
    wrong = _end(account) + _ended(execution, "SUCCEEDED")
    summary = json.loads(account.storage.objects[f"{run_folder.key('captune-one', run_folder.REPORT)}summary.json"])
    named = [summary["configuration"][f"{use}_instance_type"] for use in ("training", "hosting")]
    wrong += [] if named == [TWO_TYPES[1]] * 2 else [f"the report names {named}"]
    for use, cents in account.audit.instances("captune-one").items():
        booked = number(account.runs()["captune-one"], f"{use}_cents")
        wrong += (
            []
            if booked <= cents * Fraction(11, 10)
            else [f"{booked} cents of {use} were booked, {float(cents):.1f} were billed"]
        )
    return wrong


def no_type_of_a_list_is_free() -> list[str]:
    """Where none of the listed types is free, training ends at once, and the endpoint when its deadline has no time for another try."""
    wrong = []
    given = replace(CALM, instance_types=TWO_TYPES)
    for without, jobs, endpoints in (
        (replace(given, jobs=("capacity",)), 1, 0),
        (replace(given, endpoints=("capacity",)), 1, 2),
    ):
        account = calm()
        execution = runs.start(account, "one", without)
        wrong += _end(account) + _ended(execution, "FAILED", "NoCapacity", " or ".join(TWO_TYPES))
        made = len(account.sagemaker.jobs), len(account.sagemaker.past_endpoints)
        wrong += [] if made == (jobs, endpoints) else [f"{made} jobs and endpoints were made"]
    return wrong


def lists_are_refused() -> list[str]:
    """A SageMaker that takes no list of types says so before anything bills, and the run says what to change."""
    account = calm()
    account.sagemaker.knows_no_lists = True
    execution = runs.start(account, "one", replace(CALM, instance_types=TWO_TYPES))
    wrong = _end(account) + _ended(execution, "FAILED", "HostingRefused", "name one type in hosting_instance_type")
    return wrong + [f"{name} was started" for name in account.sagemaker.jobs]


def guardrail_missing() -> list[str]:
    """Where somebody has disabled the rule of a run's end or the sweeper's, no run starts. The next one does once it is on again."""
    wrong = []
    for rule in (RUN_ENDED_RULE, SWEEP_RULE):
        account = calm(whole=True)
        account.rules.disabled.add(rule)
        refused = runs.start(account, "one", CALM, **material.INPUT)
        _until(account, lambda refused=refused: refused.status != "RUNNING")  # type: ignore[misc]
        wrong += _ended(refused, "FAILED", "GuardrailMissing", f"the rule {rule}, which")
        wrong += [f"{run} has reserved" for run in account.runs()]
        account.rules.disabled.clear()
        second = runs.start(account, "two", CALM, **material.INPUT)
        wrong += _end(account) + _ended(second, "SUCCEEDED")
    return wrong


def interrupted_and_resumed() -> list[str]:
    """A spot job goes on by itself, the run succeeds, and the report counts the interruptions and what was saved."""
    account = calm(whole=True)
    execution = runs.start(account, "one", replace(CALM, spot=True, jobs=("interrupted",)), **material.INPUT)
    wrong = _end(account) + _ended(execution, "SUCCEEDED")
    summary = json.loads(account.storage.objects[f"{run_folder.key('captune-one', run_folder.REPORT)}summary.json"])
    spot = summary["configuration"]["spot"] or {}
    right = spot.get("interruptions") == 2 and spot.get("saved_cents")
    return wrong if right else [*wrong, f"the report says of spot {spot}"]


def never_back() -> list[str]:
    """A spot job that never gets its instance back ends when its clock is over; what it had trained until then is settled."""
    account = calm(whole=True)
    execution = runs.start(account, "one", replace(CALM, spot=True, jobs=("taken",)), **material.INPUT)
    return _end(account) + _ended(execution, "FAILED", "SpotOutOfTime")


def aborted_while_it_waits() -> list[str]:
    """A spot job without an instance is stopped as any other, and its waiting is not billed."""
    account = calm()
    execution = runs.start(account, "one", replace(CALM, spot=True, jobs=("taken",)))
    _until(account, lambda: "captune-one" in account.sagemaker.jobs)
    account.world.run(account.world.now + timedelta(minutes=30))
    account.finish(execution, "ABORTED", PERSON)
    wrong = _end(account) + _ended(execution, "ABORTED", PERSON)
    billed = sum(job.billed_seconds() for job in account.sagemaker.jobs.values())
    return wrong if billed < 1800 else [*wrong, f"{billed} seconds were billed"]


def waited_into_the_next_month() -> list[str]:
    """What a spot job waited before it billed is booked in no month; what it billed after midnight, in the new one."""
    account = calm(cap_cents=10_000)
    account.world.now = datetime(2026, 11, 30, 22, 30, tzinfo=UTC)
    runs.start(account, "one", replace(CALM, spot=True, training_instances=2, jobs=("taken",)))
    return _end(account)


def interrupted_while_tear_down_runs() -> list[str]:
    """TearDown has asked a spot job to stop when its instance is taken away: the next pass finds it stopped."""
    account = calm()
    execution = runs.start(account, "one", replace(CALM, spot=True, jobs=("hangs",)))
    jobs = account.sagemaker.jobs
    _until(account, lambda: any(job.start and job.start < account.world.now for job in jobs.values()))
    account.finish(execution, "ABORTED", PERSON)
    _until(account, lambda: jobs["captune-one"].stop_asked)
    jobs["captune-one"].end, jobs["captune-one"].interruptions = account.world.now, 1
    return _end(account) + _ended(execution, "ABORTED", PERSON)


# the event, the schedule, the sweeper ---------------------------------------------------------------------------------


def removed_promptly() -> list[str]:
    """A run that ends leaves nothing behind ten minutes later, even if neither schedule nor sweeper ever acts."""
    account = calm(cap_cents=10_000)
    execution = runs.start(account, "prompt", replace(CALM, deadline_seconds=4 * HOUR))
    _until(account, lambda: execution.status != "RUNNING")
    return _unsettled(account, timedelta(minutes=10))


def created_after_the_abort() -> list[str]:
    """A job whose creation was under way when its run was aborted is found and stopped, though the first pass saw nothing."""
    broken: list[str] = []
    for seed in range(3, 7):
        account = calm(seed)
        execution = runs.start(account, "aborted", CALM)
        _until(account, lambda account=account: "captune-aborted" in account.scheduler.entries)  # type: ignore[misc]
        account.finish(execution, "ABORTED")
        _appears(account, "captune-aborted", seconds=2 * HOUR, delay=12)
        broken += _unsettled(account, timedelta(minutes=20))
    return broken


def settled_too_early() -> list[str]:
    """A run whose job still bills cannot be settled."""
    account = calm()
    runs.start(account, "early", LONG_RUN)
    _until(account, lambda: "captune-early" in account.sagemaker.jobs)
    item = account.ledger().run("captune-early")
    try:
        billing.bill(account.sagemaker, "captune-early", item, {}, account.world.now)
    except billing.StillRunning:
        return []
    return ["a run was billed while its job was still running"]


def last_moment_deadline() -> list[str]:
    """A run whose training was late may have its endpoint set up at the very end of its time: both months hold the money."""
    broken: list[str] = []
    given = replace(CALM, training_seconds=HOUR, deadline_seconds=4 * HOUR, hanging=1.0)
    for hours in range(8, 13):
        account = calm(hours, cap_cents=10_000)
        account.world.now = datetime(2026, 11, 30, 24 - hours, tzinfo=UTC)
        runs.start(account, "late", given)
        _until(account, lambda account=account: "captune-late" in account.scheduler.entries)  # type: ignore[misc]
        # Its job waits for an instance so long that only minutes are left before the tear-down of the whole run.
        end = account.world.now + timedelta(seconds=5 * HOUR + money.UNBILLED_ALLOWANCE_SECONDS - 600)
        _add_job(account, "captune-late", end - timedelta(seconds=HOUR), end, 60)
        with installed():
            account.world.run()
        account.audit.close(account.table)
        broken += [f"{hours} hours before midnight: {words}" for words in account.audit.wrong]
    return broken


def kept_once() -> list[str]:
    """An endpoint that was asked to stay for an hour stays an hour and no longer, though its run's end is told again and again."""
    account = calm(5, cap_cents=10_000)
    execution = runs.start(account, "kept", replace(CALM, keep_seconds=HOUR))
    _until(account, lambda: execution.status != "RUNNING")
    event = {"executionArn": execution.arn, "executionName": "kept", "status": execution.status, "reason": "event"}
    for seconds in (3000, 6300):
        account.tear_down(event, delay=seconds)
    wrong = _end(account) + _ended(execution, "SUCCEEDED")
    until = (execution.stop or account.world.now) + timedelta(hours=1)
    stayed = any(one.gone and one.gone >= until for one in account.sagemaker.past_endpoints)
    return wrong if stayed else [*wrong, "the endpoint did not stay for as long as it was asked to"]


def deleted_by_hand() -> list[str]:
    """An endpoint that a person deleted before any tear-down saw it was billed, and is booked."""
    account = calm(6)
    execution = runs.start(account, "by-hand", replace(CALM, hanging=1.0))
    endpoints = account.sagemaker.endpoints
    _until(account, lambda: any(one.status(account.world.now) == "InService" for one in endpoints.values()))
    for name in list(endpoints):
        account.sagemaker.delete_endpoint(EndpointName=name)
    account.world.now += timedelta(minutes=10)
    account.finish(execution, "ABORTED")
    return _end(account)


def job_deleted_by_hand() -> list[str]:
    """A training job that a person stopped and deleted was billed, and is booked as it was reserved."""
    account = calm(6)
    execution = runs.start(account, "by-hand", CALM)
    _until(account, lambda: any(job.start and job.start < account.world.now for job in account.sagemaker.jobs.values()))
    (job,) = account.sagemaker.jobs.values()
    account.world.now += timedelta(minutes=10)
    job.end, job.deleted = account.world.now, True
    return _end(account) + _ended(execution, "FAILED", "TrainingFailed")


def nothing_but_the_schedule() -> list[str]:
    """A run that hangs, while no event is delivered and the sweeper is not called: its own schedule ends it in time."""
    account = calm()
    execution = runs.start(account, "alone", replace(CALM, hanging=1.0))
    when(account, execution, "endpoint", taking_away(account, ["EventBridge"], 24 * HOUR), spread=1)
    outcome = finish(account, "nothing but the schedule")
    return outcome.wrong + outcome.money + ([] if outcome.struck else ["EventBridge was never away"])


def nothing_but_the_sweeper(odd: bool = False) -> list[str]:
    """A run that was stopped before it had a schedule, and whose end nobody heard of, is settled by the sweeper within hours."""
    account = calm(2)
    execution = runs.start(account, "unheard", CALM)
    account.deliveries.append(0)
    _until(account, lambda: bool(account.runs()))
    account.finish(execution, "ABORTED")
    # Should the call that makes the schedule have been under way, it did not get through.
    with installed():
        account.world.run(account.world.now + timedelta(minutes=2))
    account.scheduler.entries.clear()
    if odd:
        key = keys.of_run("captune-odd")
        account.table.rows[key] = {"pk": {"S": key}, "state": {"BOOL": True}}
        account.world.spawn(_forget(account, key), 24 * HOUR)
    outcome = finish(account, "nothing but the sweeper")
    stop = execution.stop or account.world.now
    late = [run for run, at in account.audit.settled_at.items() if at - stop > timedelta(hours=12)]
    return outcome.wrong + outcome.money + [f"{run} was settled more than 12 hours after its end" for run in late]


def _forget(account: Account, key: str) -> Process:
    """A person takes an item away."""
    account.table.rows.pop(key, None)
    return
    yield 0.0, False


def an_odd_item_and_the_sweeper() -> list[str]:
    """The same beside an item of an earlier run that cannot be read."""
    return nothing_but_the_sweeper(odd=True)


def told_too_early() -> list[str]:
    """An event tells the end of a run that goes on: its job is left alone."""
    account = calm(3)
    execution = runs.start(account, "goes-on", CALM)
    _until(account, lambda: bool(account.sagemaker.jobs))
    event = {"executionArn": execution.arn, "executionName": execution.name, "status": "FAILED", "reason": "event"}
    account.tear_down(event, delay=300)
    outcome = finish(account, "told too early")
    stopped = [name for name, job in account.sagemaker.jobs.items() if job.stop_asked]
    return outcome.wrong + outcome.money + [f"{name} was stopped though its run went on" for name in stopped]


def told_of_two_runs() -> list[str]:
    """A tear-down by hand that names one run and another's execution, or an execution of another machine, ends neither."""
    return _told_of("captune-fine-tuning:two") + _told_of("captune-tear-down:one")


def _told_of(other: str) -> list[str]:
    account = calm(3, cap_cents=10_000)
    both = [runs.start(account, name, CALM) for name in ("one", "two")]
    _until(account, lambda: len(account.sagemaker.jobs) == 2)
    arn = both[0].arn.replace("captune-fine-tuning:one", other)
    account.tear_down({"runName": "captune-one", "executionArn": arn, "reason": "person"})
    wrong = _end(account)
    wrong += [] if "InvalidInput" in {one.error for one in account.tear_downs.values()} else ["it was not refused"]
    return wrong + [words for execution in both for words in _ended(execution, "SUCCEEDED")]


def another_execution_in_the_ledger() -> list[str]:
    """Where a run's item was made to name another run's execution, the tear-down of the one does not stop the other."""
    account = calm(3, cap_cents=10_000)
    two = [runs.start(account, name, LONG_RUN) for name in ("One.A", "two")][1]
    _until(account, lambda: len(account.sagemaker.jobs) == 2)
    key = keys.of_run(run := run_name("One.A"))
    whole = account.table.rows[key]
    account.table.rows[key] = {**whole, "execution_arn": {"S": two.arn}}
    account.tear_down({"runName": run, "reason": "person"})
    with installed():
        account.world.run(account.world.now + timedelta(minutes=30))
    stopped = account.sagemaker.jobs["captune-two"].stop_asked or two.status != "RUNNING"
    left = account.sagemaker.still_there(run)
    account.table.rows[key] = whole
    return _end(account) + (["another run was stopped"] if stopped else []) + [f"{name} was left" for name in left]


def billed_after_the_settlement() -> list[str]:
    """A job that came into being an hour after its run was settled is found, ended and booked."""
    account = calm(4)
    execution = runs.start(account, "late", CALM)
    _until(account, lambda: bool(account.runs()))
    account.finish(execution, "ABORTED")
    _appears(account, "captune-late", seconds=HOUR, delay=HOUR)
    outcome = finish(account, "billed after the settlement")
    return outcome.wrong + outcome.money


def outage(service: str, seconds: int = 6 * HOUR, trials: int = 12) -> list[str]:
    """What an outage of one service breaks."""
    return outages.broken(service, seconds, outages.cell(service, seconds, trials))


def accident(name: str, trials: int = 12) -> list[str]:
    """What one line of the accidents breaks."""
    return accidents.broken(name, accidents.row(name, trials))


STORIES: dict[str, Callable[[], list[str]]] = {
    one.__name__.replace("_", " "): one
    for one in (
        *ledger_stories.STORIES,
        *serving_stories.STORIES,
        one_dollar_left,
        four_dollars_left,
        two_at_once,
        one_of_two_hosts_dies,
        two_machines,
        second_type_selected,
        no_type_of_a_list_is_free,
        lists_are_refused,
        guardrail_missing,
        interrupted_and_resumed,
        never_back,
        aborted_while_it_waits,
        waited_into_the_next_month,
        interrupted_while_tear_down_runs,
        removed_promptly,
        created_after_the_abort,
        settled_too_early,
        last_moment_deadline,
        kept_once,
        deleted_by_hand,
        job_deleted_by_hand,
        nothing_but_the_schedule,
        nothing_but_the_sweeper,
        an_odd_item_and_the_sweeper,
        told_too_early,
        told_of_two_runs,
        another_execution_in_the_ledger,
        billed_after_the_settlement,
    )
}
