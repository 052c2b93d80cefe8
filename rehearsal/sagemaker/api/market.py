"""Prices and service quotas: the AWS Price List and Service Quotas calls that Preflight makes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from .listing import sliced
from .quotas import DEFAULT_QUOTAS, Quota, answer, code_of

# The beginning of a usage type names the region; only those that the price list writes out are here.
_USAGE_PREFIX = {
    "us-east-1": "USE1",
    "us-east-2": "USE2",
    "us-west-1": "USW1",
    "us-west-2": "USW2",
    "ca-central-1": "CAN1",
    "eu-west-1": "EUW1",
    "eu-west-2": "EUW2",
    "eu-west-3": "EUW3",
    "eu-central-1": "EUC1",
    "eu-north-1": "EUN1",
    "ap-northeast-1": "APN1",
    "ap-southeast-1": "APS1",
    "ap-southeast-2": "APS2",
    "ap-south-1": "APS3",
}


@dataclass(frozen=True)
class Price:
    """Dollars an hour of one instance type, for one component ("Training" or "Hosting") in one region."""

    instance: str
    component: str
    region: str
    dollars: Decimal

    def product(self) -> dict[str, Any]:
        """Return the entry of the price list, in its own JSON form."""
        word = {"Training": "Train", "Hosting": "Host"}[self.component]
        usage = f"{_USAGE_PREFIX.get(self.region, self.region)}-{word}:{self.instance}"
        sku = f"{self.instance}-{self.component}-{self.region}".upper().replace(".", "").replace("-", "")[:32]
        term = f"{sku}.JRTCKXETXF"
        dimension = {
            "rateCode": f"{term}.6YS6EN2CT7",
            "unit": "Hrs",
            "beginRange": "0",
            "endRange": "Inf",
            "appliesTo": [],
            "description": f"${self.dollars} per {self.component} {self.instance} hour in {self.region}",
            "pricePerUnit": {"USD": f"{self.dollars:.10f}"},
        }
        attributes = {
            "servicecode": "AmazonSageMaker",
            "servicename": "Amazon SageMaker",
            "regionCode": self.region,
            "locationType": "AWS Region",
            "instanceName": self.instance,
            "instanceType": self.instance,
            "component": self.component,
            "operation": "RunInstance",
            "usagetype": usage,
        }
        return {
            "product": {"productFamily": "ML Instance", "sku": sku, "attributes": attributes},
            "serviceCode": "AmazonSageMaker",
            "version": "20261101000000",
            "publicationDate": "2026-11-01T00:00:00Z",
            "terms": {
                "OnDemand": {
                    term: {
                        "sku": sku,
                        "offerTermCode": "JRTCKXETXF",
                        "effectiveDate": "2026-11-01T00:00:00Z",
                        "termAttributes": {},
                        "priceDimensions": {f"{term}.6YS6EN2CT7": dimension},
                    }
                }
            },
        }


def prices_of(table: Mapping[str, float | str] | Iterable[Price] | None) -> list[Price]:
    """Read a price table: `Price`s, or instance type to dollars an hour in us-east-1 and us-west-2."""
    if table is None:
        table = {"ml.g5.2xlarge": "1.515"}
    if not isinstance(table, Mapping):
        return list(table)
    return [
        Price(instance, component, region, Decimal(str(dollars)))
        for instance, dollars in table.items()
        for component in ("Training", "Hosting")
        for region in ("us-east-1", "us-west-2")
    ]


# The uses of each component of the price list that have a quota.
_USES = {"Training": ("training job usage", "spot training job usage"), "Hosting": ("endpoint usage",)}
CAPACITY_TRAINING = (
    "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML instance type."
)
CAPACITY_HOSTING = (
    "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error. "
    "Please retry using a different ML instance type or after some time."
)


class Market:
    """Answers the pricing and quota operations. `prices`, `quotas` and `without_capacity` may be changed while it runs."""

    def __init__(
        self,
        prices: Mapping[str, float | str] | Iterable[Price] | None,
        quotas: Mapping[str, float | Quota | None] | None,
    ) -> None:
        self.prices = prices_of(prices)
        self.without_capacity: set[str] = set()  # instance types of which none is free, for training or hosting
        self.quotas = dict(DEFAULT_QUOTAS)
        for code, value in (quotas or {}).items():
            self.set_quota(code, value)

    def set_quota(self, code: str, value: float | Quota | None) -> None:
        """Set a quota's applied value, or a whole quota that is not among the usual three."""
        if isinstance(value, Quota):
            self.quotas[code] = value
        else:
            self.quotas[code] = replace(self.quotas[code], value=value)

    def allow_training(self, instance_types: Sequence[str], instances: int) -> None:
        """Raise the training quotas of these types, on demand and on spot, to so many instances."""
        for name in (f"{kind} for {spot}training job usage" for kind in instance_types for spot in ("", "spot ")):
            code = next((code for code, quota in self.quotas.items() if quota.name == name), code_of(name))
            self.quotas[code] = Quota(name, float(instances))

    def limit(self, instance_type: str, usage: str) -> int:
        """Return how many instances may run; one where the table has no such quota."""
        for quota in self.quotas.values():
            if quota.name == f"{instance_type} for {usage} usage":
                return int(quota.default if quota.value is None else quota.value)
        return 1

    def call(self, operation: str, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """Answer GetProducts, or an operation of Service Quotas.

        Raises:
            ServiceError: the service, the quota or the operation does not exist.
        """
        if operation == "GetProducts":
            return self._products(request)
        return answer(self._every_quota(), operation, request, region)

    def _every_quota(self) -> dict[str, Quota]:
        """Every type that has a price may be used once, where nothing else is said of it."""
        named = {quota.name for quota in self.quotas.values()}
        priced = [f"{price.instance} for {use}" for price in self.prices for use in _USES[price.component]]
        return {code_of(name): Quota(name, 1.0) for name in priced if name not in named} | self.quotas

    def _products(self, request: Mapping[str, Any]) -> dict[str, Any]:
        products = [price.product() for price in self.prices]
        if request["ServiceCode"] != "AmazonSageMaker":
            products = []
        for term in request.get("Filters") or []:
            products = [item for item in products if _matches(item["product"]["attributes"], term)]
        page, more = sliced(products, request, 100, "InvalidNextTokenException")
        return {"FormatVersion": "aws_v1", "PriceList": [json.dumps(item) for item in page]} | more


def _matches(attributes: Mapping[str, str], term: Mapping[str, str]) -> bool:
    value, wanted = attributes.get(term["Field"], ""), term["Value"]
    tests = {
        "CONTAINS": wanted.lower() in value.lower(),
        "ANY_OF": value in [choice.strip() for choice in wanted.split(",")],
        "NONE_OF": value not in [choice.strip() for choice in wanted.split(",")],
    }
    return tests.get(term["Type"], value == wanted)  # TERM_MATCH and EQUALS
