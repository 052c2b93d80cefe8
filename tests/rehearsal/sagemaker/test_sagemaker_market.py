"""Prices and quotas in the form in which AWS gives them."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from common.aws import brisk_client
from preflight.account import quotas
from rehearsal.conductor.materials import allow_instances
from rehearsal.sagemaker import Price, Quota
from rehearsal.sagemaker.api.market import Market
from rehearsal.sagemaker.fake import FakeHosting, FakeTraining
from stacks.configuration.settings import Settings
from tests.doubles.rehearsal.sagemaker_account import Account, account, refusal


def _account(folder: Path, **options: Any) -> Any:
    return account(folder, training=FakeTraining(), hosting=FakeHosting(), **options)


def _read(aws: Account, types: list[str], use: str) -> list[int | None]:
    return [one.value for one in quotas.read(aws.client("service-quotas"), [quotas.Need(types, use, 1)])[use]]


def _listed(client: Any, operation: str) -> dict[str, Any]:
    pages = client.get_paginator(operation).paginate(ServiceCode="sagemaker")
    return {quota["QuotaCode"]: quota for page in pages for quota in page["Quotas"]}


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
        assert _read(aws, ["ml.g6.2xlarge"], quotas.TRAINING) == [2]


def test_every_type_that_has_a_price_may_be_used_once_where_nothing_else_is_said(tmp_path: Path) -> None:
    limits = {"L-1": Quota("ml.g6.2xlarge for endpoint usage", 0)}
    with _account(tmp_path, prices={"ml.g6.2xlarge": 1.22, "ml.g5.2xlarge": 1.515}, quotas=limits) as aws:
        uses = (quotas.TRAINING, quotas.SPOT_TRAINING, quotas.ENDPOINT)
        assert [_read(aws, ["ml.g6.2xlarge"], use) for use in uses] == [[1], [1], [0]]
        assert _read(aws, ["ml.p5.48xlarge"], quotas.ENDPOINT) == [None]


def test_a_rehearsal_of_one_instance_has_the_usual_quotas() -> None:
    market = Market(None, None)
    before = dict(market.quotas)
    allow_instances(market, Settings(training_instance_count=1, training_instance_type=("ml.g5.2xlarge",)))
    assert market.quotas == before


def test_quotas_are_told_one_by_one_and_together_with_those_that_every_account_has(tmp_path: Path) -> None:
    with _account(tmp_path, quotas={"L-2D6DEB3C": 0}) as aws:
        client = aws.client("service-quotas")
        one = client.get_service_quota(ServiceCode="sagemaker", QuotaCode="L-2D6DEB3C")["Quota"]
        every = _listed(client, "list_service_quotas")
        defaults = _listed(client, "list_aws_default_service_quotas")
    assert (one["QuotaName"], one["Value"]) == ("ml.g5.2xlarge for training job usage", 0.0)
    ours = ("L-2D6DEB3C", "L-9614C779", "L-CAEE7DB7")
    assert [every[code]["Value"] for code in ours] == [0.0, 1.0, 1.0]
    assert [defaults[code]["Value"] for code in ours] == [0.0, 0.0, 0.0]
    assert len(defaults) > 1600 > len(every), "some have no applied value"


def test_a_listing_has_pages_of_a_hundred_at_most(tmp_path: Path) -> None:
    with _account(tmp_path) as aws:
        client = aws.client("service-quotas")
        first = client.list_service_quotas(ServiceCode="sagemaker")
        assert len(first["Quotas"]) == 100 and first["NextToken"]
        assert len(client.list_service_quotas(ServiceCode="sagemaker", MaxResults=7)["Quotas"]) == 7
        refused = refusal(lambda: client.list_service_quotas(ServiceCode="sagemaker", NextToken="none"))
        assert refused[0] == "InvalidPaginationTokenException"
        found = client.list_service_quotas(ServiceCode="sagemaker", QuotaCode="L-2D6DEB3C")["Quotas"]
        assert [quota["QuotaCode"] for quota in found] == ["L-2D6DEB3C"]


def test_preflight_lists_once_for_all_types_and_then_once_for_the_defaults_of_what_is_missing(tmp_path: Path) -> None:
    limits = {
        "L-1": Quota("ml.g6.2xlarge for training job usage", 3), "L-2": Quota("ml.g6.xlarge for training job usage", 2),
        "L-3": Quota("ml.g6.2xlarge for endpoint usage", 1), "L-ZZZ": Quota("ml.g6.xlarge for endpoint usage", None, 0),
    }  # fmt: skip
    with _account(tmp_path, quotas=limits) as aws:
        types = ["ml.g6.2xlarge", "ml.g6.xlarge"]
        needs = [quotas.Need(types, quotas.TRAINING, 1), quotas.Need(types, quotas.ENDPOINT, 1)]
        read = quotas.read(aws.client("service-quotas"), needs)
        asked = [call.operation for call in aws.standin.calls]
    assert {use: [quota.value for quota in of] for use, of in read.items()} == {
        quotas.TRAINING: [3, 2], quotas.ENDPOINT: [1, 0],
    }  # fmt: skip
    pages = {operation: asked.count(operation) for operation in asked}
    assert pages == {"ListServiceQuotas": 12, "ListAWSDefaultServiceQuotas": 17}


def test_preflight_asks_again_where_a_page_was_throttled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _account(tmp_path, quotas={"L-Z": Quota("ml.g6.2xlarge for endpoint usage", 4)}) as aws:
        monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.0)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv(
            "AWS_ENDPOINT_URL_SERVICE_QUOTAS", aws.standin.environment()["AWS_ENDPOINT_URL_SERVICE_QUOTAS"]
        )
        brisk_client.cache_clear()
        aws.standin.faults.add(operation="ListServiceQuotas", error="TooManyRequestsException", times=4, skip=1)
        read = quotas.read(brisk_client("service-quotas"), [quotas.Need(["ml.g6.2xlarge"], quotas.ENDPOINT, 1)])
        brisk_client.cache_clear()
    assert [quota.value for quota in read[quotas.ENDPOINT]] == [4]


def test_a_quota_without_an_applied_value_has_only_its_default(tmp_path: Path) -> None:
    with _account(tmp_path, quotas={"L-2D6DEB3C": Quota("ml.g5.2xlarge for training job usage", None, 2)}) as aws:
        client = aws.client("service-quotas")
        asked = {"ServiceCode": "sagemaker", "QuotaCode": "L-2D6DEB3C"}
        assert refusal(lambda: client.get_service_quota(**asked))[0] == "NoSuchResourceException"
        assert client.get_aws_default_service_quota(**asked)["Quota"]["Value"] == 2.0
