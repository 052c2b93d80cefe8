"""What a second of an instance costs: from the AWS Price List, or from the pinned table when that cannot be reached."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any, Self

from common.errors import PriceUnknown

_TABLE = Path(__file__).with_name("prices.json")
# US dollars an hour that any price lies between: what is outside is a mistake. The cheapest GPU of SageMaker is ml.g4dn.xlarge at 0.736, of
# which this is a quarter, and the dearest instances cost somewhat over a hundred.
CHEAPEST, DEAREST = Decimal("0.184"), Decimal(1000)
_USAGE = {"Training": "Train", "Hosting": "Host"}


@dataclass(frozen=True)
class Price:
    """The on-demand price of one instance type in one region for one use (`Training` or `Hosting`)."""

    instance_type: str
    use: str
    hourly_usd: Decimal
    source: str

    def times(self, instances: int) -> Self:
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


@cache
def table(file: Path = _TABLE) -> dict[str, Any]:
    """The table of prices that ships with the code. Raises PriceUnknown for a price in it that cannot be one."""
    prices: dict[str, Any] = json.loads(file.read_text("utf-8"))
    for region, kinds in prices["hourly_usd"].items():
        for instance_type, text in kinds.items():
            if not CHEAPEST <= (_number(text) or 0) <= DEAREST:
                raise PriceUnknown(
                    f"The price of {instance_type} in {region} is ${text} an hour in lambdas/common/pricing/{file.name}, outside ${CHEAPEST} to "
                    f"${DEAREST}. Correct it, or run captune dev prices with AWS credentials; then run make deploy."
                )
    return prices


def pinned(region: str, instance_type: str, use: str) -> Price:
    """The price in the table that ships with the code. Raises PriceUnknown for a pair that is not in it."""
    prices = table()
    found = prices["hourly_usd"].get(region, {}).get(instance_type)
    if found is None:
        raise PriceUnknown(
            f"Captune has no price for {instance_type} ({use}) in {region}. Run captune dev prices --instance-type {instance_type} --price-region "
            f"{region} with AWS credentials, or set another instance type or region in cdk.json; then run make deploy."
        )
    return Price(instance_type, use, Decimal(found), f"pinned table of {prices['date']}")


def dearest_pinned(use: str) -> Price:
    """The dearest price of the whole table that ships with the code, for something of which nothing else is known."""
    prices = table()
    found = [(Decimal(price), name) for region in prices["hourly_usd"].values() for name, price in region.items()]
    price, name = max(found)
    return Price(name, use, price, f"dearest in the pinned table of {prices['date']}")


def listed(pricing: Any, region: str, instance_type: str, use: str) -> Price | None:
    """The price in the AWS Price List, or None when the list has no such product with a price.

    The dearest of several matching products is taken: a reservation has to be enough. Raises PriceUnknown for one that cannot be true.
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
        if price is not None and price > 0
    ]
    if not hourly:
        return None
    price = max(hourly)
    if not CHEAPEST <= price <= DEAREST:
        raise PriceUnknown(
            f"The price of {instance_type} ({use}) in {region} is ${price.normalize():f} an hour in the AWS Price List, outside ${CHEAPEST} to ${DEAREST}. "
            "Start a new execution later, or set another instance type in cdk.json and run make deploy."
        )
    return Price(instance_type, use, price, "AWS Price List")


def _hourly_prices(product: dict[str, Any], instance_type: str, use: str) -> list[Decimal | None]:
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


def _number(text: Any) -> Decimal | None:
    """The number in a text, or None."""
    try:
        number = Decimal(text)
    except (InvalidOperation, TypeError, ValueError):
        return None
    return number if number.is_finite() else None
