"""Every JSONata expression of both state machines, evaluated by this project and by the reference implementation.

The contexts are recorded in runs of the deployed definitions; see runs.py.
"""

from __future__ import annotations

import contextlib
import copy
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rehearsal.step_functions import expressions
from verification.conformance.contract import Contract, Setting
from verification.conformance.expressions import runs
from verification.conformance.expressions.definitions import Place, assigned, never_present, places, undefined
from verification.conformance.expressions.evaluations import Evaluation, Recorder, ask_reference, reference

_SHOWN_LETTERS = 160
# What the context of AWS has and moto's lacks: how often an execution was redriven.
_REDRIVE_COUNT = "RedriveCount"


def run(setting: Setting) -> list[Contract]:
    """Record, compare and report.

    Raises:
        CannotRun: the reference cannot be installed here.
    """
    begin = time.monotonic()
    with runs.opened(setting.assembly) as (definitions, scenarios), Recorder() as recorder:
        names = of_names(definitions)
        if names.problems:  # runs would show the same again, and slowly
            return [names]
        setting.say(f"expressions: {len(scenarios)} runs in the simulated account")
        for play in scenarios.values():
            play()
    figures = f"{len(scenarios)} runs in {time.monotonic() - begin:.0f} s"
    return [names, of_results(definitions, recorder.evaluations, figures)]


def of_names(definitions: Mapping[str, Mapping[str, Any]]) -> Contract:
    """Check that every function and variable exists that the expressions of the state machines (by name) name."""
    everywhere = _everywhere(definitions)
    readings = _read(place.text for place in everywhere)
    problems = [
        problem
        for machine, body in definitions.items()
        for problem in undefined(places(machine, body), readings, assigned(body))
    ]
    figures, against = f"{len(readings)} different expressions", f"the parser of {reference()}"
    return Contract("functions and variables of expressions", len(everywhere), against, tuple(problems), figures)


def of_results(
    definitions: Mapping[str, Mapping[str, Any]], evaluations: Sequence[Evaluation], figures: str = ""
) -> Contract:
    """Compare the recorded results with the reference's, and check that every expression was evaluated.

    Args:
        definitions: the state machines by name.
        evaluations: what was recorded.
        figures: what else to print.
    """
    everywhere, redriven = _everywhere(definitions), _redriven(evaluations)
    compared = [*evaluations, *redriven]
    found = (
        *_disagreements(compared),
        *never_present(compared, _read(one.text for one in compared)),
        *_without_value(compared),
        *_unreached(everywhere, evaluations),
    )
    counted = (
        f"{len(everywhere)} expressions ({len({place.text for place in everywhere})} different); "
        f"{sum('error' in one.result for one in compared)} errors, {len(redriven)} of a redrive; {figures}"
    )
    return Contract("results of expressions", len(compared), reference(), found, counted)


def _everywhere(definitions: Mapping[str, Mapping[str, Any]]) -> list[Place]:
    return [place for machine, body in definitions.items() for place in places(machine, body)]


def _read(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    different = list(dict.fromkeys(texts))
    answers = ask_reference({"do": "read", "text": text} for text in different)
    return dict(zip(different, answers, strict=True))


def _disagreements(evaluations: Sequence[Evaluation]) -> Iterator[str]:
    """Both have to give the same JSON value, or both an error, whatever its words."""
    answers = ask_reference(
        {"do": "evaluate", "text": one.text, "variables": one.variables, "milliseconds": one.milliseconds}
        for one in evaluations
    )
    for one, answer in zip(evaluations, answers, strict=True):
        if _canonical(one.result) != _canonical(answer):
            shown = [json.dumps(result, ensure_ascii=False)[:_SHOWN_LETTERS] for result in (one.result, answer)]
            yield f"{one.text} gives {shown[0]} in the rehearsal, {shown[1]} in the reference"


def _canonical(result: Mapping[str, Any]) -> str:
    """A value as JavaScript knows it: every number is a double, true is no 1, and the order of keys says nothing."""
    if "error" in result:
        return "error"
    return json.dumps(json.loads(json.dumps(result["value"]), parse_int=float), sort_keys=True)


def _redriven(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Each expression that reads the number of redrives, evaluated after none and after one."""
    reading = {one.text: one for one in evaluations if _REDRIVE_COUNT in one.text}
    with Recorder() as recorder:
        for text, one in reading.items():
            for count in (0, 1):
                variables = copy.deepcopy(dict(one.variables))
                variables["states"]["context"]["Execution"][_REDRIVE_COUNT] = count
                with contextlib.suppress(expressions.ExpressionError):
                    expressions.evaluate(text, variables)
    return recorder.evaluations


def _without_value(evaluations: Sequence[Evaluation]) -> list[str]:
    """An expression that is an error in every context agrees with anything."""
    with_value = {one.text for one in evaluations if "value" in one.result}
    failing = {one.text: one for one in evaluations if one.text not in with_value}
    return [
        f"{text} is an error in all its contexts, for example {one.result['error']}" for text, one in failing.items()
    ]


def _unreached(everywhere: Sequence[Place], evaluations: Sequence[Evaluation]) -> list[str]:
    reached = {one.text for one in evaluations}
    return [f"no recorded run came to {place}" for place in dict.fromkeys(everywhere) if place.text not in reached]
