"""Both .asl.yaml files, state by state: what Step Functions would refuse, and what all states have in common."""

import re
from collections.abc import Iterator
from typing import Any

import aws_cdk as cdk
import pytest

from stacks.definitions import as_text
from stacks.fine_tuning_stack import StateMachine
from verification.simulation.definitions import MACHINES, each_state, edited, machine
from verification.simulation.parameters import RunParameters

both = pytest.mark.parametrize("name", MACHINES)


def ways(state: Any) -> Iterator[Any]:
    """A state's own way on, then those of its choices and its catchers."""
    yield state
    for kind in ("Choices", "Catch"):
        yield from state.get(kind, [])


def variables_read(part: Any) -> set[str]:
    """The variables that the expressions of a part read, without those that they make themselves."""
    found: set[str] = set()
    for text in re.findall(r'"\{%((?:[^"\\]|\\.)*)%\}"', as_text(part)):
        without_texts = re.sub(r"'[^']*'|/[^/ ]+/i?", "", text)
        found |= set(re.findall(r"\$([A-Za-z_]\w*)\b(?!\s*\()", without_texts)) - set(
            re.findall(r"\$(\w+) *:=", without_texts)
        )
    return found


def test_a_placeholder_without_a_value_is_rejected_at_synthesis() -> None:
    odd = as_text({"StartAt": "A", "States": {"A": {"Type": "Pass", "Comment": "${Missing}", "End": True}}})
    stack = cdk.Stack(cdk.App(), "Odd")
    with pytest.raises(ValueError, match="differ in: Missing, Needless"):
        StateMachine(
            stack, "Odd", name="odd", purpose="", statements=[], definition=odd, substitutions={"Needless": "x"}
        )


@both
def test_a_state_reads_only_variables_that_every_way_to_it_has_assigned(name: str) -> None:
    """Step Functions ends an execution that reads another one."""
    states = machine(name)["States"]
    everything = {"states"}.union(*(rule.get("Assign", {}) for state in states.values() for rule in ways(state)))
    known = dict.fromkeys(states, everything) | {machine(name)["StartAt"]: {"states"}}
    for _ in states:
        for state, body in states.items():
            for way in ways(body):
                for following in (way[key] for key in ("Next", "Default") if key in way):
                    known[following] = known[following] & (known[state] | set(way.get("Assign", {})))
    assert {state: read for state, body in states.items() if (read := variables_read(body) - known[state])} == {}


@both
def test_every_state_has_a_comment_and_rules_that_aws_takes_and_every_task_retries_with_jitter(name: str) -> None:
    assert machine(name)["QueryLanguage"] == "JSONata"
    for state, body in each_state(machine(name)):
        assert body["Comment"], state
        assert body.get("Retry") or body["Type"] != "Task", state
        for retry in body.get("Retry", []):
            # Runs that one disturbance has stopped together shall not come back together, nor after more than a minute.
            assert retry["MaxAttempts"] == 0 or retry["JitterStrategy"] == "FULL", state
            assert retry["MaxAttempts"] < 2 or retry["MaxDelaySeconds"] == 60, state
        for kind in ("Retry", "Catch"):
            *others, _ = named = [rule["ErrorEquals"] for rule in body.get(kind, [{"ErrorEquals": []}])]
            assert all(errors == ["States.ALL"] for errors in named if "States.ALL" in errors), state
            assert all("States.ALL" not in errors for errors in others), state


def test_the_version_of_a_deployment_follows_each_edit_of_its_definition() -> None:
    def version(number: int) -> str:
        with edited("fine_tuning", lambda definition: definition.update(Comment=f"edit {number}"))():
            return RunParameters().version()

    assert len({version(number) for number in range(50)}) == 50
