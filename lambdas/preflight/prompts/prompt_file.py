"""The file of comparison prompts: read and checked."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

from common.errors import PromptsRejected
from common.text.prompt_kinds import KINDS
from common.text.utf8 import encoded
from common.time_limit import time_limit
from preflight.texts import personal_data
from preflight.texts.text_file import as_utf8

# The largest report that its Lambda writes in its memory and, as reckoned, in its time (stacks/functions.py).
MAXIMUM_PROMPTS = 10_000
# The server takes 4,096 tokens, 64 of them for the answer, and no tokeniser makes more tokens than a text has bytes.
MAXIMUM_PROMPT_BYTES = 4000
_OTHER_TOKENS = 96  # of what the server takes: the answer, and what a chat template adds
PARSE_SECONDS = 40  # of Preflight's 180; 10,000 prompts with as many sound patterns take 7 s of a core
_FORM = "Each line is a JSON object with id, kind, prompt and facts."
_SHOWN = 8
# An answer has 64 tokens, some 300 characters.
PROBE_CHARACTERS = 1_000
# Hundreds of patterns are searched for in hundreds of answers. A sound one takes less than a thousandth of this.
SEARCH_SECONDS = 1.0
_REPEATED = (" ", "a", "0", "a ", "0 ", "Ab1, ")
CLUSTER = "cluster"  # optional: prompts that ask the same fact have the same
MAXIMUM_CLUSTER_CHARACTERS = 200


class TooSlow(Exception):
    """A search went on for longer than the limit."""


def parse(content: bytes, name: str) -> list[dict[str, Any]]:
    """Reads a JSON Lines file of prompts.

    Raises PromptsRejected naming every faulty line, and PatientDataSuspected for data of persons in a file without faults.
    """
    prompts: list[dict[str, Any]] = []
    said: list[tuple[int, str]] = []
    faults: list[str] = []
    seen: dict[str, int] = {}
    begun = time.monotonic()
    for number, line in enumerate(as_utf8(content, name, PromptsRejected).split("\n"), 1):
        if not line.strip():
            continue
        if time.monotonic() - begun > PARSE_SECONDS:
            faults.append(
                f"line {number} was reached when {PARSE_SECONDS} seconds were over: simpler patterns are needed"
            )
            break
        prompt, fault = _read(line)
        if not fault and prompt["id"] in seen:
            fault = f"repeats the id {_short(prompt['id'])} of line {seen[prompt['id']]}"
        if fault:
            faults.append(f"line {number} {fault}")
        else:
            seen[prompt["id"]] = number
            facts = [{key: fact[key] for key in ("name", "pattern")} for fact in prompt.get("facts", [])]
            kept = [key for key in ("id", "kind", CLUSTER, "prompt") if key in prompt]
            prompts.append({**{key: prompt[key] for key in kept}, "facts": facts})
            said.extend((number, text) for text in _texts(prompts[-1]))
    if faults:
        more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise PromptsRejected(f"{name}: {'; '.join(faults[:_SHOWN])}{more}. {_FORM}")
    if not prompts:
        raise PromptsRejected(f"{name} has no prompts. {_FORM}")
    if len(prompts) > MAXIMUM_PROMPTS:
        raise PromptsRejected(
            f"{name} has {len(prompts)} prompts; at most {MAXIMUM_PROMPTS} can be asked and reported. Take a part of them."
        )
    personal_data.refuse_patient_data_in(said, name, "The report shows prompts and facts.")
    return prompts


def can_be_asked(prompt: str) -> bool:
    """Whether a prompt fits into the model beside its answer, whatever tokens it is made of."""
    return len(encoded(prompt)) <= MAXIMUM_PROMPT_BYTES


def too_long_for(prompts: list[dict[str, Any]], served_tokens: int) -> list[str]:
    """What is to be told where a server that takes fewer tokens may refuse prompts, by how its tokeniser cuts them."""
    most = served_tokens - _OTHER_TOKENS
    long = [size for prompt in prompts if (size := len(encoded(prompt["prompt"]))) > most]
    if most >= MAXIMUM_PROMPT_BYTES or not long:
        return []
    size = max(long)
    return [
        f"{len(long)} prompts may be too long: the longest has {size:,} bytes, and this model takes {most:,} tokens beside the answer. Where its tokeniser "
        f"makes a token of less than {size / most:.1f} bytes, the endpoint refuses the prompt after training. Shorten them, or name others in `prompts`."
    ]


def _read(line: str) -> tuple[Any, str]:
    """A prompt and what is wrong with it, which is empty for a good one."""
    try:
        prompt = json.loads(line)
        json.dumps(prompt, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        return None, f"is not JSON ({error.msg})"
    except UnicodeEncodeError:
        return None, "has half of a surrogate pair, which no UTF-8 text can hold"
    except RecursionError:
        return None, "is nested too deeply"
    except ValueError as error:  # an integer of more digits than Python converts
        return None, f"is not JSON ({str(error).partition(';')[0]})"
    return prompt, _fault(prompt)


def _fault(prompt: Any) -> str:
    if not isinstance(prompt, dict):
        return "is not a JSON object"
    for field in ("id", "kind", "prompt"):
        if not isinstance(prompt.get(field), str) or not prompt[field].strip():
            return f"has no text in `{field}`"
    if not can_be_asked(prompt["prompt"]):
        size = len(encoded(prompt["prompt"]))
        return f"has a prompt of {size} bytes; at most {MAXIMUM_PROMPT_BYTES} fit into the model beside the answer"
    if prompt["kind"] not in KINDS:
        return f"has the kind {_short(prompt['kind'])}; it must be one of {', '.join(KINDS)}"
    if CLUSTER in prompt and not _is_cluster(prompt[CLUSTER]):
        return (
            f"has a `{CLUSTER}` that is no text of 1 to {MAXIMUM_CLUSTER_CHARACTERS} characters; prompts that ask the same "
            "fact share one, and a prompt that asks a fact of its own needs none"
        )
    facts = prompt.get("facts", [])
    if not isinstance(facts, list) or (prompt["kind"] != "starter" and not facts):
        return "has no key facts; every prompt but a starter needs `facts`, a list of {name, pattern}"
    return next((fault for fact in facts if (fault := _fact_fault(fact, prompt["prompt"]))), "")


def _is_cluster(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= MAXIMUM_CLUSTER_CHARACTERS


def _fact_fault(fact: Any, prompt: str) -> str:
    if not isinstance(fact, dict) or not all(
        isinstance(fact.get(key), str) and fact[key].strip() for key in ("name", "pattern")
    ):
        return "has a fact without `name` or `pattern`"
    found = pattern_fault(fact["pattern"], prompt)
    if not found:
        return ""
    if _is_personal(fact["pattern"]):
        found = "cannot be used"  # the reason can quote the pattern
    return f"has a pattern that {found}, {_short(fact['pattern'])}"


def _texts(prompt: dict[str, Any]) -> Iterator[str]:
    """All that a prompt says, line by line; a pattern without its escapes, so that `\\bMRN\\b 123` reads as a person reads it."""
    yield from prompt["id"].split("\n")
    yield from prompt["prompt"].split("\n")
    yield from prompt.get(CLUSTER, "").split("\n")
    for fact in prompt["facts"]:
        for text in fact.values():
            yield from _unescaped(text).split("\n")


def _unescaped(pattern: str) -> str:
    return re.sub(r"\\([A-Za-z]?)", lambda escape: " " if escape[1] else "", pattern)


def _is_personal(value: str) -> bool:
    return personal_data.looks_personal(value) or personal_data.looks_personal(_unescaped(value))


def _short(value: str) -> str:
    """A value for a message; nothing of a pattern that reads like data of a person."""
    return personal_data.NOT_SHOWN if _is_personal(value) else personal_data.shown(value)


def pattern_fault(written: str, prompt: str) -> str:
    """Why a pattern cannot be used for its prompt, without the pattern itself; empty for a good one."""
    try:
        pattern = re.compile(written, re.IGNORECASE)
    # ValueError: flags that contradict each other.
    except (re.error, OverflowError, RecursionError, ValueError) as error:
        return f"does not compile ({error})"
    try:
        with time_limit(SEARCH_SECONDS, TooSlow()):
            if pattern.search(""):
                return "matches everything"
            if pattern.search(prompt):
                return "its own prompt matches"
            for text in _probes(written):
                pattern.search(text)
    except TooSlow:
        return "can take for ever (take out repeats inside a repeat, or give them bounds such as {0,40})"
    return ""


def _probes(written: str) -> list[str]:
    """Texts on which a pattern that can take for ever usually does.

    What repeats in such a pattern matches again and again and fails only at the end: letters, digits, blanks, words, or
    the pattern's own characters. That is no proof for any text; the report has a limit of its own.
    """
    letters = re.sub(r"\\.|[^\w ]", "", written)
    # Without its last character too, which is often the one that never comes.
    repeated = [*_REPEATED, *sorted(set(letters))[:8], letters, letters[:-1]]
    return [(part * PROBE_CHARACTERS)[: PROBE_CHARACTERS - 1] + "\u00a7" for part in dict.fromkeys(repeated) if part]
