"""Service Quotas with these values."""

from __future__ import annotations

from typing import Any

from tests.doubles.lambda_fakes import Service, page, refusal


class ServiceQuotas(Service):
    """Applied and default values by code, and the names of codes."""

    name = "service-quotas"

    def __init__(self, applied: dict[str, float], defaults: dict[str, float] | None = None) -> None:
        super().__init__()
        self.applied, self.defaults = applied, defaults or {}
        self.names = {"L-1": "ml.g6.xlarge for endpoint usage", "L-2": "ml.g6.2xlarge for endpoint usage"}

    def on_get_service_quota(self, ServiceCode: str, QuotaCode: str) -> dict[str, Any]:
        return self._value(self.applied, QuotaCode)

    def on_get_aws_default_service_quota(self, ServiceCode: str, QuotaCode: str) -> dict[str, Any]:
        return self._value(self.defaults, QuotaCode)

    def on_list_service_quotas(self, ServiceCode: str, NextToken: str | None = None) -> dict[str, Any]:
        rows = [{"QuotaCode": code, "QuotaName": name} for code, name in self.names.items()]
        answer: dict[str, Any] = page("Quotas", rows, NextToken)
        return answer

    def _value(self, values: dict[str, float], code: str) -> dict[str, Any]:
        if code not in values:
            raise refusal("NoSuchResourceException", "The request failed because the specified quota does not exist.")
        return {"Quota": {"Value": values[code]}}
