"""Records in place of running text: prompts with completions, or conversations.

Preflight reads the rows of a user's file with it (preflight/texts/forms.py), and training the JSON Lines that StageInput has written. StageInput
puts this module beside the training code (preflight/staging.py), so it needs nothing but Python's own library. Every fault is named with its line.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

USER, ASSISTANT, SYSTEM = "user", "assistant", "system"
ROLES = (SYSTEM, USER, ASSISTANT)
# What stands between a prompt and its completion where the file has no blank there.
JOINT = " "
# What a column may stand for, and what it is called where the input names no other.
PROMPT, COMPLETION, GROUP, ID, MESSAGES = "prompt", "completion", "group", "id", "messages"
_COLUMNS = {column: column for column in (PROMPT, COMPLETION, GROUP, ID, MESSAGES)}
_SHOWN = 8

Show = Callable[[str], str]  # how a message quotes a value of the file
Row = dict[str, Any] | str  # a row by the names of its columns, or what is wrong with it


class RecordsFaulty(ValueError):
    """A file of records cannot be read; the message names the lines."""


class _Fault(Exception):
    """What is wrong with one record."""


@dataclass(frozen=True)
class Record:
    """A prompt and its completion, or a conversation of (role, text) that ends with an answer.

    A prompt has no white space at its end and a completion has it at its start: so tokenizers find the same tokens in a prompt alone,
    as the endpoint is asked it, and before its answer.
    """

    id: str
    group: str  # records of one group stay on one side of the split
    named_group: bool = False  # by the file; else the record is a group of its own
    line: int = 0
    prompt: str = ""
    completion: str = ""
    turns: tuple[tuple[str, str], ...] = ()

    @property
    def is_conversation(self) -> bool:
        """Whether it needs the model's chat template."""
        return bool(self.turns)

    @property
    def answers(self) -> list[str]:
        """What is learned of it, and scored where it is held out."""
        return [text for role, text in self.turns if role == ASSISTANT] if self.turns else [self.completion.strip()]

    @property
    def reference(self) -> str:
        """The last answer: the one that both models are asked for."""
        return self.answers[-1]

    @property
    def texts(self) -> list[str]:
        """All that it says, in order."""
        return [text for _, text in self.turns] if self.turns else [self.prompt, self.completion.strip()]

    @property
    def text(self) -> str:
        """The same as one text."""
        return "\n".join(self.texts)

    @property
    def messages(self) -> list[dict[str, str]]:
        """The conversation as chat templates and servers take it."""
        return [{"role": role, "content": text} for role, text in self.turns]

    def as_entry(self) -> dict[str, Any]:
        """The line of a training channel."""
        said = {"messages": self.messages} if self.turns else {"prompt": self.prompt, "completion": self.completion}
        return {"id": self.id, "group": self.group, **said}


def of_pair(prompt: str, completion: str) -> tuple[str, str]:
    """A prompt and a completion with the white space between them on the completion's side, or a blank where there is none."""
    bare = prompt.rstrip()
    between = prompt[len(bare) :] + completion[: len(completion) - len(completion.lstrip())]
    return bare, (between or JOINT) + completion.strip()


def hold_records(first_line: str) -> bool:
    """Whether a line of a staged JSON Lines file is a record and not a document."""
    try:
        entry = json.loads(first_line)
    except ValueError:
        return False
    return isinstance(entry, dict) and bool({COMPLETION, MESSAGES} & entry.keys())


def read(
    rows: Sequence[tuple[int, Row]],
    name: str,
    columns: Mapping[str, str] | None = None,
    prefix: str = "record",
    show: Show = repr,
) -> list[Record]:
    """The records of numbered rows, of which each has a prompt with its completion, or each has messages.

    `columns` are the names of the file's columns by what they stand for; records without an id are called by `prefix` and their line.
    Raises RecordsFaulty naming the faulty lines.
    """
    names = {**_COLUMNS, **(columns or {})}
    faults: list[str] = []
    reader = _Reader(names, prefix, [row for _, row in rows if not isinstance(row, str)], show)
    found: dict[str, Record] = {}
    for number, row in rows:
        try:
            if isinstance(row, str):
                raise _Fault(row)
            record = reader.record(row, number)
            if record.id in found:
                raise _Fault(f"repeats the {names[ID]} {show(record.id)} of line {found[record.id].line}")
            found[record.id] = record
        except _Fault as fault:
            faults.append(f"line {number} {fault}")
    if faults:
        raise RecordsFaulty(f"{name}: {faults_listed(faults)}")
    return list(found.values())


def faults_listed(faults: Sequence[str]) -> str:
    """The first faults of a file, and how many more there are."""
    return "; ".join(faults[:_SHOWN]) + (f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else "")


def words(value: Any) -> str:
    """The text of a cell, which may be a number; "" for anything else, and for white space."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    return value if isinstance(value, str) and value.strip() else ""


class _Reader:
    """Reads the rows of one file: which columns they have, and that all records are of one kind."""

    def __init__(self, names: Mapping[str, str], prefix: str, rows: list[dict[str, Any]], show: Show) -> None:
        self._names, self._prefix, self._show = names, prefix, show
        first = rows[0] if rows else {}
        self._talks = names[MESSAGES] in first and names[COMPLETION] not in first
        self._grouped = names[GROUP] != GROUP or any(GROUP in row for row in rows)

    def record(self, row: dict[str, Any], number: int) -> Record:
        """The record of a row. Raises _Fault."""
        group, identifier = self._label(row, GROUP), self._label(row, ID) or f"{self._prefix}-{number:04d}"
        if self._grouped and not group:
            raise _Fault(
                f"has no text in `{self._names[GROUP]}`: name its group, so that related records are not split between training and held-out"
            )
        named: dict[str, Any] = {"group": group or identifier, "named_group": bool(group), "line": number}
        if self._talks:
            return Record(identifier, **named, turns=self._turns(row.get(self._names[MESSAGES])))
        prompt, completion = of_pair(*(self._text(row, column) for column in (PROMPT, COMPLETION)))
        return Record(identifier, **named, prompt=prompt, completion=completion)

    def _text(self, row: dict[str, Any], column: str) -> str:
        if text := words(row.get(self._names[column])):
            return text
        raise _Fault(f"has no text in `{self._names[column]}`")

    def _label(self, row: dict[str, Any], column: str) -> str:
        value = row.get(self._names[column])
        return str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""

    def _turns(self, messages: Any) -> tuple[tuple[str, str], ...]:
        if not isinstance(messages, list) or not messages:
            raise _Fault(f"has no list of messages in `{self._names[MESSAGES]}`")
        turns: list[tuple[str, str]] = []
        for place, message in enumerate(messages, 1):
            role = message.get("role") if isinstance(message, dict) else None
            if not isinstance(role, str):
                raise _Fault(f"has a message without a role (message {place}): use one of {', '.join(ROLES)}")
            if role not in ROLES:
                raise _Fault(f"has the role {self._show(role)} in message {place}: use one of {', '.join(ROLES)}")
            if not (text := words(message.get("content"))):
                raise _Fault(f"has no text in message {place} ({role})")
            before = turns[-1][0] if turns else ""
            if role == SYSTEM and before:
                raise _Fault(f"has a system message in place {place}: move it to the first place")
            if role == ASSISTANT and before in ("", SYSTEM):
                raise _Fault("begins with the assistant: start with the user")
            if (role == ASSISTANT) != (before == USER) and role != SYSTEM:
                raise _Fault(
                    f"has two turns of one side in a row (message {place}): alternate user and assistant, the user first"
                )
            turns.append((role, text.strip()))
        if turns[-1][0] != ASSISTANT:
            raise _Fault("ends without an answer: end with a message of the assistant")
        return tuple(turns)


def json_lines(text: str) -> Iterator[tuple[int, Row]]:
    """The objects of a JSON Lines text with the numbers of their lines, or what is wrong with a line; blank lines are left out."""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = as_row(json.loads(line))
        except RecursionError:
            row = "is nested too deeply"
        except ValueError as error:  # also an integer of more digits than Python converts
            row = not_json(error)
        yield number, row


def not_json(error: ValueError) -> str:
    """What is wrong with a line that is not JSON, and where in it."""
    why, column = getattr(error, "msg", str(error)).partition(";")[0].strip(), getattr(error, "colno", None)
    comma = "; look for an extra comma" if why.startswith(("Expecting value", "Illegal trailing", "Extra data")) else ""
    return f"is not JSON ({why}{f' character {column}' if why.endswith(' at') else f' at character {column}' if column else ''}{comma})"


def as_row(value: Any) -> Row:
    """A value of a JSON text as a row, or why it is none."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return "has half of a surrogate pair, which is not valid UTF-8"
    return value if isinstance(value, dict) else "is not a JSON object"
