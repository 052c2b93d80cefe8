"""The Price List with these products."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def product(usagetype: str, usd: str | None, unit: str = "Hrs", component: str | None = None) -> dict[str, Any]:
    """A product as the Price List describes it."""
    attributes = {"usagetype": usagetype} | ({"component": component} if component else {})
    per_unit = {"USD": usd} if usd else {"CNY": "9"}
    terms = {"OnDemand": {"t": {"priceDimensions": {"d": {"unit": unit, "pricePerUnit": per_unit}}}}}
    return {"product": {"attributes": attributes}, "terms": terms}


class PriceList:
    """The Price List API with these products, one on a page, which remembers what it was asked for."""

    def __init__(self, *products: dict[str, Any], error: Exception | None = None) -> None:
        self.products, self.error = products, error
        self.asked: dict[str, Any] = {}

    def get_paginator(self, operation: str) -> PriceList:
        assert operation == "get_products"
        return self

    def paginate(self, **asked: Any) -> Iterator[dict[str, Any]]:
        self.asked = asked
        if self.error:
            raise self.error
        yield from ({"PriceList": [json.dumps(product)]} for product in self.products)
