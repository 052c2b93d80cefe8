"""The sections about the run: training, cost and time, configuration, how to reproduce it, limits."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from report.charts import cost as cost_charts
from report.charts.losses import loss_curve
from report.content import spot
from report.content.blocks import Block, Bullets, Code, Notice, Pairs, Para, Section, Table, figure, rows_of
from report.content.circumstances import instance, instances, learnt_text
from report.content.losses import usable
from report.formatting import duration, money, number, plural, rate, whole
from report.summary_types import Summary, known

ONE_SEED = (
    "One training run with one seed. The intervals cover the choice of documents and prompts, not the choice of seed."
)
# Measured with adapters of this project on 25 November 2026.
_STYLE = (
    "Adapters that were called improved on such documents alone were tried on published abstracts of the same subjects: one was no "
    "better there, and one that was trained longer was worse."
)
# The state whose branches run at the same time.
SIDE_BY_SIDE, BRANCHES = "AskBothModels", ("AskBaseModel", "AskFineTunedModel")


def training(summary: Summary) -> Section | None:
    """The loss curve and what training took."""
    block = summary.get("training")
    if not block:
        return None
    section = Section("training", "Training")
    stopped = block.get("stopped_early")
    if stopped:
        text = f"Training stopped after {block.get('steps')} of {block.get('planned_steps')} steps: {stopped}."
        section.blocks.append(Notice("Stopped early", text, "warn"))
    curve = block.get("loss_curve") or []
    if len(curve) > 1:
        steps = block.get("steps") or len(curve)
        shown = (
            "each optimizer step" if len(curve) >= steps else f"{whole(len(curve))} of {whole(steps)} optimizer steps"
        )
        section.blocks += figure(
            lambda width: loss_curve(curve, width),
            f"Training loss at {shown} (faint) and its running mean. It is the loss on the text being "
            "learned; whether anything was learned shows above, on held-out text.",
        )
    corpus = known(summary.get("corpus"))
    memory = block.get("peak_memory_bytes")
    pairs = [
        ("Steps", f"{whole(block.get('steps'))} of {whole(block.get('planned_steps'))}"),
        ("Epochs", number(block.get("epochs"), 1 if (block.get("epochs") or 1) >= 0.1 else 4)),
        ("Time in training", duration(block.get("seconds"))),
        (
            "Tokens seen",
            f"{whole(block.get('tokens_seen'))} ({whole(block.get('tokens_per_second'))} a second)",
        ),
        *([("Spot", told)] if (told := spot.sentence(summary)) else []),
        ("Peak memory", f"{memory / 1e9:.1f} GB" if memory else "\u2013"),
        ("Corpus", learnt_text(summary)),
        ("Corpus in tokens", f"{whole(corpus.get('tokens'))} in {whole(corpus.get('sequences'))} sequences"),
    ]
    section.blocks.append(Pairs(tuple(pairs)))
    return section


def elapsed_seconds(seconds_by_state: Mapping[str, float]) -> float:
    """Seconds from the first to the last state: what ran side by side counts once."""
    alone = sum(seconds for name, seconds in seconds_by_state.items() if name not in (SIDE_BY_SIDE, *BRANCHES))
    return alone + seconds_by_state.get(SIDE_BY_SIDE, max(seconds_by_state.get(name, 0.0) for name in BRANCHES))


def cost(summary: Summary) -> Section:
    """Money first, then time."""
    figures, section = known(summary.get("cost")), Section("cost", "Cost and time")
    reserved, actual = figures.get("reserved_cents"), figures.get("actual_cents")
    if actual is None and reserved is None:
        section.blocks.append(
            Para(
                "No reservation is recorded for this run. A run starts nothing that bills by the hour before it has one."
            )
        )
    elif actual is None:
        stays = known(known(summary.get("configuration")).get("input")).get("keepEndpointMinutes")
        when = f"the {stays} minutes that its endpoint was asked to stay" if stays else "the run's end"
        section.blocks.append(
            Notice(
                "Not settled yet",
                f"{money(reserved)} is reserved: the most this run can cost. The actual cost is filled in when everything "
                f"that bills has been removed, a few minutes after {when}.",
            )
        )
    section.blocks += figure(
        lambda width: cost_charts.cost(figures, width),
        "What the run used of what was reserved for it."
        + (" The rest went back." if actual is not None and reserved is not None and actual < reserved else ""),
    )
    if reserved is not None or actual is not None:
        month = f" in {figures['month']}" if figures.get("month") else " this month"
        cap = f" of {money(figures['cap_cents'])}" if figures.get("cap_cents") else ""
        rows = [
            ("Training", money(figures.get("training_cents"))),
            ("Endpoint", money(figures.get("endpoint_cents"))),
            ("Other (storage, requests, functions, logs)", money(figures.get("other_cents"))),
            ("Actual, all together", money(actual)),
            ("Reserved before the run", money(reserved)),
            (f"Left of the cap{cap}{month}", money(figures.get("remaining_cents"))),
        ]
        section.blocks.append(Table("Cost of the run in US dollars", ("Item", "Amount"), rows_of(*rows)))
        section.blocks.append(_prices(summary))
    section.blocks += _expectation(summary)
    seconds = known(summary.get("seconds_by_state"))
    if seconds:
        section.blocks.append(Para(f"From the first to the last state it took {duration(elapsed_seconds(seconds))}."))
        section.blocks += figure(lambda width: cost_charts.time_by_state(seconds, width), "Time by state.")
        rows = [(name, duration(value)) for name, value in seconds.items()]
        section.blocks.append(Table("Time by state", ("State", "Time"), rows_of(*rows), folded=True))
    return section


def _expectation(summary: Summary) -> list[Block]:
    """What the plan expected beside what was measured. Of learning nothing, where an earlier run has learnt."""
    settings = known(summary.get("configuration"))
    expected = settings.get("expected")
    if not expected:
        return []
    measured, actual = known(summary.get("training")), known(summary.get("cost")).get("actual_cents")
    rows = [("Cost, all together", _known(money, expected.get("cents")), money(actual))]
    if not settings.get("adapter_uri"):
        rows += [
            ("Tokens learned", _known(whole, expected.get("tokens")), whole(measured.get("tokens_seen"))),
            ("Learning", _known(duration, expected.get("learning_seconds")), duration(measured.get("seconds"))),
        ]
    return [Table("Expected before the run, and measured", ("Item", "Expected", "Measured"), rows_of(*rows))]


def _known(written: Callable[[Any], str], value: Any) -> str:
    return "not known" if value is None else written(value)


def _prices(summary: Summary) -> Para:
    settings = known(summary.get("configuration"))
    parts = []
    for use, key in (("training", "training"), ("endpoint", "hosting")):
        cents, kind = settings.get(f"{key}_hourly_cents"), settings.get(f"{key}_instance_type")
        if cents is not None and kind:
            count = instances(summary, key)
            number, each = (f"{count} ", " each") if count > 1 else ("", "")
            parts.append(f"{number}{kind} for the {use} at {rate(cents)} an hour{each}")
    source = f" Prices: {settings['price_source']}." if settings.get("price_source") else ""
    text = f"Amounts are billed seconds times list price: {', '.join(parts)}.{source}" if parts else source.strip()
    return Para(f"{text} Taxes and free tiers are left out; the invoice of AWS is what counts.".strip(), "small")


def configuration(summary: Summary) -> Section:
    """Everything that shaped the figures."""
    block, section = known(summary.get("configuration")), Section("configuration", "Configuration")
    model = known(summary.get("base_model"))
    pairs: list[tuple[str, str]] = []
    if model:
        pairs.append(("Base model", str(model.get("name") or "\u2013")))
        if model.get("parameters"):
            pairs.append(("Parameters", whole(model["parameters"])))
        if model.get("trainable_parameters"):
            share = 100 * model["trainable_parameters"] / model["parameters"] if model.get("parameters") else None
            pairs.append(("Trained (LoRA)", f"{whole(model['trainable_parameters'])}, {number(share, 2)} %"))
        if model.get("dtype"):
            pairs.append(("Precision in training", str(model["dtype"])))
        if model.get("quantization"):
            pairs.append(("Quantization", str(model["quantization"])))
    named = (
        ("Region", summary.get("region")),
        ("Weights", block.get("base_model_source")),
        ("Adapter", block.get("adapter_uri") or block.get("trained_adapter_uri")),
        ("Training instance", instance(summary, "training")),
        ("Endpoint instance", instance(summary, "hosting")),
        ("Longest training", duration(block["max_training_seconds"]) if block.get("max_training_seconds") else None),
    )
    pairs += [(name, str(value)) for name, value in named if value]
    if pairs:
        section.blocks.append(Pairs(tuple(pairs)))
    warnings = block.get("warnings") or []
    if warnings:
        section.blocks.append(Notice("Noted before the run", " ".join(map(str, warnings)), "warn"))
    for caption, key in (
        ("Training settings", "settings"),
        ("Software and hardware", "environment"),
        ("Decoding", "decoding"),
    ):
        values = {name: value for name, value in (block.get(key) or {}).items() if value is not None}
        if values:
            rows = [(name.replace("_", " "), _plain(value)) for name, value in values.items()]
            section.blocks.append(Table(caption, ("Name", "Value"), rows_of(*rows), folded=key != "settings"))
    return section


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def reproduce(summary: Summary) -> Section:
    """The command that starts the same run again, and where its files are."""
    section = Section("reproduce", "How to reproduce it")
    given = known(summary.get("configuration")).get("input")
    arn = re.sub(r":execution:([^:]+):[^:]+$", r":stateMachine:\1", str(summary.get("execution_arn") or ""))
    if arn and given is not None:  # of a run that was refused before its plan was written, the input is not known
        words = ["aws stepfunctions start-execution", f"--state-machine-arn {shlex.quote(arn)}"]
        if summary.get("region"):
            words.append(f"--region {shlex.quote(str(summary['region']))}")
        words.append(f"--input {shlex.quote(json.dumps(given, sort_keys=True))}")
        section.blocks.append(Code(" \\\n    ".join(words), "Start the same run again"))
    if summary.get("report_uri"):
        section.blocks.append(Code(str(summary["report_uri"]), "Report, figures and model card of this run"))
    if summary.get("resamples"):
        section.blocks.append(
            Para(
                f"The analysis is seeded ({summary['analysis_seed']}): the same metrics and answers give the same figures. "
                'Training on other hardware gives slightly other losses, and so does another seed: runs with {"seed": 2} and {"seed": 3} as input show by how much.',
                "small",
            )
        )
    return section


def limits(summary: Summary, results: bool) -> Section:
    """What could mislead a reader."""
    block = known(summary.get("heldout"))
    items = [
        "Held-out loss is measured on a few documents written like those of the corpus. They share its style, so part of a "
        "lower loss can be style rather than knowledge. "
        + ("What others wrote is shown apart, above." if usable(summary.get("outside")) else _STYLE),
        ONE_SEED,
        "Key facts are found by patterns. A correct answer in other words counts as missing; a pattern can match a wrong sentence.",
        "Published work with billions of tokens moved medical benchmarks little. Do not expect a small corpus to.",
    ]
    if 0 < (count := block.get("documents_count") or 0) < 10:
        items.insert(0, f"Only {plural(count, 'held-out document')}: small effects cannot be seen with so few.")
    items += map(str, known(summary.get("configuration")).get("warnings") or [])
    blocks: list[Block] = [Bullets(tuple(items))] if results else []
    return Section("limits", "Limits", blocks)
