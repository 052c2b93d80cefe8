"""What the state machines hand over and read is what the functions' types hold: a machine has no types of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_type_hints, is_typeddict

import pytest

from common.contracts import fine_tuning, tear_down
from common.contracts.plan import Plan
from stacks import fine_tuning_stack
from stacks.state_machine import load_definition

FOLDER = Path(fine_tuning_stack.__file__).parent
FINE_TUNING = load_definition(FOLDER / "fine_tuning.asl.yaml")
TEAR_DOWN = load_definition(FOLDER / "tear_down.asl.yaml")
# What each function is handed and what it answers, by the placeholder of its ARN.
FORMS: Mapping[str, tuple[Any, Any]] = {
    "PreflightFunctionArn": (fine_tuning.PreflightEvent, Plan),
    "ReserveFunctionArn": (Plan, fine_tuning.Reserved),
    "StageFunctionArn": (Plan, fine_tuning.Staged),
    "AskFunctionArn": (fine_tuning.AskEvent, fine_tuning.Asked),
    "ReportFunctionArn": (fine_tuning.ReportEvent, fine_tuning.Reported),
    "TearDownFunctionArn": (tear_down.TearDownEvent, tear_down.Removed),
    "SettleFunctionArn": (tear_down.TearDownEvent, tear_down.Settled),
    "FinishFunctionArn": (tear_down.Record, tear_down.Finished),
}


def calls(definition: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(state, placeholder, definition) of each state that calls a function, those of branches too."""
    for name, state in definition["States"].items():
        for branch in state.get("Branches", []):
            yield from calls(branch)
        if state.get("Resource") == "arn:aws:states:::lambda:invoke":
            yield name, state["Arguments"]["FunctionName"].strip("${}"), state


CALLS = [*calls(FINE_TUNING), *calls(TEAR_DOWN)]


def paths(definition: Mapping[str, Any], variable: str) -> set[str]:
    """The paths that a definition reads of one of its variables."""
    return set(re.findall(rf"\${variable}\.([A-Za-z.]+[A-Za-z])", json.dumps(definition)))


def holds(form: Any, path: str) -> bool:
    """Whether a path leads to a key of a form; below one that is no form of its own, everything may lie."""
    first, _, rest = path.partition(".")
    hints = get_type_hints(form)
    return first in hints and (not rest or not is_typeddict(hints[first]) or holds(hints[first], rest))


def test_every_function_that_a_machine_calls_has_its_forms() -> None:
    assert {placeholder for _, placeholder, _ in CALLS} == FORMS.keys()


@pytest.mark.parametrize(("name", "placeholder", "state"), CALLS, ids=[name for name, _, _ in CALLS])
def test_a_function_is_handed_what_it_reads(name: str, placeholder: str, state: dict[str, Any]) -> None:
    payload = state["Arguments"]["Payload"]
    if isinstance(payload, dict):
        assert payload.keys() == get_type_hints(FORMS[placeholder][0]).keys()
    else:
        assert payload.startswith(("{% $plan %", "{% $settlement.record %", "{% $merge([$event, {")), payload
        handed = set(re.findall(r"'(\w+)': ?\$", payload))
        assert handed <= get_type_hints(FORMS[placeholder][0]).keys()


@pytest.mark.parametrize(("name", "placeholder", "state"), CALLS, ids=[name for name, _, _ in CALLS])
def test_of_its_answer_nothing_is_read_that_it_does_not_hold(
    name: str, placeholder: str, state: dict[str, Any]
) -> None:
    read = set(re.findall(r"\$states\.result\.Payload\.([A-Za-z.]+[A-Za-z])", json.dumps(state)))
    assert [path for path in read if not holds(FORMS[placeholder][1], path)] == []


@pytest.mark.parametrize(
    ("definition", "variable", "form", "least"),
    [
        (FINE_TUNING, "plan", Plan, 20),
        (TEAR_DOWN, "removal", tear_down.Removed, 2),
        (TEAR_DOWN, "settlement", tear_down.Settled, 4),
    ],
    ids=["plan", "removal", "settlement"],
)
def test_what_a_machine_reads_of_a_variable_is_in_its_form(
    definition: dict[str, Any], variable: str, form: Any, least: int
) -> None:
    read = paths(definition, variable)
    assert len(read) >= least
    assert [path for path in read if not holds(form, path)] == []


def test_the_schedule_tells_a_tear_down_what_it_reads() -> None:
    told = [
        set(re.findall(r"'(\w+)':", part)) for part in re.findall(r"\$string\(\{(.*?)\}\)", json.dumps(FINE_TUNING))
    ]
    assert told and all(keys <= get_type_hints(tear_down.TearDownEvent).keys() for keys in told)


def test_a_path_that_leads_nowhere_is_found() -> None:
    assert holds(Plan, "hosting.instanceTypes") and holds(Plan, "training.hyperparameters.anything")
    assert not holds(Plan, "hosting.instances") and not holds(Plan, "hostings")
