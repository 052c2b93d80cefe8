"""What a second of an instance costs: from the AWS Price List, or from the pinned table when that cannot be reached."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

from common.errors import PriceUnknown

_TABLE = Path(__file__).with_name("prices.json")
_USAGE = {"Training": "Train", "Hosting": "Host"}


@dataclass(frozen=True)
class Price:
    """The on-demand price of one instance type in one region for one use (`Training` or `Hosting`)."""

    instance_type: str
    use: str
    hourly_usd: Decimal
    source: str

    def cents(self, seconds: int | Fraction) -> int:
        """The cost of so many seconds in cents, rounded up: a reservation may never be short of a fraction."""
        return ceil(Fraction(self.hourly_usd) * 100 * seconds / 3600)

    def seconds(self, cents: int) -> int:
        """How many seconds so many cents buy, rounded down."""
        return int(Fraction(cents) * 3600 / (Fraction(self.hourly_usd) * 100))


def dearest(prices: Sequence[Price]) -> Price:
    """The price that a reservation has to be made with when any of several instance types may serve."""
    return max(prices, key=lambda price: price.hourly_usd)


def written(prices: Sequence[Price]) -> str:
    """Prices of one use as the ledger holds them: `ml.g5.2xlarge=1.515 ml.g6.2xlarge=1.222`, in order of preference."""
    return " ".join(f"{price.instance_type}={price.hourly_usd.normalize():f}" for price in prices)


def read(text: str, use: str, source: str) -> list[Price]:
    """What `written` wrote."""
    pairs = (pair.split("=") for pair in text.split())
    return [Price(instance_type, use, Decimal(hourly), source) for instance_type, hourly in pairs]


def pinned(region: str, instance_type: str, use: str, table: dict[str, Any] | None = None) -> Price:
    """The price in the table that ships with the code. Raises PriceUnknown for a pair that is not in it."""
    prices = table or json.loads(_TABLE.read_text("utf-8"))
    found = prices["hourly_usd"].get(region, {}).get(instance_type)
    if found is None:
        raise PriceUnknown(
            f"No price is known for {instance_type} ({use}) in {region}, and unknown is not free. Use ml.g5.2xlarge in "
            "us-east-1, or run `make prices` with credentials to refresh the table, then deploy again."
        )
    return Price(instance_type, use, Decimal(found), f"pinned table of {prices['date']}")


def listed(pricing: Any, region: str, instance_type: str, use: str) -> Price | None:
    """The price in the AWS Price List, or None when the list has no such product.

    The dearest of several matching products is taken: a reservation has to be enough.
    """
    pages = pricing.get_paginator("get_products").paginate(
        ServiceCode="AmazonSageMaker",
        Filters=[
            {"Type": "TERM_MATCH", "Field": "instanceName", "Value": instance_type},
            {"Type": "TERM_MATCH", "Field": "regionCode", "Value": region},
        ],
    )
    hourly = [
        price
        for page in pages
        for product in page["PriceList"]
        for price in _hourly_prices(json.loads(product), instance_type, use)
    ]
    return Price(instance_type, use, max(hourly), "AWS Price List") if hourly else None


def _hourly_prices(product: dict[str, Any], instance_type: str, use: str) -> list[Decimal]:
    attributes = product.get("product", {}).get("attributes", {})
    usage = re.compile(rf"(^|-){_USAGE[use]}:{re.escape(instance_type)}$")
    if attributes.get("component") != use and not usage.search(attributes.get("usagetype", "")):
        return []
    dimensions = [
        dimension
        for term in product.get("terms", {}).get("OnDemand", {}).values()
        for dimension in term.get("priceDimensions", {}).values()
    ]
    prices = [
        Decimal(d["pricePerUnit"]["USD"])
        for d in dimensions
        if d.get("unit") == "Hrs" and "USD" in d.get("pricePerUnit", {})
    ]
    return [price for price in prices if price > 0]
