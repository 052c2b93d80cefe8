"""All figures of a run, from the metrics of the training job and the answers of both models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from report.content.meaning import SMOKE_TITLE, does_not_say, plain_meaning, title
from report.findings.gains import compare_gains
from report.findings.intervals import RESAMPLES
from report.findings.memorisation import compare_copies
from report.findings.recall import compare_recall
from report.findings.statistics import compare_losses
from report.findings.verdict import RECALL_RULE, RECORDS, RULE, SMOKE, TEXT, judge_loss, judge_recall

Rows = Sequence[Mapping[str, Any]]
# Outside text that was given and of which no loss came back: it must not pass for none given.
NOT_MEASURED: Mapping[str, Any] = {"documents_count": 0, "unusable_documents": 0}


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
    outside_given: bool = False,
    records: bool = False,
) -> dict[str, Any]:
    """The findings of a run: verdict, recall line, and every figure with its standard error and interval.

    `corpus` is the training text, for the longest copied run; without it that figure is left out. `outside_given` says that the run
    was asked to measure outside text: where the metrics hold none, it counts as not measured. `records` says that the corpus is of records. Missing or unusable
    data raises nothing: the section is None and the verdict "not shown". That is also the verdict of every smoke run.
    """
    evaluation = (metrics or {}).get("evaluation") or {}
    heldout = compare_losses(evaluation.get("heldout"), seed=seed, resamples=resamples)
    beyond = compare_gains(evaluation.get("heldout"), evaluation.get("control"), seed=seed, resamples=resamples)
    outside = compare_losses(evaluation.get("outside"), seed=seed, resamples=resamples)
    if outside is None and (outside_given or "outside" in evaluation):
        outside = dict(NOT_MEASURED)
    control = compare_losses(evaluation.get("control"), seed=seed, resamples=resamples)
    recall = compare_recall(prompts, base_answers, tuned_answers, seed=seed, resamples=resamples)
    return {
        "schema": 1,
        **judged(heldout, beyond, recall, outside, smoke=smoke, records=records),
        "resamples": resamples,
        "analysis_seed": seed,
        "heldout": heldout,
        "outside": outside,
        "beyond_control": beyond,
        "control": control,
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
    outside: Mapping[str, Any] | None = None,
    *,
    smoke: bool = False,
    records: bool = False,
) -> dict[str, Any]:
    """Both verdicts on the figures of a run, with their reasons, the rules, and what they say and do not say."""
    kind = RECORDS if records else TEXT
    judged_loss = judge_loss(heldout, beyond, outside, kind)
    verdict, recall_verdict = (SMOKE, SMOKE) if smoke else (judged_loss, judge_recall(recall))
    return {
        "verdict": verdict.verdict,
        "verdict_reason": verdict.reason,
        "headline": SMOKE_TITLE if smoke else title(verdict, outside, kind),
        "recall_verdict": recall_verdict.verdict,
        "recall_reason": recall_verdict.reason,
        "rule": RULE,
        "recall_rule": RECALL_RULE,
        "says": plain_meaning(verdict.verdict, heldout, outside, kind),
        "does_not_say": does_not_say(outside, kind),
    }
