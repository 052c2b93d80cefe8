"""The expressions of a definition are found wherever they stand, and what they name is held against what there is."""

from __future__ import annotations

from typing import Any

import pytest

from verification.conformance.environments import CannotRun
from verification.conformance.expressions import of_names, of_results, reference
from verification.conformance.expressions.places import assigned, places
from verification.conformance.expressions.recorder import Evaluation, Result

DEFINITION: dict[str, Any] = {
    "StartAt": "Ask",
    "States": {
        "Ask": {
            "Type": "Task",
            "Arguments": {"Names": ["{% $states.input.a %}", "plain"], "Text": "not {% all %} of it"},
            "Assign": {"answer": "{% $states.result.b %}"},
            "Catch": [{"ErrorEquals": ["States.ALL"], "Assign": {"problem": "{% $states.errorOutput %}"}, "Next": "Both"}],
            "Next": "Both",
        },
        "Both": {
            "Type": "Parallel",
            "Branches": [{"StartAt": "Inner", "States": {"Inner": {"Type": "Pass", "Output": "{% $answer %}"}}}],
            "End": True,
        },
    },
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _reference() -> None:
    try:
        reference.ask([])
    except CannotRun as error:
        pytest.skip(str(error))


def with_output(expression: str) -> dict[str, Any]:
    return {"only": {"StartAt": "Say", "States": {"Say": {"Type": "Pass", "Output": f"{{% {expression} %}}"}}}}


def evaluation(text: str, result: Result, *, state: str = "Say", **states: Any) -> Evaluation:
    context = {"State": {"Name": state}, "StateMachine": {"Id": "arn:of:only"}, "Execution": {}}
    return Evaluation(text, {"states": {"context": context, **states}}, 1_700_000_000_000, result)


def test_every_expression_is_found_with_its_innermost_state() -> None:
    found = [(place.state, place.path, place.text) for place in places("m", DEFINITION)]

    assert found == [
        ("Ask", "Arguments.Names[0]", "$states.input.a"),
        ("Ask", "Assign.answer", "$states.result.b"),
        ("Ask", "Catch[0].Assign.problem", "$states.errorOutput"),
        ("Inner", "Output", "$answer"),
    ]


def test_the_variables_of_a_machine_are_those_that_some_state_assigns() -> None:
    assert assigned(DEFINITION) == {"answer", "problem"}


def test_an_expression_that_names_only_what_there_is_holds() -> None:
    contract = of_names({"m": DEFINITION})

    assert contract.holds, contract.problems
    assert contract.count == 4


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("$exist($states.input.a)", "$exist"),
        ("$states.reslt.a", "$states.reslt"),
        ("$anwser", "$anwser"),
        ("$eval('1')", "$eval"),
        ("$states.input.a +", "cannot be parsed"),
        ("$uuid()", "$uuid"),
        ("$random()", "$random"),
    ],
)
def test_a_name_that_nothing_has_is_a_problem(expression: str, named: str) -> None:
    (problem,) = of_names(with_output(expression)).problems

    assert named in problem
    assert "only, Say, Output" in problem


@pytest.mark.parametrize(
    "expression",
    ["($own := 1; $own)", "$map([1..3], function($item) { $item + 1 })", "$parse('1') + $count($partition([1..3], 2))"],
)
def test_a_name_of_an_expressions_own_and_of_aws_is_none(expression: str) -> None:
    assert of_names(with_output(expression)).problems == ()


@pytest.mark.parametrize(
    ("expression", "states", "value"),
    [
        ("$states.input.a", {"input": {"a": None}}, None),
        ("$millis()", {}, 1_700_000_000_000),
        ("$now()", {}, "2023-11-14T22:13:20.000Z"),
        ("$partition([1..5], 2)", {}, [[1, 2], [3, 4], [5]]),
        ("$range(0, 10, 5)", {}, [0, 5, 10]),
        ("$hash('a', 'MD5')", {}, "0cc175b9c0f1b6a831c399e269772661"),
        ("$parse('{\"a\":[1]}').a", {}, [1]),
    ],
)
def test_the_reference_has_what_aws_adds_and_the_recorded_time(expression: str, states: Any, value: Any) -> None:
    contract = of_results(with_output(expression), [evaluation(expression, Result(value), **states)])

    assert contract.holds, contract.problems


@pytest.mark.parametrize(
    ("expression", "recorded"),
    [
        ("1 + 1", Result(3)),
        ("$states.input", Result(error="an error of ours alone")),
        ("$eval('1')", Result(1)),
        ("$sum", Result("a function is no value")),
        ("$states.input = 1", Result(1)),
    ],
)
def test_another_result_than_the_references_is_a_problem(expression: str, recorded: Result) -> None:
    contract = of_results(with_output(expression), [evaluation(expression, recorded, input=1)])

    assert any("in the reference" in problem for problem in contract.problems)


def test_errors_agree_whatever_their_words_but_an_expression_needs_one_value() -> None:
    text = "$states.input.a"
    failing, giving = evaluation(text, Result(error="nothing"), input={}), evaluation(text, Result(1), input={"a": 1})

    assert of_results(with_output(text), [failing, giving]).holds
    (missing, alone) = of_results(with_output(text), [failing]).problems
    assert "which none of its 1 contexts has" in missing
    assert "an error on all its contexts" in alone


def test_a_misspelt_field_inside_of_exists_is_noticed_though_both_agree() -> None:
    text = "$exists($states.input.Reson) ? 1 : 2"

    (problem,) = of_results(with_output(text), [evaluation(text, Result(2), input={"Reason": "x"})]).problems

    assert "$states.input.Reson, which none" in problem


def test_an_expression_that_no_run_came_to_is_a_problem() -> None:
    text = "$states.input"
    elsewhere = evaluation(text, Result(1), state="Another", input=1)

    (problem,) = of_results(with_output(text), [elsewhere]).problems

    assert problem == "no recorded run came to only, Say, Output: $states.input"


def test_nothing_recorded_shows_nothing() -> None:
    assert not of_results({"only": {"StartAt": "Say", "States": {}}}, []).holds


def test_an_expression_that_reads_the_number_of_redrives_meets_both_cases() -> None:
    text = "$exists($states.context.Execution.RedriveCount) and $states.context.Execution.RedriveCount > 0 ? $error('no') : 1"

    contract = of_results(with_output(text), [evaluation(text, Result(1))])

    assert contract.holds, contract.problems
    assert contract.count == 3
    assert "1 errors, 2 of a redrive" in contract.figures
