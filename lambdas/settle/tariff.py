"""What an hour of what really ran costs: the reserved price where the type was reserved, the dearest that is known where it was not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common.errors import PriceUnknown
from common.pricing.costs import ENDPOINT_INSTANCES
from common.pricing.prices import Price, dearest, dearest_pinned, pinned
from common.pricing.prices import read as read_prices


@dataclass(frozen=True)
class Tariff:
    """The prices of one use (`Training` or `Hosting`) that a run has reserved, in order of preference, and its region.

    Each is that of one instance, and `instances` of them are reserved.
    """

    use: str
    reserved: tuple[Price, ...]
    region: str
    instances: int

    @classmethod
    def of(cls, item: Mapping[str, Any], use: str) -> Tariff:
        """The tariff of a run's ledger item."""
        found = read_prices(item[f"{use.lower()}_prices"], use, item["price_source"])
        instances = int(item.get("training_instances", 1)) if use == "Training" else ENDPOINT_INSTANCES
        return cls(use, tuple(found), item["execution_arn"].split(":")[3], instances)

    def of_type(self, instance_type: str) -> Price:
        """The price of a type. One that was never reserved costs what the pinned table says; one that nobody knows, the dearest."""
        for price in self.reserved:
            if price.instance_type == instance_type:
                return price
        if not instance_type and self.reserved:
            return dearest(self.reserved)
        try:
            return pinned(self.region, instance_type, self.use)
        except PriceUnknown:
            return dearest([*self.reserved, dearest_pinned(self.use)])

    def was_reserved(self, instance_type: str, count: int) -> bool:
        """Whether a run has set money aside for this. A type that nobody knows is not held against it."""
        known = {"", *(price.instance_type for price in self.reserved)}
        return bool(self.reserved) and instance_type in known and count <= self.instances
