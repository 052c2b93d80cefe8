"""The state machines hand over and read what the functions' types hold, under the keys that rights are given on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, get_type_hints, is_typeddict

import pytest

from common.contracts import run_folder
from stacks.definitions import FINE_TUNING_DEFINITION, TEAR_DOWN_DEFINITION, load_definition
from stacks.names import Keys

FINE_TUNING, TEAR_DOWN = load_definition(FINE_TUNING_DEFINITION), load_definition(TEAR_DOWN_DEFINITION)


def calls(definition: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(state, placeholder, definition) of each state that calls a function, those of branches too."""
    for name, state in definition["States"].items():
        for branch in state.get("Branches", []):
            yield from calls(branch)
        if state.get("Resource") == "arn:aws:states:::lambda:invoke":
            yield name, state["Arguments"]["FunctionName"].strip("${}"), state


CALLS = [*calls(FINE_TUNING), *calls(TEAR_DOWN)]


def holds(form: Any, path: str) -> bool:
    """Whether a path leads to a key of a form; below one that is no form of its own, everything may lie."""
    first, _, rest = path.partition(".")
    hints = get_type_hints(form)
    return first in hints and (not rest or not is_typeddict(hints[first]) or holds(hints[first], rest))


@pytest.mark.parametrize(("name", "placeholder", "state"), CALLS, ids=[name for name, _, _ in CALLS])
def test_a_function_is_handed_what_it_reads_and_answers_what_is_read(
    name: str, placeholder: str, state: dict[str, Any]
) -> None:
    handler = import_module(f"{placeholder.removesuffix('FunctionArn').lower()}.handler")
    event, answer = (get_type_hints(handler.handle)[of] for of in ("event", "return"))
    payload = state["Arguments"]["Payload"]
    if isinstance(payload, dict):
        assert payload.keys() == get_type_hints(event).keys()
    else:
        assert payload.startswith(("{% $plan %", "{% $settlement.record %", "{% $merge([$event, {")), payload
        assert set(re.findall(r"'(\w+)': ?\$", payload)) <= get_type_hints(event).keys()
    read = set(re.findall(r"\$states\.result\.Payload\.([A-Za-z.]+[A-Za-z])", json.dumps(state)))
    assert [path for path in read if not holds(answer, path)] == []


@pytest.mark.parametrize("name", [name for name in vars(Keys) if name.isupper()])
def test_rights_are_given_on_the_keys_that_the_functions_use(name: str) -> None:
    """A pattern is the key of any run, and of a folder all that is in it."""
    folders = {"CORPORA": run_folder.CORPORA, "CHECKPOINTS": run_folder.CHECKPOINTS, "RUNS": run_folder.RUNS}
    names = {"PLANS": "PLAN", "REPORTS": "REPORT"}
    key = folders.get(name) or run_folder.key("*", getattr(run_folder, names.get(name, name)))
    assert getattr(Keys, name) == (f"{key}*" if key.endswith("/") else key)


def test_fine_tuning_looks_for_the_file_that_says_that_an_adapter_is_whole() -> None:
    assert f"& '{run_folder.METRICS}' %}}" in FINE_TUNING["States"]["LookForAdapter"]["Arguments"]["Prefix"]
