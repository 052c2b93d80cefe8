"""What really ran is billed as what it is, and what nobody had set money aside for is told."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from common.pricing import prices
from settle.billing import bill
from settle.tariff import Tariff
from tests.doubles.lambda_fakes import arn
from tests.doubles.ledger_fakes import FakeLedger
from tests.doubles.settle_site import START, Site, job


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(monkeypatch)


def ran_on(instance_type: str, count: int = 1, seconds: int = 3600) -> dict[str, Any]:
    return {**job(seconds=seconds), "ResourceConfig": {"InstanceType": instance_type, "InstanceCount": count}}


def cost(site: Site) -> dict[str, int]:
    return dict(site.settle()["record"]["cost"])


def test_a_job_of_another_type_is_billed_as_that_type(site: Site) -> None:
    # 7.09 dollars an hour in the pinned table; the type that was reserved costs 1.515.
    site.sagemaker.jobs["captune-abc"] = ran_on("ml.g5.12xlarge")
    outcome = site.settle()
    assert outcome["record"]["cost"]["training_cents"] == 709
    (told,) = outcome["record"]["unreserved"]
    assert told == (
        "Training job captune-abc ran on 1 x ml.g5.12xlarge; reserved was one of ml.g5.2xlarge: $7.09 at $7.09 an hour "
        "(pinned table of 2026-08-15)."
    )
    assert told in outcome["message"]


def test_a_type_that_nobody_knows_costs_the_dearest_that_anybody_knows(site: Site) -> None:
    site.sagemaker.jobs["captune-abc"] = ran_on("ml.p4d.24xlarge")
    outcome = site.settle()
    assert outcome["record"]["cost"]["training_cents"] == 709
    assert "dearest in the pinned table" in outcome["record"]["unreserved"][0]


def test_a_reserved_price_above_the_whole_table_is_the_dearest(site: Site) -> None:
    site.ledger.table.rows = FakeLedger().with_run("abc", training_prices="ml.g5.48xlarge=20").table.rows
    site.sagemaker.jobs["captune-abc"] = ran_on("ml.p4d.24xlarge")
    assert cost(site)["training_cents"] == 2000


def test_the_instance_count_counts(site: Site) -> None:
    site.sagemaker.jobs["captune-abc"] = ran_on("ml.g5.2xlarge", count=4)
    outcome = site.settle()
    assert outcome["record"]["cost"]["training_cents"] == 606
    assert outcome["record"]["cost"]["training_seconds"] == 4 * 3600
    assert "ran on 4 x ml.g5.2xlarge" in outcome["message"]


def test_as_many_instances_as_were_reserved_are_counted_and_not_held_against_the_run(site: Site) -> None:
    site.ledger.table.rows = FakeLedger().with_run("abc", training_instances=4).table.rows
    site.sagemaker.jobs["captune-abc"] = ran_on("ml.g5.2xlarge", count=4)
    outcome = site.settle()
    assert outcome["record"]["cost"]["training_cents"] == 606
    assert outcome["record"]["unreserved"] == []
    site.sagemaker.jobs["captune-abc"] = ran_on("ml.g5.2xlarge", count=5)
    assert "ran on 5 x ml.g5.2xlarge" in site.settle()["message"]


def test_more_than_the_several_that_were_reserved_are_told_beside_their_number(site: Site) -> None:
    site.ledger.table.rows = FakeLedger().with_run("abc", training_instances=4).table.rows
    site.sagemaker.jobs["captune-abc"] = ran_on("ml.g5.2xlarge", count=5)
    (told,) = site.settle()["record"]["unreserved"]
    assert "ran on 5 x ml.g5.2xlarge; reserved was 4 of ml.g5.2xlarge: " in told


def test_an_endpoint_of_another_type_is_billed_as_that_type(site: Site) -> None:
    seen = {"1": {"createdAt": START.isoformat(), "instanceType": "ml.g5.12xlarge", "instanceCount": 1}}
    (told,) = site.settle(seen=seen)["record"]["unreserved"]
    assert told.endswith("at $7.09 an hour (pinned table of 2026-08-15).")


def test_how_many_instances_train_says_nothing_of_the_endpoint(site: Site) -> None:
    site.ledger.table.rows = FakeLedger().with_run("abc", training_instances=4).table.rows
    seen = {"1": {"createdAt": START.isoformat(), "instanceType": "ml.g5.2xlarge", "instanceCount": 2}}
    (told,) = site.settle(seen=seen)["record"]["unreserved"]
    assert told.startswith("The endpoint of attempt 1 ran on 2 x ml.g5.2xlarge")


def test_every_type_that_was_reserved_is_named(site: Site) -> None:
    both = "ml.g5.2xlarge=1.515 ml.g6.2xlarge=1.222"
    site.ledger.table.rows = FakeLedger().with_run("abc", training_prices=both).table.rows
    site.sagemaker.jobs["captune-abc"] = ran_on("ml.g6.2xlarge", count=2)
    (told,) = site.settle()["record"]["unreserved"]
    assert told == (
        "Training job captune-abc ran on 2 x ml.g6.2xlarge; reserved was one of ml.g5.2xlarge or ml.g6.2xlarge: $2.45 at $1.222 "
        "an hour (AWS Price List)."
    )


def test_of_a_type_that_nobody_knows_the_one_that_was_counted_is_named(site: Site) -> None:
    site.sagemaker.jobs["captune-abc"] = ran_on("", count=2)
    (told,) = site.settle()["record"]["unreserved"]
    assert "ran on 2 x ml.g5.2xlarge; reserved" in told


def test_groups_of_instances_are_each_billed_as_what_they_are(site: Site) -> None:
    groups = [
        {"InstanceType": "ml.g5.2xlarge", "InstanceCount": 1, "InstanceGroupName": "a"},
        {"InstanceType": "ml.g5.12xlarge", "InstanceCount": 2, "InstanceGroupName": "b"},
    ]
    site.sagemaker.jobs["captune-abc"] = {**job(seconds=3600), "ResourceConfig": {"InstanceGroups": groups}}
    assert cost(site)["training_cents"] == 152 + 1418


def test_a_run_as_it_was_reserved_tells_nothing(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = site.settle()
    assert outcome["record"]["unreserved"] == []
    assert "ran on" not in outcome["message"]
    assert _metric(capsys)["UnreservedInstances"] == 0


def test_what_was_not_reserved_is_a_metric(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.sagemaker.jobs["captune-abc"] = ran_on("ml.g5.12xlarge")
    seen = {"1": {"createdAt": START.isoformat(), "instanceType": "ml.g5.2xlarge", "instanceCount": 2}}
    outcome = site.settle(seen=seen)
    assert _metric(capsys)["UnreservedInstances"] == 2
    assert "The endpoint of attempt 1 ran on 2 x ml.g5.2xlarge" in outcome["message"]


def test_what_billed_nothing_is_not_held_against_a_run(site: Site) -> None:
    site.sagemaker.jobs["captune-abc"] = ran_on("ml.g5.12xlarge", seconds=0)
    assert site.settle()["record"]["unreserved"] == []


def test_a_job_where_none_was_reserved_is_told(site: Site) -> None:
    site.ledger.table.rows = FakeLedger().with_run("abc", training_prices="").table.rows
    site.sagemaker.jobs["captune-abc"] = ran_on("")
    outcome = site.settle()
    assert outcome["record"]["cost"]["training_cents"] == 709
    assert "reserved was one of nothing" in outcome["message"]


def test_an_endpoint_where_none_was_reserved_counts_as_the_dearest(site: Site) -> None:
    site.ledger.table.rows = FakeLedger().with_run("abc", hosting_prices="").table.rows
    site.settle(seen={"1": {"createdAt": START.isoformat(), "goneAt": (START + timedelta(seconds=3599)).isoformat()}})
    assert (site.ledger.run("captune-abc") or {})["endpoint_cents"] == 709


def test_the_price_of_another_region_is_not_this_ones() -> None:
    item: Any = {
        "price_source": "p",
        "training_prices": "ml.g5.2xlarge=1",
        "execution_arn": arn("abc").replace("us-east-1", "us-west-2"),
    }
    # The table has a price of ml.g6.2xlarge in us-east-1 alone.
    assert Tariff.of(item, "Training").of_type("ml.g6.2xlarge").source.startswith("dearest in the pinned table")


@pytest.mark.parametrize("instance_type", ["ml.g5.2xlarge", "ml.g5.12xlarge", "ml.p4d.24xlarge"])
def test_every_price_says_what_it_is_for(instance_type: str) -> None:
    item: Any = {"price_source": "p", "hosting_prices": "ml.g5.2xlarge=1", "execution_arn": arn("abc")}
    assert Tariff.of(item, "Hosting").of_type(instance_type).use == "Hosting"


def test_the_dearest_of_the_table_is_its_dearest() -> None:
    table = {"date": "d", "hourly_usd": {"a": {"x": "9.5", "y": "10"}, "b": {"z": "8"}}}
    found = prices.dearest_pinned("Hosting", table)
    assert (found.instance_type, str(found.hourly_usd), found.use) == ("y", "10", "Hosting")


class TestTheSmallItems:
    """Storage, requests and logs have no date of their own: the months that a run lived in share what was reserved for them."""

    @pytest.mark.parametrize(
        ("reserved", "lived", "booked"),
        [
            ("2026-11", {"2026-11"}, 12),
            ("2026-11,2026-12", {"2026-11"}, 6),
            ("2026-10", {"2026-10"}, 12),  # a month that it did not live in, for want of another
        ],
    )
    def test_a_month_that_the_run_did_not_live_in_has_none(
        self, site: Site, reserved: str, lived: set[str], booked: int
    ) -> None:
        site.sagemaker.jobs = {}
        item: Any = {**(site.ledger.run("captune-abc") or {}), "months": reserved, "other_cents": 12}
        made = bill(site.sagemaker, "captune-abc", item, None, site.now)
        assert (set(made.by_month), made.other_cents, made.cents) == (lived, booked, booked)
        assert sum(made.by_month.values()) == booked

    def test_an_item_without_them_has_none(self, site: Site) -> None:
        item: Any = {**(site.ledger.run("captune-abc") or {})}
        del item["other_cents"]
        assert bill(site.sagemaker, "captune-abc", item, None, site.now).other_cents == 0

    def test_what_was_booked_is_what_the_ledger_keeps(self, site: Site) -> None:
        site.ledger.table.rows["RUN#captune-abc"]["months"] = {"S": "2026-11,2026-12"}
        site.settle()
        assert (site.ledger.run("captune-abc") or {})["other_cents"] == 3


class TestTheSecondsOfAJob:
    def test_its_retries_are_billed_beside_it(self, site: Site) -> None:
        site.sagemaker.jobs = {f"captune-abc{end}": job(seconds=360) for end in ("", "-try2", "-try3")}
        assert cost(site)["training_seconds"] == 3 * 360

    def test_a_run_whose_name_only_begins_alike_is_another(self, site: Site) -> None:
        site.sagemaker.jobs["captune-abc-d"] = job(seconds=7200)
        assert cost(site)["training_seconds"] == 600

    def test_without_billable_seconds_its_training_time_counts(self, site: Site) -> None:
        made = {**job(), "TrainingTimeInSeconds": 500}
        del made["BillableTimeInSeconds"]
        site.sagemaker.jobs["captune-abc"] = made
        assert cost(site)["training_seconds"] == 500

    def test_without_either_the_time_from_start_to_end_counts(self, site: Site) -> None:
        made = job(seconds=450)
        del made["BillableTimeInSeconds"]
        site.sagemaker.jobs["captune-abc"] = made
        assert cost(site)["training_seconds"] == 450

    def test_without_an_end_it_is_counted_until_it_is_settled(self, site: Site) -> None:
        made = job()
        del made["BillableTimeInSeconds"], made["TrainingEndTime"]
        site.sagemaker.jobs["captune-abc"] = made
        assert cost(site)["training_seconds"] == 3600

    def test_one_that_never_started_billed_nothing(self, site: Site) -> None:
        made = job()
        del made["BillableTimeInSeconds"], made["TrainingStartTime"], made["TrainingEndTime"]
        site.sagemaker.jobs["captune-abc"] = made
        assert cost(site)["training_cents"] == 0

    @pytest.mark.parametrize("status", ["InProgress", "Stopping"])
    def test_one_that_goes_on_is_not_final(self, site: Site, status: str) -> None:
        site.sagemaker.jobs["captune-abc"] = job(status)
        with pytest.raises(RuntimeError, match=f"captune-abc is {status}"):
            site.settle()

    def test_one_over_midnight_is_booked_in_both_months(self, site: Site) -> None:
        start = START.replace(month=11, day=30, hour=23, minute=30)
        end = start + timedelta(hours=1)
        made = {**ran_on("ml.g5.2xlarge"), "TrainingStartTime": start, "TrainingEndTime": end}
        site.sagemaker.jobs["captune-abc"] = made
        item: Any = {**(site.ledger.run("captune-abc") or {}), "months": "2026-11,2026-12", "other_cents": 12}
        made_bill = bill(site.sagemaker, "captune-abc", item, None, end)
        assert made_bill.by_month == {"2026-11": 76 + 6, "2026-12": 76 + 6}
        assert (made_bill.training_cents, made_bill.other_cents, made_bill.cents) == (152, 12, 164)


def _metric(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    (found,) = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    return dict(found)
