"""The life of each endpoint of a run, as the passes of its tear-down see it: what AWS bills it for.

An endpoint leaves no trace at SageMaker. What a pass saw therefore travels with the state machine, from pass to pass and on to
the settlement, and is written into the ledger as well whenever that answers: neither depends on the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from common.clock import from_iso
from common.contracts.tear_down import Seen, SeenLifetime
from common.ledger.ledger import Ledger
from common.ledger.rows import endpoint_lifetimes
from common.logs import log
from common.names import attempt_of
from common.resources import Resource

# While an endpoint is in one of these, nobody knows yet whether it ever worked.
_UNDECIDED = {"Creating", "Deleting"}


class EndpointLifetimes:
    """The endpoints of one run by attempt: {"1": {createdAt, goneAt?, instanceType?, instanceCount?, failed?}}."""

    def __init__(self, seen: Seen | None, now: datetime) -> None:
        self.seen: Seen = {attempt: life.copy() for attempt, life in (seen or {}).items()}
        self._now = _written(now)

    def saw(self, endpoints: Iterable[Resource]) -> None:
        """Takes in a whole listing of the run's endpoints: what was there before and is not listed now has gone.

        Of two endpoints of one attempt the earliest creation counts. One that has come back has not gone.
        """
        present = {str(attempt_of(endpoint.name)): endpoint for endpoint in endpoints}
        for attempt, endpoint in present.items():
            life = self.seen.setdefault(attempt, {})
            life.pop("goneAt", None)
            life["createdAt"] = min(life.get("createdAt", "~"), _written(endpoint.created))
            if endpoint.status == "Failed":
                # One that was in service before did not fail to start.
                life.setdefault("failed", True)
            elif endpoint.status not in _UNDECIDED:
                life["failed"] = False
        for attempt in self.seen.keys() - present.keys():
            self.seen[attempt].setdefault("goneAt", self._now)

    def describe(self, sagemaker: Any, endpoint: Resource) -> None:
        """Adds what AWS really runs for an endpoint, where it tells: the type and the number of its instances."""
        life: SeenLifetime = self.seen.get(str(attempt_of(endpoint.name)), {})
        if "instanceType" in life:
            return
        try:
            described = sagemaker.describe_endpoint(EndpointName=endpoint.name)
            name = described["EndpointConfigName"]
            (variant, *_) = sagemaker.describe_endpoint_config(EndpointConfigName=name)["ProductionVariants"]
        except (BotoCoreError, ClientError, KeyError, ValueError) as error:
            log("endpoint not described", endpoint=endpoint.name, error=str(error))
            return
        running = [one.get("CurrentInstanceCount", 0) for one in described.get("ProductionVariants", [])]
        life["instanceType"] = variant.get("InstanceType", "")
        life["instanceCount"] = max([variant.get("InitialInstanceCount", 1), *running])

    def write(self, ledger: Ledger, run: str) -> None:
        """Writes every life into the run's item. Raises what the ledger raises."""
        for attempt, life in self.seen.items():
            ledger.note_endpoint(
                run,
                int(attempt),
                life["createdAt"],
                life.get("goneAt"),
                bool(life.get("failed")),
                instance_type=life.get("instanceType", ""),
                instance_count=life.get("instanceCount", 0),
            )

    def recall(self, ledger: Ledger, run: str) -> None:
        """Adds the endpoints that an earlier tear-down saw and did not see go: they have gone, for none is listed now.

        What was there before the run was settled had gone by then, for nothing is settled before that.
        """
        item = ledger.run(run) or {}
        settled_at = _written(from_iso(item["settled_at"])) if "settled_at" in item else ""
        for attempt, life in endpoint_lifetimes(item).items():
            if life.gone_at is None and str(attempt) not in self.seen:
                created = _written(life.created_at)
                known: SeenLifetime = {
                    "createdAt": created,
                    "goneAt": settled_at if created <= settled_at else self._now,
                }
                self.seen[str(attempt)] = known | ({"failed": True} if life.failed else {})


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
