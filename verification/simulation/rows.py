"""The table of failures: every Task state of both machines meets every failure, and failures.yaml says what must come out.

A cell of the table is a sentence: how the run ends, then, where it differs from what usually follows, how its first TearDown
ends, who has to end the run where that is not its own event, and what its owner is not told.
"""

import json
import re
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

from common.contracts import run_folder
from common.names import run_name
from rehearsal.step_functions.executions import Execution
from verification.simulation import Result, material, runs
from verification.simulation.account import DOWN, Account, calm
from verification.simulation.definitions import MACHINES, task_states
from verification.simulation.failures import KINDS, plant
from verification.simulation.faults import Fault
from verification.simulation.lambdas import installed
from verification.simulation.parameters import RunParameters
from verification.simulation.services.dynamodb import number
from verification.simulation.world import DEFENCES, NOON

TABLE = Path(__file__).with_name("failures.yaml")
# What a run needs besides the usual to come to a state at all. A state that no run comes to fails its rows.
PARAMETERS: Mapping[str, dict[str, Any]] = {
    "KeepEndpointForNow": {"keep_seconds": 600},
    "StartSpotTraining": {"spot": True},
    "DeleteEndpointWithoutCapacity": {"endpoints": ("capacity", "in service")},
    "LookForAdapter": {"jobs": ("cut",)},
    # So long that TearDown would settle before the endpoint is up, if it took one that is being created for gone.
    "CreateEndpoint": {"pull_seconds": 300},
}
# The parts of the table: the machine whose states they name, and whether its runs only serve an earlier adapter.
PARTS = {
    **{machine: (machine, False) for machine in MACHINES},
    "serving": ("fine_tuning", True),
    "serving_tear_down": (DOWN, True),
}
# The state whose trouble has to last until a run has come to a state that is there for nothing else.
UNTIL_REACHED = {"TellUnsettled": "SettleLedger"}
_CELL = re.compile(
    r"(?P<run>succeeds|fails [\w.]+|is aborted \w+|times out)"
    r"(?:; TearDown (?P<down>fails [\w.]+|is aborted|times out))?"
    r"(?:; ended by (?P<by>the schedule|the sweeper))?"
    r"(?P<silent>; no notice)?(?P<mail>; no e-mail)?(?P<open>; the report lacks the end)?"
)
_ENDS = {"succeeds": "SUCCEEDED", "fails": "FAILED", "is aborted": "ABORTED", "times out": "TIMED_OUT"}


@dataclass(frozen=True)
class Row:
    """A state that meets a failure, and what must come out of it."""

    machine: str
    state: str
    failure: str
    run: tuple[str, str]  # status and error
    tear_down: tuple[str, str]
    ended_by: str = ""
    told: bool = True  # whether there is a report or a note of the failure
    mail: bool = True
    final: bool = True  # whether the report tells the end; if not, the e-mail has to say so
    serves: bool = (
        False  # the run keeps the endpoint of an earlier adapter: it asks nothing, and no report comes of its success
    )

    @property
    def name(self) -> str:
        """How it is asked for and printed."""
        return f"{_label(self.state, self.serves)} x {self.failure}"


def _label(state: str, serves: bool) -> str:
    return f"{state} (serving)" if serves else state


@cache
def table() -> Mapping[str, Row]:
    """Every row by its name. Raises ValueError for a cell that says nothing, KeyError for a state that is not there."""
    rows: dict[str, Row] = {}
    for part, states in _read().items():
        for state, cells in states.items():
            for failure, text in cells.items():
                if text != "none":
                    row = _row(part, state, failure, text)
                    rows[row.name] = row
    return rows


@cache
def _read() -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    """The cells as they are written, by part, state and failure."""
    read = yaml.safe_load(TABLE.read_text("utf-8"))
    return {
        part: {state: {**states["usually"], **cells} for state, cells in states.items() if state != "usually"}
        for part, states in read.items()
    }


def _row(part: str, state: str, failure: str, text: str) -> Row:
    found = _CELL.fullmatch(text)
    if found is None or failure not in KINDS:
        raise ValueError(f"{TABLE.name}: {state}, {failure}: {text!r} says nothing")
    silent = bool(found["silent"])
    mail, final = not (silent or found["mail"]), not found["open"]
    machine, serves = PARTS[part]
    return Row(
        machine,
        state,
        failure,
        _end(found["run"]),
        _end(found["down"] or "succeeds"),
        found["by"] or "",
        not silent,
        mail,
        final,
        serves,
    )


def _end(words: str) -> tuple[str, str]:
    known = next(word for word in _ENDS if words.startswith(word))
    return _ENDS[known], words.removeprefix(known).strip()


def parameters(state: str, serves: bool = False) -> RunParameters:
    """A run that comes to a state, without chance."""
    given: dict[str, Any] = {"jobs": ("completed",), "endpoints": ("in service",), **PARAMETERS.get(state, {})}
    return RunParameters(**given | ({"serves": True, "keep_seconds": 600} if serves else {}))


def play(row: Row, at: datetime = NOON) -> tuple[Account, Execution, Fault]:
    """Plays a row in the simulated account from a moment to its end."""
    account = calm(whole=True, at=at)
    fault = plant(account, row.failure, row.machine, row.state)
    if row.state in UNTIL_REACHED:
        plant(account, "refused", DOWN, UNTIL_REACHED[row.state]).when = lambda: not fault.hits
    sweeper = DEFENCES.sweeper and row.ended_by == "the sweeper"
    with patch.object(DEFENCES, "sweeper", sweeper), installed():
        execution = runs.start(account, "one", parameters(row.state, row.serves), **material.INPUT)
        account.world.run()
    return account, execution, fault


def check(row: Row, at: datetime = NOON) -> list[str]:
    """What is wrong once a row has been played from a moment on."""
    account, execution, fault = play(row, at)
    wrong = [] if fault.hits else ["no run ever came to this state: rows.PARAMETERS has to say what it needs"]
    wrong += _ends(account, execution, row)
    wrong += left(account) + money(account) + _notified(account, execution, row)
    return [f"{row.name}: {words}" for words in wrong]


def _ends(account: Account, execution: Execution, row: Row) -> list[str]:
    wrong = _differs("the run", execution, row.run)
    tear_downs = list(account.tear_downs.values())
    if not tear_downs:
        return wrong + (["no TearDown was started"] if row.told else [])
    ended_by = " and ".join(sorted({f"the {one.reason}" for one in tear_downs if one.reason != "event"}))
    if ended_by != row.ended_by:
        wrong.append(f"ended by {ended_by or 'its event'}, not by {row.ended_by or 'its event'}")
    return wrong + _differs("TearDown", tear_downs[0], row.tear_down)


def _differs(what: str, execution: Execution, end: tuple[str, str]) -> list[str]:
    status, error = end
    if execution.status == status and (not error or execution.error == error):
        return []
    return [f"{what} ended as {execution.status} {execution.error}, not as {' '.join(end)}: {execution.cause[:200]}"]


def left(account: Account) -> list[str]:
    """What is left of any run: what bills or may, what runs, and schedules."""
    kept = {
        **account.sagemaker.control_plane.leftovers(),
        "schedules": list(account.scheduler.entries),
        "executions": [
            one.name for one in (*account.executions.values(), *account.tear_downs.values()) if not one.stop
        ],
    }
    return [f"left: {kind} {names}" for kind, names in kept.items() if names]


def money(account: Account) -> list[str]:
    """Whether every run is settled, and spent <= settled <= reserved <= cap, in each month and together."""
    account.audit.close(account.table)
    wrong = list(account.audit.wrong)
    for run, row in account.runs().items():
        actual, reserved = number(row, "actual_cents"), number(row, "reserved_cents")
        spent = sum(account.audit.truth(run).values())
        if not spent <= actual <= reserved <= account.world.cap_cents:
            wrong.append(f"{run} spent {float(spent):.2f}, recorded {actual}, reserved {reserved} cents")
    return wrong


def _notified(account: Account, execution: Execution, row: Row) -> list[str]:
    """Whether the owner was told: a report or a note of the failure in the bucket, and an e-mail."""
    folder, wrong = run_folder.key(run_name(execution.name), run_folder.REPORT), []
    kept = account.storage.objects
    if row.serves and row.run[0] == "SUCCEEDED":
        wrong += [f"nothing was asked, and there is {key}" for key in kept if key.startswith(folder)]
    elif row.told and not all(f"{folder}{name}" in kept for name in (run_folder.SUMMARY, run_folder.PAGE)):
        wrong.append("there is neither a report nor a note of the failure")
    elif row.told and row.final:
        summary = json.loads(kept[f"{folder}{run_folder.SUMMARY}"])
        item = account.runs().get(run_name(execution.name), {})
        told = summary["status"], summary["cost"]["actual_cents"]
        true = execution.status, number(item, "actual_cents")
        wrong += [] if told == true else [f"the report says {told}, and {true} is true"]
    if row.mail and not account.topic.messages:
        wrong.append("no e-mail")
    unfinished = any("The report could not be finished" in text for _, text in account.topic.messages)
    if not row.final and not unfinished:
        wrong.append("no e-mail says that the report could not be finished")
    return wrong


def missing() -> list[str]:
    """The Task states without a row in the table, and the rows of states that are not there."""
    return [
        f"{machine}: {state}" for machine in MACHINES for state in task_states(machine).keys() ^ _read()[machine].keys()
    ]


def prove(pool: Executor) -> Result:
    """The table as a part of the proof: a row for each state, a column for each failure."""
    wrong = dict(zip(table(), pool.map(check, table().values(), chunksize=8), strict=True))
    lines = [("", " ".join(f"{name:<14}" for name in KINDS))]
    for part, states in _read().items():
        for state in states:
            label = _label(state, PARTS[part][1])
            marks = (wrong.get(f"{label} x {failure}") for failure in KINDS)
            lines.append((label, " ".join(f"{'-' if one is None else 'FAIL' if one else 'ok':<14}" for one in marks)))
    lines.append(("rows that hold", f"{sum(not one for one in wrong.values())}/{len(wrong)}"))
    broken = [words for one in wrong.values() for words in one]
    return Result("Table of failures", lines, [*broken, *(f"no row for {words}" for words in missing())])
