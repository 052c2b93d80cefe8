"""A run of TearDown: the usual account, in which everything of a run is gone at the first look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rehearsal.step_functions.walk import Walk
from stacks.state_machine import load_definition
from tests.doubles.machines.scripted_account import ScriptedAccount
from tests.doubles.machines.stacks_bench import ROOT

DEFINITION = load_definition(ROOT / "stacks" / "tear_down.asl.yaml")
RUN = "captune-one"
EVENT: Mapping[str, Any] = {
    "executionArn": "arn:aws:states:us-east-1:111122223333:execution:captune-fine-tuning:one",
    "executionName": "one",
    "status": "SUCCEEDED",
    "reason": "event",
}
SETTLED: Mapping[str, Any] = {
    "subject": "Captune: improved",
    "message": "It cost $1.23.",
    "result": {"run": RUN, "status": "SUCCEEDED", "actualCents": 123, "leftCents": 2377},
    "record": {"run": RUN},
}
HOUR, DAY = 3600, 24 * 3600


def looked(**found: Any) -> dict[str, Any]:
    """What RemoveResources says of a pass: unless told otherwise, that nothing was there any more."""
    usual = {"runName": RUN, "found": [], "quiet": True, "keep": False, "running": False, "seen": {}, "problems": []}
    return usual | found


def account() -> ScriptedAccount:
    """An account in which every call goes well at once."""
    return ScriptedAccount(
        {
            "${TearDownFunctionArn}": looked(),
            "${SettleFunctionArn}": dict(SETTLED),
            "${FinishFunctionArn}": {"subject": "Captune: improved", "message": "All of it.", "verdict": "improved"},
            "scheduler:updateSchedule": {"ScheduleArn": "arn"},
            "scheduler:deleteSchedule": {"Anything": "said"},
            "sns:publish": {"MessageId": "m"},
        }
    )


def run(with_account: ScriptedAccount | None = None, most_steps: int = 400, **event: Any) -> Walk:
    """Walks a TearDown of the run to its end. The event may be changed."""
    walk = Walk(DEFINITION, with_account or account(), dict(EVENT) | event, most_steps=most_steps).run()
    # What lasts is in the variables. Only the first look is handed the event, and only the ends what they end with.
    assert {name for name, given in walk.inputs[2:] if given} <= {"NoSuchRun", "Done"}
    return walk
