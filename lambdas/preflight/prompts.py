"""The comparison prompts: read, checked, and made from the held-out text for a corpus that came without any."""

from __future__ import annotations

import json
import re
from typing import Any

from common.errors import PromptsRejected
from preflight.texts import Document

KINDS = ("starter", "completion", "question", "outside", "control")
MAXIMUM_PROMPTS = 5000
OPENING_WORDS = 7


def parse(content: str, name: str) -> list[dict[str, Any]]:
    """Reads a JSON Lines file of prompts. Raises PromptsRejected naming every faulty line."""
    prompts: list[dict[str, Any]] = []
    faults: list[str] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            prompt = json.loads(line)
        except json.JSONDecodeError as error:
            faults.append(f"line {number} is not JSON ({error.msg})")
            continue
        fault = _fault(prompt)
        if not fault and prompt["id"] in seen:
            fault = f"repeats the id {prompt['id']!r} of line {seen[prompt['id']]}"
        if fault:
            faults.append(f"line {number} {fault}")
        else:
            seen[prompt["id"]] = number
            prompts.append(
                {
                    "id": prompt["id"],
                    "kind": prompt["kind"],
                    "prompt": prompt["prompt"],
                    "facts": prompt.get("facts", []),
                }
            )
    if faults:
        raise PromptsRejected(
            f"{name}: {'; '.join(faults[:8])}{' …' if len(faults) > 8 else ''}. Each line is a JSON object with id, kind, prompt and facts."
        )
    if not prompts:
        raise PromptsRejected(f"{name} has no prompts. Each line is a JSON object with id, kind, prompt and facts.")
    if len(prompts) > MAXIMUM_PROMPTS:
        raise PromptsRejected(
            f"{name} has {len(prompts)} prompts; at most {MAXIMUM_PROMPTS} can be asked within the endpoint's deadline."
        )
    return prompts


def from_held_out(held_out: list[Document], limit: int = 20) -> list[dict[str, Any]]:
    """Openings of held-out paragraphs, for a corpus without prompts. They have no key facts: only the answers are shown."""
    paragraphs = [p for document in held_out for p in document.text.split("\n") if len(p.split()) > 3 * OPENING_WORDS]
    step = max(1, len(paragraphs) // limit)
    return [
        {"id": f"opening-{i}", "kind": "starter", "prompt": " ".join(paragraph.split()[:OPENING_WORDS]), "facts": []}
        for i, paragraph in enumerate(paragraphs[::step][:limit], 1)
    ]


def _fault(prompt: Any) -> str:
    if not isinstance(prompt, dict):
        return "is not a JSON object"
    for field in ("id", "kind", "prompt"):
        if not isinstance(prompt.get(field), str) or not prompt[field].strip():
            return f"has no text in `{field}`"
    if prompt["kind"] not in KINDS:
        return f"has the kind {prompt['kind']!r}; it must be one of {', '.join(KINDS)}"
    facts = prompt.get("facts", [])
    if not isinstance(facts, list) or (prompt["kind"] != "starter" and not facts):
        return "has no key facts; every prompt but a starter needs `facts`, a list of {name, pattern}"
    return next((fault for fact in facts if (fault := _fact_fault(fact, prompt["prompt"]))), "")


def _fact_fault(fact: Any, prompt: str) -> str:
    if not isinstance(fact, dict) or not isinstance(fact.get("name"), str) or not isinstance(fact.get("pattern"), str):
        return "has a fact without `name` or `pattern`"
    try:
        pattern = re.compile(fact["pattern"], re.IGNORECASE)
    except re.error as error:
        return f"has a pattern that does not compile, {fact['pattern']!r}: {error}"
    if pattern.search(""):
        return f"has a pattern that matches everything, {fact['pattern']!r}"
    if pattern.search(prompt):
        return f"has a pattern that its own prompt matches, {fact['pattern']!r}"
    return ""
