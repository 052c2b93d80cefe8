"""The section on key facts, the second line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.text.prompt_kinds import kind_name
from report.charts.answers import recall as recall_chart
from report.content.blocks import Notice, Para, Section, Table, figure, rows_of
from report.content.losses import estimate_and_range
from report.formatting import format_p, plural, share
from report.summary_types import Summary, known

RECALL_HEAD = ("Measure", "Prompts", "Base", "Tuned", "Points", "95 % interval", "Sign-flip")


def _recall_row(name: str, measure: Mapping[str, Any]) -> tuple[str, ...]:
    points = {key: None if value is None else 100 * value for key, value in measure["difference"].items()}
    return (
        name,
        str(measure["prompts"]),
        share(measure["base"]),
        share(measure["tuned"]),
        *estimate_and_range(points),
        format_p(measure["p_value"]),
    )


def clustering(measure: Mapping[str, Any]) -> str:
    """How the interval was made, for the caption: over prompts, or over clusters of prompts where some ask the same fact."""
    prompts, clusters = measure["prompts"], measure.get("clusters", measure["prompts"])
    if clusters == prompts:
        return "95 % intervals clustered by prompt"
    return f"95 % intervals over {clusters} clusters: prompts that ask the same fact are one"


def _why_not(summary: Summary) -> str:
    """Why nothing can be said of key facts."""
    if not any(row["facts"] for row in summary.get("prompts") or []):
        return "No prompt of this run has key facts to look for, so recall is not reported."
    if known(known(summary.get("recall")).get("control")).get("all"):
        return "Only prompts of general knowledge have key facts here, so recall of the corpus's own is not reported."
    return "No prompt with key facts was answered by both models, so recall is not reported."


def recall(summary: Summary) -> Section:
    """Key facts stated, the second line."""
    block = summary.get("recall")
    section = Section("recall", "Key facts stated in the answers")
    if not block or not block["knowledge"]["all"]:
        section.blocks.append(Notice("Not measured", _why_not(summary)))
        return section
    section.blocks.append(
        Para(
            f"{summary['recall_reason']} A fact counts when the answer states it in one of its accepted spellings. That "
            "is a test of words, not of truth: an answer can state a fact and be wrong around it."
        )
    )
    section.blocks += figure(
        lambda width: recall_chart(block["by_kind"], width),
        "Key-fact recall by kind of prompt: ring base, disc tuned."
        + (" General knowledge is there to see what training did not teach." if known(block["control"])["all"] else ""),
    )
    names = {
        "all": "All answers (the declared line)",
        "greedy": "Greedy answer",
        "sampled": "Mean over samples",
    }
    knowledge = known(block["knowledge"])
    rows = [_recall_row(name, knowledge[key]) for key, name in names.items() if knowledge[key]]
    section.blocks.append(
        Table(
            f"Recall over all knowledge prompts, {clustering(block['knowledge']['all'])}",
            RECALL_HEAD,
            rows_of(*rows),
        )
    )
    kinds = [_recall_row(kind_name(row["kind"]), known(row["all"])) for row in block["by_kind"]]
    section.blocks.append(
        Table(
            "Recall by kind of prompt, all answers; described here, not judged",
            ("Kind", *RECALL_HEAD[1:]),
            rows_of(*kinds),
        )
    )
    if block["missing_prompts"]:
        text = f"Prompts without an answer from both models: {', '.join(block['missing_prompts'])}."
        section.blocks.append(Notice("Incomplete", text, "warn"))
    if block["facts_given_away"]:
        text = f"Not counted: {plural(block['facts_given_away'], 'key fact')} that their own prompts give away."
        section.blocks.append(Para(text, "small"))
    return section
