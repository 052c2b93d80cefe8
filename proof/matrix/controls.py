"""Negative controls of the workflow: one line of defence is taken out of what is deployed, and a named cell has to notice.

Only the copy in the rehearsed account is edited. Importing this module puts the controls into the registry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.util import Finalize
from typing import Any

from proof.controls.registry import register
from proof.matrix import cell
from proof.matrix.bench import Bench, assembly_folder

Definition = dict[str, Any]
_bench: list[Bench] = []


def bench() -> Bench:
    """The account of this process, deployed at the first need."""
    if not _bench:
        _bench.append(Bench(assembly_folder()).__enter__())
        Finalize(None, _bench[0].__exit__, args=(None, None, None), exitpriority=10)
    return _bench[0]


def _edited(machine: str, edit: Callable[[Definition], None]) -> Callable[[], AbstractContextManager[None]]:
    """A machine ("fine_tuning" or "tear_down") with an edited definition."""
    return lambda: bench().altered(getattr(bench().deployment, machine), edit)


@contextmanager
def _without_rule(timed: bool) -> Iterator[None]:
    with bench().without_rule(timed):
        yield


def _noticed(state: str, failure: str) -> Callable[[], list[str]]:
    """What one cell finds wrong, with its name."""

    def look() -> list[str]:
        outcome = cell.run(bench(), state, failure)
        return [f"{state} x {failure}: {words}" for words in outcome.wrong]

    return look


def _switch_off_schedules(definition: Definition) -> None:
    for name in ("ScheduleTearDown", "SetEndpointDeadline"):
        definition["States"][name]["Arguments"]["State"] = "DISABLED"


def _leave_deadline_out(definition: Definition) -> None:
    definition["States"]["CreateModel"]["Next"] = "CreateEndpointConfig"


def _leave_schedule_out(definition: Definition) -> None:
    definition["States"]["ReserveBudget"]["Next"] = "StartTraining"


def _one_quiet_pass(definition: Definition) -> None:
    rules = definition["States"]["AllGone?"]["Choices"]
    for rule in rules:
        rule["Condition"] = rule["Condition"].replace("$quietPasses >= 2", "$quietPasses >= 1")


def _no_patience(definition: Definition) -> None:
    for name in ("RemoveResources", "SettleLedger"):
        for rules in ("Retry", "Catch"):
            del definition["States"][name][rules]


def _no_reservation(definition: Definition) -> None:
    definition["States"]["Preflight"]["Next"] = "ScheduleTearDown"
    definition["States"]["Preflight"]["Assign"]["reservation"] = {
        "reservedCents": 1,
        "committedCents": 1,
        "capCents": 1,
    }


def _no_clamp(definition: Definition) -> None:
    stopping = definition["States"]["StartTraining"]["Arguments"]["StoppingCondition"]
    stopping["MaxRuntimeInSeconds"] = 5 * 86400


def _unchecked_reservation(definition: Definition) -> None:
    definition["States"]["ReserveBudget"]["Assign"]["reservation"] = "{% $states.result.Payload %}"


def _settle_first(definition: Definition) -> None:
    definition["States"]["Begin"]["Assign"]["removal"] = {"runName": "captune-none", "keep": False}
    definition["States"]["Begin"]["Next"] = "SettleLedger"


_FINE, _DOWN = "fine_tuning", "tear_down"
register(
    "deployed: the dead man's switch never fires",
    _edited(_FINE, _switch_off_schedules),
    _noticed("DescribeTraining", "event lost"),
)
register(
    "deployed: no schedule is made before training",
    _edited(_FINE, _leave_schedule_out),
    _noticed("StartTraining", "event lost"),
)
register(
    "deployed: the event rule is off",
    lambda: _without_rule(timed=False),
    _noticed("CreateModel", "refused"),
)
register(
    "deployed: the sweeper is off",
    lambda: _without_rule(timed=True),
    _noticed("ScheduleTearDown", "event lost"),
)
register(
    "deployed: SetEndpointDeadline is skipped",
    _edited(_FINE, _leave_deadline_out),
    _noticed("DescribeEndpoint", "event lost"),
)
register(
    "deployed: TearDown trusts one quiet pass",
    _edited(_DOWN, _one_quiet_pass),
    _noticed("CreateModel", "abort+late"),
)
register(
    "deployed: TearDown gives up",
    _edited(_DOWN, _no_patience),
    _noticed("RemoveResources", "throttled"),
)
register(
    "deployed: ReserveBudget is skipped",
    _edited(_FINE, _no_reservation),
    _noticed("CreateModel", "refused"),
)
register(
    "deployed: MaxRuntimeInSeconds is not clamped",
    _edited(_FINE, _no_clamp),
    _noticed("DescribeTraining", "event lost"),
)
register(
    "deployed: a reservation is believed unread",
    _edited(_FINE, _unchecked_reservation),
    _noticed("ReserveBudget", "nonsense"),
)
register(
    "deployed: TearDown removes nothing",
    _edited(_DOWN, _settle_first),
    _noticed("DescribeEndpoint", "aborted"),
)
