"""The life of every endpoint is known from what the passes saw: in the ledger, and without it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from common.contracts.tear_down import Removed
from common.ledger.rows import EndpointLifetime, endpoint_lifetime
from tests.doubles.lambda_fakes import NOW, logged, refusal
from tests.doubles.ledger_fakes import FakeLedger, clock_of_tokyo
from tests.doubles.run_end import TornDownSite as Site

CREATED, MINUTE = NOW - timedelta(minutes=30), timedelta(minutes=1)
ISO, GONE_AT = "2026-11-24T11:30:00+00:00", "2026-11-24T12:01:00+00:00"
ENDPOINT, NAMES = {"captune-abc": "InService"}, ["captune-abc"]


def gone(site: Site, after: timedelta, *names: str) -> Removed:
    """A pass after some endpoints have gone."""
    for name in names:
        del site.sagemaker.endpoints[name]
    return site.tear_down(after=after)


def ended(site: Site) -> datetime | None:
    """The end that the ledger has noted."""
    life = endpoint_lifetime(site.item)
    assert life
    return life.gone_at


class TestFromCreationToEnd:
    def test_it_ends_with_the_first_pass_that_did_not_find_it(self) -> None:
        site = Site(endpoints=ENDPOINT, configurations=NAMES)
        saw = site.tear_down()["seen"]
        assert saw == {"createdAt": ISO, "instanceType": "ml.g5.2xlarge", "instanceCount": 1}
        gone(site, MINUTE, "captune-abc")
        assert gone(site, 2 * MINUTE)["seen"] == {**saw, "goneAt": GONE_AT}
        assert endpoint_lifetime(site.item) == EndpointLifetime(CREATED, NOW + MINUTE, "ml.g5.2xlarge", 1)

    def test_the_earliest_creation_counts_in_utc_on_any_machine(self) -> None:
        site = Site(endpoints={"captune-abc": "Creating"})
        with clock_of_tokyo():
            assert site.tear_down()["seen"] == {"createdAt": ISO}
        site.seen = {"createdAt": "2026-11-24T11:59:00+00:00"}
        assert site.tear_down()["seen"]["createdAt"] == ISO

    def test_an_endpoint_that_came_back_has_not_gone(self) -> None:
        site = Site(endpoints={"captune-abc": "Deleting"})
        site.tear_down()
        gone(site, MINUTE, "captune-abc")
        site.sagemaker.endpoints["captune-abc"] = "Creating"
        site.sagemaker.created = NOW + MINUTE
        assert site.tear_down(after=2 * MINUTE)["seen"] == {"createdAt": ISO}
        last = gone(site, 3 * MINUTE, "captune-abc")["seen"]
        assert last == {"createdAt": ISO, "goneAt": "2026-11-24T12:03:00+00:00"}

    def test_a_life_is_written_when_the_ledger_answers_again(self, capsys: pytest.CaptureFixture[str]) -> None:
        site = Site(endpoints=ENDPOINT)
        site.ledger.fall_silent()
        outcome = site.tear_down()
        (line,) = logged(capsys, "endpoint's life not written")
        assert (line["run"], line["seen"]) == ("captune-abc", outcome["seen"])
        assert "The ledger did not answer" in line["error"]
        assert gone(site, MINUTE, "captune-abc")["seen"]["goneAt"] == GONE_AT
        site.ledger.table.trouble = lambda operation: None
        assert endpoint_lifetime(site.item) is None
        site.tear_down(after=9 * MINUTE)
        assert endpoint_lifetime(site.item) == EndpointLifetime(CREATED, NOW + MINUTE)


class TestWhatAnEarlierTearDownSaw:
    def test_what_it_did_not_see_go_has_gone_by_now(self) -> None:
        site = Site(endpoints=ENDPOINT)
        site.tear_down()
        site.sagemaker.endpoints.clear()
        site.seen = {}
        assert site.tear_down(after=MINUTE)["seen"] == {"createdAt": ISO, "goneAt": GONE_AT}
        assert ended(site) == NOW + MINUTE

    def test_a_known_end_is_not_seen_again(self) -> None:
        ledger = FakeLedger().with_run("abc")
        ledger.note_endpoint("captune-abc", CREATED, NOW)
        assert Site(ledger).tear_down(after=MINUTE)["seen"] == {}

    def test_nothing_has_gone_that_could_not_be_listed(self) -> None:
        site = Site(endpoints=ENDPOINT)
        site.tear_down()
        site.sagemaker.troubles["list_endpoints"] = [refusal("ThrottlingException")] * 2
        assert "goneAt" not in site.tear_down(after=MINUTE)["seen"]
        site.seen = {}
        assert site.tear_down(after=MINUTE)["seen"] == {}, "what the ledger knows is only closed by a listing"

    def test_an_end_is_noted_though_step_functions_is_silent(self) -> None:
        site = Site(endpoints=ENDPOINT, execution="RUNNING")
        site.step_functions.troubles["describe_execution"] = [EndpointConnectionError(endpoint_url="x")] * 2
        schedule = {"executionName": "abc", "reason": "schedule"}
        site.tear_down(schedule)
        site.seen = {}
        del site.sagemaker.endpoints["captune-abc"]
        assert site.tear_down(schedule, after=MINUTE)["problems"]
        assert ended(site) == NOW + MINUTE

    @pytest.mark.parametrize(("created", "ends"), [(-1, 0), (0, 0), (1, 30)])
    def test_what_a_settled_run_had_was_gone_when_it_was_settled(self, created: int, ends: int) -> None:
        """A late event of the same run finds nothing, and must not count the hours since as an endpoint's life."""
        site = Site()
        site.ledger.note_endpoint("captune-abc", NOW + created * MINUTE)
        site.ledger.settle("captune-abc", {"2026-11": 40}, {}, NOW)
        outcome = site.tear_down(after=30 * MINUTE)
        assert outcome["seen"]["goneAt"] == (NOW + ends * MINUTE).isoformat(timespec="seconds")


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
            (LISTED, {"ProductionVariants": [{"InstancePools": pools(1, 2)}]}, (None, 3)),
            (LISTED, {}, (None, 1)),
        ],
    )
    def test_type_and_number_are_what_sagemaker_says(self, configured: Any, running: Any, instances: Any) -> None:
        site = Site(endpoints=ENDPOINT)
        site.sagemaker.configurations["captune-abc"] = configured
        site.sagemaker.variants = running
        for _ in range(2):
            life = site.tear_down()["seen"]
            assert (life.get("instanceType"), life["instanceCount"]) == instances
        assert len(site.sagemaker.called("describe_endpoint")) == (1 if instances[0] else 2)
        noted = endpoint_lifetime(site.item)
        assert noted and noted.instance_count == instances[1]

    def test_several_endpoints_count_as_one_with_all_their_instances(self) -> None:
        site = Site(endpoints=ENDPOINT, configurations=[*NAMES, "captune-abc-try2"])
        assert site.tear_down()["seen"]["instanceCount"] == 1
        site.sagemaker.endpoints["captune-abc-try2"] = "InService"
        assert site.tear_down()["seen"]["instanceCount"] == 2
        assert gone(site, MINUTE, "captune-abc")["seen"]["instanceCount"] == 2
        assert "goneAt" in gone(site, MINUTE, "captune-abc-try2")["seen"]

    def test_the_largest_number_of_instances_counts(self) -> None:
        site = Site(endpoints=ENDPOINT)
        site.sagemaker.configurations["captune-abc"] = LISTED
        for counts in ((1, 2), (1, 1)):
            site.sagemaker.variants = {"ProductionVariants": [{"InstancePools": pools(*counts)}]}
            assert site.tear_down()["seen"]["instanceCount"] == 3

    def test_a_second_type_leaves_none_known(self) -> None:
        site = Site(endpoints=ENDPOINT, configurations=NAMES)
        assert site.tear_down()["seen"]["instanceType"] == "ml.g5.2xlarge"
        site.sagemaker.endpoints["captune-abc-try2"] = "InService"
        site.sagemaker.configurations["captune-abc-try2"] = ("ml.p4d.24xlarge", 1)
        assert "instanceType" not in site.tear_down()["seen"]

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
        assert ("instanceType" in outcome["seen"], outcome["problems"]) == (False, [])
        (line,) = logged(capsys, "endpoint not described")
        assert (line["endpoints"], line["error"]) == (["captune-abc"], str(trouble))
        assert site.tear_down()["seen"]["instanceType"] == "ml.g5.2xlarge"
