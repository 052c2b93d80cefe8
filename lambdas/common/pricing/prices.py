"""What a second of an instance costs: from the AWS Price List, or from the pinned table when that cannot be reached."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

from common.errors import PriceUnknown

_TABLE = Path(__file__).with_name("prices.json")
# A listed price may be so many times lower than the pinned one. AWS has never lowered a price to a half at once; a quarter or less
# is a mistake in the list or in how it was read, and would reserve next to nothing.
CHEAPEST_OF_PINNED = 4
# Where nothing is pinned (US dollars an hour): the cheapest GPU of SageMaker is ml.g4dn.xlarge at 0.736, and the dearest instances cost
# somewhat over a hundred. A higher price is believed up to this: to ignore it would reserve too little.
CHEAPEST_UNPINNED, DEAREST = Decimal("0.736") / CHEAPEST_OF_PINNED, Decimal(1000)
_USAGE = {"Training": "Train", "Hosting": "Host"}


@dataclass(frozen=True)
class Price:
    """The on-demand price of one instance type in one region for one use (`Training` or `Hosting`)."""

    instance_type: str
    use: str
    hourly_usd: Decimal
    source: str

    def times(self, instances: int) -> Price:
        """The price of so many instances at once: what a job of several bills in a second."""
        return replace(self, hourly_usd=self.hourly_usd * instances)

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
            "us-east-1, or run `captune prices` with credentials to refresh the table, then deploy again."
        )
    return Price(instance_type, use, Decimal(found), f"pinned table of {prices['date']}")


def dearest_pinned(use: str, table: dict[str, Any] | None = None) -> Price:
    """The dearest price of the whole table that ships with the code, for something of which nothing else is known."""
    prices = table or json.loads(_TABLE.read_text("utf-8"))
    found = [(Decimal(price), name) for region in prices["hourly_usd"].values() for name, price in region.items()]
    price, name = max(found)
    return Price(name, use, price, f"dearest in the pinned table of {prices['date']}")


def listed(pricing: Any, region: str, instance_type: str, use: str) -> Price | None:
    """The price in the AWS Price List, or None when the list has no such product, or none with a price that can be true.

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
        if _can_be_true(price, region, instance_type, use)
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
    return [
        _number(d["pricePerUnit"]["USD"])
        for d in dimensions
        if d.get("unit") == "Hrs" and "USD" in d.get("pricePerUnit", {})
    ]


def _number(text: Any) -> Decimal:
    """The number in a text; NaN where there is none."""
    try:
        return Decimal(text)
    except (InvalidOperation, TypeError, ValueError):
        return Decimal("NaN")


def _can_be_true(hourly: Decimal, region: str, instance_type: str, use: str) -> bool:
    """Whether a listed price can be true: a number, and not so low or high that it must be a mistake."""
    if not hourly.is_finite() or hourly > DEAREST:
        return False
    try:
        lowest = pinned(region, instance_type, use).hourly_usd / CHEAPEST_OF_PINNED
    except PriceUnknown:
        lowest = CHEAPEST_UNPINNED
    return hourly >= lowest
