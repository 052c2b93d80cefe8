"""The figures of a summary as tables and sentences of page, PDF and model card, and the base models' names on the Hub."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from report.content.circumstances import is_smoke
from report.findings.verdict import (
    EXTERNAL,
    NATS,
    POINTS,
    WORSE_OUTSIDE,
    complete,
    kinds_that_rose,
    side_of_zero,
    word_order_figures,
    words_of_rise,
)
from report.formatting import change_text, decimals_for, format_p, interval_text, number, range_text, share, with_error
from report.summary_types import Summary, has_figures, or_empty

Cells = list[tuple[str, ...]]
Block = Mapping[str, Any]
ONE_SEED = (
    "One training run with one seed. The intervals cover the choice of documents and prompts, not the choice of seed."
)
# The state whose branches run at the same time.
SIDE_BY_SIDE, BRANCHES = "AskBothModels", ("AskBaseModel", "AskFineTunedModel")
# The state that begins a phase; the first phase is preparation.
_PHASES = {
    "StartTraining": "Train", "StartSpotTraining": "Train", "CreateModel": "Deploy",
    **dict.fromkeys((SIDE_BY_SIDE, *BRANCHES), "Ask both models"), "WriteReport": "Write the report",
}  # fmt: skip


def points(figure: Block) -> dict[str, float | None]:
    """A figure between 0 and 1 in percentage points."""
    return {key: None if value is None else 100 * value for key, value in figure.items()}


def estimate(figure: Block, *, signed: bool = True) -> str:
    """A figure to the digits that its standard error supports."""
    return number(figure["estimate"], decimals_for(figure["standard_error"]), signed=signed)


def beside_error(figure: Block, *, signed: bool = False) -> str:
    """A figure with its standard error."""
    return with_error(figure["estimate"], figure["standard_error"], signed=signed)


def choice_rows(choices: Block) -> list[tuple[str, dict[str, float | None], str]]:
    """Rows of the chart of controlled choices: name, change in percentage points, style."""
    named = (
        ("With the control", "controlled", "tuned"),
        ("Without the control", "plain", "base"),
        ("The control itself", "other_prompts", "base"),
    )
    return [(name, points(choices[key]["difference"]), style) for name, key, style in named]


def loss_cells(block: Block) -> Cells:
    """(measure, base, tuned, tuned against base, 95% interval) in nats, as perplexity and in bits per byte."""

    def row(name: str, base: Block, tuned: Block, change: Block) -> tuple[str, ...]:
        sides = beside_error(base), beside_error(tuned)
        if change is block["perplexity_ratio"]:
            return name, *sides, f"\u00d7 {beside_error(change)}", range_text(change, signed=False)
        return name, *sides, beside_error(change, signed=True), range_text(change)

    base, tuned = _losses(block)
    cells = [
        row("Loss, nats per token", base, tuned, block["difference"]),
        row("Perplexity", block["base_perplexity"], block["tuned_perplexity"], block["perplexity_ratio"]),
    ]
    if bits := block.get("bits_per_byte"):
        cells.append(row("Bits per byte", bits["base"], bits["tuned"], bits["difference"]))
    return cells


def _word_order(summary: Summary, text: str) -> Block:
    """The word-order control, if it was measured on this text: `heldout` or `outside`."""
    block = or_empty(summary.get("word_order"))
    return block if has_figures(block) and block["of"] == text else {}


def shuffled_cells(summary: Summary, text: str) -> Cells:
    """The row of `loss_cells` for the same documents with their words in random order; none if that was not measured on this text."""
    block = or_empty(_word_order(summary, text).get("losses"))
    if not block:
        return []
    base, tuned, change = *map(beside_error, _losses(block)), block["difference"]
    return [("Loss, words shuffled", base, tuned, beside_error(change, signed=True), range_text(change))]


def beyond_vocabulary(summary: Summary, text: str) -> str:
    """How much further the loss fell than on shuffled words; empty if that was not measured on this text."""
    block = _word_order(summary, text)
    if not block:
        return ""
    told = word_order_figures(block, EXTERNAL if text == "outside" else "held-out text")
    return f"Word-order control: {told} Below zero, the model gained more than vocabulary."


def _losses(block: Block) -> tuple[Block, Block]:
    base, tuned = (
        {"estimate": block[f"{side}_loss"], "standard_error": block[f"{side}_loss_standard_error"]}
        for side in ("base", "tuned")
    )
    return base, tuned


def scale_cells(scale: Block) -> Cells:
    """(scale, loss, tuned against base) of each scale that was tried."""
    return [
        (f"{one['scale']:g}", number(one["loss"], 3), with_error(one["difference"], one["standard_error"], signed=True))
        for one in scale["curve"]
    ]


def kind_cells(summary: Summary, text: str = "control") -> Cells:
    """(kind, documents, base, tuned, tuned against base, 95% interval, sign-flip test) of each kind of text in a set.

    For the external test set, `text` is `outside`, and the gain beyond vocabulary follows, in percentage points of the base loss.
    """

    def order(row: Block) -> tuple[str, ...]:
        found = or_empty(row.get("word_order"))
        return (
            ()
            if text == "control"
            else (interval_text(points(found["difference"]), POINTS) if found else "not measured",)
        )

    return [
        (row["kind"], str(row["documents_count"]), *map(beside_error, _losses(row)), beside_error(row["difference"], signed=True),
         range_text(row["difference"]), format_p(row["p_value"]), *order(row))
        for row in or_empty(summary[text]).get("by_kind") or [] if has_figures(row)  # type: ignore[literal-required]
    ]  # fmt: skip


def changes(summary: Summary) -> list[tuple[str, str, str]]:
    """(name, change, note) for the top of the report, the deciding one first; a change that can be chance is "not significant"."""
    blocks = {
        "Held-out loss": (summary.get("heldout"), NATS),
        "External loss": (summary.get("outside"), NATS),
        "Beyond retention set": (summary.get("beyond_control"), NATS),
        "Beyond vocabulary": (summary.get("word_order"), f"{POINTS} of the base loss"),
        "Multiple-choice accuracy": (or_empty(summary.get("choices")).get("controlled"), POINTS),
    }
    found = []
    for name, (block, unit) in blocks.items():
        change = or_empty(or_empty(block).get("difference"))
        if not block or change.get("estimate") is None:
            continue
        judged, shown = complete(block), change if unit == NATS else points(change)
        clear = judged and side_of_zero(judged, block["p_value"])
        doubt = "not judged; " if is_smoke(summary) else "" if clear else "not significant; "
        found.append((name, estimate(shown), f"{doubt}{unit}, {range_text(shown)}"))
    return sorted(found, key=lambda one: one[0] != "External loss") if summary["verdict"] == WORSE_OUTSIDE else found


def loss_rows(summary: Summary) -> list[tuple[str, Block, str]]:
    """(text, change, style) for the first chart: the deciding change comes first, and harm has its own colour."""

    def row(name: str, block: Block) -> tuple[str, Block, str]:
        change = or_empty(block.get("difference"))
        return name, change, "bad" if (change.get("low") or 0) > 0 else "tuned"

    rows = [row("Held-out text", or_empty(summary["heldout"]))]
    outside, control, beyond = (summary.get("outside"), summary.get("control"), summary.get("beyond_control"))
    if outside is not None:
        rows.insert(0 if summary["verdict"] == WORSE_OUTSIDE else 1, row("External test set", outside))
    if control and has_figures(control):
        rows.append(("Retention set", control["difference"], "base"))
    if beyond:
        rows.append(("Held-out minus retention", beyond["difference"], "tuned"))
    return rows


def forgetting(summary: Summary) -> str:
    """Forgetting, by the change on the retention set and the verdict's own criterion; a smoke run shows none."""
    block = or_empty(summary["control"])
    change, p_value = block["difference"], block.get("p_value")
    figures = interval_text(change, "nats per token")
    if change["low"] is None:
        return f"The loss on the retention set changed by {figures}; it has too few documents for an interval."
    if is_smoke(summary):
        return f"The loss on the retention set changed by {figures}."
    side, size = side_of_zero(change, 1.0 if p_value is None else p_value), change_text(change, "nats per token")
    if side > 0:
        return f"Forgetting is shown: the loss on the retention set rose by {size}."
    if side < 0:
        gained = (or_empty(or_empty(summary.get("heldout")).get("difference")).get("high") or 0) < 0
        share_of_gain = ", so part of the gain on held-out documents is not specific to the corpus" if gained else ""
        return f"The loss on the retention set fell by {size}{share_of_gain}."
    told = f"loss on the retention set changed by {figures}, which can be chance."
    return f"The {told}" if forgotten_kinds(summary) else f"No forgetting is shown: the {told}"


def forgotten_kinds(summary: Summary) -> str:
    """The kinds of text in the retention set on which the loss rose, by the verdict's own criterion; empty for none and for a smoke run."""
    rose = kinds_that_rose(or_empty(summary["control"]))
    if not rose or is_smoke(summary):
        return ""
    return f"Forgetting is shown: {words_of_rise(rose)}."


def mismatched(summary: Summary) -> str:
    """The share of other prompts' facts in the same answers, and whether the fine-tuned model gained by naming more terms; empty if not measured."""
    block = or_empty(or_empty(summary.get("recall")).get("mismatched"))
    if not block:
        return ""
    told = f"{share(block['base'])} before and {share(block['tuned'])} after"
    change = interval_text(points(block["difference"]), "percentage points")
    figures = f"Facts of other prompts in the same answers: {told}; change {change}, {format_p(block['p_value'])}."
    judged = complete(block)
    if judged is None or is_smoke(summary):
        return figures
    if side_of_zero(judged, block["p_value"]) > 0:
        return f"{figures} The fine-tuned model names more terms whatever the question, so a recall gain of that size is not knowledge."
    return f"{figures} There is no evidence that the fine-tuned model gains by naming more terms."


def greedy_answers(prompts: Sequence[Block]) -> tuple[int, int]:
    """On how many prompts the greedy answers of the two models differ, and how many both have answered."""
    pairs = [
        (row["base"]["greedy"]["text"], row["tuned"]["greedy"]["text"])
        for row in prompts
        if row["base"] and row["tuned"]
    ]
    return sum(base != tuned for base, tuned in pairs), len(pairs)


def phases(seconds_by_state: Mapping[str, float]) -> dict[str, float]:
    """Seconds of each phase of an execution that took a second or more, in order: states that ran side by side count once."""
    asked = seconds_by_state.get(SIDE_BY_SIDE, max(seconds_by_state.get(name, 0.0) for name in BRANCHES))
    found, phase = dict.fromkeys(("Prepare", *_PHASES.values()), 0.0), "Prepare"
    for name, seconds in seconds_by_state.items():
        phase = _PHASES.get(name, phase)
        found[phase] += 0 if name in (SIDE_BY_SIDE, *BRANCHES) else seconds
    found[_PHASES[SIDE_BY_SIDE]] += asked
    return {phase: seconds for phase, seconds in found.items() if seconds >= 1}


class OnTheHub(NamedTuple):
    """A model's name on the Hugging Face Hub and its licence."""

    name: str
    licence: str


# The models of the catalogue and the proxy models: their names on the Hub and their licences.
HUB = {
    "llama 2 7b": OnTheHub("meta-llama/Llama-2-7b-hf", "llama2"),
    "llama 2 7b chat": OnTheHub("meta-llama/Llama-2-7b-chat-hf", "llama2"),
    "llama 2 13b": OnTheHub("meta-llama/Llama-2-13b-hf", "llama2"),
    "llama 3.1 8b": OnTheHub("meta-llama/Llama-3.1-8B", "llama3.1"),
    "llama 3.2 1b": OnTheHub("meta-llama/Llama-3.2-1B", "llama3.2"),
    "llama 3.2 3b": OnTheHub("meta-llama/Llama-3.2-3B", "llama3.2"),
    "mistral 7b v0.3": OnTheHub("mistralai/Mistral-7B-v0.3", "apache-2.0"),
    "qwen 2.5 7b": OnTheHub("Qwen/Qwen2.5-7B", "apache-2.0"),
    "qwen 2.5 7b instruct": OnTheHub("Qwen/Qwen2.5-7B-Instruct", "apache-2.0"),
    "gemma-3-270m": OnTheHub("google/gemma-3-270m", "gemma"),
    "smollm2-135m": OnTheHub("HuggingFaceTB/SmolLM2-135M", "apache-2.0"),
    "smollm2-135m-instruct": OnTheHub("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0"),
}


def on_the_hub(summary: Summary) -> OnTheHub | None:
    """The base model on the Hub; None for weights that the Hub may not have."""
    return HUB.get(str(or_empty(summary.get("base_model")).get("name") or "").casefold())


def plain(text: Any) -> str:
    """Text that Markdown and HTML leave as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(str(text).split()))
