"""The lives of a run's endpoints, as the passes of its tear-down see them: what AWS bills it for."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from common.clock import written
from common.endpoint_lives import Life, Seen, attribute, of_item, together
from common.ledger.changes import ending
from common.ledger.ledger import Ledger
from common.ledger.rows import RunItem
from common.logs import log
from common.resources import Resource


class SeenEndpoints:
    """What is known of a run's endpoints. `bounds`: the execution had ended before the look, so none can come after."""

    def __init__(self, seen: Seen | None, bounds: bool) -> None:
        self.seen: Seen = together(seen or {}, {})
        self._bounds = bounds
        self._after_look: Callable[[Seen], Seen] = lambda seen: seen

    def saw(self, sagemaker: Any, endpoints: Sequence[Resource], now: datetime) -> None:
        """Takes in a whole listing of the run's endpoints, as it was answered now."""
        known = {(one["name"], one["createdAt"]) for one in self.seen.get("lives", []) if "instanceType" in one}
        lives: list[Life] = [{"name": one.name, "createdAt": written(one.created)} for one in endpoints]
        for life in lives:
            if (life["name"], life["createdAt"]) not in known:
                _describe(sagemaker, life)
        self._after_look = partial(_after, listed=lives, at=written(now), bounds=self._bounds)
        self.seen = self._after_look(self.seen)

    def write(self, ledger: Ledger, run: str, now: datetime) -> None:
        """Puts what was seen together with what the run's item holds, in both; the run's removal has begun. Raises what the ledger raises."""

        def made(item: RunItem) -> dict[str, Any]:
            known = of_item(item)
            for life in known.get("lives", []):
                # It had gone when the run was settled, for nothing is settled before that.
                if life["createdAt"] <= item.get("settled_at", ""):
                    life.setdefault("goneAt", item["settled_at"])
            self.seen = self._after_look(together(known, self.seen))
            return {**(ending(item, now) if "keep_until" in item else item), **attribute(self.seen)}

        ledger.update(run, made)


def note_gone(ledger: Ledger, run: str, there: set[tuple[str, str]], began: datetime, at: datetime) -> None:
    """Notes in the run's item that its endpoints have gone which a listing, begun and answered at these moments, no longer had.

    The sweeper calls it, which looks at runs that it does not remove. `there` are the names and moments of creation that were listed. Raises what the ledger raises.
    """

    def made(item: RunItem) -> dict[str, Any]:
        seen = of_item(item)
        for life in seen.get("lives", []):
            if life["createdAt"] < written(began) and (life["name"], life["createdAt"]) not in there:
                life.setdefault("goneAt", written(at))
        return {**item, **attribute(seen)}

    ledger.update(run, made)


def _after(seen: Seen, listed: Sequence[Life], at: str, bounds: bool) -> Seen:
    """What is known after a listing: what is listed had not gone by then, and what was there before and is not listed has."""
    there = {(life["name"], life["createdAt"]) for life in listed}
    lives = together(seen, {"lives": list(listed)}).get("lives", [])
    after: Seen = {**seen, "lives": lives} if lives else {**seen}
    if any(life["createdAt"] < after.get("noneAt", "") <= at for life in listed):
        del after["noneAt"]  # a list has left it out
    if not listed and bounds:
        after.setdefault("noneAt", at)
    none_at = after.get("noneAt", at)
    for life in lives:
        if (life["name"], life["createdAt"]) in there:
            if life.get("goneAt", "") <= at:
                life.pop("goneAt", None)
        else:
            life.setdefault("goneAt", none_at if life["createdAt"] < none_at else at)
    return after


def _describe(sagemaker: Any, life: Life) -> None:
    """Adds what AWS really runs, where it tells: the type and the number of the instances."""
    try:
        running = _running(sagemaker, life["name"])
    except (BotoCoreError, ClientError, KeyError, ValueError) as error:
        log("endpoint not described", endpoint=life["name"], error=str(error))
        return
    life["instanceCount"] = sum(count for _, count in running)
    # Where SageMaker has yet to take one of several, the next look tells; of more than one the dearest counts.
    if types := {kind for kind, _ in running if kind}:
        life["instanceType"] = types.pop() if len(types) == 1 else ""


def _running(sagemaker: Any, endpoint: str) -> list[tuple[str, int]]:
    """The instance types of an endpoint and how many of each it has. The type is empty where SageMaker has yet to take one of several."""
    described = sagemaker.describe_endpoint(EndpointName=endpoint)
    variants = described.get("ProductionVariants", [])
    pools = [pool for one in variants for pool in one.get("InstancePools", []) if pool["CurrentInstanceCount"]]
    if pools:
        return [(pool["InstanceType"], pool["CurrentInstanceCount"]) for pool in pools]
    (asked, *_) = sagemaker.describe_endpoint_config(EndpointConfigName=described["EndpointConfigName"])[
        "ProductionVariants"
    ]
    counts = [one.get("CurrentInstanceCount", 0) for one in variants]
    return [(asked.get("InstanceType", ""), max([asked.get("InitialInstanceCount", 1), *counts]))]
