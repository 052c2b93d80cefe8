"""What a run did cost is counted at the price of the instance type that really served it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.doubles.ledger_fakes import FakeLedger
from tests.doubles.settle_site import START, Site, job, visit

CHEAP_AND_DEAR = {
    "training_prices": "ml.g6.2xlarge=1 ml.g5.2xlarge=10",
    "hosting_prices": "ml.g6.2xlarge=1 ml.g5.2xlarge=10",
}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    made = Site(monkeypatch)
    with_prices(made, **CHEAP_AND_DEAR)
    return made


def with_prices(site: Site, **details: Any) -> None:
    ledger = FakeLedger().with_run("abc", **details)
    site.ledger.table.rows = ledger.table.rows


def of_type(instance_type: str, seconds: int = 3600) -> dict[str, Any]:
    return {**job(seconds=seconds), "ResourceConfig": {"InstanceType": instance_type, "InstanceCount": 1}}


def endpoint(site: Site, name: str | None) -> None:
    created, gone = START.isoformat(), (START + timedelta(seconds=3599)).isoformat()
    site.ledger.note("captune-abc", {"endpoint_created_at": created, "endpoint_gone_at": gone})
    if name is not None:
        site.ledger.note("captune-abc", {"endpoint_name": name})


def costs(site: Site) -> dict[str, int]:
    cost = site.settle()["record"]["cost"]
    return {key: int(cost[f"{key}_cents"]) for key in ("training", "endpoint")}


@pytest.mark.parametrize(("instance_type", "cents"), [("ml.g6.2xlarge", 100), ("ml.g5.2xlarge", 1000)])
def test_training_costs_what_its_type_costs(site: Site, instance_type: str, cents: int) -> None:
    site.sagemaker.jobs["captune-abc"] = of_type(instance_type)
    assert costs(site)["training"] == cents


def test_a_type_that_was_never_reserved_counts_as_the_dearest(site: Site) -> None:
    site.sagemaker.jobs["captune-abc"] = of_type("ml.p4d.24xlarge")
    assert costs(site)["training"] == 1000


@pytest.mark.parametrize(
    ("name", "cents"),
    [("captune-abc", 100), ("captune-abc-try2", 1000), ("captune-abc-try3", 100), (None, 1000)],
)
def test_the_attempt_in_the_endpoints_name_tells_its_type_and_an_unseen_one_counts_as_the_dearest(
    site: Site, name: str | None, cents: int
) -> None:
    endpoint(site, name)
    assert costs(site)["endpoint"] == cents


def test_a_reservation_of_an_earlier_deployment_is_settled_at_its_one_price(site: Site) -> None:
    site.ledger.table.rows.clear()
    old = {
        f"{use}_{what}": value
        for use in ("training", "hosting")
        for what, value in (("instance_type", "ml.g5.2xlarge"), ("hourly_usd", "2"))
    }
    with_prices(site, **old)
    for row in site.ledger.table.rows.values():
        row.pop("training_prices", None)
        row.pop("hosting_prices", None)
    site.sagemaker.jobs["captune-abc"] = of_type("ml.g5.2xlarge")
    assert costs(site)["training"] == 200


def test_a_job_that_waited_in_vain_and_the_one_after_it_are_both_counted(site: Site) -> None:
    waited = {**of_type("ml.g6.2xlarge", 0), "TrainingJobStatus": "Stopped"}
    site.sagemaker.jobs = {"captune-abc": waited, "captune-abc-try2": of_type("ml.g5.2xlarge", 360)}
    site.step_functions.histories[next(iter(site.step_functions.histories))] += visit("StartTraining", 5, 6)
    assert costs(site)["training"] == 100
