"""The front matter of a model card: what the Hugging Face Hub reads of it."""

from __future__ import annotations

import json
import re

from report.content.circumstances import is_of_records
from report.summary_types import Summary, known

# Names that Preflight's catalog and the weights themselves use: where the Hub has them, and under which licence.
HUB = {
    "llama 2 7b": ("meta-llama/Llama-2-7b-hf", "llama2"),
    "llama-2-7b": ("meta-llama/Llama-2-7b-hf", "llama2"),
    "smollm2-135m": ("HuggingFaceTB/SmolLM2-135M", "apache-2.0"),
}


def base_model(summary: Summary) -> tuple[str, str]:
    """The base model's name on the Hub, or its own, and its licence."""
    name = str(known(summary.get("base_model")).get("name") or "unknown")
    return HUB.get(name.casefold(), (name, "other"))


def front_matter(summary: Summary) -> str:
    """The YAML block that a model card begins with."""
    name, licence = base_model(summary)
    lines = [
        "---",
        f"base_model: {json.dumps(name)}",
        "library_name: peft",
        f"license: {licence}",
        "language: en",
        "pipeline_tag: text-generation",
        "tags:",
        *(f"- {tag}" for tag in ("lora", "causal-lm", "captune", re.sub(r"[^a-z0-9-]+", "-", domain(summary)))),
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
    """The domain that the adapter was trained for."""
    return str(summary.get("domain") or "custom").lower()
