"""The lines of defence against a worse world: outages, deploys, damaged items, and what is told wrongly or comes too late."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from common import versions
from common.contracts.tear_down import Removed, TearDownEvent
from common.errors import LedgerDamaged
from common.ledger.changes import Month
from common.ledger.ledger import Ledger
from proof.controls import trials
from proof.controls.registry import everywhere, register, replacing
from proof.simulation.aws.definitions import Definition, edited
from teardown.removal import Removal

_one_pass, _settle, _rows = Removal.one_pass, Ledger.settle, Ledger.rows
_HOURS = 6 * 3600


def _ledger_first(self: Removal, event: TearDownEvent) -> Removed:
    self.ledger.run(self.run)
    return _one_pass(self, event)


def _one_blinds_all(self: Ledger) -> list[Any]:
    rows = _rows(self)
    if any(row.is_damaged for row in rows):
        raise LedgerDamaged("an item cannot be read")
    return rows


def _settled_is_settled(self: Ledger, run: str, *rest: Any, **more: Any) -> Any:
    item = self.run(run)
    return item if item is not None and item["state"] == "settled" else _settle(self, run, *rest, **more)


def _month_believed(self: Ledger, names: Sequence[str], cap_cents: int) -> dict[str, Month]:
    return {name: Month.of(name, self._as_read(name), [], cap_cents) for name in names}


def _told(self: Removal, execution_arn: str | None, event: Mapping[str, Any]) -> str:
    return str(event.get("status"))


def _gives_up(state: str) -> Any:
    def edit(definition: Definition) -> None:
        body = definition["States"][state]
        body["Retry"] = [
            {"ErrorEquals": ["States.ALL"], "IntervalSeconds": 10, "MaxAttempts": 20, "MaxDelaySeconds": 300}
        ]
        body["Catch"] = [rule for rule in body.get("Catch", []) if rule["ErrorEquals"] != ["States.ALL"]]

    return edited("tear_down", edit)


def _types_of_the_definition(definition: Definition) -> None:
    states = definition["States"]
    states["StartTraining"]["Arguments"]["ResourceConfig"]["InstanceType"] = "${TrainingInstanceType}"
    for state in ("TryEndpointConfig", "CreateEndpointConfig"):
        for variant in states[state]["Arguments"]["ProductionVariants"]:
            variant["InstanceType"] = "${HostingInstanceType}"


@contextmanager
def _unversioned() -> Iterator[None]:
    """As before the plan carried everything and definition and functions compared their versions."""
    with edited("fine_tuning", _types_of_the_definition)(), everywhere(versions.refuse_another, lambda version: None):
        yield


# fmt: off
register("removal: the ledger is not asked first", replacing(Removal, "one_pass", _ledger_first), lambda: trials.outages("ledger", _HOURS))
register("removal: it never gives up", _gives_up("RemoveResources"), lambda: trials.outages("Lambda", _HOURS))
register("removal: a running execution's end is not believed", replacing(Removal, "_status", _told), trials.told_too_early)
register("settlement: it never gives up", _gives_up("SettleLedger"), lambda: trials.outages("ledger", 2 * _HOURS))
register("settlement: what comes later is booked later", replacing(Ledger, "settle", _settled_is_settled), trials.billed_after_the_settlement)
register("ledger: each item is read by itself", replacing(Ledger, "rows", _one_blinds_all), trials.an_odd_item_and_the_sweeper)
register("ledger: a month is added up from its runs", replacing(Ledger, "_months", _month_believed), lambda: trials.accident("the month's item deleted", 12))
register("deploy: what is started is what was reserved", _unversioned, lambda: trials.accident("deploy, before it reserves", 12))
