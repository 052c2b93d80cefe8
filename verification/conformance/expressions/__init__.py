"""Every JSONata expression of both state machines, in the rehearsal's implementation and in the reference's.

The contexts are recorded in rehearsed runs with engines that finish at once; see scenarios.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from verification.conformance.contract import Contract
from verification.conformance.expressions import reference
from verification.conformance.expressions.agreement import compare, with_redrives
from verification.conformance.expressions.places import Place, assigned, places
from verification.conformance.expressions.recorder import Evaluation, Recorder, Result
from verification.conformance.expressions.scenarios import scenarios
from verification.conformance.expressions.spelling import never_there, undefined
from proof.matrix.bench import Bench

# Places that no rehearsed run can come to, each with its reason; empty as long as every one is reached.
UNREACHABLE: Mapping[str, str] = {}


def run(assembly: Path, say: Callable[[str], None] = print) -> list[Contract]:
    """Record, compare and report.

    Args:
        assembly: the folder of the synthesized project.
        say: told what is going on, a line at a time.

    Raises:
        CannotRun: the reference cannot be installed here.
    """
    begin, problems = time.monotonic(), list[str]()
    with Bench(assembly) as bench, Recorder() as recorder:
        definitions = {arn.rpartition(":")[2]: body for arn, body in bench.definitions.items()}
        names = of_names(definitions)
        if names.problems:  # runs would show the same again, and slowly
            return [names]
        played = scenarios(bench)
        for number, scenario in enumerate(played, 1):
            say(f"expressions: run {number} of {len(played)}: {scenario.name}")
            try:
                scenario.play(bench)
            except TimeoutError as error:
                problems.append(f"{scenario.name}: {error}")
    figures = f"{len(played)} runs in {time.monotonic() - begin:.0f} s"
    return [names, of_results(definitions, recorder.evaluations, problems, figures)]


def of_names(definitions: Mapping[str, Mapping[str, Any]]) -> Contract:
    """Hold the functions and variables that the expressions of the state machines (by name) name against the reference."""
    everywhere = _everywhere(definitions)
    readings = _read(place.text for place in everywhere)
    problems = [
        problem
        for machine, body in definitions.items()
        for problem in undefined(places(machine, body), readings, assigned(body))
    ]
    figures = f"{len(readings)} different expressions"
    against = f"the parser of {_against()}"
    return Contract("functions and variables of expressions", len(everywhere), against, tuple(problems), figures)


def of_results(
    definitions: Mapping[str, Mapping[str, Any]],
    evaluations: Sequence[Evaluation],
    problems: Sequence[str] = (),
    figures: str = "",
) -> Contract:
    """Hold the recorded results against the reference's, and see that every expression met a context.

    Args:
        definitions: the state machines by name.
        evaluations: what was recorded.
        problems: what went wrong in the recording.
        figures: what else to print.
    """
    everywhere, met = _everywhere(definitions), [*evaluations, *with_redrives(evaluations)]
    answers = reference.ask(
        {"do": "evaluate", "text": e.text, "variables": e.variables, "milliseconds": e.milliseconds} for e in met
    )
    results = [Result(answer.get("value"), answer.get("error", "")) for answer in answers]
    found = (
        *problems,
        *(str(one) for one in compare(met, results)),
        *never_there(met, _read(evaluation.text for evaluation in met)),
        *_without_value(met),
        *_unreached(everywhere, evaluations),
    )
    counted = (
        f"{len(everywhere)} expressions ({len({place.text for place in everywhere})} different); "
        f"{sum(bool(one.result.error) for one in met)} errors, {len(met) - len(evaluations)} of a redrive; {figures}"
    )
    return Contract("results of expressions", len(met), _against(), found, counted)


def _against() -> str:
    return f"npm jsonata {reference.version()}"


def _everywhere(definitions: Mapping[str, Mapping[str, Any]]) -> list[Place]:
    return [place for machine, body in definitions.items() for place in places(machine, body)]


def _read(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    different = list(dict.fromkeys(texts))
    answers = reference.ask({"do": "read", "text": text} for text in different)
    return dict(zip(different, answers, strict=True))


def _unreached(everywhere: Sequence[Place], evaluations: Sequence[Evaluation]) -> list[str]:
    reached = {(one.machine, one.state, one.text) for one in evaluations}
    return [
        f"no recorded run came to {place}"
        for place in everywhere
        if (place.machine, place.state, place.text) not in reached and str(place) not in UNREACHABLE
    ]


def _without_value(evaluations: Sequence[Evaluation]) -> list[str]:
    """An expression that is an error on every context agrees with anything."""
    gave = {one.text for one in evaluations if not one.result.error}
    failing = {one.text: one for one in evaluations if one.text not in gave}
    return [f"{text} is an error on all its contexts, for example {one.result}" for text, one in failing.items()]
