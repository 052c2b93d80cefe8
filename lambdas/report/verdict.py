"""The verdict, by a rule that was fixed before any run. It fails closed: whatever is missing, it is "not shown"."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from report.text import SIGNIFICANCE, change_text, format_p, interval_text, percent, plural

IMPROVED, NOT_SHOWN, WORSE = "improved", "not shown", "worse"
VERDICTS = (IMPROVED, NOT_SHOWN, WORSE)
# With five documents the smallest sign-flip p is 2/32 = 0.0625, so nothing could be shown; six give 2/64 = 0.031.
MINIMUM_DOCUMENTS = 6
MINIMUM_PROMPTS = 20  # fewer prompts are anecdotes: one fact more or less moves recall by several points

RULE = (
    "Declared in advance. The verdict is about the loss on held-out documents, tuned minus base, in nats per token. "
    "Improved needs both: the loss fell (the whole 95 % bootstrap interval, clustered by document, lies below zero and the "
    "two-sided sign-flip p is below 0.05), and it fell further than on control text about unrelated subjects (the interval "
    "of held-out minus control lies below zero and the two-sided shuffle p is below 0.05). Worse: the first interval lies "
    "above zero and its p is below 0.05. Everything else is not shown, smoke runs, missing figures, missing control text and "
    f"fewer than {MINIMUM_DOCUMENTS} documents of either kind included."
)
RECALL_RULE = (
    "Declared in advance as a second line that never changes the verdict. Recall is the share of the key facts of the "
    "knowledge prompts (all but those of general knowledge) that an answer states, averaged over the greedy answer and all samples of a prompt. "
    "Improved: the 95 % interval, clustered by prompt, lies above zero and the sign-flip p is below 0.05."
)
DOES_NOT_SAY = (
    "It does not say that the model got better at texts of the field that others wrote. The held-out documents were written "
    "like those of the corpus, and what carries over to other texts was not measured.",
    "It does not say that the tuned model is fit for clinical use. No answer was checked by a clinician.",
    "It is not a benchmark of medical skill: no examination, no diagnosis and no advice was tested.",
    "It does not say that single answers became true. A likelier text can still be wrong.",
    "It holds for this corpus, these held-out documents and this seed, not for other fields or other models.",
)


@dataclass(frozen=True)
class Verdict:
    """One of `VERDICTS`, with the sentence that gives its reason."""

    verdict: str
    reason: str


SMOKE = Verdict(NOT_SHOWN, "A smoke run shows that every step works and nothing about the model, whatever it measured.")


def judge_loss(block: Mapping[str, Any] | None, beyond: Mapping[str, Any] | None) -> Verdict:
    """The verdict on the held-out loss.

    `block` is of `report.statistics.compare_losses` on the held-out text, `beyond` of `report.beyond_control.compare_gains`.
    """
    if not block or not block.get("documents_count"):
        return Verdict(NOT_SHOWN, "No held-out loss was measured, so nothing can be shown.")
    if block.get("unusable_documents"):
        count = plural(block["unusable_documents"], "held-out document")
        return Verdict(NOT_SHOWN, f"No usable loss was measured on {count}, so nothing can be shown.")
    if block["documents_count"] < MINIMUM_DOCUMENTS:
        return Verdict(
            NOT_SHOWN,
            f"The loss was measured on only {plural(block['documents_count'], 'held-out document')}. Fewer than "
            f"{MINIMUM_DOCUMENTS} cannot reach p below 0.05, whatever they say.",
        )
    change = _complete(block.get("difference"))
    if change is None or not _finite(block.get("p_value")):
        return Verdict(NOT_SHOWN, "The held-out loss difference or its interval is not a number.")
    verdict = _decide(change, block["p_value"], better_below=True)
    tests = f"sign-flip {format_p(block['p_value'])}, {block['documents_count']} documents"
    if verdict == NOT_SHOWN:
        figures = interval_text(change, "nats per token")
        return Verdict(
            verdict,
            f"On held-out documents of the same corpus, the loss of the tuned model changed by {figures}; {tests}. "
            "That can be chance, so no improvement is shown.",
        )
    direction = "fell" if verdict == IMPROVED else "rose"
    found = (
        f"On held-out documents of the same corpus, the loss of the tuned model {direction} by "
        f"{change_text(change, 'nats per token')}; {tests}."
    )
    if verdict == WORSE:
        return Verdict(WORSE, found)
    verdict, reason = _judge_beyond(beyond)
    return Verdict(verdict, f"{found} {reason}")


def _judge_beyond(beyond: Mapping[str, Any] | None) -> tuple[str, str]:
    """Whether a gain is the corpus's own: `IMPROVED` or `NOT_SHOWN`, and why."""
    if not beyond or beyond["control_documents"] < MINIMUM_DOCUMENTS:
        return NOT_SHOWN, (
            f"Without the losses of {MINIMUM_DOCUMENTS} control documents, a gain on any text cannot be told from a gain on "
            "texts like those of the corpus, so no improvement is shown."
        )
    if beyond.get("unusable_documents"):
        count = plural(beyond["unusable_documents"], "document")
        return NOT_SHOWN, f"No usable loss was measured on {count} of the two texts, so no improvement is shown."
    change = _complete(beyond.get("difference"))
    if change is None or not _finite(beyond.get("p_value")):
        return NOT_SHOWN, "How that compares with the control text is not a number, so no improvement is shown."
    figures = f"{interval_text(change, 'nats per token')}; shuffle {format_p(beyond['p_value'])}"
    if _decide(change, beyond["p_value"], better_below=True) == IMPROVED:
        return (
            IMPROVED,
            f"On control text about unrelated subjects it fell less, or not at all: the difference is {figures}.",
        )
    return NOT_SHOWN, (
        f"But it did not clearly fall further than on control text about unrelated subjects: the difference is {figures}. "
        "A model that gets better at any text has not shown that it learned from this corpus."
    )


def plain_meaning(verdict: str, block: Mapping[str, Any] | None) -> str:
    """What the verdict says, in a sentence without statistics."""
    change = _complete((block or {}).get("difference"))
    if verdict == NOT_SHOWN or change is None:
        return (
            "It says that this run gives no proof that fine-tuning made the model better at documents like those of the "
            "corpus. It does not prove that it did not: a small effect can hide behind few documents."
        )
    # exp of the mean log ratio: the geometric mean over tokens of how much likelier the right one became.
    error, likelier = change["standard_error"], math.exp(min(-change["estimate"], 50.0)) - 1
    share = percent(abs(likelier), error)
    if verdict == IMPROVED:
        return (
            f"It says that the model has learned something about how documents like those of the corpus go on: shown a "
            f"held-out one, it gives each token (a word or part of one) that really comes next about {share} more probability, "
            "and that this is more than it gained on the control texts about unrelated subjects. How much of that is knowledge "
            "of the field and how much is the style of these documents, it does not say."
        )
    return (
        f"It says that fine-tuning did harm here: shown a held-out document of the same corpus, the model gives "
        f"each token (a word or part of one) that really comes next about {share} less probability."
    )


def judge_recall(block: Mapping[str, Any] | None) -> Verdict:
    """The second line, on key-fact recall (a block of `report.recall.compare_recall`)."""
    measure = ((block or {}).get("knowledge") or {}).get("all")
    if not block or not measure:
        return Verdict(NOT_SHOWN, "Key-fact recall was not measured.")
    if block.get("missing_prompts"):
        return Verdict(
            NOT_SHOWN,
            f"{plural(len(block['missing_prompts']), 'prompt')} without both answers, so recall is not judged.",
        )
    if measure["prompts"] < MINIMUM_PROMPTS:
        return Verdict(
            NOT_SHOWN,
            f"Only {measure['prompts']} knowledge prompts have key facts; at least {MINIMUM_PROMPTS} needed.",
        )
    change = _complete(measure.get("difference"))
    if change is None or not _finite(measure.get("p_value")):
        return Verdict(NOT_SHOWN, "The recall difference or its interval is not a number.")
    verdict = _decide(change, measure["p_value"], better_below=False)
    points = {key: 100 * value for key, value in change.items()}
    tests = f"sign-flip {format_p(measure['p_value'])}, {measure['prompts']} prompts"
    if verdict == NOT_SHOWN:
        figures = interval_text(points, "percentage points")
        return Verdict(verdict, f"Key-fact recall changed by {figures}; {tests}. That can be chance.")
    direction = "rose" if verdict == IMPROVED else "fell"
    return Verdict(verdict, f"Key-fact recall {direction} by {change_text(points, 'percentage points')}; {tests}.")


def _decide(change: Mapping[str, float], p_value: float, *, better_below: bool) -> str:
    """Both conditions must hold: the interval excludes zero, and the permutation p is below 0.05."""
    if not p_value < SIGNIFICANCE:
        return NOT_SHOWN
    if change["high"] < 0:
        return IMPROVED if better_below else WORSE
    if change["low"] > 0:
        return WORSE if better_below else IMPROVED
    return NOT_SHOWN


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _complete(change: Mapping[str, Any] | None) -> dict[str, float] | None:
    """The estimate, standard error, low and high, if all four are finite numbers in the right order."""
    keys = ("estimate", "standard_error", "low", "high")
    if not change or not all(_finite(change.get(key)) for key in keys):
        return None
    values = {key: float(change[key]) for key in keys}
    return values if values["low"] <= values["high"] else None
