"""The front matter of a model card: what the Hugging Face Hub reads of it."""

from __future__ import annotations

import json
import re

from report.content.circumstances import is_of_records
from report.summary_types import Summary, known

# The names of the catalogue and of the stand-ins: where the Hub has them, and under which licence.
HUB = {
    "llama 2 7b": ("meta-llama/Llama-2-7b-hf", "llama2"),
    "llama 2 7b chat": ("meta-llama/Llama-2-7b-chat-hf", "llama2"),
    "llama 2 13b": ("meta-llama/Llama-2-13b-hf", "llama2"),
    "llama 3.1 8b": ("meta-llama/Llama-3.1-8B", "llama3.1"),
    "llama 3.2 1b": ("meta-llama/Llama-3.2-1B", "llama3.2"),
    "llama 3.2 3b": ("meta-llama/Llama-3.2-3B", "llama3.2"),
    "mistral 7b v0.3": ("mistralai/Mistral-7B-v0.3", "apache-2.0"),
    "qwen 2.5 7b": ("Qwen/Qwen2.5-7B", "apache-2.0"),
    "qwen 2.5 7b instruct": ("Qwen/Qwen2.5-7B-Instruct", "apache-2.0"),
    "smollm2-135m": ("HuggingFaceTB/SmolLM2-135M", "apache-2.0"),
    "smollm2-135m-instruct": ("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0"),
}


def on_the_hub(summary: Summary) -> tuple[str, str] | None:
    """The base model's name on the Hub and its licence; None for weights that the Hub may not have."""
    return HUB.get(str(known(summary.get("base_model")).get("name") or "").casefold())


def front_matter(summary: Summary) -> str:
    """The YAML block that a model card begins with."""
    found = on_the_hub(summary)
    tag = re.sub(r"[^a-z0-9-]+", "-", domain(summary))
    lines = [
        "---",
        # The Hub refuses a name of another form, and a licence that is guessed is worse than none.
        *((f"base_model: {json.dumps(found[0])}", f"license: {found[1]}") if found else ()),
        "library_name: peft",
        # Of a user's own text nobody has said in which language it is.
        *(("language: en",) if summary.get("domain") else ()),
        "pipeline_tag: text-generation",
        "tags:",
        *(f"- {tag}" for tag in ("lora", "causal-lm", "captune", json.dumps(tag))),  # a domain may be called "no"
    ]
    block = known(summary.get("heldout"))
    things = "records" if is_of_records(summary) else "documents"
    if block.get("documents_count"):
        lines += [
            "model-index:",
            f"- name: {json.dumps(str(summary['run']))}",
            "  results:",
            "  - task:",
            "      type: text-generation",
            "    dataset:",
            f"      name: {json.dumps(f'held-out {things} of the same corpus ({domain(summary)})')}",
            "      type: held-out-text",
            "    metrics:",
            "    - type: loss",
            "      name: loss in nats per token",
            f"      value: {block['tuned_loss']:.4f}",
            "    - type: perplexity",
            "      name: perplexity",
            f"      value: {block['tuned_perplexity']['estimate']:.3f}",
        ]
    return "\n".join([*lines, "---"])


def domain(summary: Summary) -> str:
    """The domain that the adapter was trained for; "custom" for a text of the user's own."""
    return str(summary.get("domain") or "custom").lower()
