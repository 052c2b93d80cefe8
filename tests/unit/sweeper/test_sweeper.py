"""The sweeper finds what was forgotten and leaves alone what runs; silent services and damaged items hide nothing else."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from common.endpoint_lives import of_item
from common.names import run_name
from common.pricing.durations import LONGEST_ENDPOINT_SECONDS, LONGEST_EXECUTION_SECONDS
from sweeper import evidence, handler
from tests.doubles.lambda_fakes import NOW, TEAR_DOWN, arn, logged, refusal
from tests.doubles.ledger_fakes import FakeLedger, booking
from tests.doubles.run_end import RUNNING, ended
from tests.doubles.run_end import SweptSite as Site

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
NOON, NIGHT = NOW.isoformat(), (NOW + 9 * HOUR).isoformat()
SUCCEEDED = ended(status="SUCCEEDED")
CREATED, GRACE = NOW - 30 * MINUTE, 15 * MINUTE
ENDPOINT: dict[str, Any] = {"endpoints": {"captune-abc": "InService"}}
MODEL: dict[str, Any] = {"models": ["captune-abc"]}
OLDEST_RUN = CREATED + timedelta(seconds=LONGEST_EXECUTION_SECONDS)
OLDEST_RESERVED = CREATED + timedelta(seconds=6000)
OLDEST_ENDPOINT = CREATED + timedelta(seconds=LONGEST_ENDPOINT_SECONDS)
HASHED = run_name("My.Run")
NOTIFICATION = {"Records": [{"Sns": {"Message": "AWS Budgets: captune has exceeded 100% " + "x" * 600}}]}
SILENCE = EndpointConnectionError(endpoint_url="aws")
LISTINGS = ["list_training_jobs", "list_endpoints", "list_endpoint_configs", "list_models"]


def reserved(damaged: bool = False, **details: Any) -> FakeLedger:
    """A ledger with the run abc."""
    ledger = FakeLedger().with_run("abc", **details)
    return ledger.damage("RUN#captune-abc") if damaged else ledger


def silent() -> FakeLedger:
    """A ledger that does not answer."""
    return FakeLedger().fall_silent()


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
    "past the end of its reservation": (lambda: Site(reserved(ends_by=NOON), {"abc": RUNNING}), NOW),
    "past its endpoint's deadline": (old_endpoint, NOW),
    # The run has reserved 6,000 seconds of endpoints.
    "an endpoint without a deadline": (lambda: Site(reserved(), {"abc": RUNNING}, **ENDPOINT), OLDEST_RESERVED),
    "damaged, old endpoint": (lambda: Site(reserved(damaged=True), {"abc": RUNNING}, **ENDPOINT), OLDEST_ENDPOINT),
    "kept for too long": (lambda: Site(reserved(keep_until=NIGHT), {"abc": SUCCEEDED}, **ENDPOINT), OLDEST_RESERVED),
    "older than any run": (lambda: Site(reserved(), {"abc": RUNNING}, **MODEL), OLDEST_RUN),
    # Its schedule comes when the time is over, so a second earlier than the grace's end.
    "kept until now": (lambda: Site(reserved(keep_until=NOON), {"abc": ended()}, **ENDPOINT), NOW + GRACE - SECOND),
    "recorded, and a resource is left": (lambda: Site(reserved().settled("captune-abc"), **ENDPOINT), NOW + GRACE),
    "damaged, ended": (lambda: Site(reserved(damaged=True), {"abc": ended(NOW)}, **ENDPOINT), NOW + GRACE),
    "damaged, old model": (lambda: Site(reserved(damaged=True), {"abc": RUNNING}, **MODEL), OLDEST_RUN),
    "silent ledger, ended": (lambda: Site(silent(), {"abc": ended(NOW)}, **ENDPOINT), NOW + GRACE),
    "silent ledger, old endpoint": (lambda: Site(silent(), {"abc": RUNNING}, **ENDPOINT), OLDEST_ENDPOINT),
    "silent ledger, old model": (lambda: Site(silent(), {"abc": RUNNING}, **MODEL), OLDEST_RUN),
    "silent Step Functions, reservation over": (lambda: without_step_functions(Site(reserved(ends_by=NOON))), NOW),
    "silent Step Functions, old": (lambda: without_step_functions(Site(reserved(), **ENDPOINT)), OLDEST_RESERVED),
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
            lambda: Site(reserved().settled("captune-abc", NOW + HOUR), **ENDPOINT),  # in a time to come
            # Nothing is kept whose end cannot be read.
            lambda: Site(reserved(damaged=True, keep_until=NIGHT), {"abc": SUCCEEDED}, **ENDPOINT),
            lambda: Site(reserved(keep_until=NIGHT).fall_silent(), {"abc": SUCCEEDED}, **ENDPOINT),
        ],
    )
    def test_what_nothing_protects_is_torn_down_at_once(self, make: Callable[[], Site]) -> None:
        assert make().leftovers() == ["captune-abc"]

    @pytest.mark.parametrize(
        "resources",
        [{"endpoints": {"captune-lost": "InService"}}, {"jobs": {"captune-lost-try2": "InProgress"}},
         {"configurations": ["captune-lost"]}, {"models": ["captune-lost"]},
         {"jobs": {"captune-done": "Completed", "captune-lost": "Stopping"}}],
    )  # fmt: skip
    def test_what_exists_without_a_reservation_is_torn_down(self, resources: dict[str, Any]) -> None:
        site = Site(**resources)
        assert site.leftovers(NOW + timedelta(minutes=34, seconds=56)) == ["captune-lost"]
        whose = {"runName": "captune-lost", "executionArn": arn("lost"), "executionName": "lost"}
        assert site.inputs == [{**whose, "status": "UNKNOWN", "reason": "sweeper"}]
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
            (lambda: Site(reserved(damaged=True), {"abc": ended()}), NOW),
            (lambda: Site(silent(), {"My.Run": RUNNING}, endpoints={HASHED: "InService"}), NOW + timedelta(hours=3)),
            # The name is hashed, and Step Functions is silent.
            (lambda: without_step_functions(Site(silent(), endpoints={HASHED: "InService"})), NOW),
        ],
    )
    def test_what_may_still_be_needed_is_left_alone(self, make: Callable[[], Site], now: datetime) -> None:
        site = make()
        assert site.leftovers(now) == []
        assert site.step_functions.started == []
        assert len(site.step_functions.called("list_executions")) == 1, "no one asks for TearDowns that block no other"

    @pytest.mark.parametrize(
        ("ledger", "created", "found"),
        [
            (reserved(), NOW, True),
            (reserved(damaged=True), NOW - SECOND, True),
            (reserved(), NOW - SECOND, False),
            (FakeLedger(), NOW, False),
        ],
    )
    def test_a_name_of_the_ledger_is_the_projects_whatever_its_tag(
        self, ledger: FakeLedger, created: datetime, found: bool
    ) -> None:
        site = Site(ledger, {"abc": ended(NOW)}, **ENDPOINT)
        site.sagemaker.created, site.sagemaker.tags["captune-abc"] = created, {"project": "theirs"}
        sweep = site.sweep(NOW + GRACE + SECOND)
        assert ("captune-abc" in sweep._look().evidence.resources) is found

    def test_a_hashed_name_is_found_among_what_runs(self) -> None:
        site = Site(silent(), endpoints={HASHED: "InService"})
        assert site.leftovers(CREATED + GRACE) == []
        assert site.leftovers(CREATED + GRACE + SECOND) == [HASHED]
        assert site.inputs == [{"runName": HASHED, "status": "UNKNOWN", "reason": "sweeper"}]

    def test_the_execution_behind_a_hashed_name_is_the_items(self) -> None:
        site = Site(FakeLedger().with_run("My.Run", run=HASHED), {"My.Run": ended()}, models=[HASHED])
        assert site.leftovers() == [HASHED]
        assert (site.inputs[0]["executionName"], site.inputs[0]["executionArn"]) == ("My.Run", arn("My.Run"))

    def test_another_runs_execution_is_not_the_items(self) -> None:
        ledger = reserved().noting("captune-abc", execution_arn=arn("other"))
        site = Site(ledger, {"abc": ended(), "other": RUNNING}, **MODEL)
        assert site.leftovers() == ["captune-abc"]
        assert site.inputs[0]["executionArn"] == arn("abc")

    # A call that arrives late can make a job that ends by itself before anybody looks. What is booked is known by its name.
    @pytest.mark.parametrize(
        ("jobs", "booked", "found"),
        [(["captune-abc"], "", True), (["captune-abc"], "captune-abc", False), (["captune-abc-try0"], "captune-abc", True),
         (["captune-abc-try0", "captune-abc"], "captune-abc captune-abc-try0", False), ([], "", False),
         (["captune-abc"], "captune-abc-try0", True), (["captune-abc"], None, True)],
    )  # fmt: skip
    @pytest.mark.parametrize("status", ["Completed", "Failed", "Stopped"])
    def test_a_job_that_came_and_went_after_the_recording_is_recorded(
        self, jobs: list[str], booked: str | None, found: bool, status: str
    ) -> None:
        known: dict[str, Any] = {} if booked is None else {"training_jobs": booked}
        ledger = reserved(**known).settled("captune-abc")
        site = Site(ledger, {"abc": ended(NOW)}, jobs=dict.fromkeys(jobs, status))
        assert site.leftovers(NOW + SECOND) == ["captune-abc"] * found

    # The sweeper has removed it by itself and noted it, while no TearDown could be started.
    @pytest.mark.parametrize(("created", "found"), [(NOW, False), (NOW + 20 * MINUTE, True)])
    def test_an_endpoint_that_came_and_went_after_the_recording_is_recorded(self, created: Any, found: bool) -> None:
        life = {"name": "captune-abc", "createdAt": created.isoformat(), "goneAt": (NOW + HOUR).isoformat()}
        ledger = reserved().settled("captune-abc").noting("captune-abc", endpoint_seen=json.dumps({"lives": [life]}))
        site = Site(ledger, {"abc": ended(NOW)})
        assert site.leftovers(NOW + HOUR) == ["captune-abc"] * found
        site.step_functions.executions.clear()
        ledger.settle("captune-abc", booking({}), NOW + 2 * HOUR)  # it comes to no more than was booked
        assert site.leftovers(NOW + 3 * HOUR) == []

    # Its own TearDown may come hours later, while Step Functions or that TearDown's function is away.
    @pytest.mark.parametrize(("resources", "is_gone"), [({}, True), (ENDPOINT, False)])
    def test_an_endpoint_that_has_gone_since_it_was_noted_is_noted_as_gone(
        self, resources: dict[str, Any], is_gone: bool
    ) -> None:
        life = {"name": "captune-abc", "createdAt": CREATED.isoformat()}
        ledger = reserved().noting("captune-abc", endpoint_seen=json.dumps({"lives": [life]}))
        site = without_step_functions(Site(ledger, {"abc": RUNNING}, **resources))
        assert site.leftovers() == []
        assert of_item(site.item)["lives"] == [{**life, **({"goneAt": NOON} if is_gone else {})}]

    def test_nothing_is_noted_as_gone_that_could_not_be_listed(self) -> None:
        life = {"name": "captune-abc", "createdAt": CREATED.isoformat()}
        site = Site(reserved().noting("captune-abc", endpoint_seen=json.dumps({"lives": [life]})), {"abc": RUNNING})
        site.sagemaker.troubles["list_endpoints"] = [refusal("ThrottlingException")]
        assert site.leftovers() == []
        assert of_item(site.item)["lives"] == [life]

    @pytest.mark.parametrize("operation", [*LISTINGS, "Scan"])
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
    def test_one_teardown_of_a_run_at_a_time_is_enough(self) -> None:
        site = Site(endpoints={"captune-lost": "Creating", "captune-lost-2": "Creating"})
        assert site.leftovers() == ["captune-lost", "captune-lost-2"]
        assert site.leftovers(NOW + timedelta(hours=5)) == []
        site.step_functions.executions[site.tear_downs[0]]["status"] = "SUCCEEDED"
        assert site.leftovers(NOW + timedelta(hours=6)) == ["captune-lost"]

    def test_a_teardown_of_a_longer_name_is_another_runs(self) -> None:
        site = Site(endpoints={"captune-a": "Creating", "captune-a-sweep-b": "Creating"})
        site.step_functions.on_start_execution(TEAR_DOWN, "captune-a-sweep-b-sweep-2611241200", "{}")
        site.step_functions.on_start_execution(TEAR_DOWN, "6a4f1c2e-9d3b-4f57-8a10-0123456789ab", "{}")
        assert site.leftovers(NOW + timedelta(hours=1)) == ["captune-a"]

    def test_two_sweeps_in_a_minute_start_one_teardown(self) -> None:
        site = Site(endpoints={"captune-lost": "Creating"})
        for seconds, runs in ((0, ["captune-lost"]), (59, []), (60, ["captune-lost"])):
            site.step_functions.executions.clear()
            sweep = site.sweep(NOW + seconds * SECOND)
            assert (sweep.remove_leftovers(), sweep.problems) == (runs, [])

    def test_the_longest_run_name_fits_a_teardowns_name(self) -> None:
        assert Site(FakeLedger().with_run("x" * 50)).leftovers() == [f"captune-{'x' * 50}"]


class TestTheKillSwitch:
    def test_it_ends_every_execution_and_tears_every_run_down(self) -> None:
        ledger = FakeLedger().with_run("a").with_run("kept").with_run("done").settled("captune-done")
        ledger.noting("captune-kept", keep_until=(NOW + 30 * MINUTE).isoformat())
        executions = {"a": RUNNING, "new": RUNNING, "done": ended(), "kept": SUCCEEDED}
        site = Site(ledger, executions, endpoints={"captune-lost": "InService", "captune-kept": "InService"})
        assert site.sweep().end_everything() == ["captune-a", "captune-kept", "captune-lost", "captune-new"]
        stopped = site.step_functions.called("stop_execution")
        assert [one["executionArn"] for one in stopped] == [arn("a"), arn("new")]
        assert stopped[0]["error"] == "BudgetAlarm" and stopped[0]["cause"].startswith("The account's spending reached")
        assert {one["reason"] for one in site.inputs} == {"sweeper"}

    @pytest.mark.parametrize("is_silent", [True, False])
    def test_it_needs_no_readable_ledger(self, is_silent: bool) -> None:
        ledger = silent() if is_silent else reserved(damaged=True)
        site = Site(ledger, {"abc": RUNNING, "My.Run": RUNNING}, endpoints={"captune-lost": "InService"})
        assert site.sweep().end_everything() == ["captune-abc", "captune-lost", HASHED]
        assert site.step_functions.executions[arn("My.Run")]["status"] == "ABORTED"
        assert [one["executionName"] for one in site.inputs] == ["abc", "lost", "My.Run"]


@pytest.mark.parametrize("kill", [True, False])
def test_one_item_that_cannot_be_read_stops_nothing_for_other_runs(kill: bool) -> None:
    ledger = reserved().with_run("bad").noting("captune-bad", reserved_at="2026-02-29T12:00:00+00:00")
    resources = {"endpoints": {"captune-abc": "InService"}, "models": ["captune-bad"]}
    site = Site(ledger, {"abc": ended(), "bad": RUNNING}, **resources)
    sweep = site.sweep()
    found = sweep.end_everything() if kill else sweep.remove_leftovers()
    assert "captune-abc" in found and site.sagemaker.endpoints == {"captune-abc": "Deleting"}
    assert sweep.problems == []


@pytest.mark.parametrize("broken", ["run_of", "has_unbooked", "_oldest"])
def test_what_one_run_or_the_metrics_break_stops_nothing_for_other_runs(
    broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = reserved().with_run("bad").settled("captune-bad")
    resources = {"endpoints": {"captune-abc": "InService"}, "models": ["captune-bad"]}
    site, right = Site(ledger, {"abc": ended()}, **resources), getattr(evidence, broken)

    def fails(given: Any, *more: Any) -> Any:
        if broken == "_oldest" or "captune-bad" in str(given):
            raise ValueError("it cannot be read")
        return right(given, *more)

    monkeypatch.setattr(evidence, broken, fails)
    sweep = site.sweep()
    assert "captune-abc" in sweep.remove_leftovers() and site.sagemaker.endpoints == {"captune-abc": "Deleting"}
    assert [str(one) for one in sweep.problems] == ["it cannot be read"]


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
        self, site: Site, capsys: pytest.CaptureFixture[str], event: Any, message: str, runs: list[str], status: str
    ) -> None:
        site.sagemaker.endpoints["captune-lost"] = "InService"
        assert handler.handle(event, None) == {"tearDowns": runs}
        assert site.sagemaker.endpoints == {"captune-lost": "Deleting"}
        assert site.step_functions.executions[arn("abc")]["status"] == status
        notification = json.dumps(NOTIFICATION)[:500] if message == "killed" else None
        assert logged(capsys, message) == [{"message": message, "tear_downs": runs, "notification": notification}]

    def test_trouble_fails_the_function_after_everything_was_tried(self, site: Site) -> None:
        site.step_functions.troubles["stop_execution"] = [refusal("ThrottlingException")]
        with pytest.raises(ClientError):
            handler.handle({"Records": [{}]}, None)
        assert len(site.step_functions.started) == 1


@pytest.mark.parametrize("key", ["RUN#captune-abc", "MONTH#2026-11"])
def test_a_damaged_item_is_logged_and_hides_no_other(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = FakeLedger().with_run("sound").with_run("abc").damage(key)
    site = Site(ledger, {"sound": ended(), "abc": RUNNING}, endpoints={"captune-lost": "InService"})
    assert site.leftovers() == ["captune-lost", "captune-sound"]
    (line,) = logged(capsys, "damaged ledger item")
    assert line["key"] == key


@pytest.mark.parametrize("trouble", [refusal("ThrottlingException"), RuntimeError("an unforeseen answer")])
def test_a_run_that_cannot_be_judged_hides_no_other(trouble: Exception) -> None:
    site = Site(FakeLedger().with_run("a").with_run("b"), {"a": ended(), "b": ended()})
    site.step_functions.troubles["describe_execution"] = [trouble]
    sweep = site.sweep()
    assert (sweep.remove_leftovers(), sweep.problems) == (["captune-b"], [trouble])


@pytest.mark.parametrize(("operation", "hidden"), list(zip(LISTINGS, "abcd", strict=True)))
def test_a_kind_that_cannot_be_listed_hides_no_other(operation: str, hidden: str) -> None:
    trouble = refusal("ThrottlingException")
    running: Any = {"jobs": {"captune-a": "InProgress"}, "endpoints": {"captune-b": "InService"}}
    site = Site(**running, configurations=["captune-c"], models=["captune-d"])
    site.sagemaker.troubles[operation] = [trouble]
    sweep = site.sweep()
    assert sweep.remove_leftovers() == [f"captune-{one}" for one in "abcd" if one != hidden]
    assert sweep.problems == [trouble]


# A TearDown that cannot be started, one that was started in this minute, and one that is under way and whose function is refused.
@pytest.mark.parametrize("started", [False, True, None])
@pytest.mark.parametrize("kill", [True, False])
def test_the_sweeper_removes_by_itself_whatever_becomes_of_teardown(
    kill: bool, started: bool | None, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Site(endpoints={"captune-lost": "InService"}, jobs={"captune-b": "InProgress"})
    troubles = [SILENCE, refusal("ThrottlingException")] if started is False else []
    site.step_functions.troubles["start_execution"] = list(troubles)
    if started is None:
        for run in ("captune-b", "captune-lost"):
            site.step_functions.on_start_execution(TEAR_DOWN, f"{run}-sweep-2611231200", "{}")
    sweep = site.sweep()
    begun = sweep.end_everything() if kill else sweep.remove_leftovers()
    assert begun == (["captune-b", "captune-lost"] if started else [])
    assert site.sagemaker.endpoints == {"captune-lost": "Deleting"}
    assert site.sagemaker.jobs == {"captune-b": "Stopping"}
    assert sweep.problems == troubles
    assert [(line["runName"], line["found"]) for line in logged(capsys, "swept directly")] == [
        ("captune-b", ["training job captune-b: InProgress"]),
        ("captune-lost", ["endpoint captune-lost: InService"]),
    ]


def test_the_sweepers_own_pass_stops_an_execution_that_its_runs_name_does_not_tell() -> None:
    site = Site(executions={"My.Run": RUNNING}, endpoints={HASHED: "InService"})
    site.step_functions.troubles["start_execution"] = [SILENCE]
    assert site.leftovers() == []
    assert site.step_functions.executions[arn("My.Run")]["status"] == "ABORTED"


def test_the_kill_switch_removes_though_all_but_sagemaker_is_silent() -> None:
    site = Site(endpoints={"captune-abc": "InService"})
    site.ledger.fall_silent()
    for operation in ("list_executions", "start_execution", "describe_execution", "stop_execution"):
        site.step_functions.troubles[operation] = [SILENCE] * 5
    assert site.sweep().end_everything() == []
    assert site.sagemaker.endpoints == {"captune-abc": "Deleting"}


def test_two_teardowns_at_once_are_better_than_none() -> None:
    site = Site(endpoints={"captune-abc": "InService"})
    assert site.leftovers() == ["captune-abc"]
    # What runs is listed, and the TearDowns are not.
    site.step_functions.troubles["list_executions"] = [None, SILENCE]
    sweep = site.sweep(NOW + HOUR)
    assert (sweep.remove_leftovers(), sweep.problems) == (["captune-abc"], [SILENCE])


class TestTheMetrics:
    @staticmethod
    def written(site: Site, capsys: pytest.CaptureFixture[str], now: Any = NOW, kill: bool = False) -> dict[str, int]:
        capsys.readouterr()
        sweep = site.sweep(now)
        sweep.end_everything() if kill else sweep.remove_leftovers()
        return {key: value for line in logged(capsys, "metric") for key, value in line.items() if key != "_aws"}

    @pytest.mark.parametrize("kill", [True, False])
    def test_they_are_the_oldest_ages_and_the_damaged(self, capsys: pytest.CaptureFixture[str], kill: bool) -> None:
        ledger = FakeLedger().with_run("abc").with_run("b").with_run("c").with_run("old").settled("captune-old")
        ledger.damage("RUN#captune-abc").damage("RUN#captune-c").damage("MONTH#2026-11")
        ledger.noting("captune-old", reserved_at=(NOW - 9 * HOUR).isoformat())
        endpoints = {"captune-b": "InService", "captune-b-try2": "InService", "captune-theirs": "InService"}
        site = Site(ledger, {"b": RUNNING}, endpoints=endpoints)
        site.sagemaker.created_at = {"captune-b-try2": NOW - 2 * HOUR, "captune-theirs": NOW - 9 * HOUR}
        site.sagemaker.tags["captune-theirs"] = {}
        assert self.written(site, capsys, NOW + timedelta(minutes=5), kill) == {
            "OldestEndpointSeconds": 32700,  # of whoever's tags it has
            "OldestReservationSeconds": 300,
            "DamagedLedgerItems": 3,
        }

    @pytest.mark.parametrize(
        ("ledger_silent", "sagemaker_silent", "known"),
        [
            (False, False, {"OldestEndpointSeconds": 0, "OldestReservationSeconds": 0, "DamagedLedgerItems": 0}),
            (True, False, {"OldestEndpointSeconds": 0}),
            (False, True, {"OldestReservationSeconds": 0, "DamagedLedgerItems": 0}),
            (True, True, {}),
        ],
    )
    def test_nothing_there_is_zero_and_what_is_unknown_is_not_written(
        self, capsys: pytest.CaptureFixture[str], ledger_silent: bool, sagemaker_silent: bool, known: dict[str, int]
    ) -> None:
        site = Site(FakeLedger().with_run("abc").settled("captune-abc"))
        if ledger_silent:
            site.ledger.fall_silent()
        if sagemaker_silent:
            site.sagemaker.troubles["list_endpoints"] = [SILENCE]
        assert self.written(site, capsys) == known
