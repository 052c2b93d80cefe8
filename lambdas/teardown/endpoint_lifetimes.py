"""The life of a run's endpoint, as the passes of its tear-down see it: what AWS bills it for.

An endpoint leaves no trace at SageMaker. What a pass saw therefore travels with the state machine, from pass to pass and on to
the settlement, and is written into the ledger as well whenever that answers: neither depends on the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from common.clock import from_iso
from common.contracts.tear_down import Seen
from common.ledger.ledger import Ledger
from common.ledger.rows import endpoint_lifetime
from common.logs import log
from common.resources import Resource


class SeenEndpoint:
    """What is known of a run's endpoint. Should there be several, they count as one that is there from the first to the last."""

    def __init__(self, seen: Seen | None, now: datetime) -> None:
        self.seen: Seen = seen.copy() if seen and "createdAt" in seen else {}
        self._now = _written(now)

    def saw(self, endpoints: Sequence[Resource]) -> None:
        """Takes in a whole listing of the run's endpoints: what was there before and is not listed now has gone.

        The earliest creation counts. One that has come back has not gone.
        """
        if endpoints:
            self.seen.pop("goneAt", None)
            self.seen["createdAt"] = min(self.seen.get("createdAt", "~"), *(_written(one.created) for one in endpoints))
        elif self.seen:
            self.seen.setdefault("goneAt", self._now)

    def describe(self, sagemaker: Any, endpoints: Sequence[Resource]) -> None:
        """Adds what AWS really runs, where it tells: the type and the number of the instances."""
        if not endpoints or (len(endpoints) == 1 and "instanceType" in self.seen):
            return
        try:
            running = [pair for endpoint in endpoints for pair in _running(sagemaker, endpoint)]
        except (BotoCoreError, ClientError, KeyError, ValueError) as error:
            log("endpoint not described", endpoints=[one.name for one in endpoints], error=str(error))
            return
        self.seen["instanceCount"] = max(self.seen.get("instanceCount", 0), sum(count for _, count in running))
        # Of several types SageMaker has yet to take one, or there are more than one: then the dearest counts.
        types = {kind for kind, _ in running}
        self.seen.pop("instanceType", None)
        if len(types) == 1 and (kind := types.pop()):
            self.seen["instanceType"] = kind

    def write(self, ledger: Ledger, run: str) -> None:
        """Writes the life into the run's item. Raises what the ledger raises."""
        if self.seen:
            ledger.note_endpoint(
                run,
                self.seen["createdAt"],
                self.seen.get("goneAt"),
                instance_type=self.seen.get("instanceType", ""),
                instance_count=self.seen.get("instanceCount", 0),
            )

    def recall(self, ledger: Ledger, run: str) -> None:
        """Adds an endpoint that an earlier tear-down saw and did not see go: it has gone, for none is listed now.

        What was there before the run was settled had gone by then, for nothing is settled before that.
        """
        item = ledger.run(run) or {}
        life = endpoint_lifetime(item)
        if life is None or life.gone_at is not None or self.seen:
            return
        created, settled = _written(life.created_at), item.get("settled_at")
        settled_at = _written(from_iso(settled)) if settled else ""
        self.seen = {"createdAt": created, "goneAt": settled_at if created <= settled_at else self._now}


def _running(sagemaker: Any, endpoint: Resource) -> list[tuple[str, int]]:
    """The instance types of an endpoint and how many of each it has. The type is empty where SageMaker has yet to take one of several."""
    described = sagemaker.describe_endpoint(EndpointName=endpoint.name)
    variants = described.get("ProductionVariants", [])
    pools = [pool for one in variants for pool in one.get("InstancePools", []) if pool["CurrentInstanceCount"]]
    if pools:
        return [(pool["InstanceType"], pool["CurrentInstanceCount"]) for pool in pools]
    (asked, *_) = sagemaker.describe_endpoint_config(EndpointConfigName=described["EndpointConfigName"])[
        "ProductionVariants"
    ]
    counts = [one.get("CurrentInstanceCount", 0) for one in variants]
    return [(asked.get("InstanceType", ""), max([asked.get("InitialInstanceCount", 1), *counts]))]


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
