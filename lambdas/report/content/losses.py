"""The section on held-out loss, and how the losses of any text are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from report.charts.losses import Row, documents, forest
from report.content.blocks import Block, Notice, Para, Section, Table, figure, rows_of
from report.findings.gains import SHUFFLES
from report.findings.intervals import DRAW_LIMIT, RESAMPLES
from report.findings.verdict import WORSE_OUTSIDE
from report.formatting import format_p, interval_text, number, plural, range_text, with_error
from report.summary_types import Summary, known

NATS = "nats per token, tuned minus base"


def usable(block: Mapping[str, Any] | None) -> bool:
    """Whether a block of losses has figures."""
    return bool(block and block.get("documents_count"))


def loss_cells(block: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """(measure, base, tuned, tuned against base, 95 % interval) in nats, as perplexity and in bits per byte."""
    ratio, bits = block["perplexity_ratio"], block.get("bits_per_byte")
    cells: list[tuple[str, ...]] = [
        (
            "Loss, nats per token",
            with_error(block["base_loss"], block["base_loss_standard_error"]),
            with_error(block["tuned_loss"], block["tuned_loss_standard_error"]),
            *estimate_and_range(block["difference"]),
        ),
        (
            "Perplexity",
            _plus_minus(block["base_perplexity"]),
            _plus_minus(block["tuned_perplexity"]),
            f"\u00d7 {_plus_minus(ratio)}",
            range_text(ratio, signed=False),
        ),
    ]
    if bits:
        figures = (_plus_minus(bits["base"]), _plus_minus(bits["tuned"]))
        cells.append(("Bits per byte", *figures, *estimate_and_range(bits["difference"])))
    return cells


def loss_table(block: Mapping[str, Any], caption: str) -> Table:
    """Base, tuned and difference in three units, each with its standard error, the difference with its interval."""
    head = ("Measure", "Base", "Tuned", "Tuned against base", "95 % interval")
    return Table(caption, head, rows_of(*loss_cells(block)))


def estimate_and_range(estimate: Mapping[str, Any]) -> tuple[str, str]:
    """A figure with its standard error, and its 95 % interval."""
    return with_error(estimate["estimate"], estimate["standard_error"], signed=True), range_text(estimate)


def _plus_minus(estimate: Mapping[str, Any]) -> str:
    return with_error(estimate["estimate"], estimate["standard_error"])


def heldout(summary: Summary) -> Section:
    """The figure that the verdict rests on."""
    block, outside = summary.get("heldout"), summary.get("outside")
    section = Section("heldout", "Loss on held-out documents")
    if not block or not usable(block):
        section.blocks.append(Notice("Not measured", summary.get("verdict_reason") or "No held-out loss.", "warn"))
        return section
    section.blocks.append(
        Para(
            f"{plural(block['documents_count'], 'document')} that the model was not trained on, "
            f"{number(block['tokens'], 0)} tokens. Both models were scored by the same code on the same tokens, so each document "
            "is compared with itself."
        )
    )
    rows = [_row("Held-out text", block)]
    if outside is not None:
        # What has decided comes first, for whoever reads one line of the chart.
        rows.insert(0 if summary["verdict"] == WORSE_OUTSIDE else 1, _row("Outside text", outside))
    control = summary.get("control")
    if control and usable(control):
        rows.append(Row("Control text", control["difference"], "base"))
    beyond = summary.get("beyond_control")
    if beyond:
        rows.append(Row("Held-out minus control", beyond["difference"], "tuned"))
    section.blocks += figure(
        lambda width: forest(
            rows,
            width,
            title="Loss difference with 95 % intervals",
            unit=NATS,
            better="tuned better",
            worse="tuned worse",
        ),
        _rests_on(bool(beyond), outside is not None, usable(outside)),
    )
    section.blocks.append(
        loss_table(
            block,
            "Held-out text, base against tuned: standard errors (±) and 95 % intervals clustered by document",
        )
    )
    method = "every sign pattern counted" if block["p_method"] == "exact" else "10,000 random sign patterns"
    resamples = number(summary.get("resamples"), 0)
    section.blocks.append(
        Para(
            f"Sign-flip test: {format_p(block['p_value'])}, two-sided, {method}. Intervals: studentised bootstrap over "
            f"documents, {resamples} resamples (fewer for more than {DRAW_LIMIT // RESAMPLES} documents), seeded.",
            "small",
        )
    )
    if beyond:
        section.blocks.append(
            Para(
                f"Held-out minus control: {interval_text(beyond['difference'], 'nats per token')}, "
                f"{format_p(beyond['p_value'])}, two-sided, {beyond['heldout_documents']} documents against "
                f"{beyond['control_documents']}, shuffled {SHUFFLES:,} times. Below zero, the model gained more on documents like "
                "those of the corpus than on other subjects.",
                "small",
            )
        )
    section.blocks += each_document(block, "held-out document", "Held-out documents")
    return section


def _row(name: str, block: Mapping[str, Any]) -> Row:
    """A line of the first chart: in the colour of harm where the whole interval is, and empty where nothing was measured."""
    change = known(block.get("difference"))
    return Row(name, change, "bad" if (change.get("low") or 0) > 0 else "tuned")


def each_document(block: Mapping[str, Any], one: str, caption: str) -> list[Block]:
    """A dot for every document, and its losses in a table. `one` names a document in the figure's caption."""
    dots = figure(
        lambda width: documents(block, width, one),
        f"Each dot is one {one}: {block['lower_documents']} of {block['documents_count']} have a lower loss after "
        "fine-tuning. The band is the 95 % interval of the mean.",
    )
    return [*dots, document_table(block, f"{caption}, loss in nats per token")]


def _rests_on(beyond: bool, outside: bool, measured: bool) -> str:
    """The caption: which of the figures decide, and which that is asked for is not among them."""
    further = ", on how much further it went than the control text" if beyond else ""
    others = ", and on the outside text" if outside else ""
    missing = "" if measured == outside else " No loss of the outside text came back."
    return f"Loss difference with 95 % interval. The verdict rests on the held-out text{further}{others}.{missing}"


def document_table(block: Mapping[str, Any], caption: str) -> Table:
    """Every document's losses, for those who want them."""
    rows = (
        (
            row["title"],
            number(row["tokens"], 0),
            number(row["base_loss"], 3),
            number(row["tuned_loss"], 3),
            number(row["difference"], 3, signed=True),
        )
        for row in block["documents"]
    )
    return Table(caption, ("Document", "Tokens", "Base", "Tuned", "Difference"), rows_of(*rows), folded=True)
