"""Every expression of a definition is found and recorded, and what it names and gives is compared with the reference."""

from datetime import UTC, datetime
from typing import Any

import pytest

from rehearsal import jsonata
from rehearsal.programs import CannotRun
from verification.conformance.expressions import assigned, of_names, of_results, places
from verification.conformance.expressions.evaluations import Evaluation, Recorder, ask_reference

BRANCH = {"StartAt": "Inner", "States": {"Inner": {"Type": "Pass", "Output": "{% $answer %}"}}}
CATCH = {"ErrorEquals": ["States.ALL"], "Assign": {"problem": "{% $states.errorOutput %}"}, "Next": "Both"}
ASK = {
    "Type": "Task",
    "Arguments": {"Names": ["{% $states.input.a %}", "plain"], "Text": "not {% all %} of it"},
    "Assign": {"answer": "{% $states.result.b %}"},
    "Catch": [CATCH],
    "Next": "Both",
}
DEFINITION: dict[str, Any] = {
    "StartAt": "Ask",
    "States": {"Ask": ASK, "Both": {"Type": "Parallel", "Branches": [BRANCH], "End": True}},
}


@pytest.fixture(scope="module", autouse=True)
def _reference() -> None:
    try:
        ask_reference([])
    except CannotRun as error:
        pytest.skip(f"checks of expressions: {error}")


def with_output(expression: str) -> dict[str, Any]:
    return {"only": {"StartAt": "Say", "States": {"Say": {"Type": "Pass", "Output": f"{{% {expression} %}}"}}}}


def evaluation(text: str, result: dict[str, Any], **states: Any) -> Evaluation:
    return Evaluation(text, {"states": {"context": {"Execution": {}}, **states}}, 1_700_000_000_000, result)


def test_every_expression_is_found_with_its_innermost_state() -> None:
    assert [(place.state, place.text) for place in places("m", DEFINITION)] == [
        ("Ask", "$states.input.a"),
        ("Ask", "$states.result.b"),
        ("Ask", "$states.errorOutput"),
        ("Inner", "$answer"),
    ]
    assert assigned(DEFINITION) == {"answer", "problem"}
    assert of_names({"m": DEFINITION}).holds
    assert of_names(with_output("($own := $parse('1'); $map([$own..3], function($item) { $item + 1 }))")).holds


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("$exist($states.input.a)", "$exist"),
        ("$states.reslt.a", "$states.reslt"),
        ("$anwser", "$anwser"),
        ("$eval('1')", "$eval"),
        ("$states.input.a +", "cannot be parsed"),
        ("$uuid()", "$uuid"),
    ],
)
def test_a_name_that_does_not_exist_is_a_problem(expression: str, named: str) -> None:
    (problem,) = of_names(with_output(expression)).problems
    assert named in problem
    assert problem.startswith("only, Say: ")


@pytest.mark.parametrize(
    ("expression", "recorded"),
    [
        ("1 + 1", {"value": 3}),
        ("$states.input", {"error": "an error of ours alone"}),
        ("$eval('1')", {"value": 1}),
        ("$sum", {"value": "a function is no value"}),
        ("$states.input = 1", {"value": 1}),
    ],
)
def test_a_result_other_than_the_references_is_a_problem(expression: str, recorded: dict[str, Any]) -> None:
    contract = of_results(with_output(expression), [evaluation(expression, recorded, input=1)])
    assert any("in the reference" in problem for problem in contract.problems)


@pytest.mark.parametrize(
    ("text", "recorded", "named"),
    [
        ("$states.input.a", ({"error": "nothing"}, {}), ["none of its 1 contexts has", "an error in all its contexts"]),
        ("$exists($states.input.Reson) ? 1 : 1", ({"value": 1}, {"Reason": "x"}), ["$states.input.Reson, which none"]),
        ("$states.input", None, ["no recorded run came to only, Say: $states.input"]),
    ],
)
def test_what_agreeing_results_do_not_show_is_noticed(
    text: str, recorded: tuple[dict[str, Any], dict[str, Any]] | None, named: list[str]
) -> None:
    given = evaluation(text, recorded[0], input=recorded[1]) if recorded else evaluation("1", {"value": 1})
    problems = of_results(with_output(text), [given]).problems
    assert len(problems) == len(named)
    assert all(part in problem for part, problem in zip(named, problems, strict=True))


def test_the_recorder_keeps_values_errors_and_time() -> None:
    variables: dict[str, Any] = {"states": {"input": {"a": [1]}}}
    moment = datetime(2026, 1, 1, tzinfo=UTC)

    with Recorder() as recorder:
        for _ in range(2):  # the same once more shows nothing new
            jsonata.evaluate("$states.input.a[0] + 1", variables, lambda: moment)
        variables["states"]["input"]["a"].append(2)
        with pytest.raises(jsonata.ExpressionError):
            jsonata.evaluate("$missing", {}, lambda: moment)
        jsonata.evaluate("$millis()", {}, lambda: moment)
    jsonata.evaluate("1", {})

    kept, failed, timed = recorder.evaluations
    assert kept.result == {"value": 2}
    assert kept.variables["states"]["input"] == {"a": [1]}
    assert "undefined" in failed.result["error"]
    assert timed.result["value"] == timed.milliseconds == int(moment.timestamp() * 1000)
