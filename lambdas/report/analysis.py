"""All figures of a run, from the metrics of the training job and the answers of both models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from report.beyond_control import compare_gains
from report.intervals import RESAMPLES
from report.memorisation import compare_copies
from report.recall import compare_recall
from report.statistics import compare_losses
from report.verdict import DOES_NOT_SAY, RECALL_RULE, RULE, SMOKE, judge_loss, judge_recall, plain_meaning

Rows = Sequence[Mapping[str, Any]]


def analyse(
    metrics: Mapping[str, Any] | None,
    prompts: Rows,
    base_answers: Rows,
    tuned_answers: Rows,
    *,
    corpus: str = "",
    seed: int = 0,
    resamples: int = RESAMPLES,
    smoke: bool = False,
) -> dict[str, Any]:
    """The findings of a run: verdict, recall line, and every figure with its standard error and interval.

    `corpus` is the training text, for the longest copied run; without it that figure is left out. Missing or unusable
    data raises nothing: the section is None and the verdict "not shown". That is also the verdict of every smoke run.
    """
    evaluation = (metrics or {}).get("evaluation") or {}
    heldout = compare_losses(evaluation.get("heldout"), seed=seed, resamples=resamples)
    beyond = compare_gains(evaluation.get("heldout"), evaluation.get("control"), seed=seed, resamples=resamples)
    recall = compare_recall(prompts, base_answers, tuned_answers, seed=seed, resamples=resamples)
    return {
        "schema": 1,
        **judged(heldout, beyond, recall, smoke=smoke),
        "resamples": resamples,
        "analysis_seed": seed,
        "heldout": heldout,
        "beyond_control": beyond,
        "control": compare_losses(evaluation.get("control"), seed=seed, resamples=resamples),
        "recall": recall,
        "memorisation": {
            "training_text": compare_losses(evaluation.get("training_text"), seed=seed, resamples=resamples),
            "copies": compare_copies(base_answers, tuned_answers, corpus, seed=seed, resamples=resamples),
        },
    }


def judged(
    heldout: Mapping[str, Any] | None,
    beyond: Mapping[str, Any] | None,
    recall: Mapping[str, Any] | None,
    *,
    smoke: bool = False,
) -> dict[str, Any]:
    """Both verdicts on the figures of a run, with their reasons, the rules, and what they say and do not say."""
    verdict, recall_verdict = (SMOKE, SMOKE) if smoke else (judge_loss(heldout, beyond), judge_recall(recall))
    return {
        "verdict": verdict.verdict,
        "verdict_reason": verdict.reason,
        "recall_verdict": recall_verdict.verdict,
        "recall_reason": recall_verdict.reason,
        "rule": RULE,
        "recall_rule": RECALL_RULE,
        "says": plain_meaning(verdict.verdict, heldout),
        "does_not_say": list(DOES_NOT_SAY),
    }
