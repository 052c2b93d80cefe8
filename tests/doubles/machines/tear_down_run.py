"""A run of TearDown: usually everything of a run is gone at the first look, and every call succeeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.doubles.machines.walk import Walk
from verification.simulation.definitions import machine

RUN = "captune-one"
EVENT: Mapping[str, Any] = {
    "executionArn": "arn:aws:states:us-east-1:111122223333:execution:captune-fine-tuning:one",
    "executionName": "one",
    "status": "SUCCEEDED",
    "reason": "event",
}
SETTLED: Mapping[str, Any] = {
    "subject": "Captune: settled",
    "message": "It cost $1.23.",
    "result": {"run": RUN, "status": "SUCCEEDED", "actualCents": 123, "leftCents": 2377},
    "record": {"run": RUN},
}
FINISHED = {"subject": "Captune: improved", "message": "All of it.", "verdict": "improved"}


def looked(**found: Any) -> dict[str, Any]:
    """What RemoveResources answers after a pass: unless told otherwise, that nothing was there any more."""
    usual = {"runName": RUN, "quiet": True, "keep": False, "running": False, "cutOff": False}
    return usual | {"found": [], "seen": {}, "problems": [], "leftAlone": []} | found


_USUAL: Mapping[str, Any] = {
    "RemoveResources": looked(),
    "SettleLedger": SETTLED,
    "FinishReport": FINISHED,
    **dict.fromkeys(["KeepEndpointForNow", "TellUnsettled", "DeleteSchedule", "PublishResult"], {"Anything": "said"}),
}


def run(given: Any = EVENT, /, **scripts: Any) -> Walk:
    """Runs a TearDown of an event to its end, with scripts for the calls of some states."""
    return Walk(machine("tear_down"), _USUAL, scripts, given, Name="tear-down", Id="arn:execution")
