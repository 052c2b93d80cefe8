"""The section on further seeds: what each gave, whether they agree, and how far apart they lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from report.charts.losses import Row, forest
from report.content.blocks import Notice, Para, Section, Table, figure, rows_of
from report.formatting import NONE, decimals_beside_zero, interval_text, number, plural
from report.summary_types import Seeds, SeedSpread, Summary

HEAD = ("Seed", "Held-out difference", "Outside", "Control")
CAPTION = "Loss differences by seed, tuned minus base, in nats per token"


def seeds(summary: Summary) -> Section | None:
    """Every seed beside the first; None for a run with one seed."""
    block = summary.get("seeds")
    if not block:
        return None
    section = Section("seeds", "How much hangs on the seed")
    first = block["results"][0]["seed"]
    again = (
        " The same training from the same base model was made again with the other seeds below, which change the adapter's first "
        "weights and the order of the texts and nothing else."
    )
    section.blocks.append(
        Para(
            f"Seed {first} made the adapter that is served, and the verdict is its own.{again if len(block['results']) > 1 else ''}"
        )
    )
    section.blocks += [Para(text) for text in agreement(block)]
    if left := left_out(block):
        section.blocks.append(Notice("Seeds that were left out", " ".join(left), "warn"))
    measured = [(one["seed"], one["heldout"]) for one in block["results"] if one["heldout"]]
    if len(measured) > 1:
        rows = [Row(f"Seed {seed}", change, "tuned") for seed, change in measured]
        section.blocks += figure(
            lambda width: forest(
                rows,
                width,
                title="Held-out loss difference of each seed",
                unit="nats per token, tuned minus base",
                better="tuned better",
                worse="tuned worse",
            ),
            "Held-out loss difference of each seed with its 95 % interval over documents.",
        )
    section.blocks.append(Table(CAPTION, HEAD, rows_of(*cells(block))))
    return section


def cells(block: Seeds) -> list[tuple[str, ...]]:
    """(seed, held-out, outside, control), each difference with its 95 % interval over documents; the first seed first."""
    return [
        (
            f"{one['seed']}{' (served)' if place == 0 else ''}",
            *(interval_text(change) if change else NONE for change in (one["heldout"], one["outside"], one["control"])),
        )
        for place, one in enumerate(block["results"])
    ]


def agreement(block: Seeds) -> list[str]:
    """A sentence for each text that the verdict asks for: whether all seeds agree on the sign, and their spread beside the interval."""
    spreads, first = block["spread"], block["results"][0]
    of_texts = (
        ("held-out text", spreads["heldout"], first["heldout"]),
        ("outside text", spreads["outside"], first["outside"]),
    )
    found = [_sentence(name, spread, change) for name, spread, change in of_texts if spread]
    if not found:
        found.append("No other seed came to its end, so nothing is known of how much hangs on it.")
    return found


def _sentence(name: str, spread: SeedSpread, first: Any) -> str:
    places = decimals_beside_zero(3, spread["lowest"], spread["highest"])
    count, low, high = (
        plural(spread["seeds"], "seed"),
        number(spread["lowest"], places, signed=True),
        number(spread["highest"], places, signed=True),
    )
    range_ = f"from {low} to {high} nats per token, standard deviation {number(spread['standard_deviation'])}"
    if spread["agree"]:
        said = f"{'Both seeds' if spread['seeds'] == 2 else f'All {count}'} {'lower' if spread['highest'] < 0 else 'raise'} the loss on {name}: {range_}."
    else:
        said = f"The {count} do not agree on whether the loss on {name} falls or rises: {range_}. The verdict hangs on the seed."
    width = _width(first)
    return said if width is None else f"{said} The interval over documents of the first is {number(width)} wide."


def _width(change: Mapping[str, Any] | None) -> float | None:
    if not change or change.get("low") is None or change.get("high") is None:
        return None
    return float(change["high"]) - float(change["low"])


def left_out(block: Seeds) -> list[str]:
    """A sentence for each seed without a result."""
    return [f"Seed {one['seed']}: {one['why'].rstrip('.')}." for one in block["left_out"]]


def ended(summary: Summary) -> int:
    """How many seeds came to their end, the first included."""
    block = summary.get("seeds")
    return len(block["results"]) if block else 1


def disagreement(summary: Summary) -> str:
    """The sentences of `agreement` where a text's loss falls with one seed and rises with another; empty where all agree."""
    block = summary.get("seeds")
    if not block or all(
        spread is None or spread["agree"] for spread in (block["spread"]["heldout"], block["spread"]["outside"])
    ):
        return ""
    return " ".join(agreement(block))


def covered(summary: Summary) -> str:
    """What the figures say of the choice of seed, for the limits."""
    count = ended(summary)
    if count == 1:
        return "One training run with one seed. The intervals cover the choice of documents and prompts, not the choice of seed."
    return (
        f"The verdict and all answers are those of one seed. The intervals cover the choice of documents and prompts; how far {count} seeds "
        "differ is shown apart, above, and few seeds tell little of all the others."
    )
