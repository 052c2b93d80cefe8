"""What came out, said first: the headline of a report with its key figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from report.content.circumstances import is_smoke
from report.content.figures import elapsed_seconds
from report.content.meaning import SMOKE_TITLE
from report.content.meaning import title as title_of
from report.findings.verdict import IMPROVED, NOT_SHOWN, WORSE, WORSE_OUTSIDE, Verdict
from report.formatting import decimals_for, duration, moment, money, number, range_text, share
from report.summary_types import Summary, known

FAILED = ("FAILED", "TIMED_OUT", "ABORTED", "UNKNOWN")
TONES = {IMPROVED: "good", NOT_SHOWN: "neutral", WORSE: "bad", WORSE_OUTSIDE: "bad"}
STATUS_WORDS = {
    "RUNNING": "answers are in, the cost is not settled yet",
    "SUCCEEDED": "finished",
    "FAILED": "failed",
    "TIMED_OUT": "ran out of time",
    "ABORTED": "was stopped",
    "UNKNOWN": "ended in a way that nobody recorded",
}


@dataclass(frozen=True)
class Headline:
    """The first screen: what came out, why, and the figures that matter most."""

    title: str
    tone: str
    reason: str
    figures: tuple[tuple[str, str, str], ...]
    facts: tuple[tuple[str, str], ...]


def document_title(summary: Summary) -> str:
    """The title of the page and of the PDF."""
    return f"{headline(summary).title} \u2013 {summary['run']}"


def has_results(summary: Summary) -> bool:
    """Whether both models were compared at all."""
    return bool(summary.get("heldout") or summary.get("prompts"))


def headline(summary: Summary) -> Headline:
    """What came out, said first."""
    status, results = summary["status"], has_results(summary)
    if status in FAILED and not results:
        title, tone = f"The run {STATUS_WORDS[status]} before anything could be compared", "bad"
        reason = "Nothing can be said about the model. What happened, what to do and what it cost stand below."
    elif is_smoke(summary):
        title, tone = SMOKE_TITLE, TONES[NOT_SHOWN]
        reason = summary.get("verdict_reason") or ""
    else:
        # A summary of an older deployment has no headline; its rule knew held-out and control text only.
        title = summary.get("headline") or title_of(Verdict(summary["verdict"], ""), None)
        tone = TONES.get(summary["verdict"], "neutral")
        reason = summary.get("verdict_reason") or ""
    model = known(summary.get("base_model"))
    name = str(model.get("name") or "\u2013")
    if model.get("matches_plan") is False:
        name += f", standing in for {model.get('planned_name') or 'the planned model'}"
    facts = [
        ("Run", summary["run"]),
        ("Status", STATUS_WORDS.get(status, status.lower()).removeprefix("was ")),
        ("Base model", name),
        ("Domain", summary.get("domain") or "a text of the user's own"),
        ("Started", moment(summary.get("started_at"))),
    ]
    return Headline(
        title,
        tone,
        reason,
        _key_figures(summary, results),
        tuple(facts),
    )


def _key_figures(summary: Summary, results: bool) -> tuple[tuple[str, str, str], ...]:
    """(name, figure, what surrounds it) for the strip under the verdict."""
    figures = []
    block = known(summary.get("heldout"))
    by_others = known(summary.get("outside")).get("difference")
    if block.get("difference"):
        change, ratio = block["difference"], block["perplexity_ratio"]
        figures.append(_change("Held-out loss", change))
        if not by_others:
            # The same change once more: it gives way where there is another text to show.
            figures.append(("Perplexity, tuned / base", _value(ratio, signed=False), _range(ratio, signed=False)))
    if by_others:
        # What has decided comes first, for whoever reads one figure.
        first = 0 if summary["verdict"] == WORSE_OUTSIDE else len(figures)
        figures.insert(first, _change("Loss on text by others", by_others))
    beyond = known(summary.get("beyond_control")).get("difference")
    if beyond:
        figures.append(_change("Beyond control text", beyond))
    measure = known(known(summary.get("recall")).get("knowledge")).get("all")
    if measure:
        base, tuned = measure["base"], measure["tuned"]
        figures.append(("Key facts stated", share(tuned), f"before {share(base)}, {measure['prompts']} prompts"))
    costs = known(summary.get("cost"))
    if costs.get("actual_cents") is not None:
        figures.append(("Cost", money(costs["actual_cents"]), f"of {money(costs.get('reserved_cents'))} reserved"))
    elif costs.get("reserved_cents") is not None:
        figures.append(("Cost", "not settled", f"at most {money(costs['reserved_cents'])}, as reserved"))
    elif not results:
        figures.append(("Cost", "not recorded", "no reservation is known"))
    seconds = elapsed_seconds(known(summary.get("seconds_by_state")))
    if seconds and not results:
        figures.append(("Time", duration(seconds), "from first to last state"))
    return tuple(figures)


def _change(name: str, figure: Mapping[str, Any]) -> tuple[str, str, str]:
    """A loss in the strip: that it is a change has to be said, for it stands alone there."""
    return name, _value(figure), f"change in nats per token, {_range(figure)}"


def _range(figure: Mapping[str, Any], *, signed: bool = True) -> str:
    # On one line: half an interval reads like a figure of its own.
    return "no interval" if figure["low"] is None else range_text(figure, signed=signed).replace(" ", "\u00a0")


def _value(figure: Mapping[str, Any], *, signed: bool = True) -> str:
    return number(figure["estimate"], decimals_for(figure["standard_error"]), signed=signed)
