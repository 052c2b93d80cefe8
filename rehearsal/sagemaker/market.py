"""What Preflight asks other services: prices (AWS Price List), Service Quotas, and container images (ECR)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import product
from typing import Any

from rehearsal.calls import ServiceError

from .records import ACCOUNT, Endpoint, TrainingJob

CAPACITY_TRAINING = (
    "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML instance type."
)
CAPACITY_HOSTING = (
    "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error. "
    "Please retry using a different ML instance type or after some time."
)
# The uses of each component of the price list that have a quota.
_USES = {"Training": ("training job usage", "spot training job usage"), "Hosting": ("endpoint usage",)}
_REGIONS = ("us-east-1", "us-west-2")
_Instances = Endpoint | TrainingJob


@dataclass(frozen=True)
class Quota:
    """A service quota and its applied value."""

    name: str
    value: float


DEFAULT_QUOTAS: Mapping[str, Quota] = {
    "L-2D6DEB3C": Quota("ml.g5.2xlarge for training job usage", 1.0),
    "L-CAEE7DB7": Quota("ml.g5.2xlarge for spot training job usage", 1.0),
    "L-9614C779": Quota("ml.g5.2xlarge for endpoint usage", 1.0),
}


def _code_of(name: str) -> str:
    """A code of AWS's form for the quota of a name; always the same one."""
    return f"L-{hashlib.sha256(name.encode()).hexdigest()[:8].upper()}"


class Market:
    """Answers the operations on prices, quotas and images.

    Args:
        prices: instance type to dollars an hour in us-east-1 and us-west-2; ml.g5.2xlarge at 1.515 when left out.
        quotas: quota code to value, or to a whole `Quota`, where not the usual one.

    Attributes:
        quotas: may be changed while it runs.
        without_capacity: instance types of which none is free, for training or hosting.
        missing_images: written as "repository:tag"; every other image is there.
    """

    def __init__(
        self, prices: Mapping[str, float | str] | None = None, quotas: Mapping[str, float | Quota] | None = None
    ) -> None:
        self._prices = prices or {"ml.g5.2xlarge": "1.515"}
        self.without_capacity: set[str] = set()
        self.missing_images: set[str] = set()
        self.quotas = dict(DEFAULT_QUOTAS)
        for code, value in (quotas or {}).items():
            self.set_quota(code, value)

    def set_quota(self, code: str, value: float | Quota) -> None:
        """Set a quota's applied value, or a whole quota that is not among the usual three."""
        self.quotas[code] = value if isinstance(value, Quota) else replace(self.quotas[code], value=value)

    def allow_training(self, instance_types: Sequence[str], instances: int) -> None:
        """Raise the training quotas of these types, on demand and on spot, to this number of instances."""
        for name in (f"{kind} for {use}" for kind in instance_types for use in _USES["Training"]):
            code = next((code for code, quota in self.quotas.items() if quota.name == name), _code_of(name))
            self.quotas[code] = Quota(name, float(instances))

    def check_limit(self, usage: str, wanted: _Instances, running: Iterable[_Instances]) -> None:
        """Check the service quota of a use, for example "training job"; one instance where there is no such quota.

        Raises:
            ServiceError: ResourceLimitExceeded, the running instances of that type leave too few.
        """
        kind, count = wanted.instance_type, wanted.instance_count
        used = sum(one.instance_count for one in running if one.instance_type == kind)
        named = {quota.name: quota.value for quota in self.quotas.values()}
        limit = int(named.get(f"{kind} for {usage} usage", 1))
        if used + count > limit:
            raise ServiceError(
                "ResourceLimitExceeded",
                f"The account-level service limit '{kind} for {usage} usage' is {limit} Instances, with current "
                f"utilization of {used} Instances and a request delta of {count} Instances. Please use AWS Service "
                "Quotas to request an increase for this quota.",
            )

    def call(self, operation: str, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """Answer GetProducts, BatchGetImage, or an operation of Service Quotas.

        Raises:
            ServiceError: the service, the quota or the operation does not exist.
        """
        if operation == "GetProducts":
            return self._products(request)
        if operation == "BatchGetImage":
            return self._images(request)
        if request.get("ServiceCode") != "sagemaker":
            raise ServiceError("NoSuchResourceException", f"The rehearsal does not play {operation} of that service.")
        # Every quota here has an applied value, so that nobody needs AWS's default.
        known = {} if "Default" in operation else self._every_quota()
        rows = {
            code: {
                "ServiceCode": "sagemaker",
                "QuotaCode": code,
                "QuotaName": quota.name,
                "QuotaArn": f"arn:aws:servicequotas:{region}:{ACCOUNT}:sagemaker/{code}",
                "Value": float(quota.value),
            }
            for code, quota in known.items()
        }
        if operation.startswith("List"):
            return {"Quotas": list(rows.values())}
        if request["QuotaCode"] not in rows:
            raise ServiceError("NoSuchResourceException", "The request failed because the quota does not exist.")
        return {"Quota": rows[request["QuotaCode"]]}

    def _every_quota(self) -> dict[str, Quota]:
        """Every type that has a price may be used once, where nothing else is said of it."""
        named = {quota.name for quota in self.quotas.values()}
        priced = [f"{instance} for {use}" for instance in self._prices for uses in _USES.values() for use in uses]
        return {_code_of(name): Quota(name, 1.0) for name in priced if name not in named} | self.quotas

    def _products(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The entries of the price list that pass the request's filters, in its own JSON form."""
        entries = []
        for (instance, dollars), component, region in product(self._prices.items(), _USES, _REGIONS):
            attributes = {
                "servicecode": "AmazonSageMaker", "regionCode": region, "instanceName": instance, "component": component,
            }  # fmt: skip
            filters = request.get("Filters") or []
            if request["ServiceCode"] == "AmazonSageMaker" and all(
                attributes.get(term["Field"]) == term["Value"] for term in filters
            ):
                rate = {"unit": "Hrs", "pricePerUnit": {"USD": f"{Decimal(str(dollars)):.10f}"}}
                rate["description"] = f"${dollars} per {component} {instance} hour in {region}"
                entry = {
                    "product": {"productFamily": "ML Instance", "attributes": attributes},
                    "terms": {"OnDemand": {"term": {"priceDimensions": {"rate": rate}}}},
                }
                entries.append(json.dumps(entry))
        return {"FormatVersion": "aws_v1", "PriceList": entries}

    def _images(self, request: Mapping[str, Any]) -> dict[str, Any]:
        repository = request["repositoryName"]
        answer: dict[str, Any] = {"images": [], "failures": []}
        for image in request["imageIds"]:
            if f"{repository}:{image.get('imageTag')}" in self.missing_images:
                answer["failures"].append({"imageId": image, "failureCode": "ImageNotFound"})
            else:
                answer["images"].append({"repositoryName": repository, "imageId": image})
        return answer
