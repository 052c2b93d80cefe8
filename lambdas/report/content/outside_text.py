"""The section on outside text: what carried over to text of the field that others wrote."""

from __future__ import annotations

from report.content.blocks import Notice, Para, Section
from report.content.losses import each_document, loss_table, usable
from report.content.meaning import NO_OUTSIDE_TEXT, OUTSIDE_NOT_MEASURED
from report.formatting import format_p, number, plural
from report.summary_types import Summary, known


def outside(summary: Summary) -> Section:
    """The loss on outside text, or in so many words that none was given."""
    block = summary.get("outside")
    section = Section("outside", "Text of the field by others")
    if block is None:
        section.blocks.append(
            Notice(
                "Not measured",
                f"{NO_OUTSIDE_TEXT} A held-out document shares the corpus's manner of writing, and a model can gain on it while it "
                "gets worse at what others write. The input key heldOutside names a file of such text, which is measured and never trained on.",
                "warn",
            )
        )
        return section
    told = known(summary.get("configuration")).get("outside_text")
    if not usable(block):
        section.blocks.append(Notice("Not measured", OUTSIDE_NOT_MEASURED, "warn"))
        return section
    section.blocks.append(
        Para(
            f"{plural(block['documents_count'], 'document')} that others wrote and that the model was not trained on, "
            f"{number(block['tokens'], 0)} tokens, scored like the held-out ones. The verdict asks for a lower loss here too, and a higher "
            "one decides it alone: what only helps with the corpus's own manner of writing is no gain in the field."
        )
    )
    if told:
        section.blocks.append(Para(str(told), "small"))
    section.blocks.append(loss_table(block, "Outside text, base against tuned"))
    section.blocks.append(
        Para(f"Sign-flip test: {format_p(block['p_value'])}, two-sided. Intervals as for the held-out text.", "small")
    )
    section.blocks += each_document(block, "outside document", "Outside documents")
    return section
