"""The report in words: from a summary to a headline and sections, the same for the page and the PDF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from common.prompt_kinds import KINDS
from report.advice import advice
from report.blocks import AnswerList, Block, Bullets, Code, Headline, Notice, Para, Section
from report.charts_more import kind_name
from report.circumstances import is_smoke, notes
from report.meaning import SMOKE_TITLE
from report.meaning import title as title_of
from report.story_effects import forgetting, memorisation
from report.story_outside import outside
from report.story_results import heldout, recall
from report.story_run import configuration, cost, elapsed_seconds, limits, reproduce, training
from report.text import decimals_for, duration, moment, money, number, plural, range_text, share
from report.verdict import IMPROVED, NOT_SHOWN, WORSE, WORSE_OUTSIDE

FAILED = ("FAILED", "TIMED_OUT", "ABORTED")
TONES = {IMPROVED: "good", NOT_SHOWN: "neutral", WORSE: "bad", WORSE_OUTSIDE: "bad"}
STATUS_WORDS = {
    "RUNNING": "answers are in, the cost is not settled yet",
    "SUCCEEDED": "finished",
    "FAILED": "failed",
    "TIMED_OUT": "ran out of time",
    "ABORTED": "was stopped",
}


def document_title(summary: Mapping[str, Any]) -> str:
    """The title of the page and of the PDF."""
    return f"{headline(summary).title} \u2013 {summary['run']}"


def has_results(summary: Mapping[str, Any]) -> bool:
    """Whether both models were compared at all."""
    return bool(summary.get("heldout") or summary.get("prompts"))


def headline(summary: Mapping[str, Any]) -> Headline:
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
        title = summary.get("headline") or title_of(summary["verdict"], NOT_SHOWN, None)
        tone = TONES.get(summary["verdict"], "neutral")
        reason = summary.get("verdict_reason") or ""
    model = summary.get("base_model") or {}
    name = str(model.get("name") or "\u2013")
    if model.get("matches_plan") is False:
        name += f", standing in for {model.get('planned_name') or 'the planned model'}"
    facts = [
        ("Run", summary["run"]),
        ("Status", STATUS_WORDS.get(status, status.lower()).removeprefix("was ")),
        ("Base model", name),
        ("Domain", summary.get("domain") or "\u2013"),
        ("Started", moment(summary.get("started_at"))),
    ]
    return Headline(
        "Captune \u00b7 before and after fine-tuning",
        title,
        tone,
        reason,
        _key_figures(summary, results),
        tuple(facts),
    )


def _key_figures(summary: Mapping[str, Any], results: bool) -> tuple[tuple[str, str, str], ...]:
    """(name, figure, what surrounds it) for the strip under the verdict."""
    figures = []
    block = summary.get("heldout") or {}
    by_others = (summary.get("outside") or {}).get("difference")
    if block.get("difference"):
        change, ratio = block["difference"], block["perplexity_ratio"]
        figures.append(("Held-out loss", _value(change), f"nats per token, {_range(change)}"))
        if not by_others:
            # The same change once more: it gives way where there is another text to show.
            figures.append(("Perplexity, tuned / base", _value(ratio, signed=False), _range(ratio, signed=False)))
    if by_others:
        figures.append(("Loss on text by others", _value(by_others), f"nats per token, {_range(by_others)}"))
    beyond = (summary.get("beyond_control") or {}).get("difference")
    if beyond:
        figures.append(("Beyond control text", _value(beyond), f"nats per token, {_range(beyond)}"))
    measure = ((summary.get("recall") or {}).get("knowledge") or {}).get("all")
    if measure:
        base, tuned = measure["base"], measure["tuned"]
        figures.append(("Key facts stated", share(tuned), f"before {share(base)}, {measure['prompts']} prompts"))
    costs = summary.get("cost") or {}
    if costs.get("actual_cents") is not None:
        figures.append(("Cost", money(costs["actual_cents"]), f"of {money(costs.get('reserved_cents'))} reserved"))
    elif costs.get("reserved_cents") is not None:
        figures.append(("Cost", "not settled", f"at most {money(costs['reserved_cents'])}, as reserved"))
    elif not results:
        figures.append(("Cost", "not recorded", "no reservation is known"))
    seconds = elapsed_seconds(summary.get("seconds_by_state") or {})
    if seconds and not results:
        figures.append(("Time", duration(seconds), "from first to last state"))
    return tuple(figures)


def _range(figure: Mapping[str, Any], *, signed: bool = True) -> str:
    return "no interval" if figure["low"] is None else range_text(figure, signed=signed)


def _value(figure: Mapping[str, Any], *, signed: bool = True) -> str:
    return number(figure["estimate"], decimals_for(figure["standard_error"]), signed=signed)


def sections(summary: Mapping[str, Any]) -> list[Section]:
    """Everything below the headline, in the order of its importance."""
    parts: list[Section | None] = [_failure(summary)]
    if has_results(summary):
        parts += [
            _meaning(summary), heldout(summary), outside(summary), recall(summary), forgetting(summary), memorisation(summary),
            training(summary), _answers(summary),
        ]  # fmt: skip
    parts += [
        cost(summary),
        configuration(summary),
        reproduce(summary),
        limits(summary, has_results(summary)),
    ]
    return [part for part in parts if part and part.blocks]


def _failure(summary: Mapping[str, Any]) -> Section | None:
    # A run that succeeded has an error only where its report was damaged afterwards.
    if summary["status"] not in FAILED and not summary.get("error"):
        return None
    error, cause = summary.get("error"), summary.get("cause")
    blocks: list[Block] = [Notice(error or summary["status"], cause or "No cause was recorded.", "bad")]
    blocks.append(Para(f"What to do next: {advice(error or summary['status'])}"))
    if summary.get("console_url"):
        blocks.append(Code(summary["console_url"], "The execution in the console"))
    return Section("failure", "What happened", blocks)


def _meaning(summary: Mapping[str, Any]) -> Section:
    blocks: list[Block] = []
    model = summary.get("base_model") or {}
    if model.get("matches_plan") is False:
        planned = model.get("planned_name") or "the planned model"
        blocks.append(
            Notice(
                f"These weights are not {planned}",
                f"{model.get('name')} ({number(model.get('parameters'), 0)} parameters) was trained in its place. "
                f"Every figure below is about that model and says nothing about {planned}.",
                "warn",
            )
        )
    blocks += [Notice(title, text, "warn") for title, text in notes(summary)]
    if summary.get("says"):
        blocks.append(Para(summary["says"]))
    blocks.append(
        Para(f"Second line, key-fact recall: {summary['recall_verdict']}. {summary['recall_reason']}", "strong")
    )
    blocks.append(Para("What this does not say", "subhead"))
    blocks.append(Bullets(tuple(summary["does_not_say"])))
    blocks.append(Para(summary["rule"], "small"))
    blocks.append(Para(summary["recall_rule"], "small"))
    return Section("meaning", "What the verdict says, and what it does not", blocks)


def differing(prompts: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """On how many prompts the greedy answers of the two models differ, and how many both have answered."""
    pairs = [
        (row["base"]["greedy"]["text"], row["tuned"]["greedy"]["text"])
        for row in prompts
        if row["base"] and row["tuned"]
    ]
    return sum(base != tuned for base, tuned in pairs), len(pairs)


def _answers(summary: Mapping[str, Any]) -> Section | None:
    prompts = summary.get("prompts") or []
    if not prompts:
        return None
    decoding = (summary.get("configuration") or {}).get("decoding") or {}
    copies = (summary.get("memorisation") or {}).get("copies") or {}
    words = copies.get("notable_words", 8)
    text = (
        "Every prompt went to both models on one endpoint, with the same settings and the same seeds. Nothing was "
        "selected. Key facts found are marked; missing ones are listed. "
    )
    different, both = differing(prompts)
    if both:
        text += f"The greedy answers of the two models differ on {different} of {plural(both, 'prompt')}. "
    if copies:
        text += (
            f"The longest run that an answer shares with the corpus is underlined, if it has {words} words or more. "
        )
    if decoding.get("max_tokens"):
        text += f"Answers end after {decoding['max_tokens']} tokens, often in the middle of a sentence."
    blocks: list[Block] = [Para(text.strip())]
    known = [*KINDS, *sorted({row["kind"] for row in prompts} - set(KINDS))]
    for kind in known:
        rows = tuple(row for row in prompts if row["kind"] == kind)
        if rows:
            blocks.append(AnswerList(f"{kind_name(kind)} ({len(rows)})", rows, words))
    return Section("answers", "All answers, side by side", blocks)
