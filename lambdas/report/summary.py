"""summary.json, of which every form is made: `build` with answers, `failure` without, `settle` once costs are known."""

import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, cast

from report import summary_types
from report.analysis import NOT_MEASURED
from report.content.circumstances import is_rehearsed
from report.content.meaning import does_not_say
from report.findings.memorisation import answer_texts
from report.findings.recall import by_id, cluster_of, counted_facts, mark_facts
from report.findings.verdict import KNOWLEDGE_RULE, NOT_SHOWN, RULE
from report.summary_types import Answer, BaseModel, Cost, Status, Summary, or_empty

RUNNING: Status = "RUNNING"
# Rounding, revisions and tied embeddings change a parameter count by well under 1 %; another model changes it by more.
PARAMETER_TOLERANCE = 0.01
_OF_THE_RUN = ("domain", "execution_arn", "console_url", "report_uri", "region", "started_at")

Rows = Sequence[Mapping[str, Any]]


def build(
    run: Mapping[str, Any],
    metrics: Mapping[str, Any],
    prompts: Rows,
    base_answers: Rows,
    tuned_answers: Rows,
    findings: Mapping[str, Any],
) -> Summary:
    """The summary of a run whose report is being written: status RUNNING, and no actual cost until it is recorded."""
    memorisation = or_empty(findings.get("memorisation"))
    copies = or_empty(memorisation.get("copies"))
    findings = {key: value for key, value in findings.items() if key in Summary.__annotations__}
    if copies:
        shown = {key: value for key, value in copies.items() if key != "answers"}
        findings["memorisation"] = {**memorisation, "copies": shown}
    frame, training = _frame(run, RUNNING), or_empty(metrics.get("training"))
    summary = {
        **frame,
        **findings,
        "base_model": base_model(run, metrics),
        "training": {**training, "loss_curve": _curve(training.get("loss_curve"))},
        "corpus": metrics.get("corpus"),
        "configuration": {
            **frame["configuration"],
            "settings": metrics.get("settings") or {},
            "environment": metrics.get("environment") or {},
            "decoding": decoding(base_answers),
        },
        "prompts": _prompt_rows(prompts, base_answers, tuned_answers, copies.get("answers", {})),
    }
    return cast(Summary, without_nan(summary))


def failure(run: Mapping[str, Any], status: Status, error: str | None, cause: str | None) -> Summary:
    """The summary of a run that ended without answers; `run` may hold no more than its name."""
    summary: Summary = {
        **_frame(run, status),
        "verdict_reason": "The run ended before both models could be compared, so nothing can be shown.",
        "knowledge_reason": "Knowledge was not measured.",
        "error": error or status,
        "cause": cause or "",
    }
    return cast(Summary, without_nan(summary))


def settle(
    summary: Summary,
    *,
    status: Status,
    cost: Mapping[str, Any],
    seconds_by_state: Mapping[str, float],
    error: str | None = None,
    cause: str | None = None,
) -> Summary:
    """The summary with its final status, cents and seconds; the rest is shared, for answers can fill the memory."""
    settled: Summary = {
        **summary,
        "status": status,
        "cost": without_nan({**summary.get("cost", {}), **cost}),
        "seconds_by_state": without_nan(seconds_by_state),
        "error": summary.get("error") if error is None else error,
        "cause": summary.get("cause") if cause is None else cause,
    }
    return settled


def base_model(run: Mapping[str, Any], metrics: Mapping[str, Any]) -> BaseModel:
    """The model that was really trained. A proxy model has its own name, never that of the plan."""
    measured, planned = or_empty(metrics.get("base_model")), run.get("base_model_parameters")
    parameters: Any = measured.get("parameters")
    ratio = parameters / planned if _positive(planned) and _positive(parameters) else math.inf
    matches = abs(ratio - 1) <= PARAMETER_TOLERANCE
    own_name = str(measured.get("name") or "").strip() or _describe(measured)
    model = {
        **measured,
        "name": str(run.get("base_model") or own_name) if matches else own_name,
        "parameters": parameters,
        "matches_plan": matches,
        "planned_name": run.get("base_model"),
        "planned_parameters": planned,
    }
    return cast(BaseModel, model)


def _planned_model(run: Mapping[str, Any]) -> BaseModel | None:
    """The model of the plan, for a run that ended before it was known which one was trained."""
    name, size = run.get("base_model"), run.get("base_model_parameters")
    if not name:
        return None
    shown = "the proxy model of the rehearsal" if is_rehearsed(run) else name
    return {"name": shown, "parameters": None, "matches_plan": None, "planned_name": name, "planned_parameters": size}


def without_nan(value: Any) -> Any:
    """The same structure with NaN and infinity as None, for JSON has neither."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return value


def _frame(run: Mapping[str, Any], status: Status) -> Summary:
    """What every summary has, whatever became of the run."""
    frame = {
        **dict.fromkeys(Summary.__annotations__),
        **{key: run.get(key) for key in _OF_THE_RUN},
        **dict.fromkeys(("verdict_reason", "headline", "knowledge_reason", "says"), ""),
        "schema": 1,
        "run": str(run.get("run") or "unknown"),
        "status": status,
        "verdict": NOT_SHOWN,
        "knowledge_verdict": NOT_SHOWN,
        "rule": RULE,
        "knowledge_rule": KNOWLEDGE_RULE,
        "does_not_say": does_not_say(NOT_MEASURED if run.get("outside_given") else None, domain=run.get("domain")),
        "base_model": _planned_model(run),
        "prompts": [],
        "cost": {key: run.get(key) for key in Cost.__annotations__ if key in Cost.__required_keys__},
        "seconds_by_state": {},
        # In the order of the type, which is that of the report.
        "configuration": {key: run.get(key) for key in summary_types.RunConfiguration.__annotations__},
    }
    return cast(Summary, frame)


def _describe(measured: Mapping[str, Any]) -> str:
    """A name for weights that carry none: `LlamaForCausalLM, 135 million parameters`."""
    parameters: Any = measured.get("parameters")
    if not _positive(parameters):
        return "unnamed model"
    size = f"{parameters / 1e9:.1f} billion" if parameters >= 1e9 else f"{parameters / 1e6:.0f} million"
    return f"{measured.get('architecture') or 'unnamed model'}, {size} parameters"


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _curve(points: Any, most: int = 400) -> list[dict[str, Any]]:
    """The loss curve, thinned to what a page can draw; first and last point stay."""
    kept = [point for point in points or [] if _positive(point.get("loss"))]
    stride = max(1, math.ceil(len(kept) / most))
    thinned = [point for place, point in enumerate(kept) if place % stride == 0 or place == len(kept) - 1]
    return [{key: point.get(key) for key in ("step", "loss", "learning_rate")} for point in thinned]


def decoding(answers: Rows) -> dict[str, Any]:
    """How the answers were drawn, as their rows say. Starters may have more samples than other prompts."""
    first = answers[0] if answers else {}
    settings = {key: first.get(key) for key in ("max_tokens", "temperature", "top_p")}
    samples = {str(row.get("kind", "")): len(row.get("samples") or []) for row in answers}
    seeds = max((row.get("seeds") or [] for row in answers), key=len, default=[])
    return {**settings, "seeds": seeds, **{f"samples_of_each_{kind}": count for kind, count in samples.items()}}


def _prompt_rows(prompts: Rows, base: Rows, tuned: Rows, copies: Mapping[str, Any]) -> list[summary_types.PromptRow]:
    """One row for each prompt, with the answers of both models and the places of the facts in them."""
    sides = (("base", by_id(base)), ("tuned", by_id(tuned)))
    rows: list[summary_types.PromptRow] = []
    for identifier, prompt in by_id(prompts).items():
        facts, copied = counted_facts(prompt), copies.get(identifier, {})
        answers = {name: _answer(found.get(identifier), facts, copied.get(name, [])) for name, found in sides}
        row: summary_types.PromptRow = {
            "id": identifier,
            "kind": str(prompt.get("kind", "")),
            "prompt": str(prompt.get("prompt", "")),
            "facts": [name for name, _ in facts],
            "cluster": cluster_of(prompt),
            "base": answers["base"],
            "tuned": answers["tuned"],
        }
        if "reference" in prompt:
            row["reference"] = str(prompt["reference"])
        rows.append(row)
    return rows


def _answer(answer: Mapping[str, Any] | None, facts: list[Any], runs: Sequence[Sequence[int]]) -> Answer | None:
    if answer is None:
        return None
    marked: list[summary_types.Marked] = []
    for text, run in zip_longest(answer_texts(answer), runs):
        spans, found, missing = mark_facts(text, facts)
        copied: summary_types.Copied | None = {"words": run[0], "start": run[1], "end": run[2]} if run else None
        marked.append({"text": text, "marks": spans, "found": found, "missing": missing, "copied": copied})
    shares = [len(item["found"]) / len(facts) for item in marked] if facts else []
    return {
        "greedy": marked[0],
        "samples": marked[1:],
        "seeds": list(answer.get("seeds") or []),
        "recall": sum(shares) / len(shares) if shares else None,
        "seconds": answer.get("seconds"),
    }
