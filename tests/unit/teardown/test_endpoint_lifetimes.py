"""The life of every endpoint is known from what the passes saw: in the ledger, and without it."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from common.contracts.tear_down import Removed
from common.endpoint_lives import of_item
from teardown.endpoint_lifetimes import note_gone
from teardown.removal import Removal
from tests.doubles.lambda_fakes import MACHINE, NOW, logged, refusal
from tests.doubles.ledger_fakes import FakeLedger, booking
from tests.doubles.run_end import EVENT
from tests.doubles.run_end import TornDownSite as Site

MINUTE = timedelta(minutes=1)
ISO, GONE_AT = "2026-11-24T11:30:00+00:00", "2026-11-24T12:01:00+00:00"
ENDPOINT, NAMES = {"captune-abc": "InService"}, ["captune-abc"]


def life(**more: Any) -> Any:
    """The endpoint of the run, as it is known."""
    return {"name": "captune-abc", "createdAt": ISO, **more}


SERVED = life(instanceType="ml.g5.2xlarge", instanceCount=1)


def gone(site: Site, after: timedelta, *names: str) -> Removed:
    """A pass after some endpoints have gone."""
    for name in names:
        del site.sagemaker.endpoints[name]
    return site.tear_down(after=after)


class TestFromCreationToEnd:
    def test_it_ends_with_the_first_pass_that_did_not_find_it(self) -> None:
        site = Site(endpoints=ENDPOINT, configurations=NAMES)
        assert site.tear_down()["seen"] == {"lives": [SERVED]}
        gone(site, MINUTE, "captune-abc")
        last = {"lives": [{**SERVED, "goneAt": GONE_AT}], "noneAt": GONE_AT}
        assert gone(site, 2 * MINUTE)["seen"] == last == of_item(site.item)

    def test_its_end_is_when_the_list_was_answered(self) -> None:
        site = Site()

        def clock() -> datetime:
            return NOW + len(site.sagemaker.called("list_endpoints")) * MINUTE

        removal = Removal("captune-abc", site.sagemaker, site.step_functions, site.ledger, MACHINE, clock)
        assert removal.one_pass(EVENT)["seen"] == {"noneAt": GONE_AT}

    def test_an_endpoint_that_came_back_has_a_second_life(self) -> None:
        site = Site(endpoints={"captune-abc": "Deleting"})
        site.tear_down()
        gone(site, MINUTE, "captune-abc")
        site.sagemaker.endpoints["captune-abc"] = "Creating"
        site.sagemaker.created = NOW + MINUTE
        site.tear_down(after=2 * MINUTE)
        second = {"name": "captune-abc", "createdAt": GONE_AT, "goneAt": "2026-11-24T12:03:00+00:00"}
        last = gone(site, 3 * MINUTE, "captune-abc")["seen"]
        assert last == {"lives": [life(goneAt=GONE_AT), second], "noneAt": GONE_AT} == of_item(site.item)

    def test_one_that_a_list_left_out_once_has_not_gone(self) -> None:
        site = Site(endpoints={"captune-abc": "Deleting"})
        site.tear_down()
        gone(site, MINUTE, "captune-abc")
        site.sagemaker.endpoints["captune-abc"] = "Deleting"
        assert site.tear_down(after=2 * MINUTE)["seen"] == {"lives": [life()]} == of_item(site.item)
        later = "2026-11-24T12:03:00+00:00"
        last = {"lives": [life(goneAt=later)], "noneAt": later}
        assert gone(site, 3 * MINUTE, "captune-abc")["seen"] == last == of_item(site.item)

    def test_one_that_went_after_this_look_stays_gone(self) -> None:
        """Another tear-down looked a minute later, and told the ledger first."""
        site = Site(endpoints={"captune-abc": "Deleting"})
        later = {"lives": [life(goneAt=GONE_AT)], "noneAt": GONE_AT}
        site.ledger.before_a_write(lambda: site.ledger.noting("captune-abc", endpoint_seen=json.dumps(later)))
        assert site.tear_down()["seen"] == later == of_item(site.item)

    def test_a_life_is_written_when_the_ledger_answers_again(self, capsys: pytest.CaptureFixture[str]) -> None:
        site = Site(endpoints=ENDPOINT)
        site.ledger.fall_silent()
        outcome = site.tear_down()
        (line,) = logged(capsys, "endpoints' lives not written")
        assert (line["run"], line["seen"]) == ("captune-abc", outcome["seen"])
        assert "The ledger did not answer" in line["error"]
        last = gone(site, MINUTE, "captune-abc")["seen"]
        assert last == {"lives": [life(goneAt=GONE_AT)], "noneAt": GONE_AT}
        site.ledger.table.trouble = lambda operation: None
        assert of_item(site.item) == {}
        site.tear_down(after=9 * MINUTE)
        assert of_item(site.item) == last


class TestWhatAnEarlierTearDownSaw:
    # By now, or by an earlier look that found none and could not tell the ledger.
    @pytest.mark.parametrize(("seen", "now"), [({}, MINUTE), ({"noneAt": GONE_AT}, 9 * MINUTE)])
    def test_what_it_did_not_see_go_has_gone(self, seen: Any, now: timedelta) -> None:
        site = Site(endpoints=ENDPOINT)
        site.tear_down()
        site.sagemaker.endpoints.clear()
        site.seen = seen
        assert site.tear_down(after=now)["seen"] == {"lives": [life(goneAt=GONE_AT)], "noneAt": GONE_AT}

    def test_nothing_has_gone_that_could_not_be_listed(self) -> None:
        site = Site(endpoints=ENDPOINT)
        site.tear_down()
        site.sagemaker.troubles["list_endpoints"] = [refusal("ThrottlingException")] * 2
        assert site.tear_down(after=MINUTE)["seen"] == {"lives": [life()]}
        site.seen = {}
        assert site.tear_down(after=MINUTE)["seen"] == {"lives": [life()]}

    @pytest.mark.parametrize(("created", "ends"), [(-1, 0), (0, 0), (1, 30)])
    def test_what_a_recorded_run_had_was_gone_when_it_was_recorded(self, created: int, ends: int) -> None:
        """A late event of the same run finds nothing, and must not count the hours since as an endpoint's life."""
        site = Site()
        site.ledger.settle("captune-abc", booking({"2026-11": 40}), NOW)
        began = {"name": "captune-abc", "createdAt": (NOW + created * MINUTE).isoformat()}
        site.ledger.noting("captune-abc", endpoint_seen=json.dumps({"lives": [began]}))
        (found,) = site.tear_down(after=30 * MINUTE)["seen"]["lives"]
        assert found["goneAt"] == (NOW + ends * MINUTE).isoformat()


class TestWhoeverLooksWithoutRemoving:
    # What the listing had, which began at noon, a creation, and whether the item says afterwards that it has gone.
    @pytest.mark.parametrize(
        ("there", "created", "is_gone"),
        [
            (set(), NOW - MINUTE, True),
            ({("captune-abc", (NOW - MINUTE).isoformat())}, NOW - MINUTE, False),
            ({("captune-abc", ISO), ("captune-abd", (NOW - MINUTE).isoformat())}, NOW - MINUTE, True),
            (set(), NOW, False),  # it may have come after the listing
        ],
    )
    def test_it_notes_what_has_gone(self, there: set[tuple[str, str]], created: datetime, is_gone: bool) -> None:
        began = {"name": "captune-abc", "createdAt": created.isoformat()}
        earlier = life(goneAt=ISO)
        ledger = FakeLedger().with_run("abc", keep_until=GONE_AT)
        ledger.noting("captune-abc", endpoint_seen=json.dumps({"lives": [earlier, began]}))
        before = ledger.run("captune-abc")
        note_gone(ledger, "captune-abc", there, NOW, NOW + MINUTE)
        after = ledger.run("captune-abc")
        assert of_item(after)["lives"] == [earlier, {**began, **({"goneAt": GONE_AT} if is_gone else {})}]
        assert {**after, "endpoint_seen": ""} == {**before, "endpoint_seen": ""}, "it ends nothing"


LISTED = (None, 1)  # a configuration that lists types


def pools(*counts: int) -> list[dict[str, Any]]:
    """The instances of each listed type."""
    kinds = ("ml.g5.2xlarge", "ml.g6.2xlarge")
    return [{"InstanceType": kind, "CurrentInstanceCount": count} for kind, count in zip(kinds, counts, strict=True)]


class TestWhatRuns:
    @pytest.mark.parametrize(
        ("configured", "running", "instances"),
        [
            (("ml.p4d.24xlarge", 2), {"ProductionVariants": [{"CurrentInstanceCount": 1}]}, ("ml.p4d.24xlarge", 2)),
            # An endpoint that has grown counts with all its instances; without a number, its configuration counts.
            (("ml.p4d.24xlarge", 2), {"ProductionVariants": [{"CurrentInstanceCount": 3}]}, ("ml.p4d.24xlarge", 3)),
            (("ml.g5.2xlarge", 2), {"ProductionVariants": [{}]}, ("ml.g5.2xlarge", 2)),
            (("ml.g5.2xlarge", 2), {}, ("ml.g5.2xlarge", 2)),
            # Of several types, the one that has an instance; none is known before that, nor where there are two.
            (LISTED, {"ProductionVariants": [{"InstancePools": pools(0, 1)}]}, ("ml.g6.2xlarge", 1)),
            (LISTED, {"ProductionVariants": [{"InstancePools": pools(0, 0)}]}, (None, 1)),
            (LISTED, {"ProductionVariants": [{"InstancePools": pools(1, 2)}]}, ("", 3)),
            (LISTED, {}, (None, 1)),
        ],
    )
    def test_type_and_number_are_what_sagemaker_says(self, configured: Any, running: Any, instances: Any) -> None:
        site = Site(endpoints=ENDPOINT)
        site.sagemaker.configurations["captune-abc"] = configured
        site.sagemaker.variants = running
        for _ in range(2):
            (found,) = site.tear_down()["seen"]["lives"]
            assert (found.get("instanceType"), found["instanceCount"]) == instances
        assert len(site.sagemaker.called("describe_endpoint")) == (2 if instances[0] is None else 1)
        assert of_item(site.item)["lives"] == [found]

    def test_each_of_several_endpoints_has_its_own_life(self) -> None:
        site = Site(endpoints=ENDPOINT, configurations=[*NAMES, "captune-abc-try2"])
        site.tear_down()
        site.sagemaker.endpoints["captune-abc-try2"] = "InService"
        site.sagemaker.configurations["captune-abc-try2"] = ("ml.p4d.24xlarge", 2)
        other = {"name": "captune-abc-try2", "createdAt": ISO, "instanceType": "ml.p4d.24xlarge", "instanceCount": 2}
        assert site.tear_down()["seen"]["lives"] == [SERVED, other]
        last = gone(site, MINUTE, "captune-abc")["seen"]
        assert last == {"lives": [{**SERVED, "goneAt": GONE_AT}, other]}

    def test_the_type_is_known_once_sagemaker_has_taken_one(self) -> None:
        site = Site(endpoints=ENDPOINT)
        site.sagemaker.configurations["captune-abc"] = LISTED
        for counts, kind in (((0, 0), None), ((0, 1), "ml.g6.2xlarge")):
            site.sagemaker.variants = {"ProductionVariants": [{"InstancePools": pools(*counts)}]}
            (found,) = site.tear_down()["seen"]["lives"]
            assert found.get("instanceType") == kind

    @pytest.mark.parametrize("operation", ["describe_endpoint", "describe_endpoint_config"])
    @pytest.mark.parametrize(
        "trouble", [refusal("Throttled"), EndpointConnectionError(endpoint_url="x"), KeyError("x")]
    )
    def test_an_endpoint_that_cannot_be_described_is_removed(
        self, operation: str, trouble: Exception, capsys: pytest.CaptureFixture[str]
    ) -> None:
        site = Site(endpoints=ENDPOINT, configurations=NAMES)
        site.sagemaker.troubles[operation] = [trouble]
        outcome = site.tear_down()
        calls = [name for name, _ in site.sagemaker.calls if name.startswith(("delete_", "describe_"))]
        assert calls[0] == "delete_endpoint"
        assert (outcome["seen"]["lives"], outcome["problems"]) == ([life()], [])
        (line,) = logged(capsys, "endpoint not described")
        assert (line["endpoint"], line["error"]) == ("captune-abc", str(trouble))
        # Its configuration is gone, and it counts as the dearest reserved type.
        assert site.tear_down()["seen"]["lives"] == [life()]


def test_the_look_that_stops_an_execution_bounds_nothing() -> None:
    site = Site(execution="RUNNING")
    assert site.tear_down({"executionName": "abc", "reason": "schedule"})["seen"] == {}
    assert site.tear_down({"executionName": "abc", "reason": "schedule"}, after=MINUTE)["seen"] == {"noneAt": GONE_AT}
