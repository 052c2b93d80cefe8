"""The verdict in plain words, and its limits: each sentence is true for a reader who reads nothing else."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from report.content.circumstances import MEDICAL, is_smoke
from report.findings.verdict import (
    EXTERNAL,
    IMPROVED,
    NONE_BETTER,
    NOT_SHOWN,
    TEXT,
    VOCABULARY,
    WORSE,
    WORSE_OUTSIDE,
    Kind,
    Verdict,
    decided_outside,
)
from report.formatting import number, percent, plural
from report.summary_types import Summary, has_figures

SMOKE_TITLE = "A smoke run: nothing is shown about the model"
NO_OUTSIDE_TEXT = "This run had no external test set, so its effect on text by other authors is unknown."
MEASURED, BY_RETENTION = "measured", ("control", "retention")  # how a scale was chosen, in training/scale.py
OUTSIDE_NOT_MEASURED = "An external test set was given, but no usable loss was measured on it."
FAILED = ("FAILED", "TIMED_OUT", "ABORTED", "UNKNOWN")
TONES = {
    IMPROVED: "good",
    VOCABULARY: "neutral",
    NOT_SHOWN: "neutral",
    WORSE: "bad",
    WORSE_OUTSIDE: "bad",
    NONE_BETTER: "bad",
}
STATUS_WORDS = {
    "RUNNING": "answers complete, actual cost pending",
    "SUCCEEDED": "finished",
    "FAILED": "failed",
    "TIMED_OUT": "ran out of time",
    "ABORTED": "was stopped",
    "UNKNOWN": "ended without a recorded status",
}
_MEDICAL = (
    "It does not show that the fine-tuned model is fit for clinical use. No clinician checked an answer.",
    "It is not a benchmark of medical skill: no examination, no diagnosis and no advice was tested.",
)


class Headline(NamedTuple):
    """The result, at the top of the report."""

    title: str
    tone: str
    reason: str
    status: str


def headline(summary: Summary) -> Headline:
    """The top of the report of a run of any kind."""
    words = STATUS_WORDS.get(summary["status"], summary["status"].lower())
    tone, reason = TONES.get(summary["verdict"], "neutral"), summary.get("verdict_reason") or ""
    # Without statistics, for a reader who does not know nats; the reason with its figures follows below.
    plain = summary.get("says")
    # A summary of an older deployment has no headline; its rule knew only held-out documents and retention set.
    told = summary.get("headline") or title(Verdict(summary["verdict"], ""), None)
    if summary["status"] in FAILED and not has_results(summary):
        told, tone = f"The run {words} before anything could be compared", "bad"
        reason = "This run shows nothing about the model. The error, the next step and the cost follow below."
    elif is_smoke(summary):
        told, tone = SMOKE_TITLE, TONES[NOT_SHOWN]
    elif plain:
        reason = plain
    return Headline(told, tone, reason, words.removeprefix("was "))


def document_title(summary: Summary) -> str:
    """The title of the page and of the PDF."""
    return f"{headline(summary).title} \u2013 {summary['run']}"


def has_results(summary: Summary) -> bool:
    """Whether both models were compared at all."""
    return bool(summary.get("heldout") or summary.get("prompts"))


def title(judged: Verdict, outside: Mapping[str, Any] | None, kind: Kind = TEXT) -> str:
    """The headline of a verdict; `outside` is None if no external test set was given."""
    if judged.verdict == WORSE_OUTSIDE:
        return f"Worse on {_decided(outside)[1]}"
    if judged.verdict == NONE_BETTER:
        return "No adapter scale is better than the base model"
    if judged.verdict == VOCABULARY:
        return "Vocabulary only: no gain is shown beyond the words of the field"
    if judged.verdict == WORSE:
        return f"Worse on {kind.held_out}"
    if judged.verdict == IMPROVED:
        return f"Improved on {kind.held_out}" + ("" if outside is None else f" and on {EXTERNAL}")
    return judged.headline or "No improvement shown"


def _decided(outside: Mapping[str, Any] | None) -> tuple[Mapping[str, Any] | None, str]:
    """The losses that decide a verdict worse outside, and the text that they are of."""
    block = decided_outside(outside) if outside else None
    return block, EXTERNAL if block is outside or block is None else f"{block['kind']} documents of {EXTERNAL}"


def plain_meaning(
    verdict: str, heldout: Mapping[str, Any] | None, outside: Mapping[str, Any] | None = None, kind: Kind = TEXT
) -> str:
    """The verdict in sentences without statistics. The blocks are of `report.findings.statistics.compare_losses`."""
    if verdict == WORSE_OUTSIDE:
        block, text = _decided(outside)
        return (
            f"Fine-tuning made the model worse at text of this kind by other authors. On {text}, it gives each actual next token "
            f"(a word or part of one) about {_share(block)} less probability. A gain on {kind.things} like those of the corpus does not make "
            "up for that: it can be a gain in their style."
        )
    if verdict == NONE_BETTER:
        return (
            "Training on this corpus made the model no better on the external test set at any adapter scale, so the adapter is not used. More "
            "text, or text written in the style of the field, may help."
        )
    if verdict == VOCABULARY:
        return (
            "The model became better at these texts, and about as much better at the same texts with their words in random order. So it learned "
            "which words the field uses; this run does not show that it learned more than that."
        )
    share = _share(heldout)
    if verdict == NOT_SHOWN or not share:
        # In one sentence for every way to miss it: no part of it may read as if that part alone had been tried in vain.
        more = "" if outside is None else f", and better on {EXTERNAL} too"
        return (
            f"The rule asks for proof that the model became better at {kind.things} like those of the corpus, further than at text about "
            f"unrelated subjects{more}. This run does not prove it. It does not prove the contrary either: a small effect can hide behind few "
            f"{kind.things}."
        )
    if verdict == IMPROVED:
        learned = (
            f"The model predicts {kind.things} like those of the corpus better than before. On held-out ones, it gives each actual next token (a "
            f"word or part of one) about {_more(heldout)} probability, a larger gain than on texts about unrelated subjects."
        )
        if outside is None:
            return f"{learned} This can be knowledge of the field, or only the style of these {kind.things}."
        return f"{learned} On {EXTERNAL}, written by other authors, it gives such a token about {_more(outside)}."
    return (
        f"Fine-tuning made the model worse. On held-out {kind.things} of the same corpus, it gives each actual next token (a word or part of "
        f"one) about {share} less probability."
    )


def of_scale(scale: Mapping[str, Any]) -> str:
    """How the adapter scale was chosen."""
    kept = f"The adapter scale is {scale['scale']:g}"
    if scale["how"] == MEASURED:
        count = len(scale["documents"])
        if str(scale.get("by")).startswith(BY_RETENTION):
            return (
                f"{kept}: chosen, within narrow bounds, on {plural(count, 'retention document')} set aside for this. "
                "With an external test set (input key heldOutside), all scales can be compared."
            )
        return f"{kept}: the best of the scales tried on {plural(count, 'external document')} set aside for this."
    if not scale["why"]:
        return f"{kept}, as set by adapter_scale."
    return f"{kept}. It was not measured: {scale['why']}. In trials, no model became worse on an external test set at this scale."


def _more(block: Mapping[str, Any] | None) -> str:
    """A gain in probability: `12% more`, or `8.7 times as much` from twice as much on."""
    change = (block or {}).get("difference") or {}
    times = math.exp(min(-float(change.get("estimate") or 0), 50.0))
    return f"{number(times, 1 if times < 100 else 0)} times as much" if times >= 2 else f"{_share(block)} more"


def _share(block: Mapping[str, Any] | None) -> str:
    """The relative change in the probability of the actual token (exp of the mean log ratio); empty if not measured."""
    change = (block or {}).get("difference") or {}
    estimate, error = change.get("estimate"), change.get("standard_error")
    if not isinstance(estimate, int | float) or not math.isfinite(estimate):
        return ""
    share = abs(math.exp(min(-estimate, 50.0)) - 1)
    # A change that was shown must not read as none.
    return percent(share, error) if share >= 0.0005 or not share else "less than 0.1%"


def purpose(domain: str | None) -> str:
    """The intended use of the model of a run in this domain."""
    return "For research and teaching" + ("; not a medical device, not medical advice." if domain == MEDICAL else ".")


def does_not_say(outside: Mapping[str, Any] | None = None, kind: Kind = TEXT, domain: str | None = None) -> list[str]:
    """The limits of the verdict, in the words of the run's domain (None for a text of your own)."""
    if outside is None or not has_figures(outside):
        why = (
            "no external test set was given"
            if outside is None
            else "no usable loss came back for the external test set"
        )
        first = (
            f"It does not show that the model got better at texts of the field by other authors. The held-out {kind.things} share the style "
            f"of the corpus, and the effect on other texts was not measured: {why}."
        )
    else:
        count = plural(int(outside.get("documents_count") or 0), "document")
        first = f"It does not cover every text of the field. The external test set has {count}, chosen for this run."
    texts = f"these held-out {kind.things}" + (", this external test set" if has_figures(outside) else "")
    field = f"the {domain} domain" if domain else "the field of your text"
    other = (
        f"It does not show that the fine-tuned model is fit for use in {field}. No expert checked an answer.",
        f"It is not a benchmark of skill in {field}: no task was tested.",
    )
    true = "It does not show that single answers became true. A more probable text can still be wrong."
    fit = _MEDICAL if domain == MEDICAL else other
    return [
        first,
        *fit,
        true,
        f"It holds for this corpus, {texts} and this seed, not for other fields or other models.",
    ]
