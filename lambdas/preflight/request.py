"""The execution input: every key optional, every value checked, unknown keys refused."""

import difflib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, TypeGuard

from common.contracts import run_folder
from common.errors import InvalidInput
from common.pricing.durations import LONGEST_KEEP_SECONDS
from common.records import COMPLETION, PROMPT
from common.settings import PreflightSettings, check_of
from common.text import listed
from preflight.texts import forms, personal_data
from preflight.texts.forms import COLUMNS, ENDINGS

# An input may have 256 KiB, the cause of a failed state 32 KiB, and a person reads less than either.
_SHOWN_FAULTS, _SHOWN_CHARACTERS = 8, 80
# S3's own limit.
_KEY_BYTES = 1024
# The Step Functions console offers {"Comment": "Insert your JSON here"} as the input of an execution.
_IGNORED = "Comment"
NONE = "none"  # in place of a file: none of that kind, not even the deployed one


class Rule(NamedTuple):
    """What a value must be or say, whether it does, and the limits that the documentation shows."""

    words: str
    holds: Callable[[Any], bool]
    limits: str = ""


def _number(low: int, high: int) -> Rule:
    return Rule(
        f"be a whole number from {low} to {high}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high,
        f"{low} to {high}: ",
    )


def _of_setting(name: str) -> Rule:
    """A whole number in the range of the setting that it replaces."""
    low, high = check_of(PreflightSettings, name).limits
    return _number(int(low), int(high))


def _file(*endings: str) -> Rule:
    folder = run_folder.CORPORA
    return Rule(
        f"be the key of a {' or '.join(endings)} file in the project's bucket under {folder}, for example {folder}mine{endings[0]}",
        lambda value: (
            _is_text(value)
            and value.startswith(folder)
            and value.endswith(endings)
            and len(value.encode()) <= _KEY_BYTES
        ),
    )


def _or_none(rule: Rule) -> Rule:
    return Rule(f'{rule.words}, or "{NONE}"', lambda value: value == NONE or rule.holds(value), rule.limits)


def _are_columns(value: Any) -> TypeGuard[Mapping[str, str]]:
    return isinstance(value, Mapping) and all(
        key in COLUMNS and _is_text(name) and bool(name.strip()) for key, name in value.items()
    )


SWITCH = Rule("be true or false", lambda value: isinstance(value, bool))
NAMES = Rule(f"map names to the columns of your records, {{{', '.join(f'{key}: …' for key in COLUMNS)}}}", _are_columns)
ADAPTER = Rule(
    f"be the address of an earlier run's adapter, {run_folder.adapter_uri('BUCKET', 'RUN', 'JOB')}",
    lambda value: _is_text(value) and run_folder.ADAPTER_URI.fullmatch(value) is not None,
)


def _key(name: str, default: Any, rule: Rule, example: Mapping[str, Any], means: str) -> Any:
    """A field of `Request`: its key in the input, its rule, and an example and its meaning, from which docs/configure.md is made."""
    about = {"key": name, "rule": rule, "example": example, "means": means}
    return field(default_factory=lambda: default, metadata=about)


@dataclass(frozen=True)
class Request:
    """What a person asked for; None means the deployed setting."""

    # fmt: off
    corpus: str | None = _key(
        "corpus", None, _file(".txt", *ENDINGS), {"corpus": "corpora/mine.txt"},
        "trains on [your own data](your-own-data.md): text or records",
    )
    held_out: str | None = _key(
        "heldOut", None, _file(".txt", *ENDINGS), {"corpus": "corpora/mine.txt", "heldOut": "corpora/held.txt"},
        "measures on this file; without it, a part of the corpus is held out",
    )
    columns: Mapping[str, str] = _key(
        "columns", {}, NAMES, {"corpus": "corpora/mine.csv", "columns": {"prompt": "question", "completion": "answer"}},
        "the names of the columns in your records: `prompt`, `completion`, `group`, `id`, `messages`, `text`",
    )
    held_outside: str | None = _key(
        "heldOutside", None, _or_none(_file(".txt", *ENDINGS)), {"heldOutside": "corpora/others.jsonl"},
        "measures on an [external test set](your-own-data.md) too; `\"none\"` omits the deployed one as well; not with `adapterUri`",
    )
    prompts: str | None = _key(
        "prompts", None, _file(".jsonl"), {"prompts": "corpora/prompts.jsonl"},
        "asks [your own prompts](your-own-data.md#your-own-prompts), at most 10,000",
    )
    smoke: bool = _key(
        "smoke", False, SWITCH, {"smoke": True},
        "the shortest run with every AWS call: one training step, four prompts",
    )
    spot: bool | None = _key(
        "spot", None, SWITCH, {"spot": True},
        "trains on [spot instances](#train-on-spot-instances), or on demand with `false`; not with `adapterUri`",
    )
    epochs: int | None = _key(
        "epochs", None, _of_setting("epochs"), {"epochs": 2}, "epochs of training; not with `adapterUri`",
    )
    seed: int | None = _key("seed", None, _of_setting("seed"), {"seed": 7}, "of training and sampling")
    samples_per_prompt: int | None = _key(
        "samplesPerPrompt", None, _of_setting("samples_per_prompt"), {"samplesPerPrompt": 0},
        "sampled answers to each prompt, in addition to the greedy one",
    )
    keep_endpoint_minutes: int = _key(
        "keepEndpointMinutes", 0, _number(0, LONGEST_KEEP_SECONDS // 60), {"keepEndpointMinutes": 30},
        "keeps the endpoint after a success, inside the reservation",
    )
    adapter_uri: str = _key(
        "adapterUri", "", ADAPTER, {"adapterUri": "s3://BUCKET/runs/RUN/training/JOB/output/model/"},
        "serves an earlier run's adapter, without training",
    )
    serve_only: bool = _key(
        "serveOnly", False, SWITCH,
        {"adapterUri": "s3://BUCKET/runs/RUN/training/JOB/output/model/", "serveOnly": True, "keepEndpointMinutes": 60},
        "keeps the endpoint of `adapterUri` for `keepEndpointMinutes`, asks no prompts and writes no report (`captune serve`)",
    )
    # fmt: on


_FIELDS = {one.metadata["key"]: one for one in fields(Request)}
_SERVED_WITH = ("adapterUri", "keepEndpointMinutes")


def table() -> str:
    """All keys of the input in Markdown: an example that is accepted, and what it means."""
    lines = ["| key | example | what it means |", "|---|---|---|"]
    for key, one in _FIELDS.items():
        about = one.metadata
        lines.append(f"| `{key}` | `{json.dumps(about['example'])}` | {about['rule'].limits}{about['means']} |")
    return "\n".join(lines)


def parse(execution_input: Any) -> Request:
    """Reads the input of an execution. Raises InvalidInput naming every fault and its fix."""
    if not isinstance(execution_input, Mapping):
        raise InvalidInput(
            f"The execution input is a {type(execution_input).__name__}, not a JSON object. Start an execution with {{}}, which uses every default."
        )
    asked = {key: value for key, value in execution_input.items() if key != _IGNORED}
    if faults := list(_faults(asked)):
        shown = listed(faults, _SHOWN_FAULTS, "; ")
        raise InvalidInput(
            f"The execution input is invalid: {shown}. Correct it, and start a new execution; {{}} uses every default."
        )
    given = {_FIELDS[key].name: value for key, value in asked.items()}
    if "adapter_uri" in given:
        given["adapter_uri"] = f"{given['adapter_uri'].removesuffix('/')}/"
    return Request(**given)


def _faults(given: Mapping[str, Any]) -> Iterator[str]:
    """Every fault of an input."""
    yield from (_unknown(key) for key in given if key not in _FIELDS)
    for key, one in _FIELDS.items():
        rule = one.metadata["rule"]
        if key in given and not rule.holds(given[key]):
            yield f"`{key}` must {rule.words}, not {_short(given[key])}"
    yield from _together(given)


def _together(given: Mapping[str, Any]) -> Iterator[str]:
    """Faults of keys that exclude or need one another. The values may be of any kind."""
    corpus, columns = given.get("corpus"), given.get("columns")
    if _are_columns(columns):
        called = {columns.get(column, column) for column in (PROMPT, COMPLETION)}
        if len(set(columns.values())) < len(columns) or len(called) < 2:
            yield f"`columns` maps two names to one column: give each its own (defaults: {PROMPT} and {COMPLETION})"
        elif not forms.are_rows(str(corpus)):
            yield "`columns` needs a corpus with columns, such as .jsonl or .csv: add `corpus`, or omit it"
    if "heldOut" in given and "corpus" not in given:
        yield "`heldOut` needs your own corpus: add `corpus`, or omit both"
    if given.get("serveOnly") is True:
        for key in [key for key in _SERVED_WITH if not given.get(key)]:
            yield f"`serveOnly` needs `{key}`: add it, or omit `serveOnly`"
        for key in [key for key in given if key in _FIELDS and key not in ("serveOnly", *_SERVED_WITH)]:
            yield f"`{key}` has no effect with `serveOnly`, which neither trains nor asks prompts: omit one of them"
    if "adapterUri" not in given:
        return
    for key in [key for key in ("epochs", "spot") if key in given]:
        yield f"`{key}` has no effect with `adapterUri`, which does not train: omit one of them"
    if "heldOutside" in given:
        yield (
            "`heldOutside` is measured during training, and `adapterUri` does not train (the report shows the earlier run's figures): omit one of them"
        )


def _unknown(key: str) -> str:
    alike = {name.lower(): name for name in _FIELDS}
    near = difflib.get_close_matches(key.lower().replace("_", "").replace("-", ""), alike, n=1, cutoff=0.5)
    hint = f" (did you mean `{alike[near[0]]}`?)" if near else f" (known: {', '.join(_FIELDS)})"
    shown = key[:_SHOWN_CHARACTERS] if _is_text(key) and not personal_data.looks_personal(key) else _short(key)
    return f"unknown key `{shown}`{hint}"


def _is_text(value: Any) -> bool:
    """Whether a value can be written as UTF-8. JSON can name half of a surrogate pair, which no file and no service can hold."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _short(value: Any) -> str:
    """A value for a message, as it was written; nothing of one that looks like data of a person."""
    if personal_data.looks_personal(json.dumps(value, ensure_ascii=False)):
        return personal_data.NOT_SHOWN
    shown = json.dumps(value)
    return shown if len(shown) <= _SHOWN_CHARACTERS else shown[:_SHOWN_CHARACTERS] + "…"
