"""What Preflight asks other services: prices (AWS Price List), Service Quotas, and container images (ECR)."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from rehearsal.calls import ServiceError

from .store import ACCOUNT, Endpoint, TrainingJob

CAPACITY_TRAINING = (
    "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML instance type."
)
CAPACITY_HOSTING = (
    "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error. "
    "Please retry using a different ML instance type or after some time."
)
# The uses of each component of the price list that have a quota.
_USES = {"Training": ("training job usage", "spot training job usage"), "Hosting": ("endpoint usage",)}
OPERATIONS = {
    "GetProducts", "BatchGetImage", "GetServiceQuota", "ListServiceQuotas", "GetAWSDefaultServiceQuota", "ListAWSDefaultServiceQuotas",
}  # fmt: skip
_REGIONS = ("us-east-1", "us-west-2")
# AWS's own codes; every other quota has one of the same form.
_CODES = {
    "ml.g5.2xlarge for training job usage": "L-2D6DEB3C",
    "ml.g5.2xlarge for spot training job usage": "L-CAEE7DB7",
    "ml.g5.2xlarge for endpoint usage": "L-9614C779",
}
_Instances = Endpoint | TrainingJob


class Market:
    """Answers the operations on prices, quotas and images. Every image is there.

    `prices` are dollars an hour in us-east-1 and us-west-2, `quotas` numbers of instances where they are not 1. Both, and the instance types
    `without_capacity`, may be changed while it runs.
    """

    def __init__(
        self, prices: Mapping[str, float | str] | None = None, quotas: Mapping[str, float] | None = None
    ) -> None:
        self.prices = {kind: str(usd) for kind, usd in (prices or {"ml.g5.2xlarge": "1.515"}).items()}
        self.without_capacity: set[str] = set()
        self.quotas = dict(quotas or {})

    def allow_training(self, instance_types: Sequence[str], instances: int) -> None:
        """Raise the training quotas of these types, on demand and on spot, to this number of instances."""
        self.quotas |= {f"{kind} for {use}": instances for kind in instance_types for use in _USES["Training"]}

    def select(self, wanted: _Instances) -> bool:
        """Select the first of its types that is free; return whether there is one."""
        free = [kind for kind in wanted.instance_types if kind not in self.without_capacity]
        wanted.instance_type = (free or wanted.instance_types)[0]
        return bool(free)

    def check_limit(self, usage: str, wanted: _Instances, running: Iterable[_Instances]) -> None:
        """Check the service quota of a use, for example "training job"; one instance where there is no such quota. Raises ServiceError."""
        kind, count = wanted.instance_type, wanted.instance_count
        used = sum(one.instance_count for one in running if one.instance_type == kind)
        limit = int(self.quotas.get(f"{kind} for {usage} usage", 1))
        if used + count > limit:
            raise ServiceError(
                "ResourceLimitExceeded",
                f"The account-level service limit '{kind} for {usage} usage' is {limit} Instances, with current "
                f"utilization of {used} Instances and a request delta of {count} Instances. Please use AWS Service "
                "Quotas to request an increase for this quota.",
            )

    def call(self, operation: str, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """Answer one of `OPERATIONS`. Raises ServiceError where the quota does not exist."""
        if operation == "GetProducts":
            return self._products(request)
        if operation == "BatchGetImage":
            image = {"repositoryName": request["repositoryName"]}
            return {"images": [image | {"imageId": one} for one in request["imageIds"]], "failures": []}
        # Every quota here has an applied value: AWS's defaults are not asked for.
        rows = [] if "Default" in operation else self._quota_rows(region)
        if operation.startswith("List"):
            return {"Quotas": rows}
        row = next((row for row in rows if row["QuotaCode"] == request["QuotaCode"]), None)
        if row is None:
            raise ServiceError("NoSuchResourceException", "The request failed because the quota does not exist.")
        return {"Quota": row}

    def _quota_rows(self, region: str) -> list[dict[str, Any]]:
        """The quotas as Service Quotas describes them: of every type that has a price, and what else is set."""
        priced = (f"{instance} for {use}" for instance in self.prices for uses in _USES.values() for use in uses)
        codes = {
            name: _CODES.get(name) or f"L-{hashlib.sha256(name.encode()).hexdigest()[:8].upper()}"
            for name in (*priced, *self.quotas)
        }
        return [
            {
                "ServiceCode": "sagemaker",
                "QuotaCode": code,
                "QuotaName": name,
                "QuotaArn": f"arn:aws:servicequotas:{region}:{ACCOUNT}:sagemaker/{code}",
                "Value": float(self.quotas.get(name, 1)),
            }
            for name, code in codes.items()
        ]

    def _products(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The price list's entry for each use of the instance type that the filters name, in its own JSON form; none where it has no price."""
        asked = {term["Field"]: term["Value"] for term in request["Filters"]}
        dollars = self.prices.get(asked["instanceName"]) if asked["regionCode"] in _REGIONS else None
        rate = {"unit": "Hrs", "pricePerUnit": {"USD": f"{Decimal(dollars or 0):.10f}"}}
        terms = {"OnDemand": {"term": {"priceDimensions": {"rate": rate}}}}
        uses = _USES if dollars is not None else ()
        entries = [json.dumps({"product": {"attributes": {"component": use}}, "terms": terms}) for use in uses]
        return {"FormatVersion": "aws_v1", "PriceList": entries}
