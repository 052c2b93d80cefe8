"""The comparison prompts of a run and the patterns of their key facts: a file of them, or made from the run's held-out part."""

import re
import time
from collections.abc import Iterator
from itertools import islice, zip_longest
from typing import Any

from common.errors import PromptsRejected
from common.key_facts import Reading, mentioned, readings, time_limit
from common.records import Record, json_lines
from common.text import KINDS, RECORD_KIND, count_words, encoded, listed, opening
from preflight.texts import personal_data
from preflight.texts.held_out import SENTENCE_END
from preflight.texts.text_file import Document, as_utf8

# The largest report that its Lambda writes in its memory and, as reckoned, in its time (stacks/functions.py).
MAXIMUM_PROMPTS = 10_000
# The server takes 4,096 tokens, 64 of them for the answer, and no tokeniser makes more tokens than a text has bytes.
MAXIMUM_PROMPT_BYTES = 4000
_OTHER_TOKENS = 96  # of what the server takes: the answer, and what a chat template adds
PARSE_SECONDS = 40  # of Preflight's 180; 10,000 prompts with as many sound patterns take 7 s of a core
_FORM = "Write each line as a JSON object with id, kind, prompt and facts or choices."
CHOICES = "choices"  # the correct option, and then distractors; scored in the training job, never asked
CHOICES_OF_A_PROMPT = range(2, 9)
# With eight options after four prompts each, about four minutes of a 7B model on one A10G, before training and after it.
MAXIMUM_CHOICE_PROMPTS = 1_000
# An answer has 64 tokens, some 300 characters.
PROBE_CHARACTERS = 1_000
# Hundreds of patterns are searched for in hundreds of answers. A sound one takes less than a thousandth of this.
SEARCH_SECONDS = 1.0
_REPEATED = (" ", "a", "0", "a ", "0 ", "Ab1, ")
CLUSTER = "cluster"  # optional: prompts that ask the same fact have the same
MAXIMUM_CLUSTER_CHARACTERS = 200
LIMIT = 20  # of prompts that are made
# A shorter sentence says too little to go on with, a longer one is a table or a list more often than not.
SENTENCE_WORDS = range(6, 41)
OPENING_WORDS = 20  # of a document without a sentence of such a length
REFERENCE_CHARACTERS = 2000  # the report shows references beside answers of 64 tokens


class TooSlow(Exception):
    """A search went on for longer than the limit."""


def parse(content: bytes, name: str) -> list[dict[str, Any]]:
    """Reads JSON Lines of prompts. Raises PromptsRejected naming each faulty line, else PatientDataSuspected."""
    prompts: list[dict[str, Any]] = []
    said: list[tuple[int, str]] = []
    faults: list[str] = []
    seen: dict[str, int] = {}
    begun = time.monotonic()
    for number, prompt in json_lines(as_utf8(content, name, PromptsRejected)):
        if time.monotonic() - begun > PARSE_SECONDS:
            faults.append(
                f"only the lines before {number} could be checked in {PARSE_SECONDS} seconds: simplify the patterns"
            )
            break
        fault = prompt if isinstance(prompt, str) else _fault(prompt, seen)
        if fault or isinstance(prompt, str):
            faults.append(f"line {number} {fault}")
            continue
        seen[prompt["id"]] = number
        kept = {key: prompt[key] for key in ("id", "kind", CLUSTER, "prompt") if key in prompt}
        facts = [{key: fact[key] for key in ("name", "pattern")} for fact in prompt.get("facts", [])]
        ends = {CHOICES: prompt[CHOICES]} if CHOICES in prompt else {}
        prompts.append({**kept, "facts": facts, **ends})
        # A pattern without its escapes, so that `\\bMRN\\b 123` reads as a person reads it.
        texts = [prompt["id"], prompt["prompt"], prompt.get(CLUSTER, ""), *prompt.get(CHOICES, [])]
        texts += [_unescaped(text) for fact in facts for text in fact.values()]
        said.extend((number, line) for text in texts for line in text.split("\n"))
    if faults:
        raise PromptsRejected(f"{name}: {listed(faults, between='; ')}. {_FORM}")
    if not prompts:
        raise PromptsRejected(f"{name} has no prompts. {_FORM}")
    if len(prompts) > MAXIMUM_PROMPTS:
        raise PromptsRejected(
            f"{name} has {len(prompts):,} prompts, and a run asks at most {MAXIMUM_PROMPTS:,}. Remove {len(prompts) - MAXIMUM_PROMPTS:,} of them."
        )
    scored = sum(CHOICES in prompt for prompt in prompts)
    if scored > MAXIMUM_CHOICE_PROMPTS:
        raise PromptsRejected(
            f"{name} has {scored:,} prompts with `{CHOICES}`, and a run scores at most {MAXIMUM_CHOICE_PROMPTS:,}. Remove {scored - MAXIMUM_CHOICE_PROMPTS:,} of them."
        )
    if not any(map(is_asked, prompts)):
        raise PromptsRejected(
            f"{name} has only prompts with `{CHOICES}`, which are scored but not asked. Add a prompt with facts, or a starter."
        )
    personal_data.refuse_patient_data_in(said, name, "The report shows prompts and facts.")
    return prompts


def is_asked(prompt: dict[str, Any]) -> bool:
    """Whether the endpoint is asked a prompt: one with choices and no facts is only scored."""
    return CHOICES not in prompt or bool(prompt.get("facts"))


def too_long_for(prompts: list[dict[str, Any]], served_tokens: int) -> list[str]:
    """A warning if a server that takes fewer tokens may reject prompts, depending on its tokeniser."""
    most = served_tokens - _OTHER_TOKENS
    long = [size for prompt in prompts if (size := len(encoded(prompt["prompt"]))) > most]
    if most >= MAXIMUM_PROMPT_BYTES or not long:
        return []
    size = max(long)
    return [
        f"{len(long)} prompts may be too long: the longest has {size:,} bytes, and this model takes {most:,} tokens before the answer. If its tokens have "
        f"fewer than {size / most:.1f} bytes on average, the endpoint rejects the prompt after training. Shorten these prompts, or use others (`prompts`)."
    ]


def _can_be_asked(prompt: str) -> bool:
    """Whether a prompt fits into the model beside its answer, whatever tokens it is made of."""
    return len(encoded(prompt)) <= MAXIMUM_PROMPT_BYTES


def _fault(prompt: dict[str, Any], seen: dict[str, int]) -> str:
    """The fault of a prompt; empty for a good one. `seen` are the lines of earlier ones by their ids."""
    for key in ("id", "kind", "prompt"):
        if not _is_text(prompt.get(key)):
            return f"has no text in `{key}`"
    size, cluster = len(encoded(prompt["prompt"])), prompt.get(CLUSTER, "none")
    if size > MAXIMUM_PROMPT_BYTES:
        return (
            f"has a prompt of {size:,} bytes: shorten it to {MAXIMUM_PROMPT_BYTES:,}, which leave room for the answer"
        )
    if prompt["kind"] not in KINDS:
        return f"has the kind {_short(prompt['kind'])}: use one of {', '.join(KINDS)}"
    if not _is_text(cluster) or len(cluster) > MAXIMUM_CLUSTER_CHARACTERS:
        return (
            f"has a `{CLUSTER}` that is not a text of 1 to {MAXIMUM_CLUSTER_CHARACTERS} characters: give prompts about the same "
            "fact the same one, or omit it"
        )
    if CHOICES in prompt and (found := _choices_fault(prompt[CHOICES])):
        return found
    facts = prompt.get("facts", [])
    if not isinstance(facts, list) or (prompt["kind"] != "starter" and not facts and CHOICES not in prompt):
        return "has no key facts: add `facts`, a list of {name, pattern}, or `choices` (only a starter needs neither)"
    asked = readings(prompt["prompt"])
    for fact in facts:
        if not isinstance(fact, dict) or not all(_is_text(fact.get(key)) for key in ("name", "pattern")):
            return "has a fact without `name` or `pattern`: add both"
        pattern = fact["pattern"]
        if found := _pattern_fault(pattern, asked):
            shown = _short(pattern)
            # The reason can quote the pattern.
            return f"has a pattern that {'cannot be used' if shown == personal_data.NOT_SHOWN else found}, {shown}"
    return f"repeats the id {_short(prompt['id'])} of line {seen[prompt['id']]}" if prompt["id"] in seen else ""


def _choices_fault(ends: Any) -> str:
    """The fault of the options of a prompt; empty for good ones."""
    good = isinstance(ends, list) and len(ends) in CHOICES_OF_A_PROMPT and all(map(_is_text, ends))
    if not good or len({end.strip() for end in ends}) < len(ends):
        return (
            f"has `{CHOICES}` that are not {CHOICES_OF_A_PROMPT.start} to {CHOICES_OF_A_PROMPT.stop - 1} different texts: write the correct option "
            "first, then distractors"
        )
    too_long = max(map(len, map(encoded, ends))) > MAXIMUM_PROMPT_BYTES
    return f"has an option of more than {MAXIMUM_PROMPT_BYTES:,} bytes: shorten it" if too_long else ""


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _unescaped(pattern: str) -> str:
    return re.sub(r"\\([A-Za-z]?)", lambda escape: " " if escape[1] else "", pattern)


def _short(value: str) -> str:
    """A value for a message; nothing of a pattern that reads like data of a person."""
    return personal_data.NOT_SHOWN if personal_data.looks_personal(_unescaped(value)) else personal_data.shown(value)


def _pattern_fault(written: str, asked: list[Reading]) -> str:
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
            if mentioned(pattern, asked):
                return "its own prompt matches"
            for text in _probes(written):
                pattern.search(text)
    except TooSlow:
        return "can take for ever (remove repeats inside a repeat, or bound them, for example {0,40})"
    return ""


def _probes(written: str) -> Iterator[str]:
    """Texts on which exponential backtracking usually shows: a repeat matches again and again and fails at the end."""
    letters = re.sub(r"\\.|[^\w ]", "", written)
    # Without its last character too, which is often the one that never comes.
    repeated = dict.fromkeys([*_REPEATED, *sorted(set(letters))[:8], letters, letters[:-1]])
    return ((part * PROBE_CHARACTERS)[: PROBE_CHARACTERS - 1] + "\u00a7" for part in repeated if part)


# Made from the held-out part -------------------------------------------------------------------------------------------


def make(held_out: list[Document]) -> tuple[list[dict[str, Any]], list[str]]:
    """Up to twenty prompts from all over the held-out part, and warnings. Raises PromptsRejected where there are none."""
    return _from_records(held_out) if held_out[0].records else (_from_text(held_out), [])


def _from_text(held_out: list[Document]) -> list[dict[str, Any]]:
    """The first whole sentences of documents, or their first words where none has any, as in Thai. They have no key facts: only the answers are shown."""
    sentences = (sentence for part in held_out for sentence in islice(_sentences(part.text), 1))
    openings = (opening(" ".join(part.text.split()), OPENING_WORDS) for part in held_out)
    found = list(dict.fromkeys(sentences)) or list(dict.fromkeys(filter(_is_a_prompt, openings)))
    if not found:
        raise PromptsRejected(
            f"No held-out document begins with a prompt of {SENTENCE_WORDS.start} words and at most {MAXIMUM_PROMPT_BYTES:,} bytes. Upload your own prompts, and name the file in `prompts`."
        )
    chosen = found[:: max(1, len(found) // LIMIT)][:LIMIT]
    return [
        {"id": f"opening-{number}", "kind": "starter", "prompt": sentence, "facts": []}
        for number, sentence in enumerate(chosen, 1)
    ]


def _is_a_prompt(text: str) -> bool:
    return count_words(text) in SENTENCE_WORDS and _can_be_asked(text)


def _sentences(text: str) -> Iterator[str]:
    """The whole sentences of a text that can be asked, each on one line."""
    for paragraph in text.split("\n\n"):
        start = 0
        line = " ".join([*paragraph.split(), ""])
        for end in SENTENCE_END.finditer(line):
            sentence, start = line[start : end.start()], end.end()
            if _is_a_prompt(sentence):
                yield sentence


def _from_records(held_out: list[Document]) -> tuple[list[dict[str, Any]], list[str]]:
    """Records in turn from their groups, conversations up to the last answer, and how many are too long to be asked."""
    fitting = [[one for one in part.records if _can_be_asked("\n".join(one.texts[:-1]))] for part in held_out]
    # Where there are more groups than are asked, those from all over the file.
    groups = [group for group in fitting if group]
    turns = zip_longest(*groups[:: max(1, len(groups) // LIMIT)])
    asked = [record for turn in turns for record in turn if record is not None]
    if not asked:
        raise PromptsRejected(
            f"Every held-out record has a prompt of more than {MAXIMUM_PROMPT_BYTES:,} bytes. Upload your own prompts, and name the file in `prompts`."
        )
    long = sum(len(part.records) for part in held_out) - sum(map(len, fitting))
    told = f"{long} held-out records are measured but not used as prompts: they have more than {MAXIMUM_PROMPT_BYTES:,} bytes."
    return [_prompt(record, number) for number, record in enumerate(asked[:LIMIT], 1)], [told] if long else []


def _prompt(record: Record, number: int) -> dict[str, Any]:
    said: dict[str, Any] = {"prompt": record.prompt}
    if record.is_conversation:
        asked = record.messages[:-1]
        shown = "\n\n".join(f"{message['role'].capitalize()}: {message['content']}" for message in asked)
        said = {"prompt": shown if len(asked) > 1 else asked[0]["content"], "messages": asked}
    reference = record.reference[:REFERENCE_CHARACTERS]
    return {"id": f"record-{number}", "kind": RECORD_KIND, **said, "reference": reference, "facts": []}
