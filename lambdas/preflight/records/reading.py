"""Files of records: JSON Lines of prompt and completion or of messages, and CSV. Every fault is named with its line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from common.errors import DatasetRejected
from preflight.records import table
from preflight.records.record import ASSISTANT, ROLES, SYSTEM, USER, Record, of_pair
from preflight.texts import personal_data, text_file

LINES, TABLE = ".jsonl", ".csv"
FORMS = (LINES, TABLE)
# What a column may stand for, and what it is called where the input names no other.
PROMPT, COMPLETION, GROUP, ID, MESSAGES = "prompt", "completion", "group", "id", "messages"
COLUMNS = (PROMPT, COMPLETION, GROUP, ID, MESSAGES)
_SHOWN = 8
_SHOWN_CHARACTERS = 80
FORM = (
    'A line holds {"prompt": "…", "completion": "…"} or {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}; '
    "a CSV file has the columns prompt and completion; `columns` in the input gives them other names."
)


def are_records(key: str | None) -> bool:
    """Whether a file of that name holds records and not running text."""
    return key is not None and key.endswith(FORMS)


def read(content: bytes, name: str, columns: Mapping[str, str], prefix: str) -> tuple[list[Record], list[str]]:
    """The records of a file, and what is to be told of them.

    `columns` names the columns of the file by what they stand for; records without an id are called by `prefix` and their line.
    Raises DatasetRejected naming the faulty lines, and PatientDataSuspected.
    """
    text = text_file.decode(content, name)
    names = {**{column: column for column in COLUMNS}, **columns}
    rows = list(table.rows(text, name, names) if name.endswith(TABLE) else _lines(text))
    if not rows:
        raise DatasetRejected(f"{name} holds no record. {FORM}")
    faults = [f"line {number} {row}" for number, row in rows if isinstance(row, str)]
    found: list[Record] = []
    seen: dict[str, int] = {}
    shape = _Shape(names, columns, prefix, [row for _, row in rows if isinstance(row, dict)])
    for number, row in rows:
        if isinstance(row, str):
            continue
        record, fault = shape.record(row, number)
        if record and record.id in seen:
            fault = f"repeats the {names[ID]} {personal_data.shown(record.id)} of line {seen[record.id]}"
        if fault or record is None:
            faults.append(f"line {number} {fault}")
            continue
        seen[record.id] = number
        found.append(record)
    if faults:
        more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise DatasetRejected(f"{name}: {'; '.join(faults[:_SHOWN])}{more}. {FORM}")
    said = [(one.line, text) for one in found for text in (one.id, one.group, *one.texts)]
    personal_data.refuse_patient_data_in(said, name, personal_data.LEARNT)
    return found, shape.told(name)


def _lines(text: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """The objects of a JSON Lines text with their lines, or what is wrong with a line."""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            json.dumps(row, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            row = "has half of a surrogate pair, which no UTF-8 text can hold"
        except (ValueError, RecursionError) as error:
            row = f"is not JSON ({str(error).partition(';')[0][:_SHOWN_CHARACTERS]})"
        else:
            row = row if isinstance(row, dict) else "is not a JSON object"
        yield number, row


class _Shape:
    """How the records of one file look: which columns they have, and that they are all of one kind."""

    def __init__(
        self, names: Mapping[str, str], asked: Mapping[str, str], prefix: str, rows: list[dict[str, Any]]
    ) -> None:
        self._names, self._prefix = names, prefix
        first = rows[0] if rows else {}
        self._talks = names[MESSAGES] in first and names[COMPLETION] not in first
        self._grouped = GROUP in asked or any(names[GROUP] in row for row in rows)
        used = {names[column] for column in COLUMNS}
        self._unused = sorted({str(key) for row in rows for key in row} - used)

    def told(self, name: str) -> list[str]:
        """What of the file is not used."""
        if not self._unused:
            return []
        shown = ", ".join(personal_data.shown(column) for column in self._unused[:_SHOWN])
        return [f"Of {name} these columns are not used: {shown}{' and others' if len(self._unused) > _SHOWN else ''}."]

    def record(self, row: dict[str, Any], number: int) -> tuple[Record | None, str]:
        """The record of a row, or what is wrong with it."""
        group, identifier = self._label(row, GROUP), self._label(row, ID)
        if self._grouped and not group:
            return None, f"has no text in `{self._names[GROUP]}`, by which records are kept on one side of the split"
        identifier = identifier or f"{self._prefix}-{number:04d}"
        named: dict[str, Any] = {
            "id": identifier,
            "group": group or identifier,
            "named_group": bool(group),
            "line": number,
        }
        if self._talks:
            turns, fault = _turns(row.get(self._names[MESSAGES]), self._names[MESSAGES])
            return (None, fault) if fault else (Record(**named, turns=turns), "")
        if self._names[MESSAGES] in row and self._names[COMPLETION] not in row:
            return (
                None,
                "is a conversation, and earlier lines are prompts with completions: give each kind in a file of its own",
            )
        for column in (PROMPT, COMPLETION):
            value = row.get(self._names[column])
            if not isinstance(value, str) or not value.strip():
                return None, f"has no text in `{self._names[column]}`"
        prompt, completion = of_pair(row[self._names[PROMPT]], row[self._names[COMPLETION]])
        return Record(**named, prompt=prompt, completion=completion), ""

    def _label(self, row: dict[str, Any], column: str) -> str:
        value = row.get(self._names[column])
        return str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _turns(messages: Any, name: str) -> tuple[tuple[tuple[str, str], ...], str]:
    """The turns of a conversation, or what is wrong with it."""
    if not isinstance(messages, list) or not messages:
        return (), f"has no list of messages in `{name}`"
    turns: list[tuple[str, str]] = []
    for place, message in enumerate(messages, 1):
        role = message.get("role") if isinstance(message, dict) else None
        if not isinstance(role, str):
            return (), f"has a message without a role (message {place}); it is one of {', '.join(ROLES)}"
        if role not in ROLES:
            return (
                (),
                f"has the role {personal_data.shown(role)} in message {place}; it must be one of {', '.join(ROLES)}",
            )
        text = message.get("content")
        if not isinstance(text, str) or not text.strip():
            return (), f"has no text in message {place} ({role})"
        before = turns[-1][0] if turns else ""
        if role == SYSTEM and before:
            return (), f"has a system message in place {place}; it can only be the first"
        if (role == ASSISTANT) != (before == USER) and role != SYSTEM:
            return (
                (),
                f"has two turns of one side in a row (message {place}): user and assistant must take turns, the user first",
            )
        turns.append((role, text.strip()))
    if turns[-1][0] != ASSISTANT:
        return (), "ends without an answer: the last message must be the assistant's"
    return tuple(turns), ""
