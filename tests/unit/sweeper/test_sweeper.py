"""The sweeper finds what was forgotten and leaves alone what runs; the kill switch ends everything."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from common.names import run_name
from common.pricing.durations import LONGEST_ENDPOINT_SECONDS, LONGEST_EXECUTION_SECONDS
from common.resources import LONGEST_TRAINING_JOB
from sweeper import handler
from tests.doubles.lambda_fakes import MACHINE, NOW, TEAR_DOWN, arn, logged, refusal
from tests.doubles.ledger_fakes import FakeLedger
from tests.doubles.sweeper_site import RUNNING, Site, ended

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
CREATED, GRACE = NOW - 30 * MINUTE, 15 * MINUTE
ENDPOINT: dict[str, Any] = {"endpoints": {"captune-abc": "InService"}}
MODEL: dict[str, Any] = {"models": ["captune-abc"]}
OLDEST_RUN = CREATED + timedelta(seconds=LONGEST_EXECUTION_SECONDS)
OLDEST_ENDPOINT = CREATED + timedelta(seconds=LONGEST_ENDPOINT_SECONDS)
HASHED = run_name("My.Run")
NOTIFICATION = {"Records": [{"Sns": {"Message": "AWS Budgets: captune has exceeded 100% " + "x" * 600}}]}


def reserved(
    keep_until: datetime | None = None, damaged: str = "", settled: bool = False, **details: Any
) -> FakeLedger:
    """A ledger with the run abc."""
    ledger = FakeLedger().with_run("abc", **details)
    if keep_until:
        ledger.note("captune-abc", {"keep_until": keep_until.isoformat()})
    if settled:
        ledger.settled("captune-abc", NOW)
    if damaged:
        ledger.table.rows["RUN#captune-abc"][damaged] = {"BOOL": True}
    return ledger


def silent(ledger: FakeLedger | None = None) -> FakeLedger:
    """A ledger that does not answer."""
    ledger = ledger or FakeLedger()
    ledger.fall_silent()
    return ledger


def without_step_functions(site: Site) -> Site:
    """A site on which Step Functions does not answer."""
    site.step_functions.troubles = {
        operation: [refusal("ThrottlingException")] * 9 for operation in ("list_executions", "describe_execution")
    }
    return site


def old_endpoint() -> Site:
    """A run whose first endpoint was created an hour ago; its second one is younger."""
    site = Site(reserved(endpoint_deadline_seconds=3600), {"abc": RUNNING},
                endpoints={"captune-abc": "Failed", "captune-abc-try2": "InService"})  # fmt: skip
    site.sagemaker.created_at["captune-abc"] = NOW - 60 * MINUTE
    return site


# Each rule: what there is, and the last second in which the run abc is left alone.
RULES: dict[str, tuple[Callable[[], Site], datetime]] = {
    "its execution has ended": (lambda: Site(reserved(), {"abc": ended(NOW)}), NOW + GRACE),
    "past the end of its reservation": (lambda: Site(reserved(ends_by=NOW.isoformat()), {"abc": RUNNING}), NOW),
    "past its endpoint's deadline": (old_endpoint, NOW),
    "an endpoint without a deadline": (lambda: Site(reserved(), {"abc": RUNNING}, **ENDPOINT), OLDEST_ENDPOINT),
    "older than any run": (lambda: Site(reserved(), {"abc": RUNNING}, **MODEL), OLDEST_RUN),
    # Its schedule comes when the time is over, so a second earlier than the grace's end.
    "kept until a time that is over": (lambda: Site(reserved(NOW), {"abc": ended()}, **ENDPOINT), NOW + GRACE - SECOND),
    "settled, and something is left": (lambda: Site(reserved(settled=True), **ENDPOINT), NOW + GRACE),
    "damaged, ended": (lambda: Site(reserved(damaged="reserved_at"), {"abc": ended(NOW)}, **ENDPOINT), NOW + GRACE),
    "damaged, old model": (lambda: Site(reserved(damaged="reserved_at"), {"abc": RUNNING}, **MODEL), OLDEST_RUN),
    "silent ledger, ended": (lambda: Site(silent(), {"abc": ended(NOW)}, **ENDPOINT), NOW + GRACE),
    "silent ledger, old endpoint": (lambda: Site(silent(), {"abc": RUNNING}, **ENDPOINT), OLDEST_ENDPOINT),
    "silent ledger, old model": (lambda: Site(silent(), {"abc": RUNNING}, **MODEL), OLDEST_RUN),
    "silent Step Functions, reservation over": (
        lambda: without_step_functions(Site(reserved(ends_by=NOW.isoformat()))), NOW
    ),
    "silent Step Functions, old": (lambda: without_step_functions(Site(reserved(), **ENDPOINT)), OLDEST_ENDPOINT),
    "both silent, old endpoint": (lambda: without_step_functions(Site(silent(), **ENDPOINT)), OLDEST_ENDPOINT),
}  # fmt: skip


class TestJudgement:
    @pytest.mark.parametrize("rule", RULES)
    def test_a_run_is_torn_down_a_second_after_its_time(self, rule: str) -> None:
        make, last = RULES[rule]
        site = make()
        sweep = site.sweep(last)
        assert sweep.remove_leftovers() == []
        assert site.leftovers(last + SECOND) == ["captune-abc"]
        assert bool(sweep.problems) is ("silent" in rule)

    @pytest.mark.parametrize(
        "make",
        [
            lambda: Site(reserved()),  # its execution is forgotten
            lambda: Site(silent(), **ENDPOINT),
            # Nothing is kept whose end cannot be read.
            lambda: Site(
                reserved(NOW + 60 * MINUTE, damaged="reserved_at"), {"abc": ended(status="SUCCEEDED")}, **ENDPOINT
            ),
            lambda: Site(silent(reserved(NOW + 60 * MINUTE)), {"abc": ended(status="SUCCEEDED")}, **ENDPOINT),
        ],
    )
    def test_what_nothing_protects_is_torn_down_at_once(self, make: Callable[[], Site]) -> None:
        assert make().leftovers() == ["captune-abc"]

    @pytest.mark.parametrize(
        "resources",
        [{"endpoints": {"captune-lost": "InService"}}, {"jobs": {"captune-lost-try2": "InProgress"}},
         {"configurations": ["captune-lost"]}, {"models": ["captune-lost"]}],
    )  # fmt: skip
    def test_what_exists_without_a_reservation_is_torn_down(self, resources: dict[str, Any]) -> None:
        site = Site(**resources)
        assert site.leftovers(NOW + timedelta(minutes=34, seconds=56)) == ["captune-lost"]
        assert site.inputs == [
            {
                "runName": "captune-lost",
                "executionArn": arn("lost"),
                "executionName": "lost",
                "status": "UNKNOWN",
                "reason": "sweeper",
            }
        ]
        (started,) = site.step_functions.started
        assert (started["machine"], started["name"]) == (TEAR_DOWN, "captune-lost-sweep-2611241234")

    @pytest.mark.parametrize(
        ("make", "now"),
        [
            (lambda: Site(jobs={"captune-old": "Completed"}, endpoints={"my-captune-x": "InService"}), NOW),
            (lambda: Site(reserved(), {"abc": RUNNING}), NOW + timedelta(days=9)),
            # A job has no endpoint's deadline.
            (
                lambda: Site(
                    reserved(endpoint_deadline_seconds=60), {"abc": RUNNING}, jobs={"captune-abc": "InProgress"}
                ),
                NOW,
            ),
            # Without a resource there is nothing to do until a person repairs the item.
            (lambda: Site(reserved(damaged="reserved_at"), {"abc": ended()}), NOW),
            (lambda: Site(silent(), {"My.Run": RUNNING}, endpoints={HASHED: "InService"}), NOW + timedelta(hours=3)),
            # The name is hashed, and Step Functions is silent.
            (lambda: without_step_functions(Site(silent(), endpoints={HASHED: "InService"})), NOW),
        ],
    )
    def test_what_may_still_be_needed_is_left_alone(self, make: Callable[[], Site], now: datetime) -> None:
        site = make()
        assert site.leftovers(now) == []
        assert site.step_functions.started == []

    @pytest.mark.parametrize("tags", [{}, {"project": "theirs"}])
    def test_resources_that_only_share_the_name_are_left_alone(self, tags: dict[str, str]) -> None:
        names = ["captune-abc"]
        site = Site(jobs={"captune-abc": "InProgress"}, **ENDPOINT, configurations=names, models=names)
        site.sagemaker.tags["captune-abc"] = tags
        assert (site.leftovers(), site.sweep().end_everything()) == ([], [])

    def test_a_hashed_name_is_found_among_what_runs(self) -> None:
        site = Site(silent(), endpoints={HASHED: "InService"})
        assert site.leftovers(CREATED + GRACE) == []
        assert site.leftovers(CREATED + GRACE + SECOND) == [HASHED]
        assert site.inputs == [{"runName": HASHED, "status": "UNKNOWN", "reason": "sweeper"}]

    @pytest.mark.parametrize("damaged", ["", "reserved_at", "execution_arn"])
    def test_the_execution_is_the_items_or_else_the_names(self, damaged: str) -> None:
        name = "abc" if damaged == "execution_arn" else "My.Run"
        ledger = FakeLedger().with_run(name, run=run_name(name))
        if damaged:
            ledger.table.rows[f"RUN#{run_name(name)}"][damaged] = {"NULL": True}
        site = Site(ledger, {name: ended()}, models=[run_name(name)])
        assert site.leftovers() == [run_name(name)]
        assert (site.inputs[0]["executionName"], site.inputs[0]["executionArn"]) == (name, arn(name))

    def test_only_training_jobs_that_can_still_run_are_listed(self) -> None:
        site = Site()
        site.leftovers()
        requests = site.sagemaker.called("list_training_jobs")
        assert {(one["CreationTimeAfter"], one["StatusEquals"]) for one in requests} == {
            (NOW - LONGEST_TRAINING_JOB, "InProgress")
        }

    @pytest.mark.parametrize(
        "operation", ["list_training_jobs", "list_endpoints", "list_endpoint_configs", "list_models", "Scan"]
    )
    def test_a_run_that_begins_during_the_sweep_is_no_leftover(self, operation: str) -> None:
        site = Site(executions={"new": RUNNING})

        def begin(called: str) -> None:
            if called == operation and not site.sagemaker.jobs:
                site.ledger.table.pause = lambda called: None
                site.ledger.with_run("new")
                site.sagemaker.jobs["captune-new"] = "InProgress"
                site.sagemaker.endpoints["captune-new"] = "Creating"

        site.sagemaker.before = site.ledger.table.pause = begin
        assert site.leftovers() == []
        assert site.sagemaker.jobs, "the run has begun"


class TestTearDowns:
    def test_one_tear_down_of_a_run_at_a_time_is_enough(self) -> None:
        site = Site(endpoints={"captune-lost": "Creating", "captune-lost-2": "Creating"})
        assert site.leftovers() == ["captune-lost", "captune-lost-2"]
        assert site.leftovers(NOW + timedelta(hours=5)) == []
        site.step_functions.executions[site.tear_downs[0]]["status"] = "SUCCEEDED"
        assert site.leftovers(NOW + timedelta(hours=6)) == ["captune-lost"]

    def test_a_tear_down_of_a_longer_name_is_another_runs(self) -> None:
        site = Site(endpoints={"captune-a": "Creating", "captune-a-sweep-b": "Creating"})
        site.step_functions.on_start_execution(TEAR_DOWN, "captune-a-sweep-b-sweep-2611241200", "{}")
        site.step_functions.on_start_execution(TEAR_DOWN, "6a4f1c2e-9d3b-4f57-8a10-0123456789ab", "{}")
        assert site.leftovers(NOW + timedelta(hours=1)) == ["captune-a"]

    def test_two_sweeps_in_a_minute_start_one_tear_down(self) -> None:
        site = Site(endpoints={"captune-lost": "Creating"})
        assert site.leftovers() == ["captune-lost"]
        site.step_functions.executions.clear()
        second = site.sweep(NOW + timedelta(seconds=59))
        assert (second.remove_leftovers(), second.problems) == ([], [])
        site.step_functions.executions.clear()
        assert site.leftovers(NOW + timedelta(seconds=60)) == ["captune-lost"]

    def test_the_longest_run_name_fits_a_tear_downs_name(self) -> None:
        assert Site(FakeLedger().with_run("x" * 50)).leftovers() == [f"captune-{'x' * 50}"]

    def test_tear_downs_are_listed_only_where_something_is_left(self) -> None:
        machines = []
        for site in (Site(), Site(silent(), **ENDPOINT)):
            site.step_functions.on_start_execution(TEAR_DOWN, "abc", "{}")
            site.leftovers()
            machines.append([one["stateMachineArn"] for one in site.step_functions.called("list_executions")])
        assert machines == [[MACHINE], [MACHINE, TEAR_DOWN]]


class TestTheKillSwitch:
    def test_it_ends_every_execution_and_tears_every_run_down(self) -> None:
        ledger = FakeLedger().with_run("a").with_run("kept").with_run("done").settled("captune-done")
        ledger.note("captune-kept", {"keep_until": (NOW + 30 * MINUTE).isoformat()})
        executions = {"a": RUNNING, "new": RUNNING, "done": ended(), "kept": ended(status="SUCCEEDED")}
        site = Site(ledger, executions, endpoints={"captune-lost": "InService", "captune-kept": "InService"})
        assert site.sweep().end_everything() == ["captune-a", "captune-kept", "captune-lost", "captune-new"]
        stopped = site.step_functions.called("stop_execution")
        assert [(one["executionArn"], one["error"]) for one in stopped] == [
            (arn(name), "BudgetAlarm") for name in ("a", "new")
        ]
        assert stopped[0]["cause"] == (
            "The budget alarm of this project went off, so every run was stopped. docs/operating.md says how to go on."
        )
        assert {one["reason"] for one in site.inputs} == {"sweeper"}

    @pytest.mark.parametrize("is_silent", [True, False])
    def test_it_needs_no_readable_ledger(self, is_silent: bool) -> None:
        ledger = silent() if is_silent else reserved(damaged="state")
        site = Site(ledger, {"abc": RUNNING, "My.Run": RUNNING}, endpoints={"captune-lost": "InService"})
        assert site.sweep().end_everything() == ["captune-abc", "captune-lost", HASHED]
        assert site.step_functions.executions[arn("My.Run")]["status"] == "ABORTED"
        assert [one["executionName"] for one in site.inputs] == ["abc", "lost", "My.Run"]

    def test_an_execution_that_cannot_be_stopped_hides_no_other(self) -> None:
        site = Site(FakeLedger().with_run("a"), {"a": RUNNING, "b": RUNNING})
        site.step_functions.troubles["stop_execution"] = [refusal("ThrottlingException")]
        sweep = site.sweep()
        assert sweep.end_everything() == ["captune-a", "captune-b"]
        assert site.step_functions.executions[arn("b")]["status"] == "ABORTED"
        assert sweep.problems


class TestTheHandler:
    @pytest.fixture
    def site(self, monkeypatch: pytest.MonkeyPatch) -> Site:
        site = Site(reserved(), {"abc": RUNNING})
        site.deploy(monkeypatch, handler, "hasty_client")
        return site

    @pytest.mark.parametrize(
        ("event", "message", "runs", "status"),
        [
            ({"reason": "sweep"}, "swept", ["captune-lost"], "RUNNING"),
            (NOTIFICATION, "killed", ["captune-abc", "captune-lost"], "ABORTED"),
        ],
    )
    def test_the_rule_sweeps_and_the_budget_ends_everything(
        self,
        site: Site,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        event: Any,
        message: str,
        runs: list[str],
        status: str,
    ) -> None:
        site.sagemaker.endpoints["captune-lost"] = "InService"
        tables = site.ledger.tables_asked("paginate", monkeypatch)
        assert handler.handle(event, None) == {"tearDowns": runs}
        assert site.step_functions.executions[arn("abc")]["status"] == status
        notification = json.dumps(NOTIFICATION)[:500] if message == "killed" else None
        assert logged(capsys, message) == [{"message": message, "tear_downs": runs, "notification": notification}]
        assert tables == ["captune-ledger"]

    def test_trouble_fails_the_function_after_everything_was_tried(self, site: Site) -> None:
        site.step_functions.troubles["stop_execution"] = [refusal("ThrottlingException")]
        with pytest.raises(ClientError):
            handler.handle({"Records": [{}]}, None)
        assert len(site.step_functions.started) == 1
