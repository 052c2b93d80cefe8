"""The verdict, by a rule that was fixed before any run. It fails closed: whatever is missing, it is "not shown"."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from report.formatting import SIGNIFICANCE, change_text, format_p, interval_text, plural

IMPROVED: Final = "improved"
NOT_SHOWN: Final = "not shown"
WORSE: Final = "worse"
WORSE_OUTSIDE: Final = "worse outside"
VERDICTS = (IMPROVED, NOT_SHOWN, WORSE, WORSE_OUTSIDE)
# With five documents the smallest sign-flip p is 2/32 = 0.0625, so nothing could be shown; six give 2/64 = 0.031.
MINIMUM_DOCUMENTS = 6
MINIMUM_PROMPTS = 20  # fewer prompts are anecdotes: one fact more or less moves recall by several points

# The one place of the rule; evidence/DECLARATION.md repeats it word for word.
RULE = (
    "Declared in advance. The verdict is about losses, tuned minus base, in nats per token. A change counts where the whole 95 % "
    "bootstrap interval, clustered by document, lies on one side of zero and the two-sided p of its test is below 0.05. "
    "Improved needs all of these: the loss fell on held-out documents of the same corpus (sign-flip test); it fell further "
    "there than on control text about unrelated subjects (shuffle test on held-out minus control); and, where outside text "
    "was given, which is text of the same field by others, it fell on that too (sign-flip test). Worse outside, whatever "
    "the rest says: the loss rose on outside text. Worse: it did not rise there, but it rose on held-out documents. Everything else is not shown, "
    "smoke runs, missing figures, missing control text, outside text that was given but not measured, and fewer than "
    f"{MINIMUM_DOCUMENTS} documents of any of the texts included. Without outside text the verdict says nothing about text by others."
)
RECALL_RULE = (
    "Declared in advance as a second line that never changes the verdict. Recall is the share of the key facts of the "
    "knowledge prompts (all but those of general knowledge) that an answer states, averaged over the greedy answer and all samples of a prompt. "
    "Improved: the 95 % interval, clustered by prompt (prompts that ask the same fact are one cluster), lies above zero and the sign-flip p is below 0.05."
)


@dataclass(frozen=True)
class Verdict:
    """One of `VERDICTS`, with the sentence that gives its reason."""

    verdict: str
    reason: str


SMOKE = Verdict(NOT_SHOWN, "A smoke run shows that every step works and nothing about the model, whatever it measured.")


def judge_loss(
    heldout: Mapping[str, Any] | None, beyond: Mapping[str, Any] | None, outside: Mapping[str, Any] | None = None
) -> Verdict:
    """The verdict by `RULE`.

    `heldout` and `outside` are of `report.findings.statistics.compare_losses`, `beyond` of `report.findings.gains.compare_gains`. `outside` is
    None only where no outside text was given; text that was given and not measured is a block without documents.
    """
    inside = judge_inside(heldout, beyond)
    if outside is None:
        return inside
    without = _unmeasured(outside)
    if without:
        return Verdict(WORSE if inside.verdict == WORSE else NOT_SHOWN, f"{inside.reason} {without}")
    change = _complete(outside.get("difference"))
    assert change is not None, "what is measured has an interval"
    tests = f"sign-flip {format_p(outside['p_value'])}, {plural(outside['documents_count'], 'document')}"
    verdict = _decide(change, outside["p_value"], better_below=True)
    size = f"by {change_text(change, 'nats per token')}; {tests}."
    if verdict == WORSE:
        rose = f"On outside text, which others wrote, the loss of the tuned model rose {size}"
        return Verdict(WORSE_OUTSIDE, f"{rose} That decides, whatever else was found: {_beside(heldout)}")
    if verdict == IMPROVED:
        return Verdict(inside.verdict, f"{inside.reason} On outside text, which others wrote, the loss fell {size}")
    figures = f"the change is {interval_text(change, 'nats per token')}; {tests}"
    if inside.verdict == IMPROVED:
        return Verdict(
            NOT_SHOWN,
            f"{inside.reason} But it did not clearly fall on outside text, which others wrote: {figures}. A gain on the "
            "corpus's own documents alone can be a gain in their manner of writing, so no improvement is shown.",
        )
    return Verdict(inside.verdict, f"{inside.reason} On outside text, which others wrote, {figures}.")


def _unmeasured(outside: Mapping[str, Any]) -> str:
    """Why outside text that was given cannot be judged; empty where it can."""
    count = outside.get("documents_count") or 0
    if outside.get("unusable_documents"):
        what = f"no usable loss was measured on {plural(outside['unusable_documents'], 'document')} of it"
    elif not count:
        what = "it was not measured"
    elif count < MINIMUM_DOCUMENTS:
        what = f"with only {plural(count, 'document')} of it, nothing can reach p below 0.05"
    elif _complete(outside.get("difference")) is None or not _finite(outside.get("p_value")):
        what = "its change or interval is not a number"
    else:
        return ""
    return f"Outside text was given, but {what}, so no improvement is shown."


def _beside(heldout: Mapping[str, Any] | None) -> str:
    """The held-out change in half a sentence, beside an outside one that has decided."""
    change = _complete((heldout or {}).get("difference"))
    if change is None:
        return "on held-out documents of the same corpus, no change with an interval was measured."
    return f"on held-out documents of the same corpus the loss changed by {interval_text(change, 'nats per token')}."


def judge_inside(block: Mapping[str, Any] | None, beyond: Mapping[str, Any] | None) -> Verdict:
    """What held-out and control text alone allow: `IMPROVED`, `NOT_SHOWN` or `WORSE`, on documents of the same corpus."""
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


def judge_recall(block: Mapping[str, Any] | None) -> Verdict:
    """The second line, on key-fact recall (a block of `report.findings.recall.compare_recall`)."""
    measure = ((block or {}).get("knowledge") or {}).get("all")
    if not block or not measure:
        return Verdict(NOT_SHOWN, "Key-fact recall was not measured.")
    if block.get("missing_prompts"):
        return Verdict(
            NOT_SHOWN,
            f"{plural(len(block['missing_prompts']), 'prompt')} without both answers, so recall is not judged.",
        )
    prompts, clusters = measure["prompts"], measure.get("clusters", measure["prompts"])
    if clusters < MINIMUM_PROMPTS:
        same = "" if clusters == prompts else f", and ask only {clusters} different facts"
        return Verdict(
            NOT_SHOWN,
            f"Only {prompts} knowledge prompts have key facts{same}; at least {MINIMUM_PROMPTS} needed.",
        )
    change = _complete(measure.get("difference"))
    if change is None or not _finite(measure.get("p_value")):
        return Verdict(NOT_SHOWN, "The recall difference or its interval is not a number.")
    verdict = _decide(change, measure["p_value"], better_below=False)
    points = {key: 100 * value for key, value in change.items()}
    tests = f"sign-flip {format_p(measure['p_value'])}, {prompts} prompts"
    if clusters != prompts:
        tests += f" in {clusters} clusters"
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
