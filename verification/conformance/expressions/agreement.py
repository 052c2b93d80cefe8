"""Whether two implementations say the same of an expression: the same JSON value, or both an error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from verification.conformance.expressions.recorder import Evaluation, Result
from rehearsal.step_functions import expressions

_SHOWN_LETTERS = 160
# What the context of AWS has and moto's has not: how often an execution was redriven, which a recorded run never was.
_REDRIVE_COUNT = "RedriveCount"


@dataclass(frozen=True)
class Disagreement:
    """One expression on one context, on which the two differ."""

    evaluation: Evaluation
    reference: Result

    def __str__(self) -> str:
        where = f"{self.evaluation.machine}, {self.evaluation.state}: {self.evaluation.text}"
        ours, theirs = (str(result)[:_SHOWN_LETTERS] for result in (self.evaluation.result, self.reference))
        return f"{where} gives {ours} in the rehearsal and {theirs} in the reference"


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: 1 is 1.0, and neither is true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(*pair) for pair in zip(one, other, strict=True))
    return type(one) is type(other) and one == other or _are_numbers(one, other) and one == other


def _are_numbers(*values: Any) -> bool:
    return all(isinstance(value, (int, float)) for value in values)


def compare(evaluations: Sequence[Evaluation], answers: Sequence[Result]) -> list[Disagreement]:
    """Return those evaluations of which the reference says something else. Errors agree whatever their words."""
    return [
        Disagreement(evaluation, answer)
        for evaluation, answer in zip(evaluations, answers, strict=True)
        if bool(evaluation.result.error) != bool(answer.error)
        or not answer.error
        and not same(evaluation.result.value, answer.value)
    ]


def redriven(evaluation: Evaluation, count: int) -> Evaluation:
    """Return an evaluation of the same expression on the same context, but for the execution's number of redrives."""
    states = evaluation.variables["states"]
    context = states["context"]
    execution = {**context["Execution"], _REDRIVE_COUNT: count}
    variables = {**evaluation.variables, "states": {**states, "context": {**context, "Execution": execution}}}
    try:
        result = Result(expressions.evaluate(evaluation.text, variables))
    except expressions.ExpressionError as error:
        result = Result(error=str(error))
    return replace(evaluation, variables=variables, result=result)


def with_redrives(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Return what AWS's context adds to the recorded ones: each expression that reads it, at no redrive and at one."""
    reading = {one.text: one for one in evaluations if _REDRIVE_COUNT in one.text}
    return [redriven(evaluation, count) for evaluation in reading.values() for count in (0, 1)]
