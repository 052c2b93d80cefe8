"""How the figures of a summary stand in the tables and sentences of page, PDF and model card."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from common.text import kind_name
from report.content.circumstances import instance, instances, is_smoke
from report.findings.verdict import WORSE_OUTSIDE, side_of_zero
from report.formatting import (
    change_text,
    duration,
    format_p,
    interval_text,
    money,
    number,
    range_text,
    rate,
    share,
    whole,
    with_error,
)  # fmt: skip
from report.summary_types import Summary, known, usable

Cells = list[tuple[str, ...]]
Block = Mapping[str, Any]
ONE_SEED = (
    "One training run with one seed. The intervals cover the choice of documents and prompts, not the choice of seed."
)
# The state whose branches run at the same time.
SIDE_BY_SIDE, BRANCHES = "AskBothModels", ("AskBaseModel", "AskFineTunedModel")
ANSWERS = {"all": "All answers (the declared line)", "greedy": "Greedy answer", "sampled": "Mean over samples"}


def points(figure: Block) -> dict[str, float | None]:
    """A figure between 0 and 1 in percentage points."""
    return {key: None if value is None else 100 * value for key, value in figure.items()}


def _estimate(figure: Block, *, signed: bool = False) -> str:
    return with_error(figure["estimate"], figure["standard_error"], signed=signed)


def loss_cells(block: Block) -> Cells:
    """(measure, base, tuned, tuned against base, 95 % interval) in nats, as perplexity and in bits per byte."""
    ratio, bits = block["perplexity_ratio"], block.get("bits_per_byte")
    base, tuned = (
        with_error(block[f"{side}_loss"], block[f"{side}_loss_standard_error"]) for side in ("base", "tuned")
    )
    change = block["difference"]
    cells: Cells = [
        ("Loss, nats per token", base, tuned, _estimate(change, signed=True), range_text(change)),
        (
            "Perplexity",
            _estimate(block["base_perplexity"]),
            _estimate(block["tuned_perplexity"]),
            f"\u00d7 {_estimate(ratio)}",
            range_text(ratio, signed=False),
        ),
    ]
    if bits:
        change = bits["difference"]
        sides = (_estimate(bits["base"]), _estimate(bits["tuned"]))
        cells.append(("Bits per byte", *sides, _estimate(change, signed=True), range_text(change)))
    return cells


def document_cells(block: Block) -> Cells:
    """Every document with its tokens, its losses and their difference."""
    return [
        (
            row["title"],
            number(row["tokens"], 0),
            number(row["base_loss"], 3),
            number(row["tuned_loss"], 3),
            number(row["difference"], 3, signed=True),
        )
        for row in block["documents"]
    ]


def loss_rows(summary: Summary) -> list[tuple[str, Block, str]]:
    """(text, change, style) for the first chart: what has decided comes first, and what is harm has the colour of harm."""

    def row(name: str, block: Block) -> tuple[str, Block, str]:
        change = known(block.get("difference"))
        return name, change, "bad" if (change.get("low") or 0) > 0 else "tuned"

    rows = [row("Held-out text", known(summary["heldout"]))]
    outside, control, beyond = (summary.get("outside"), summary.get("control"), summary.get("beyond_control"))
    if outside is not None:
        rows.insert(0 if summary["verdict"] == WORSE_OUTSIDE else 1, row("Outside text", outside))
    if control and usable(control):
        rows.append(("Control text", control["difference"], "base"))
    if beyond:
        rows.append(("Held-out minus control", beyond["difference"], "tuned"))
    return rows


def rests_on(summary: Summary) -> str:
    """The first chart's caption: which of the figures decide, and which that is asked for is not among them."""
    outside = summary.get("outside")
    further = ", on how much further it went than the control text" if summary.get("beyond_control") else ""
    others = "" if outside is None else ", and on the outside text"
    missing = "" if outside is None or usable(outside) else " No loss of the outside text came back."
    return f"Loss difference with 95 % interval. The verdict rests on the held-out text{further}{others}.{missing}"


def forgetting(summary: Summary) -> str:
    """What the change on control text shows, by what counts as a change in the verdict; of a smoke run nothing."""
    block = known(summary["control"])
    change, p_value = block["difference"], block.get("p_value")
    figures = interval_text(change, "nats per token")
    if change["low"] is None:
        return f"The loss on control text changed by {figures}; too few documents for an interval."
    if is_smoke(summary):
        return f"The loss on text about other subjects changed by {figures}."
    side, size = side_of_zero(change, 1.0 if p_value is None else p_value), change_text(change, "nats per token")
    if side > 0:
        return f"Something was forgotten: the loss on text about other subjects rose by {size}."
    if side < 0:
        gained = (known(known(summary.get("heldout")).get("difference")).get("high") or 0) < 0
        share_of_gain = ": part of the gain on held-out documents is not the corpus's own" if gained else ""
        return f"The loss on text about other subjects fell by {size}{share_of_gain}."
    return f"No forgetting is shown: the loss on text about other subjects changed by {figures}, which can be chance."


def _recall_row(name: str, measure: Block) -> tuple[str, ...]:
    change = points(measure["difference"])
    sides = (share(measure["base"]), share(measure["tuned"]))
    p_value = format_p(measure["p_value"])
    return name, str(measure["prompts"]), *sides, _estimate(change, signed=True), range_text(change), p_value


def recall_cells(measures: Block) -> Cells:
    """Recall by the greedy answer, by the samples and by all: measure, prompts, base, tuned, points, 95 % interval, p."""
    return [_recall_row(name, measures[key]) for key, name in ANSWERS.items() if measures[key]]


def recall_cells_by_kind(block: Block) -> Cells:
    """The same over all answers for each kind of prompt."""
    return [_recall_row(kind_name(row["kind"]), row["all"]) for row in block["by_kind"]]


def clustering(measure: Block) -> str:
    """How the interval was made: over prompts, or over clusters of prompts where some ask the same fact."""
    prompts, clusters = measure["prompts"], measure.get("clusters", measure["prompts"])
    if clusters == prompts:
        return "95 % intervals clustered by prompt"
    return f"95 % intervals over {clusters} clusters: prompts that ask the same fact are one"


def no_recall(summary: Summary) -> str:
    """Why nothing can be said of key facts."""
    if not any(row["facts"] for row in summary.get("prompts") or []):
        return "No prompt of this run has key facts to look for, so recall is not reported."
    if known(known(summary.get("recall")).get("control")).get("all"):
        return "Only prompts of general knowledge have key facts here, so recall of the corpus's own is not reported."
    return "No prompt with key facts was answered by both models, so recall is not reported."


def greedy_answers(prompts: Sequence[Block]) -> tuple[int, int]:
    """On how many prompts the greedy answers of the two models differ, and how many both have answered."""
    pairs = [
        (row["base"]["greedy"]["text"], row["tuned"]["greedy"]["text"])
        for row in prompts
        if row["base"] and row["tuned"]
    ]
    return sum(base != tuned for base, tuned in pairs), len(pairs)


def prices(summary: Summary) -> str:
    """How the amounts were made of seconds and prices."""
    settings, parts = known(summary.get("configuration")), []
    for use, key in (("training", "training"), ("endpoint", "hosting")):
        cents, kind = settings.get(f"{key}_hourly_cents"), settings.get(f"{key}_instance_type")
        if cents is not None and kind:
            count = instances(summary, key)
            many, each = (f"{count} ", " each") if count > 1 else ("", "")
            parts.append(f"{many}{kind} for the {use} at {rate(cents)} an hour{each}")
    made = f"Amounts are billed seconds times list price: {', '.join(parts)}." if parts else ""
    source = f"Prices: {settings['price_source']}." if settings.get("price_source") else ""
    return f"{made} {source}".strip()


def expected_cells(summary: Summary) -> Cells:
    """What the plan expected beside what was measured; nothing of learning where an earlier run has learned."""
    settings = known(summary.get("configuration"))
    expected = settings.get("expected")
    if not expected:
        return []
    measured, actual = known(summary.get("training")), known(summary.get("cost")).get("actual_cents")
    rows: list[tuple[str, Any, Any, Callable[[Any], str]]] = [
        ("Cost, all together", expected.get("cents"), actual, money)
    ]
    if not settings.get("adapter_uri"):
        rows += [
            ("Tokens learned", expected.get("tokens"), measured.get("tokens_seen"), whole),
            ("Learning", expected.get("learning_seconds"), measured.get("seconds"), duration),
        ]
    return [(name, "not known" if plan is None else write(plan), write(got)) for name, plan, got, write in rows]


def state_cells(summary: Summary) -> Cells:
    """Every state and the time in it."""
    return [(name, duration(seconds)) for name, seconds in summary["seconds_by_state"].items()]


def elapsed_seconds(seconds_by_state: Mapping[str, float]) -> float:
    """Seconds from the first to the last state: what ran side by side counts once."""
    alone = sum(seconds for name, seconds in seconds_by_state.items() if name not in (SIDE_BY_SIDE, *BRANCHES))
    return alone + seconds_by_state.get(SIDE_BY_SIDE, max(seconds_by_state.get(name, 0.0) for name in BRANCHES))


def configuration_facts(summary: Summary) -> list[tuple[str, str]]:
    """The model, the place and the machines of a run."""
    settings, model = known(summary.get("configuration")), known(summary.get("base_model"))
    size, trained, longest = (
        model.get("parameters"),
        model.get("trainable_parameters"),
        settings.get("max_training_seconds"),
    )
    share_of_all = f", {number(100 * trained / size, 2)} %" if trained and size else ""
    named = (
        ("Base model", model.get("name")),
        ("Parameters", whole(size) if size else None),
        ("Trained (LoRA)", f"{whole(trained)}{share_of_all}" if trained else None),
        ("Precision in training", model.get("dtype")),
        ("Quantization", model.get("quantization")),
        ("Region", summary.get("region")),
        ("Weights", settings.get("base_model_source")),
        ("Adapter", settings.get("adapter_uri") or settings.get("trained_adapter_uri")),
        ("Training instance", instance(summary, "training")),
        ("Endpoint instance", instance(summary, "hosting")),
        ("Longest training", duration(longest) if longest else None),
    )
    return [(name, str(value)) for name, value in named if value]


def setting_cells(settings: Mapping[str, Any] | None) -> Cells:
    """Names and values of settings, as a reader wants them."""

    def plain(value: Any) -> str:
        if isinstance(value, float):
            return f"{value:.6g}"
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

    return [(name.replace("_", " "), plain(value)) for name, value in (settings or {}).items() if value is not None]


def start_command(summary: Summary) -> str:
    """The command that starts the same run again; empty for a run whose input is not known."""
    given = known(summary.get("configuration")).get("input")
    arn = re.sub(r":execution:([^:]+):[^:]+$", r":stateMachine:\1", str(summary.get("execution_arn") or ""))
    if not arn or given is None:  # the input of a run that was refused before its plan was written is not known
        return ""
    words = ["aws stepfunctions start-execution", f"--state-machine-arn {shlex.quote(arn)}"]
    if summary.get("region"):
        words.append(f"--region {shlex.quote(str(summary['region']))}")
    words.append(f"--input {shlex.quote(json.dumps(given, sort_keys=True))}")
    return " \\\n    ".join(words)
