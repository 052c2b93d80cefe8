"""Prices and quotas in the form in which AWS gives them."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from preflight.account import quotas
from rehearsal.conductor.materials import allow_instances
from rehearsal.sagemaker import Price, Quota
from rehearsal.sagemaker.api.market import Market
from rehearsal.sagemaker.fake import FakeHosting, FakeTraining
from stacks.configuration.settings import Settings
from tests.doubles.rehearsal.sagemaker_account import Account, account, refusal


def _account(folder: Path, **options: Any) -> Any:
    return account(folder, training=FakeTraining(), hosting=FakeHosting(), **options)


def _products(aws: Account, **attributes: str) -> list[dict[str, Any]]:
    terms = [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in attributes.items()]
    answer = aws.client("pricing").get_products(ServiceCode="AmazonSageMaker", Filters=terms)
    return [json.loads(item) for item in answer["PriceList"]]


def test_a_product_is_found_by_its_attributes_and_has_one_hourly_price(tmp_path: Path) -> None:
    with _account(tmp_path) as aws:
        found = _products(aws, regionCode="us-east-1", instanceName="ml.g5.2xlarge", component="Training")
    assert len(found) == 1
    assert found[0]["product"]["attributes"]["usagetype"] == "USE1-Train:ml.g5.2xlarge"
    (term,) = found[0]["terms"]["OnDemand"].values()
    (dimension,) = term["priceDimensions"].values()
    assert (dimension["unit"], dimension["pricePerUnit"]) == ("Hrs", {"USD": "1.5150000000"})


def test_what_has_no_price_is_not_found(tmp_path: Path) -> None:
    table = [Price("ml.g6.2xlarge", "Hosting", "eu-west-1", Decimal("1.36"))]
    with _account(tmp_path, prices=table) as aws:
        assert _products(aws, instanceName="ml.g5.2xlarge") == []
        assert len(_products(aws, usagetype="EUW1-Host:ml.g6.2xlarge")) == 1


@pytest.mark.parametrize("types", ["ml.g5.2xlarge, ml.g6.2xlarge", ["ml.g5.2xlarge", "ml.g6.2xlarge"]])
def test_a_rehearsal_of_several_instances_has_the_quotas_for_every_type(types: Any) -> None:
    market = Market(None, None)
    settings = Settings.from_context({"training_instance_count": "2", "training_instance_type": types})
    allow_instances(market, settings)
    for kind in ("ml.g5.2xlarge", "ml.g6.2xlarge"):
        assert [market.limit(kind, f"{spot}training job") for spot in ("", "spot ")] == [2, 2]


def test_preflight_can_read_the_quotas_of_a_rehearsal_of_several_instances(tmp_path: Path) -> None:
    with _account(tmp_path) as aws:
        aws.standin.market.allow_training(["ml.g6.2xlarge"], 2)
        assert quotas.read(aws.client("service-quotas"), "ml.g6.2xlarge", quotas.TRAINING).value == 2


def test_a_rehearsal_of_one_instance_has_the_usual_quotas() -> None:
    market = Market(None, None)
    before = dict(market.quotas)
    allow_instances(market, Settings(training_instance_count=1, training_instance_type=("ml.g5.2xlarge",)))
    assert market.quotas == before


def test_quotas_are_told_one_by_one_and_together(tmp_path: Path) -> None:
    with _account(tmp_path, quotas={"L-2D6DEB3C": 0}) as aws:
        client = aws.client("service-quotas")
        one = client.get_service_quota(ServiceCode="sagemaker", QuotaCode="L-2D6DEB3C")["Quota"]
        every = client.list_service_quotas(ServiceCode="sagemaker")["Quotas"]
    assert (one["QuotaName"], one["Value"]) == ("ml.g5.2xlarge for training job usage", 0.0)
    assert {quota["QuotaCode"]: quota["Value"] for quota in every} == {
        "L-2D6DEB3C": 0.0, "L-9614C779": 1.0, "L-CAEE7DB7": 1.0,
    }  # fmt: skip


def test_a_quota_without_an_applied_value_has_only_its_default(tmp_path: Path) -> None:
    with _account(tmp_path, quotas={"L-2D6DEB3C": Quota("ml.g5.2xlarge for training job usage", None, 2)}) as aws:
        client = aws.client("service-quotas")
        asked = {"ServiceCode": "sagemaker", "QuotaCode": "L-2D6DEB3C"}
        assert refusal(lambda: client.get_service_quota(**asked))[0] == "NoSuchResourceException"
        assert client.get_aws_default_service_quota(**asked)["Quota"]["Value"] == 2.0
