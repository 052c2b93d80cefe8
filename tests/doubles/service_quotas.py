"""Service Quotas with these values."""

from __future__ import annotations

from typing import Any

from tests.doubles.lambda_fakes import Service, refusal


class ServiceQuotas(Service):
    """Applied and default values by code, and so many other quotas that none of a run is on the first page."""

    name = "service-quotas"
    OTHERS = 250

    def __init__(self, applied: dict[str, float], defaults: dict[str, float] | None = None) -> None:
        super().__init__()
        self.applied, self.defaults = applied, defaults or {}
        self.names = {"L-1": "ml.g6.xlarge for endpoint usage", "L-2": "ml.g6.2xlarge for endpoint usage"}

    def on_get_service_quota(self, ServiceCode: str, QuotaCode: str) -> dict[str, Any]:
        return self._value(self.applied, QuotaCode)

    def on_get_aws_default_service_quota(self, ServiceCode: str, QuotaCode: str) -> dict[str, Any]:
        return self._value(self.defaults, QuotaCode)

    def on_list_service_quotas(self, ServiceCode: str, MaxResults: int, NextToken: str = "0") -> dict[str, Any]:
        return self._page(self.applied, MaxResults, int(NextToken))

    def on_list_aws_default_service_quotas(
        self, ServiceCode: str, MaxResults: int, NextToken: str = "0"
    ) -> dict[str, Any]:
        return self._page(self.defaults, MaxResults, int(NextToken))

    def _page(self, values: dict[str, float], most: int, start: int) -> dict[str, Any]:
        others = [
            {"QuotaCode": f"L-OTHER{n}", "QuotaName": f"ml.m{n} for endpoint usage", "Value": 0.0}
            for n in range(self.OTHERS)
        ]
        ours = [
            {"QuotaCode": code, "QuotaName": name, "Value": values[code]}
            for code, name in self.names.items()
            if code in values
        ]
        rows, end = [*others, *ours], start + most
        return {"Quotas": rows[start:end], **({"NextToken": str(end)} if end < len(rows) else {})}

    def _value(self, values: dict[str, float], code: str) -> dict[str, Any]:
        if code not in values:
            raise refusal("NoSuchResourceException", "The request failed because the specified quota does not exist.")
        return {"Quota": {"Value": values[code]}}
