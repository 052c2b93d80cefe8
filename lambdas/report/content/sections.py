"""The report in words: the sections of a summary, the same for the page and the PDF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from common.errors import advice
from common.text.prompt_kinds import KINDS, kind_name
from report.content.blocks import AnswerList, Block, Bullets, Code, Notice, Para, Section
from report.content.circumstances import notes
from report.content.headline import FAILED, has_results
from report.content.losses import heldout
from report.content.outside_text import outside
from report.content.recall import recall
from report.content.run import configuration, cost, limits, reproduce, training
from report.content.side_effects import forgetting, memorisation
from report.formatting import number, plural
from report.summary_types import Summary, known


def sections(summary: Summary) -> list[Section]:
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


def _failure(summary: Summary) -> Section | None:
    # A run that succeeded has an error only where its report was damaged afterwards.
    if summary["status"] not in FAILED and not summary.get("error"):
        return None
    error, cause = summary.get("error"), summary.get("cause")
    blocks: list[Block] = [Notice(error or summary["status"], cause or "No cause was recorded.", "bad")]
    blocks.append(Para(f"What to do next: {advice(error or summary['status'])}"))
    if console_url := summary.get("console_url"):
        blocks.append(Code(console_url, "The execution in the console"))
    return Section("failure", "What happened", blocks)


def _meaning(summary: Summary) -> Section:
    blocks: list[Block] = []
    model = known(summary.get("base_model"))
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


def _answers(summary: Summary) -> Section | None:
    prompts = summary.get("prompts") or []
    if not prompts:
        return None
    decoding = known(summary.get("configuration")).get("decoding") or {}
    copies = known(summary.get("memorisation")).get("copies") or {}
    words = copies.get("notable_words", 8)
    text = "Every prompt went to both models on one endpoint, with the same settings and the same seeds. Nothing was selected. "
    if any(row["facts"] for row in prompts):
        text += "Key facts found are marked; missing ones are listed. "
    different, both = differing(prompts)
    if both:
        text += f"The greedy answers of the two models differ on {different} of {plural(both, 'prompt')}. "
    if copies:
        text += (
            f"The longest run that an answer shares with the corpus is underlined, if it has {words} words or more. "
        )
    if decoding.get("max_tokens"):
        text += f"Answers end after {decoding['max_tokens']} tokens, often in the middle of a sentence."
    if any(row.get("reference") for row in prompts):
        text += " Above the answers to a held-out record stands its own."
    blocks: list[Block] = [Para(text.strip())]
    kinds = [*KINDS, *sorted({row["kind"] for row in prompts} - set(KINDS))]
    for kind in kinds:
        rows = tuple(row for row in prompts if row["kind"] == kind)
        if rows:
            blocks.append(AnswerList(f"{kind_name(kind)} ({len(rows)})", rows, words))
    return Section("answers", "All answers, side by side", blocks)
