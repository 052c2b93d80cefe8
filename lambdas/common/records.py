"""Records in place of running text: prompts with completions, or conversations, read from JSON Lines or CSV.

Preflight reads a user's file with it, and training the file that StageInput has written. StageInput puts this module beside the training
code (preflight/staging.py), so it needs nothing but Python's own library. Every fault is named with its line.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

USER, ASSISTANT, SYSTEM = "user", "assistant", "system"
ROLES = (SYSTEM, USER, ASSISTANT)
# What stands between a prompt and its completion where the file has no blank there.
JOINT = " "
LINES, TABLE = ".jsonl", ".csv"
FORMS = (LINES, TABLE)
# What a column may stand for, and what it is called where the input names no other.
PROMPT, COMPLETION, GROUP, ID, MESSAGES = "prompt", "completion", "group", "id", "messages"
COLUMNS = (PROMPT, COMPLETION, GROUP, ID, MESSAGES)
FORM = (
    'A line holds {"prompt": "…", "completion": "…"} or {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}; '
    "a CSV file has the columns prompt and completion; `columns` in the input gives them other names."
)
# What spreadsheets write, by country.
_DELIMITERS = (",", ";", "\t")
_SHOWN, _SHOWN_HEADER = 8, 300

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


def are_records(name: str | None) -> bool:
    """Whether a file of that name holds records and not running text."""
    return name is not None and name.endswith(FORMS)


def hold_records(first_line: str) -> bool:
    """Whether a line of a staged JSON Lines file is a record and not a document."""
    try:
        entry = json.loads(first_line)
    except ValueError:
        return False
    return isinstance(entry, dict) and bool({COMPLETION, MESSAGES} & entry.keys())


def read(
    text: str, name: str, columns: Mapping[str, str] | None = None, prefix: str = "record", show: Show = repr
) -> tuple[list[Record], list[str]]:
    """The records of a file's text, and the columns of the file that are not used.

    `columns` names the columns of the file by what they stand for; records without an id are called by `prefix` and their line.
    Raises RecordsFaulty naming the faulty lines.
    """
    names = {**{column: column for column in COLUMNS}, **(columns or {})}
    rows = list(_table(text, name, names, show) if name.endswith(TABLE) else json_lines(text))
    if not rows:
        raise RecordsFaulty(f"{name} holds no record. {FORM}")
    faults = [f"line {number} {row}" for number, row in rows if isinstance(row, str)]
    whole = [(number, row) for number, row in rows if not isinstance(row, str)]
    reader = _Reader(names, GROUP in (columns or {}), prefix, [row for _, row in whole], show)
    found: dict[str, Record] = {}
    for number, row in whole:
        try:
            record = reader.record(row, number)
            if record.id in found:
                raise _Fault(f"repeats the {names[ID]} {show(record.id)} of line {found[record.id].line}")
            found[record.id] = record
        except _Fault as fault:
            faults.append(f"line {number} {fault}")
    if faults:
        more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise RecordsFaulty(f"{name}: {'; '.join(faults[:_SHOWN])}{more}. {FORM}")
    return list(found.values()), sorted({str(key) for _, row in whole for key in row} - set(names.values()))


class _Reader:
    """Reads the rows of one file: which columns they have, and that all records are of one kind."""

    def __init__(
        self, names: Mapping[str, str], grouped: bool, prefix: str, rows: list[dict[str, Any]], show: Show
    ) -> None:
        self._names, self._prefix, self._show = names, prefix, show
        first = rows[0] if rows else {}
        self._talks = names[MESSAGES] in first and names[COMPLETION] not in first
        self._grouped = grouped or any(names[GROUP] in row for row in rows)

    def record(self, row: dict[str, Any], number: int) -> Record:
        """The record of a row. Raises _Fault."""
        group, identifier = self._label(row, GROUP), self._label(row, ID) or f"{self._prefix}-{number:04d}"
        if self._grouped and not group:
            raise _Fault(f"has no text in `{self._names[GROUP]}`, by which records are kept on one side of the split")
        named: dict[str, Any] = {"group": group or identifier, "named_group": bool(group), "line": number}
        if self._talks:
            return Record(identifier, **named, turns=self._turns(row.get(self._names[MESSAGES])))
        if self._names[MESSAGES] in row and self._names[COMPLETION] not in row:
            raise _Fault(
                "is a conversation, and earlier lines are prompts with completions: give each kind in a file of its own"
            )
        for column in (PROMPT, COMPLETION):
            value = row.get(self._names[column])
            if not isinstance(value, str) or not value.strip():
                raise _Fault(f"has no text in `{self._names[column]}`")
        prompt, completion = of_pair(row[self._names[PROMPT]], row[self._names[COMPLETION]])
        return Record(identifier, **named, prompt=prompt, completion=completion)

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
                raise _Fault(f"has a message without a role (message {place}); it is one of {', '.join(ROLES)}")
            if role not in ROLES:
                raise _Fault(
                    f"has the role {self._show(role)} in message {place}; it must be one of {', '.join(ROLES)}"
                )
            text = message.get("content")
            if not isinstance(text, str) or not text.strip():
                raise _Fault(f"has no text in message {place} ({role})")
            before = turns[-1][0] if turns else ""
            if role == SYSTEM and before:
                raise _Fault(f"has a system message in place {place}; it can only be the first")
            if (role == ASSISTANT) != (before == USER) and role != SYSTEM:
                raise _Fault(
                    f"has two turns of one side in a row (message {place}): user and assistant must take turns, the user first"
                )
            turns.append((role, text.strip()))
        if turns[-1][0] != ASSISTANT:
            raise _Fault("ends without an answer: the last message must be the assistant's")
        return tuple(turns)


def json_lines(text: str) -> Iterator[tuple[int, Row]]:
    """The objects of a JSON Lines text with the numbers of their lines, or what is wrong with a line; blank lines are left out."""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            json.dumps(row, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            row = "has half of a surrogate pair, which no UTF-8 text can hold"
        except RecursionError:
            row = "is nested too deeply"
        except ValueError as error:  # also an integer of more digits than Python converts
            row = f"is not JSON ({getattr(error, 'msg', str(error)).partition(';')[0]})"
        else:
            row = row if isinstance(row, dict) else "is not a JSON object"
        yield number, row


def _table(text: str, name: str, names: Mapping[str, str], show: Show) -> Iterator[tuple[int, Row]]:
    """The rows of a CSV text, or what is wrong with one. Raises RecordsFaulty for a header without the named columns, or a broken quote."""
    # A field may be as long as the file. The limit is the process's, and other readers of CSV need theirs.
    csv.field_size_limit(max(len(text), csv.field_size_limit()))
    header, delimiter = _header(text, name, names, show)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        next(reader)
        begins = reader.line_num + 1
        for cells in reader:
            if len(cells) != len(header) and any(cell.strip() for cell in cells):
                yield begins, f"has {len(cells)} columns, and the header has {len(header)}"
            elif any(cell.strip() for cell in cells):
                yield begins, dict(zip(header, cells, strict=True))
            begins = reader.line_num + 1
    except csv.Error as error:
        raise RecordsFaulty(
            f"{name}, line {reader.line_num} is not CSV ({error}). Put text with commas, quotes or line ends between double quotes, and double the quotes in it."
        ) from None


def _header(text: str, name: str, names: Mapping[str, str], show: Show) -> tuple[list[str], str]:
    """The columns of a CSV text and what stands between them."""
    needed = [names[PROMPT], names[COMPLETION]]
    asked = needed + [named for column, named in names.items() if named not in (column, *needed)]
    best: list[str] = []
    for delimiter in _DELIMITERS:
        try:
            first = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
        except csv.Error:
            continue
        header = [cell.strip() for cell in first]
        best = max(best, header, key=len)
        if set(asked) <= set(header):
            twice = next((column for column in header if header.count(column) > 1), None)
            if twice is not None:
                raise RecordsFaulty(f"{name} has two columns called {show(twice)}. Give each a name of its own.")
            return header, delimiter
    missing = ", ".join(f"`{column}`" for column in asked if column not in best)
    # Without a header, the first line is a record.
    first_line = ", ".join(best)
    shown = show(first_line[:_SHOWN_HEADER]) if any(best) else "none"
    raise RecordsFaulty(
        f"{name} has no column {missing}; its first line names {shown}. Name the columns in the input, for example "
        '"columns": {"prompt": "question", "completion": "answer", "group": "patient"}.'
    )
