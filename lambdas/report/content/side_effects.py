"""The sections on side effects: what was forgotten, and what was memorised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from report.charts.answers import copied_runs
from report.charts.losses import Row, forest
from report.content.blocks import Para, Section, figure
from report.content.circumstances import is_of_records, is_smoke
from report.content.losses import NATS, document_table, loss_table, usable
from report.findings.verdict import side_of_zero
from report.formatting import change_text, format_p, interval_text, plural
from report.summary_types import Summary, known

NATS_EACH = "nats per token"


def forgetting(summary: Summary) -> Section:
    """Loss on unrelated text and recall of general knowledge."""
    block, section = summary.get("control"), Section("forgetting", "What was forgotten")
    if block and usable(block):
        section.blocks.append(Para(_forgetting_words(block, known(summary.get("heldout")), is_smoke(summary))))
        section.blocks.append(loss_table(block, "Control text on unrelated subjects, base against tuned"))
        section.blocks.append(document_table(block, "Control documents, loss in nats per token"))
    else:
        section.blocks.append(Para("No control text was measured, so forgetting of other subjects is not known."))
    measure = known(known(summary.get("recall")).get("control")).get("all")
    if measure:
        points = {key: None if value is None else 100 * value for key, value in measure["difference"].items()}
        section.blocks.append(
            Para(
                f"Recall on {plural(measure['prompts'], 'general-knowledge prompt')} changed by "
                f"{interval_text(points, 'percentage points')}, {format_p(measure['p_value'])}."
            )
        )
    return section


def _forgetting_words(block: Mapping[str, Any], heldout: Mapping[str, Any], smoke: bool) -> str:
    """What the change on control text shows, by what counts as a change in the verdict; of a smoke run nothing."""
    change, p_value = block["difference"], block.get("p_value")
    figures = interval_text(change, NATS_EACH)
    if change["low"] is None:
        return f"The loss on control text changed by {figures}; too few documents for an interval."
    if smoke:
        return f"The loss on text about other subjects changed by {figures}."
    side = side_of_zero(change, 1.0 if p_value is None else p_value)
    if side > 0:
        return (
            f"Something was forgotten: the loss on text about other subjects rose by {change_text(change, NATS_EACH)}."
        )
    if side < 0:
        fell = f"The loss on text about other subjects fell by {change_text(change, NATS_EACH)}"
        gained = ((heldout.get("difference") or {}).get("high") or 0) < 0
        return f"{fell}: part of the gain on held-out documents is not the corpus's own." if gained else f"{fell}."
    return f"No forgetting is shown: the loss on text about other subjects changed by {figures}, which can be chance."


def memorisation(summary: Summary) -> Section:
    """Shown apart, never counted as improvement."""
    block = known(summary.get("memorisation"))
    text, copies = block.get("training_text"), block.get("copies")
    section = Section("memorisation", "Memorisation, shown apart", aside=True)
    section.blocks.append(
        Para(
            "A model that repeats its training text has memorised it. That is not improvement and counts for nothing above."
        )
    )
    if text and usable(text):
        section.blocks += figure(
            lambda width: forest(
                [Row("Training text", text["difference"], "memory")],
                width,
                title="Loss difference on training text",
                unit=NATS,
                better="lower loss",
                worse="higher loss",
            ),
            "Loss difference on passages of the training text itself.",
        )
        things = "records" if is_of_records(summary) else "documents"
        section.blocks.append(loss_table(text, f"{text['documents_count']} training {things}, base against tuned"))
    if copies:
        base, tuned = copies["base"], copies["tuned"]
        section.blocks.append(
            Para(
                f"Longest run copied word for word: base {base['longest_words']} words, tuned {tuned['longest_words']}. "
                f"Answers with {copies['notable_words']} words in a row from the corpus: base {base['notable_answers']} "
                f"of {base['answers']}, tuned {tuned['notable_answers']} of {tuned['answers']}. The longest run per prompt "
                f"changed by {interval_text(copies['difference'], 'words')} on average, {format_p(copies['p_value'])}."
            )
        )
        section.blocks += figure(
            lambda width: copied_runs(summary.get("prompts") or [], width),
            "Answers by the longest run of words that stands in the corpus.",
        )
    if len(section.blocks) == 1:
        section.blocks.append(Para("Neither the loss on training text nor copied runs were measured."))
    return section
