"""What a verdict says in plain words, and what it does not: each true for somebody who reads nothing else."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from report.content.circumstances import MEDICAL, is_smoke
from report.findings.verdict import (
    IMPROVED,
    NONE_BETTER,
    NOT_SHOWN,
    TEXT,
    VOCABULARY,
    WORSE,
    WORSE_OUTSIDE,
    Kind,
    Verdict,
)
from report.formatting import number, percent, plural
from report.summary_types import Summary, has_figures

SMOKE_TITLE = "A smoke run: nothing is shown about the model"
NO_OUTSIDE_TEXT = "No outside text was given, so nothing is known about text of the field that others wrote."
MEASURED, BY_CONTROL = "measured", "control text"  # of a scale, in training/scale.py
OUTSIDE_NOT_MEASURED = "Outside text was given, but no usable loss came back."
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
    "RUNNING": "answers are in, the cost is not settled yet",
    "SUCCEEDED": "finished",
    "FAILED": "failed",
    "TIMED_OUT": "ran out of time",
    "ABORTED": "was stopped",
    "UNKNOWN": "ended in a way that nobody recorded",
}
_MEDICAL = (
    "It does not say that the tuned model is fit for clinical use. No answer was checked by a clinician.",
    "It is not a benchmark of medical skill: no examination, no diagnosis and no advice was tested.",
)


class Headline(NamedTuple):
    """What came out, said first."""

    title: str
    tone: str
    reason: str
    status: str


def headline(summary: Summary) -> Headline:
    """What a report says first, of a run of any kind."""
    words = STATUS_WORDS.get(summary["status"], summary["status"].lower())
    tone, reason = TONES.get(summary["verdict"], "neutral"), summary.get("verdict_reason") or ""
    # Without statistics, for a reader who does not know what a nat is; the reason with its figures stands below.
    plain = summary.get("says")
    # A summary of an older deployment has no headline; its rule knew held-out and control text only.
    told = summary.get("headline") or title(Verdict(summary["verdict"], ""), None)
    if summary["status"] in FAILED and not has_results(summary):
        told, tone = f"The run {words} before anything could be compared", "bad"
        reason = "Nothing can be said about the model. What happened, what to do and what it cost stand below."
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
    """The headline of a verdict; `outside` is None where no outside text was given."""
    if judged.verdict == WORSE_OUTSIDE:
        return "Worse on text by others"
    if judged.verdict == NONE_BETTER:
        return "No adapter scale is better than the base model"
    if judged.verdict == VOCABULARY:
        return "Vocabulary only: no gain is shown beyond the words of the field"
    if judged.verdict == WORSE:
        return f"Worse on {kind.held_out}"
    if judged.verdict == IMPROVED:
        return f"Improved on {kind.held_out}" + ("" if outside is None else " and on text by others")
    return judged.headline or "No improvement shown"


def plain_meaning(
    verdict: str, heldout: Mapping[str, Any] | None, outside: Mapping[str, Any] | None = None, kind: Kind = TEXT
) -> str:
    """What the verdict says, in sentences without statistics. The blocks are of `report.findings.statistics.compare_losses`."""
    if verdict == WORSE_OUTSIDE:
        return (
            "Fine-tuning made the model worse at text of this kind by others: shown one of the outside documents, it "
            f"gives each token (a word or part of one) that really comes next about {_share(outside)} less probability. A gain on "
            f"{kind.things} like those of the corpus, where there is one, does not make up for that: it can be a gain in their manner of writing."
        )
    if verdict == NONE_BETTER:
        return (
            "What the model learned from this corpus makes it no better at text of the field that others wrote, however little of it is kept. "
            "So nothing was kept. More text, or text that is written as the field writes, may teach more."
        )
    if verdict == VOCABULARY:
        return (
            "The model became better at these texts, and about as much better at the same texts with their words in a random order. So "
            "it learned which words the field uses; that it learned anything of what the field says with them is not shown."
        )
    share = _share(heldout)
    if verdict == NOT_SHOWN or not share:
        # In one sentence for every way to miss it: no part of it may read as if that part alone had been tried in vain.
        more = "" if outside is None else ", and better at text by others too"
        return (
            f"This run does not prove what the rule asks for: that the model became better at {kind.things} like those of "
            f"the corpus, further than at text about unrelated subjects{more}. It does not prove the contrary either: a small effect "
            f"can hide behind few {kind.things}."
        )
    if verdict == IMPROVED:
        learned = (
            f"The model has learned something about how {kind.things} like those of the corpus go on: shown a "
            f"held-out one, it gives each token (a word or part of one) that really comes next about {_more(heldout)} probability, "
            "and that this is more than it gained on the control texts about unrelated subjects."
        )
        if outside is None:
            unknown = f"How much of that is knowledge of the field and how much is the style of these {kind.things}, it does not say."
            return f"{learned} {unknown}"
        return f"{learned} On the outside documents, which others wrote, it gives such a token about {_more(outside)}; that is not held against the control texts."
    return (
        f"Fine-tuning did harm here: shown a held-out {kind.things[:-1]} of the same corpus, the model gives "
        f"each token (a word or part of one) that really comes next about {share} less probability."
    )


def of_scale(scale: Mapping[str, Any]) -> str:
    """How the adapter scale came about."""
    kept = f"{scale['scale']:g}"
    if scale["how"] == MEASURED:
        count = plural(len(scale["documents"]), "document")
        if scale.get("by") == BY_CONTROL:
            return (
                f"{kept} of the adapter is kept: chosen, within narrow bounds, by {count} of control text, on which nothing else is measured. "
                "Text by others (input key heldOutside) would choose from all scales."
            )
        return f"{kept} of the adapter is kept: of all scales that were tried, the best on {count} by others, on which nothing else is measured."
    if not scale["why"]:
        return f"{kept} of the adapter is kept, as adapter_scale sets it."
    return (
        f"The adapter scale was not measured: {scale['why']}. {kept} of it is kept, at which none of the models that were tried became worse at text by "
        "others."
    )


def _more(block: Mapping[str, Any] | None) -> str:
    """A gain in probability: `12 % more`, or `8.7 times as much` from twice as much on."""
    change = (block or {}).get("difference") or {}
    times = math.exp(min(-float(change.get("estimate") or 0), 50.0))
    return f"{number(times, 1 if times < 100 else 0)} times as much" if times >= 2 else f"{_share(block)} more"


def _share(block: Mapping[str, Any] | None) -> str:
    """By how much likelier the right token became (exp of the mean log ratio), in per cent; empty if not measured."""
    change = (block or {}).get("difference") or {}
    estimate, error = change.get("estimate"), change.get("standard_error")
    if not isinstance(estimate, int | float) or not math.isfinite(estimate):
        return ""
    share = abs(math.exp(min(-estimate, 50.0)) - 1)
    # A change that was shown must not read as none.
    return percent(share, error) if share >= 0.0005 or not share else "less than 0.1\u00a0%"


def purpose(domain: str | None) -> str:
    """What the model of a run in this domain is for."""
    return "For research and teaching" + ("; not a medical device, not medical advice." if domain == MEDICAL else ".")


def does_not_say(outside: Mapping[str, Any] | None = None, kind: Kind = TEXT, domain: str | None = None) -> list[str]:
    """What the verdict does not say, in the words of the run's domain (None for a text of your own)."""
    if outside is None or not has_figures(outside):
        why = (
            "no outside text was given" if outside is None else "of the outside text that was given, no loss came back"
        )
        first = (
            f"It does not say that the model got better at texts of the field that others wrote. The held-out {kind.things} were "
            f"written like those of the corpus, and what carries over to other texts was not measured: {why}."
        )
    else:
        count = plural(int(outside.get("documents_count") or 0), "outside document")
        first = (
            f"It does not say how the model does at every text of the field. What others wrote was measured on {count}, which "
            "whoever started the run has chosen."
        )
    texts = f"these held-out {kind.things}" + (", these outside documents" if has_figures(outside) else "")
    field = f"the {domain} domain" if domain else "the field of your text"
    other = (
        f"It does not say that the tuned model is fit for use in {field}. No answer was checked by an expert.",
        f"It is not a benchmark of skill in {field}: no task was tested.",
    )
    true = "It does not say that single answers became true. A likelier text can still be wrong."
    fit = _MEDICAL if domain == MEDICAL else other
    return [
        first,
        *fit,
        true,
        f"It holds for this corpus, {texts} and this seed, not for other fields or other models.",
    ]
