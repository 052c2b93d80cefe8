"""Prices, quotas and images in the form in which AWS gives them, and as Preflight reads them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from common.pricing import prices
from preflight.account import quotas
from tests.doubles.rehearsal.sagemaker_account import Account, account

G5, G6 = "ml.g5.2xlarge", "ml.g6.2xlarge"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Account]]:
    with ExitStack() as made:
        yield lambda **options: made.enter_context(account(tmp_path, **options))


def read(aws: Account, types: list[str], *uses: str) -> list[list[int | None]]:
    wanted = [quotas.Quota(kind, use, 1) for use in uses for kind in types]
    values = [one.value for one in quotas.read(aws.client("service-quotas"), wanted)]
    return [values[place : place + len(types)] for place in range(0, len(values), len(types))]


def test_a_product_has_one_hourly_price_for_each_use(make: Callable[..., Account]) -> None:
    client = make(prices={G6: "1.36"}).client("pricing")
    for use in ("Training", "Hosting"):
        price = prices.listed(client, "us-east-1", G6, use)
        assert price is not None and float(price.hourly_usd) == 1.36
        assert prices.listed(client, "us-east-1", G5, use) is None
    terms = [{"Type": "TERM_MATCH", "Field": "component", "Value": "Training"}]
    products = client.get_products(ServiceCode="AmazonSageMaker", Filters=terms)["PriceList"]
    assert {json.loads(one)["product"]["attributes"]["regionCode"] for one in products} == {"us-east-1", "us-west-2"}


def test_several_instances_have_the_quotas_of_every_type(make: Callable[..., Account]) -> None:
    aws = make()
    aws.standin.market.allow_training([G5, G6], 2)
    assert read(aws, [G5, G6], quotas.TRAINING, quotas.SPOT_TRAINING) == [[2, 2], [2, 2]]


def test_a_type_with_a_price_may_be_used_once(make: Callable[..., Account]) -> None:
    aws = make(prices={G6: 1.22, G5: 1.515}, quotas={f"{G6} for endpoint usage": 0})
    assert read(aws, [G6], quotas.TRAINING, quotas.SPOT_TRAINING, quotas.ENDPOINT) == [[1], [1], [0]]
    assert read(aws, ["ml.p5.48xlarge"], quotas.ENDPOINT) == [[None]]
