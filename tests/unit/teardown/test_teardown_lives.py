"""The life of every endpoint is known from what the passes saw: in the ledger, and without it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from botocore.exceptions import EndpointConnectionError

from common.contracts.tear_down import Removed
from common.ledger.rows import EndpointLife, endpoint_lives
from tests.doubles.lambda_fakes import NOW, refusal
from tests.doubles.ledger_fakes import FakeLedger
from tests.doubles.teardown_site import Site

CREATED, MINUTE = NOW - timedelta(minutes=30), timedelta(minutes=1)
ISO = "2026-11-24T11:30:00+00:00"


def gone(site: Site, after: timedelta, *names: str) -> Removed:
    """A pass after some endpoints have gone."""
    for name in names:
        del site.sagemaker.endpoints[name]
    return site.tear_down(after=after)


def test_a_life_is_from_creation_until_the_first_pass_that_did_not_find_it() -> None:
    site = Site(endpoints={"captune-abc": "InService"}, configurations=["captune-abc"])
    assert site.tear_down()["seen"] == {
        "1": {"createdAt": ISO, "failed": False, "instanceType": "ml.g5.2xlarge", "instanceCount": 1}
    }
    gone(site, MINUTE, "captune-abc")
    assert gone(site, 2 * MINUTE)["seen"]["1"]["goneAt"] == "2026-11-24T12:01:00+00:00"
    assert endpoint_lives(site.item) == {1: EndpointLife(CREATED, NOW + MINUTE, "ml.g5.2xlarge", 1)}


def test_what_this_tear_down_saw_of_an_endpoint_is_not_forgotten_for_what_the_ledger_remembers() -> None:
    site = Site(endpoints={"captune-abc": "InService"}, configurations=["captune-abc"])
    saw = site.tear_down()["seen"]["1"]
    assert gone(site, MINUTE, "captune-abc")["seen"]["1"] == {**saw, "goneAt": "2026-11-24T12:01:00+00:00"}


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose own clock is nine hours ahead of UTC."""
    monkeypatch.setenv("TZ", "JST-9")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_life_is_told_in_utc_wherever_the_machine_is(far_east: None) -> None:
    site = Site(endpoints={"captune-abc": "Creating"})
    assert site.tear_down()["seen"]["1"] == {"createdAt": ISO}


def test_two_endpoints_have_two_lives() -> None:
    names = ("captune-abc", "captune-abc-try2")
    site = Site(endpoints={names[0]: "Deleting", names[1]: "InService"})
    site.sagemaker.created_at = {names[0]: CREATED - 60 * MINUTE}
    site.tear_down()
    gone(site, MINUTE, names[0])
    gone(site, 5 * MINUTE, names[1])
    lives = endpoint_lives(site.item)
    assert {attempt: (life.created_at, life.gone_at) for attempt, life in lives.items()} == {
        1: (CREATED - 60 * MINUTE, NOW + MINUTE),
        2: (CREATED, NOW + 5 * MINUTE),
    }


def test_of_two_endpoints_of_one_attempt_the_first_creation_counts_and_the_last_end() -> None:
    site = Site(endpoints={"captune-abc": "Deleting"})
    site.tear_down()
    gone(site, MINUTE, "captune-abc")
    site.sagemaker.endpoints["captune-abc"] = "Creating"
    site.sagemaker.created = NOW + MINUTE
    assert site.tear_down(after=2 * MINUTE)["seen"]["1"] == {"createdAt": ISO}
    assert gone(site, 3 * MINUTE, "captune-abc")["seen"]["1"] == {
        "createdAt": ISO,
        "goneAt": "2026-11-24T12:03:00+00:00",
    }


def test_an_earlier_creation_than_the_one_known_counts() -> None:
    site = Site(endpoints={"captune-abc": "Creating"})
    site.seen = {"1": {"createdAt": "2026-11-24T11:59:00+00:00"}}
    assert site.tear_down()["seen"]["1"]["createdAt"] == ISO


def test_lives_are_known_without_the_ledger_and_written_when_it_answers_again() -> None:
    site = Site(endpoints={"captune-abc": "InService"})
    site.silence_the_ledger()
    site.tear_down()
    assert gone(site, MINUTE, "captune-abc")["seen"]["1"]["goneAt"] == "2026-11-24T12:01:00+00:00"
    site.ledger.table.trouble = lambda operation: None
    assert endpoint_lives(site.item) == {}
    site.tear_down(after=9 * MINUTE)
    assert endpoint_lives(site.item) == {1: EndpointLife(CREATED, NOW + MINUTE)}


def test_an_endpoint_that_an_earlier_tear_down_saw_and_did_not_see_go_has_gone_by_now() -> None:
    site = Site(endpoints={"captune-abc": "InService", "captune-abc-try2": "Failed"})
    site.tear_down()
    site.sagemaker.endpoints.clear()
    site.seen = {}
    seen = site.tear_down(after=MINUTE)["seen"]
    assert seen == {
        "1": {"createdAt": ISO, "goneAt": "2026-11-24T12:01:00+00:00"},
        "2": {"createdAt": ISO, "goneAt": "2026-11-24T12:01:00+00:00", "failed": True},
    }
    assert endpoint_lives(site.item)[1].gone_at == NOW + MINUTE


def test_an_endpoint_whose_end_the_ledger_knows_is_not_seen_to_go_again() -> None:
    ledger = FakeLedger().with_run("abc")
    ledger.note_endpoint("captune-abc", 1, CREATED, NOW)
    site = Site(ledger)
    assert site.tear_down(after=MINUTE)["seen"] == {}


def test_nothing_has_gone_that_could_not_be_listed() -> None:
    site = Site(endpoints={"captune-abc": "InService"})
    site.tear_down()
    site.sagemaker.troubles["list_endpoints"] = [refusal("ThrottlingException")]
    assert "goneAt" not in site.tear_down(after=MINUTE)["seen"]["1"]
    site.seen = {}
    site.sagemaker.troubles["list_endpoints"] = [refusal("ThrottlingException")]
    assert site.tear_down(after=MINUTE)["seen"] == {}, "what the ledger knows is only closed by a listing"


@pytest.mark.parametrize(
    ("statuses", "failed"),
    [
        (["Creating", "Failed", "Deleting"], True),
        (["Creating", "Deleting"], None),
        (["Creating", "InService", "Deleting"], False),
        (["InService", "Failed"], False),
        (["Failed", "InService"], False),
        (["OutOfService"], False),
    ],
)
def test_only_an_endpoint_that_never_worked_is_a_failed_one(statuses: list[str], failed: bool | None) -> None:
    site = Site()
    for status in statuses:
        site.sagemaker.endpoints["captune-abc"] = status
        seen = site.tear_down()["seen"]
    assert seen["1"].get("failed") is failed
    assert endpoint_lives(site.item)[1].failed is (statuses[0] == "Failed" or bool(failed))


class TestWhatRuns:
    def test_the_type_and_the_number_of_instances_are_those_that_sagemaker_tells(self) -> None:
        site = Site(endpoints={"captune-abc": "InService"}, configurations=["captune-abc"])
        site.sagemaker.configurations["captune-abc"] = ("ml.p4d.24xlarge", 2)
        life = site.tear_down()["seen"]["1"]
        assert (life["instanceType"], life["instanceCount"]) == ("ml.p4d.24xlarge", 2)
        site.sagemaker.configurations.clear()
        assert site.tear_down(after=MINUTE)["seen"]["1"]["instanceType"] == "ml.p4d.24xlarge"
        assert endpoint_lives(site.item)[1].instance_count == 2

    def test_an_endpoint_that_has_grown_counts_with_all_its_instances(self) -> None:
        site = Site(endpoints={"captune-abc": "InService"}, configurations=["captune-abc"])
        site.sagemaker.instances_now = 3
        assert site.tear_down()["seen"]["1"]["instanceCount"] == 3

    def test_it_is_asked_once(self) -> None:
        site = Site(endpoints={"captune-abc": "Creating"}, configurations=["captune-abc"])
        site.tear_down()
        site.tear_down()
        assert len(site.sagemaker.called("describe_endpoint")) == 1

    @pytest.mark.parametrize("operation", ["describe_endpoint", "describe_endpoint_config"])
    @pytest.mark.parametrize(
        "trouble", [refusal("Throttled"), EndpointConnectionError(endpoint_url="x"), KeyError("x")]
    )
    def test_no_answer_keeps_nothing_from_being_removed(self, operation: str, trouble: Exception) -> None:
        names = ["captune-abc", "captune-abc-try2"]
        site = Site(endpoints=dict.fromkeys(names, "InService"), configurations=names)
        site.sagemaker.troubles[operation] = [trouble]
        outcome = site.tear_down()
        assert site.changes == ["delete_endpoint", "delete_endpoint"]
        assert ["instanceType" in life for life in outcome["seen"].values()] == [False, True]
        assert outcome["problems"] == []
        assert site.tear_down()["seen"]["1"]["instanceType"] == "ml.g5.2xlarge"

    def test_endpoints_are_deleted_before_anything_is_asked_about_them(self) -> None:
        names = ["captune-abc", "captune-abc-try2"]
        site = Site(endpoints=dict.fromkeys(names, "InService"), configurations=names)
        site.tear_down()
        calls = [name for name, _ in site.sagemaker.calls if name.startswith(("delete_", "describe_"))]
        assert calls[:2] == ["delete_endpoint", "delete_endpoint"]


def test_an_end_is_noted_though_step_functions_does_not_answer_and_another_tear_down_saw_the_beginning() -> None:
    site = Site(endpoints={"captune-abc": "InService"}, execution="RUNNING")
    silent = {"describe_execution": [EndpointConnectionError(endpoint_url="x") for _ in range(2)]}
    site.step_functions.troubles |= silent
    schedule = {"executionName": "abc", "reason": "schedule"}
    site.tear_down(schedule)
    site.seen = {}
    del site.sagemaker.endpoints["captune-abc"]
    outcome = site.tear_down(schedule, after=MINUTE)
    assert outcome["problems"]
    assert endpoint_lives(site.item)[1].gone_at == NOW + MINUTE


@pytest.mark.parametrize(("created", "ends"), [(-1, 0), (0, 0), (1, 30)])
def test_what_a_settled_run_had_before_was_gone_when_it_was_settled(created: int, ends: int) -> None:
    """A late event of the same run finds nothing, and must not count the hours since as an endpoint's life."""
    site = Site()
    site.ledger.note_endpoint("captune-abc", 1, NOW + created * MINUTE)
    site.ledger.settle("captune-abc", {"2026-11": 40}, {}, NOW)
    outcome = site.tear_down(after=30 * MINUTE)
    assert outcome["seen"]["1"]["goneAt"] == (NOW + ends * MINUTE).isoformat(timespec="seconds")
