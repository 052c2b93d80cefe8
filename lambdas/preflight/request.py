"""The execution input: every key optional, every value checked, unknown keys refused."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from common.contracts import run_folder
from common.errors import InvalidInput
from common.records import COLUMNS, COMPLETION, FORMS, PROMPT
from preflight.texts import personal_data

_RANGES: dict[str, tuple[int, int]] = {
    "epochs": (1, 50),
    "seed": (0, 2**31 - 1),
    "keepEndpointMinutes": (0, 240),
    "samplesPerPrompt": (0, 8),
}
_SWITCHES = ("smoke", "spot")
_KEYS = {
    "corpus": (".txt", *FORMS),
    "heldOut": (".txt", *FORMS),
    "heldOutside": (".jsonl", ".txt"),
    "prompts": (".jsonl",),
}
# An input may have 256 KiB, the cause of a failed state 32 KiB, and a person reads less than either.
_SHOWN_FAULTS, _SHOWN_CHARACTERS = 8, 80
# S3's own limit.
_KEY_BYTES = 1024


Value = TypeVar("Value")


def _about(name: str, example: Mapping[str, Any], means: str) -> dict[str, Any]:
    """A field's key in the input, an example and its meaning, from which docs/configure.md is made."""
    return {"key": name, "example": example, "means": means}


def _key(name: str, default: Value, example: Mapping[str, Any], means: str) -> Value:
    """A field of `Request`."""
    return field(default=default, metadata=_about(name, example, means))


@dataclass(frozen=True)
class Request:
    """What a person asked for; None means the deployed setting."""

    corpus: str | None = _key(
        "corpus",
        None,
        {"corpus": "corpora/mine.txt"},
        "trains on [your own data](your-own-data.md): text (`.txt`) or records (`.jsonl`, `.csv`)",
    )
    held_out: str | None = _key(
        "heldOut",
        None,
        {"corpus": "corpora/mine.txt", "heldOut": "corpora/held.txt"},
        "measures on this file of yours; without it a part of the corpus is held out",
    )
    columns: Mapping[str, str] = field(
        default_factory=dict,
        metadata=_about(
            "columns",
            {"corpus": "corpora/mine.csv", "columns": {"prompt": "question", "completion": "answer"}},
            "what the columns `prompt`, `completion`, `group`, `id` and `messages` of your records are called",
        ),
    )
    held_outside: str | None = _key(
        "heldOutside",
        None,
        {"heldOutside": "corpora/others.jsonl"},
        "measures on [text by others](your-own-data.md#text-by-others) too; not with `adapterUri`",
    )
    prompts: str | None = _key(
        "prompts",
        None,
        {"prompts": "corpora/prompts.jsonl"},
        "asks [your own prompts](your-own-data.md#your-own-prompts), at most 10,000",
    )
    smoke: bool = _key(
        "smoke",
        False,
        {"smoke": True},
        "the shortest run that makes every AWS call: one training step, four prompts",
    )
    spot: bool | None = _key(
        "spot",
        None,
        {"spot": True},
        "trains on [spot instances](#train-on-spot-instances), or on demand with `false`; not with `adapterUri`",
    )
    epochs: int | None = _key("epochs", None, {"epochs": 2}, "passes over the corpus; not with `adapterUri`")
    seed: int | None = _key("seed", None, {"seed": 7}, "of training and sampling")
    samples_per_prompt: int | None = _key(
        "samplesPerPrompt",
        None,
        {"samplesPerPrompt": 0},
        "sampled answers to each prompt, besides the greedy one",
    )
    keep_endpoint_minutes: int = _key(
        "keepEndpointMinutes",
        0,
        {"keepEndpointMinutes": 30},
        "keeps the endpoint after a success, inside the reservation",
    )
    adapter_uri: str = _key(
        "adapterUri",
        "",
        {"adapterUri": "s3://BUCKET/runs/RUN/training/JOB/output/model/"},
        "serves what an earlier run has trained, and trains nothing",
    )


def table() -> str:
    """All keys of the input in Markdown: an example that is accepted, and what it means."""
    lines = ["| key | example | what it means |", "|---|---|---|"]
    for one in fields(Request):
        key, means = one.metadata["key"], one.metadata["means"]
        low, high = _RANGES.get(key, (None, None))
        limits = f"{low} to {high}: " if high is not None else ""
        lines.append(f"| `{key}` | `{json.dumps(one.metadata['example'])}` | {limits}{means} |")
    return "\n".join(lines)


def parse(execution_input: Any) -> Request:
    """Reads the input of an execution. Raises InvalidInput naming every fault and its fix."""
    if not isinstance(execution_input, Mapping):
        raise InvalidInput(f"The input must be a JSON object such as {{}}, not {type(execution_input).__name__}.")
    known = [*_KEYS, *_RANGES, "columns", "adapterUri", *_SWITCHES]
    faults = [_unknown(key, known) for key in execution_input if key not in known]
    faults += [_bad_number(key, execution_input[key]) for key in _RANGES if key in execution_input]
    faults += [_bad_key(key, execution_input[key]) for key in _KEYS if key in execution_input]
    faults += [_bad_adapter(execution_input["adapterUri"])] if "adapterUri" in execution_input else []
    faults += _bad_records(execution_input)
    faults += [
        f"`{key}` must be true or false, not {_short(execution_input[key])}"
        for key in _SWITCHES
        if not isinstance(execution_input.get(key, False), bool)
    ]
    faults += [
        f"`{key}` says how to train, and `adapterUri` that nothing is trained: give one of them"
        for key in ("epochs", "spot")
        if key in execution_input and "adapterUri" in execution_input
    ]
    if "heldOut" in execution_input and "corpus" not in execution_input:
        faults.append("`heldOut` belongs to a corpus of your own: give `corpus` too, or leave both out")
    if "heldOutside" in execution_input and "adapterUri" in execution_input:
        faults.append(
            "`heldOutside` is measured while a run trains, and `adapterUri` says that nothing is trained: the report shows what the earlier run measured. "
            "Leave one of them out"
        )
    found = [fault for fault in faults if fault]
    if found:
        more = f" and {len(found) - _SHOWN_FAULTS} more" if len(found) > _SHOWN_FAULTS else ""
        raise InvalidInput(
            f"The execution input was refused: {'; '.join(found[:_SHOWN_FAULTS])}{more}. An input of {{}} uses every default."
        )
    return Request(
        corpus=execution_input.get("corpus"),
        held_out=execution_input.get("heldOut"),
        held_outside=execution_input.get("heldOutside"),
        prompts=execution_input.get("prompts"),
        epochs=execution_input.get("epochs"),
        seed=execution_input.get("seed"),
        samples_per_prompt=execution_input.get("samplesPerPrompt"),
        keep_endpoint_minutes=execution_input.get("keepEndpointMinutes", 0),
        adapter_uri=_with_slash(execution_input.get("adapterUri", "")),
        smoke=execution_input.get("smoke", False),
        spot=execution_input.get("spot"),
        columns=execution_input.get("columns", {}),
    )


def _unknown(key: str, known: list[str]) -> str:
    alike = {name.lower(): name for name in known}
    near = difflib.get_close_matches(key.lower().replace("_", "").replace("-", ""), alike, n=1, cutoff=0.5)
    hint = f" (did you mean `{alike[near[0]]}`?)" if near else f" (known: {', '.join(known)})"
    shown = key[:_SHOWN_CHARACTERS] if _is_text(key) and not personal_data.looks_personal(key) else _short(key)
    return f"unknown key `{shown}`{hint}"


def _bad_number(key: str, value: Any) -> str:
    low, high = _RANGES[key]
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        return f"`{key}` must be a whole number from {low} to {high}, not {_short(value)}"
    return ""


def _bad_key(key: str, value: Any) -> str:
    endings = _KEYS[key]
    if (
        not isinstance(value, str)
        or not _is_text(value)
        or not value.startswith(run_folder.CORPORA)
        or not value.endswith(endings)
        or len(value.encode()) > _KEY_BYTES
    ):
        return f"`{key}` must be the key of a {' or '.join(endings)} file in the project's bucket under {run_folder.CORPORA}, for example {run_folder.CORPORA}mine{endings[0]}, not {_short(value)}"
    return ""


def _bad_records(given: Mapping[str, Any]) -> list[str]:
    """What is wrong with the columns of records, and with records beside text."""
    corpus, held_out = (str(given.get(key) or "").endswith(FORMS) for key in ("corpus", "heldOut"))
    faults = []
    if given.get("corpus") and given.get("heldOut") and corpus != held_out:
        faults.append(
            "`heldOut` must be of the same kind as `corpus`: records (.jsonl or .csv) beside records, text (.txt) beside text"
        )
    if "columns" not in given:
        return faults
    columns = given["columns"]
    if not isinstance(columns, Mapping) or not all(
        key in COLUMNS and isinstance(name, str) and name.strip() and _is_text(name) for key, name in columns.items()
    ):
        faults.append(
            f"`columns` must say what columns of the records are called, {{{', '.join(f'{key}: …' for key in COLUMNS)}}}, not {_short(columns)}"
        )
    elif len(set(columns.values())) < len(columns) or len({columns.get(one, one) for one in (PROMPT, COMPLETION)}) < 2:
        faults.append(
            f"`columns` names one column for two things ({PROMPT} and {COMPLETION} are called so where it gives no other name)"
        )
    elif not corpus:
        faults.append("`columns` belongs to a corpus of records: give `corpus` as .jsonl or .csv too, or leave it out")
    return faults


def _bad_adapter(value: Any) -> str:
    if isinstance(value, str) and _is_text(value) and run_folder.ADAPTER_URI.fullmatch(value):
        return ""
    return (
        "`adapterUri` must be the folder in which an earlier run has left its adapter, "
        f"{run_folder.adapter_uri('BUCKET', 'RUN', 'JOB')}, not {_short(value)}"
    )


def _is_text(value: str) -> bool:
    """Whether a text can be written as UTF-8. JSON can name half of a surrogate pair, which no file and no service can hold."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _with_slash(uri: str) -> str:
    return f"{uri}/" if uri and not uri.endswith("/") else uri


def _short(value: Any) -> str:
    """A value for a message, as it was written; nothing of one that looks like data of a person."""
    if personal_data.looks_personal(json.dumps(value, ensure_ascii=False)):
        return personal_data.NOT_SHOWN
    shown = json.dumps(value)
    return shown if len(shown) <= _SHOWN_CHARACTERS else shown[:_SHOWN_CHARACTERS] + "…"
