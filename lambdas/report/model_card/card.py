"""MODEL_CARD.md for the adapter, in the format of the Hugging Face Hub: YAML front matter, then Markdown."""

from __future__ import annotations

import json
import re
from typing import Any

from report.content import spot
from report.content.circumstances import instances, learnt_text, notes
from report.content.headline import headline
from report.content.losses import loss_cells, usable
from report.content.meaning import NO_OUTSIDE_TEXT, OUTSIDE_NOT_MEASURED
from report.content.run import ONE_SEED
from report.formatting import duration, format_p, interval_text, moment, money, plural, share, whole
from report.model_card.front_matter import domain, front_matter, on_the_hub
from report.summary_types import Summary, known


def render(summary: Summary) -> str:
    """The model card of the adapter that a run made, for a summary of any status."""
    parts = [
        front_matter(summary),
        _description(summary),
        _use(summary),
        _data(summary),
        _procedure(summary),
    ]
    parts += [_evaluation(summary), _limitations(summary), _cost(summary)]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _plain(text: Any) -> str:
    """Text that Markdown and HTML leave as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(str(text).split()))


def _description(summary: Summary) -> str:
    model, head = known(summary.get("base_model")), headline(summary)
    lines = [
        f"# {_plain(summary['run'])}",
        "",
        f"A LoRA adapter for {_plain(model.get('name') or 'an unknown base model')}, fine-tuned by Captune on {_corpus(summary)}.",
        "",
        f"**{head.title}.** {_plain(head.reason)}",
    ]
    if model.get("matches_plan") is False:
        planned = _plain(model.get("planned_name") or "the planned model")
        lines += [
            "",
            f"> These weights are not {planned}. Every figure is about {_plain(model.get('name'))}.",
        ]
    for title, text in notes(summary):
        lines += ["", f"> **{_plain(title)}.** {_plain(text)}"]
    return "\n".join(lines)


def _corpus(summary: Summary) -> str:
    return f"a corpus of the {_plain(domain(summary))} domain" if summary.get("domain") else "a text of its user's own"


def _use(summary: Summary) -> str:
    found = on_the_hub(summary)
    name = found[0] if found else "the folder or name of the base model"
    return f"""## Intended use

Research and teaching: to study what fine-tuning on a small corpus changes in a language model.

### Out of scope

{chr(10).join("- " + _plain(text) for text in summary["does_not_say"])}
- No decision about a person may rest on its output. It is not a medical device.

### How to load it
{_fetching(summary)}
```python
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = {json.dumps(name)}
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), "adapter")
tokenizer = AutoTokenizer.from_pretrained(base)
```"""


def _fetching(summary: Summary) -> str:
    """How the adapter comes into the folder `adapter`. Of a stand-in nothing is kept."""
    settings = known(summary.get("configuration"))
    uri = settings.get("adapter_uri") or settings.get("trained_adapter_uri")
    if not uri or known(summary.get("base_model")).get("matches_plan") is False:
        return "\n`adapter` is the folder of the adapter's files.\n"
    return f"\n```\naws s3 cp --recursive {uri} adapter/\n```\n"


def _data(summary: Summary) -> str:
    corpus = known(summary.get("corpus"))
    if not corpus:
        return "## Training data\n\nNot recorded: the run ended before training did."
    return (
        f"## Training data\n\n{learnt_text(summary)}, {whole(corpus.get('tokens'))} tokens. Held-out and control documents are not among them."
        + "".join(f" {_plain(warning)}" for warning in known(summary.get("configuration")).get("warnings") or [])
    )


def _procedure(summary: Summary) -> str:
    training, settings = (
        known(summary.get("training")),
        known(summary.get("configuration")).get("settings") or {},
    )
    if not training:
        return ""
    rows = [f"| {_plain(name.replace('_', ' '))} | {_plain(value)} |" for name, value in settings.items()]
    trained = whole(known(summary.get("base_model")).get("trainable_parameters"))
    earlier = known(summary.get("configuration")).get("adapter_run")
    begun = f"by the run {_plain(earlier)}" if earlier else f"started {moment(summary.get('started_at'))}"
    told = spot.sentence(summary)
    on_spot = f" On spot instances: {_plain(told)}." if told else ""
    stopped = f" It stopped early: {_plain(training['stopped_early'])}." if training.get("stopped_early") else ""
    return "\n".join(
        [
            "## Training procedure",
            "",
            f"{trained} trained parameters (LoRA), {plural(training.get('steps'), 'optimizer step')} in "
            f"{duration(training.get('seconds'))}, {begun}.{stopped}{on_spot}",
            "",
            "| setting | value |",
            "|---|---|",
            *rows,
        ]
    )


def _evaluation(summary: Summary) -> str:
    lines = [
        "## Evaluation", "", f"**Verdict: {summary['verdict']}.** {_plain(summary['rule'])}", "",
        "| text | measure | base | tuned | tuned against base | 95 % interval |", "|---|---|--:|--:|--:|--:|",
    ]  # fmt: skip
    memory = known(summary.get("memorisation")).get("training_text")
    named = (
        ("held out", summary.get("heldout")),
        ("outside, by others", summary.get("outside")),
        ("control (forgetting)", summary.get("control")),
        ("training text (memorisation)", memory),
    )
    for name, block in named:
        if block and block.get("documents_count"):
            lines += [f"| {name} | {' | '.join(cells)} |" for cells in loss_cells(block)]
    block = known(summary.get("heldout"))
    if block.get("p_value") is not None:
        lines += [
            "",
            f"Held-out sign-flip test: {format_p(block['p_value'])}, {plural(block['documents_count'], 'document')}.",
        ]
    outside = summary.get("outside")
    if outside is None:
        lines += ["", NO_OUTSIDE_TEXT]
    elif not usable(outside):
        lines += ["", OUTSIDE_NOT_MEASURED]
    elif outside.get("p_value") is not None:
        told = f"{format_p(outside['p_value'])}, {plural(outside['documents_count'], 'document')}"
        lines += ["", f"Sign-flip test on text of the field by others: {told}."]
    beyond = summary.get("beyond_control")
    if beyond:
        lines += [
            "",
            f"Held-out difference minus control difference: {interval_text(beyond['difference'], 'nats per token')}, shuffle "
            f"{format_p(beyond['p_value'])}.",
        ]
    measure = known(known(summary.get("recall")).get("knowledge")).get("all")
    if measure:
        points = {key: None if value is None else 100 * value for key, value in measure["difference"].items()}
        before, after = share(measure["base"]), share(measure["tuned"])
        lines += [
            "",
            f"Key-fact recall, a second line: {summary['recall_verdict']}. {before} before and {after} after, difference "
            f"{interval_text(points)} points, {format_p(measure['p_value'])}, {plural(measure['prompts'], 'prompt')}.",
        ]
    return "\n".join(lines)


def _limitations(summary: Summary) -> str:
    copies = known(summary.get("memorisation")).get("copies")
    lines = [
        "## Limitations", "", f"- {ONE_SEED}",
        "- Held-out documents share the style of the corpus, so part of a lower loss can be style."
        + (f" {NO_OUTSIDE_TEXT}" if summary.get("outside") is None else ""),
        "- The adapter inherits the errors and biases of the base model and its licence terms.",
    ]  # fmt: skip
    if copies:
        lines.append(
            f"- It can repeat training text: the longest run copied in an answer is {copies['tuned']['longest_words']} "
            f"words (base {copies['base']['longest_words']})."
        )
    return "\n".join(lines)


def _cost(summary: Summary) -> str:
    cost = known(summary.get("cost"))
    if cost.get("actual_cents") is None:
        if cost.get("reserved_cents") is None:
            return "## Cost\n\nNo reservation is recorded."
        return f"## Cost\n\nNot settled yet; at most {money(cost['reserved_cents'])}, as reserved."
    return (
        f"## Cost\n\n{money(cost['actual_cents'])} of {money(cost.get('reserved_cents'))} reserved: training "
        f"{money(cost.get('training_cents'))}, endpoint {money(cost.get('endpoint_cents'))}, other "
        f"{money(cost.get('other_cents'))}.{_billed(summary)}"
    )


def _billed(summary: Summary) -> str:
    """What was billed for how long."""
    cost, settings = known(summary.get("cost")), known(summary.get("configuration"))
    if cost.get("training_seconds") is None or cost.get("endpoint_seconds") is None:
        return ""
    stood = f"the endpoint stood for {duration(cost['endpoint_seconds'])}"
    if settings.get("adapter_uri"):
        return f" Nothing was trained, {stood}{_on(summary, 'hosting')}."
    # Billed are the seconds of all instances, which ran at the same time.
    # On spot fewer than it took.
    billed = duration(cost["training_seconds"] / instances(summary, "training"))
    took = f"Billed were {billed} of training" if settings.get("spot") else f"Training took {billed}"
    return f" {took}{_on(summary, 'training')}, {stood}{_on(summary, 'hosting')}."


def _on(summary: Summary, use: str) -> str:
    """Where it ran. A stand-in ran on a person's own machine, whatever instance the plan names."""
    if known(summary.get("base_model")).get("matches_plan") is False:
        return ""
    count, kind = instances(summary, use), known(summary.get("configuration")).get(f"{use}_instance_type")
    return f" on {'one' if count == 1 else count} {_plain(kind or ('instance' if count == 1 else 'instances'))}"
