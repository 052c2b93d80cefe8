"""What the model card tells of where the base model is found and what was billed; templates/card.md has its words."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from report.content.circumstances import instances
from report.formatting import duration
from report.summary_types import Summary, known


class OnTheHub(NamedTuple):
    """A model's name on the Hugging Face Hub and its licence."""

    name: str
    licence: str


# The names of the catalogue and of the stand-ins: where the Hub has them, and under which licence.
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
    "smollm2-135m": OnTheHub("HuggingFaceTB/SmolLM2-135M", "apache-2.0"),
    "smollm2-135m-instruct": OnTheHub("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0"),
}


def on_the_hub(summary: Summary) -> OnTheHub | None:
    """The base model on the Hub; None for weights that the Hub may not have."""
    return HUB.get(str(known(summary.get("base_model")).get("name") or "").casefold())


def domain(summary: Summary) -> str:
    """The domain that the adapter was trained for; "custom" for a text of the user's own."""
    return str(summary.get("domain") or "custom").lower()


def domain_tag(summary: Summary) -> str:
    """The domain as the Hub takes a tag."""
    return re.sub(r"[^a-z0-9-]+", "-", domain(summary))


def adapter_uri(summary: Summary) -> str:
    """Where the adapter lies; empty for a stand-in's, of which nothing is kept."""
    settings = known(summary.get("configuration"))
    if known(summary.get("base_model")).get("matches_plan") is False:
        return ""
    return str(settings.get("adapter_uri") or settings.get("trained_adapter_uri") or "")


def plain(text: Any) -> str:
    """Text that Markdown and HTML leave as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(str(text).split()))


def billed(summary: Summary) -> str:
    """What was billed for how long, as a sentence that follows another; empty where it is not known."""
    cost, settings = known(summary.get("cost")), known(summary.get("configuration"))
    if cost.get("training_seconds") is None or cost.get("endpoint_seconds") is None:
        return ""
    stood = f"the endpoint stood for {duration(cost['endpoint_seconds'])}{_on(summary, 'hosting')}"
    if settings.get("adapter_uri"):
        return f" Nothing was trained, {stood}."
    # The seconds of all instances are billed, which ran at the same time; on spot, fewer than it took.
    seconds = duration(cost["training_seconds"] / instances(summary, "training"))
    took = f"Billed were {seconds} of training" if settings.get("spot") else f"Training took {seconds}"
    return f" {took}{_on(summary, 'training')}, {stood}."


def _on(summary: Summary, use: str) -> str:
    """Where it ran. A stand-in ran on a person's own machine, whatever instance the plan names."""
    if known(summary.get("base_model")).get("matches_plan") is False:
        return ""
    count, kind = instances(summary, use), known(summary.get("configuration")).get(f"{use}_instance_type")
    return f" on {'one' if count == 1 else count} {plain(kind or ('instance' if count == 1 else 'instances'))}"
