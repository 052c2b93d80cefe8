"""The two .asl.yaml files: what Step Functions would find wrong with them, found before it can."""

from __future__ import annotations

import copy
import json

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam

from stacks.state_machine import StateMachine, as_text, load_definition, placeholders
from tests.doubles.machines.asl_graph import (
    Definition,
    broken_expressions,
    expressions,
    machines,
    problems,
    unknown_variables,
)
from tests.doubles.machines.stacks_bench import ROOT, Stacks

FILES = {"FineTuning": ROOT / "stacks" / "fine_tuning.asl.yaml", "TearDown": ROOT / "stacks" / "tear_down.asl.yaml"}
both = pytest.mark.parametrize("machine", FILES)


def definition(machine: str) -> Definition:
    return load_definition(FILES[machine])


@both
def test_the_template_holds_the_file_as_a_plain_string(stacks: Stacks, machine: str) -> None:
    properties = stacks.one("FineTuning", "AWS::StepFunctions::StateMachine", machine)
    assert isinstance(properties["DefinitionString"], str)
    assert json.loads(properties["DefinitionString"]) == definition(machine)


@both
def test_every_placeholder_has_a_value_and_every_value_a_placeholder(stacks: Stacks, machine: str) -> None:
    properties = stacks.one("FineTuning", "AWS::StepFunctions::StateMachine", machine)
    assert placeholders(properties["DefinitionString"]) == set(properties["DefinitionSubstitutions"])


@both
def test_every_state_is_reached_and_leads_somewhere(machine: str) -> None:
    assert problems(definition(machine)) == []


@both
def test_every_expression_parses(machine: str) -> None:
    found = list(expressions(definition(machine)))
    assert found and broken_expressions(definition(machine)) == []


@both
def test_every_variable_that_is_read_was_assigned(machine: str) -> None:
    assert unknown_variables(definition(machine)) == set()


@both
def test_every_task_is_retried_and_every_state_says_what_it_is_for(machine: str) -> None:
    for inner in machines(definition(machine)):
        for name, state in inner["States"].items():
            assert state.get("Comment"), name
            if state["Type"] == "Task":
                assert state.get("Retry"), name


@both
def test_a_whole_machine_has_a_time_limit(machine: str) -> None:
    longest = {"FineTuning": 86_400, "TearDown": 7 * 86_400}
    assert 0 < definition(machine)["TimeoutSeconds"] <= longest[machine]


def test_the_graph_check_notices_a_missing_target_an_orphan_and_a_dead_end() -> None:
    broken = copy.deepcopy(definition("TearDown"))
    name = broken["StartAt"]
    broken["States"][name]["Next"] = "Nowhere"
    found = problems(broken)
    assert f"{name} goes on to Nowhere, which is not there" in found
    assert any("never reached" in problem for problem in found)
    del broken["States"][name]["Next"]
    assert f"{name} leads nowhere" in problems(broken)


def test_the_expression_check_notices_a_broken_expression_and_an_unassigned_variable() -> None:
    machine = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Output": "{% $sum( %}", "End": True}}}
    assert len(broken_expressions(machine)) == 1
    machine["States"]["A"]["Output"] = "{% $nobody.knows & 'a $text' %}"  # type: ignore[index]
    assert unknown_variables(machine) == {"nobody"}


def test_a_placeholder_without_a_value_is_refused_at_synthesis() -> None:
    odd = as_text({"StartAt": "A", "States": {"A": {"Type": "Pass", "Comment": "${Missing}", "End": True}}})
    stack = cdk.Stack(cdk.App(), "Odd")
    role = iam.Role(stack, "Role", assumed_by=iam.ServicePrincipal("states.amazonaws.com"))
    with pytest.raises(ValueError, match=r"definition of odd and its substitutions differ in: Missing"):
        StateMachine(stack, "Odd", name="odd", definition=odd, substitutions={}, role=role)
    with pytest.raises(ValueError, match="differ in: Missing, Needless"):
        StateMachine(stack, "Odd2", name="odd", definition=odd, substitutions={"Needless": "x"}, role=role)
