"""Where the Hugging Face Hub has the base models, for the model card; templates/card.md has its words."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

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


def plain(text: Any) -> str:
    """Text that Markdown and HTML leave as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(str(text).split()))
