"""Service quotas: a new account usually has none of the instances that a run needs, and AWS says so only when it is too late."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from common.aws import error_code

TRAINING, SPOT_TRAINING, ENDPOINT = "training job usage", "spot training job usage", "endpoint usage"
# Codes are the same in every account and region. Other instance types are looked up by the quota's name.
_CODES = {
    ("ml.g5.2xlarge", TRAINING): "L-2D6DEB3C",
    ("ml.g5.2xlarge", SPOT_TRAINING): "L-CAEE7DB7",
    ("ml.g5.2xlarge", ENDPOINT): "L-9614C779",
}


@dataclass(frozen=True)
class Quota:
    """How many instances of a type may run at once for one use; None when it could not be read."""

    instance_type: str
    use: str
    value: int | None

    @property
    def name(self) -> str:
        """The quota's name in the console."""
        return f"{self.instance_type} for {self.use}"

    def shortage(self, needed: int) -> str:
        """Why the quota does not allow so many instances; empty when it does or is not known."""
        if self.value is None or self.value >= needed:
            return ""
        code = _CODES.get((self.instance_type, self.use))
        where = f" (code {code})" if code else ""
        return f'the quota "{self.name}"{where} is {self.value} and {needed} {"is" if needed == 1 else "are"} needed'


def read(service_quotas: Any, instance_type: str, use: str) -> Quota:
    """The quota in force. Its value is None when Service Quotas cannot be asked or knows no such quota."""
    try:
        code = _CODES.get((instance_type, use)) or _code_by_name(service_quotas, f"{instance_type} for {use}")
        value = _value(service_quotas, code) if code else None
    except (ClientError, BotoCoreError):
        value = None
    return Quota(instance_type, use, value)


def _value(service_quotas: Any, code: str) -> int | None:
    request = {"ServiceCode": "sagemaker", "QuotaCode": code}
    try:
        answer = service_quotas.get_service_quota(**request)
    except ClientError as error:
        # A quota that was never raised has no applied value, only AWS's default.
        if error_code(error) != "NoSuchResourceException":
            raise
        answer = service_quotas.get_aws_default_service_quota(**request)
    value = answer["Quota"].get("Value")
    return None if value is None else int(value)


def _code_by_name(service_quotas: Any, name: str) -> str | None:
    for page in service_quotas.get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker"):
        for quota in page["Quotas"]:
            if quota["QuotaName"] == name:
                return str(quota["QuotaCode"])
    return None
