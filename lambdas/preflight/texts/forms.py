"""The rows of a user's file, and their form: documents, prompts with completions, instructions or conversations.

Rows come as JSON Lines, a JSON array, CSV or TSV. Whatever the file, common/records.py then reads rows of one shape, and StageInput writes it.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from common.records import (
    ASSISTANT,
    COMPLETION,
    GROUP,
    ID,
    MESSAGES,
    PROMPT,
    SYSTEM,
    USER,
    RecordsFaulty,
    Row,
    Show,
    as_row,
    faults_listed,
    json_lines,
    not_json,
    words,
)

TEXT, TITLE, INPUT = "text", "title", "input"
LINES, TABLES, ARRAY = (".jsonl", ".ndjson"), (".csv", ".tsv"), ".json"
ARRAY_KIND = "a JSON array"
ENDINGS = (*LINES, ARRAY, *TABLES)  # of the bucket's files
PARQUET = ".parquet"  # which becomes JSON Lines on the user's machine (rehearsal/user_files.py)
# The columns that `columns` in the input can rename.
COLUMNS = (PROMPT, COMPLETION, GROUP, ID, MESSAGES, TEXT)
_CONTENT = {PROMPT, COMPLETION, MESSAGES, TEXT}
_DELIMITERS = (",", ";", "\t")  # what spreadsheets write, by country
# ShareGPT's and OpenAI's names of the sides. Others, such as tool, are no side of a conversation that can be trained on.
_SIDES = {"human": USER, "gpt": ASSISTANT, "chatgpt": ASSISTANT, "developer": SYSTEM}
_SHOWN_HEADER = 300
EXPECTED = (
    "Give each row `text`, or `prompt` and `completion`, or `instruction`, `input` and `output` (Alpaca), or `messages` of role and content, or "
    '`conversations` of from and value (ShareGPT). For other column names, use `columns`, for example {"prompt": "question", "completion": "answer"}.'
)


@dataclass(frozen=True)
class Form:
    """What the rows of a file are: its name in messages, the columns that make it, and those that it uses beside them."""

    label: str
    columns: Mapping[str, str]
    beside: tuple[str, ...] = ()


DOCUMENTS = Form("documents (`text`)", {TEXT: "text"}, (TITLE,))
ALPACA = Form("instructions with outputs (Alpaca)", {PROMPT: "instruction", COMPLETION: "output"}, (INPUT,))
# In the order in which they are looked for: Alpaca's own file has a column `text` too.
FORMS = (
    Form("prompts with completions", {PROMPT: "prompt", COMPLETION: "completion"}),
    Form("conversations (`messages`)", {MESSAGES: "messages"}),
    Form("conversations (ShareGPT)", {MESSAGES: "conversations"}),
    ALPACA,
    DOCUMENTS,
)


@dataclass(frozen=True)
class Rows:
    """The rows of a file, with the number of their line or what is wrong with them, and what their columns are called."""

    name: str
    kind: str  # of file
    form: Form
    columns: Mapping[str, str]
    rows: list[tuple[int, Row]]
    unused: list[str]

    @property
    def are_documents(self) -> bool:
        """Whether they are running text, which is learned whole."""
        return self.form is DOCUMENTS

    @property
    def called(self) -> str:
        """What messages that name lines call the file: an array has entries in place of lines."""
        return f"{self.name} (line N is its N-th entry)" if self.kind == ARRAY_KIND else self.name

    @property
    def read_as(self) -> str:
        """The same with the form, for what is wrong with its rows."""
        return f"{self.called}, read as {self.form.label}"

    @property
    def described(self) -> str:
        """What the file was recognised as, in a sentence."""
        return f"{self.name} is {self.kind} of {len(self.rows):,} {self.form.label}."


def are_rows(name: str | None) -> bool:
    """Whether a file of that name holds rows and not one text."""
    return name is not None and name.endswith((*ENDINGS, PARQUET))


def ending_of(text: str) -> str | None:
    """The ending that a text of rows should have: "" for JSON of no known form, None for what is no rows."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            return ARRAY if read(text, ARRAY).kind == ARRAY_KIND else LINES[0]
        except RecordsFaulty:
            try:
                json.loads(text)
            except (ValueError, RecursionError):
                return None
            return ""
    first = text.lstrip().partition("\n")[0]
    for delimiter in _DELIMITERS:
        header = [cell.strip('"') for cell in first.split(delimiter)]  # prose has a blank after a comma
        if len(header) > 1 and not any(cell[:1].isspace() for cell in header) and _form(set(header), {}):
            return ".tsv" if delimiter == "\t" else ".csv"
    return None


def read(text: str, name: str, columns: Mapping[str, str] | None = None, show: Show = repr) -> Rows:
    """The rows of a file's text; `columns` are the file's own names of its columns. Raises RecordsFaulty for a file without a known form."""
    given = dict(columns or {})
    kind, numbered = _table(text, name, given, show) if name.endswith(TABLES) else _json(text, name, given)
    whole = [(number, row) for number, row in numbered if not isinstance(row, str)]
    if not whole:
        faults = [f"line {number} {row}" for number, row in numbered if isinstance(row, str)]
        expected = " Correct the JSON." if any("is not JSON" in fault for fault in faults) else f" {EXPECTED}"
        raise RecordsFaulty(f"{name}{f': {faults_listed(faults)}' if faults else ' has no rows'}.{expected}")
    known = [(number, form) for number, row in whole if (form := _form(row.keys(), given))]
    if not known:
        raise RecordsFaulty(f"{name} has rows in an unknown format: {_without(whole[0][1], given, show)}. {EXPECTED}")
    first, form = known[0]
    names = {**{column: column for column in COLUMNS}, **form.columns, **given}
    unused = sorted({str(key) for _, row in whole for key in row} - {*names.values(), *form.beside})
    for place, (number, row) in enumerate(numbered):
        if isinstance(row, str):
            continue
        other = _form(row.keys(), given) or form
        fault = f"has {other.label}, but line {first} has {form.label}: use a separate file for each"
        numbered[place] = number, _plain(row, form, names) if other is form else fault
    return Rows(name, kind, form, names, numbered, unused)


def _form(columns: Any, given: Mapping[str, str]) -> Form | None:
    """The first form whose columns are all there. Where the input names columns of content, they must be the form's."""
    possible = [form for form in FORMS if _CONTENT & given.keys() <= form.columns.keys()]
    needed = [(form, {given.get(key, name) for key, name in form.columns.items()}) for form in possible or FORMS]
    return next((form for form, names in needed if names <= columns), None)


def _without(row: Mapping[str, Any], given: Mapping[str, str], show: Show) -> str:
    there = show(", ".join(map(str, row))[:_SHOWN_HEADER]) if any(row) else "none"
    missing = ", ".join(f"`{name}`" for name in given.values() if name not in row)
    return f"its columns are {there}" + (f", without {missing}" if missing else "")


def _plain(row: dict[str, Any], form: Form, names: Mapping[str, str]) -> Row:
    """A row with its instruction and input as one prompt, and its conversation as roles and contents; what is wrong stays for the reader."""
    if form is ALPACA:
        asked = (words(row.get(column)).strip() for column in (names[PROMPT], INPUT))
        answer = words(row.get(names[COMPLETION])).strip()
        between = "\n\n"
        return {**row, names[PROMPT]: between.join(filter(None, asked)), names[COMPLETION]: answer and between + answer}
    turns = row.get(names[MESSAGES])
    return {**row, names[MESSAGES]: list(map(_turn, turns))} if isinstance(turns, list) else row


def _turn(turn: Any) -> Any:
    if not isinstance(turn, dict):
        return turn
    role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == TEXT for part in content):
        content = "\n".join(words(part.get(TEXT)) for part in content)
    return {"role": _SIDES.get(role, role) if isinstance(role, str) else role, "content": content}


def _json(text: str, name: str, given: Mapping[str, str]) -> tuple[str, list[tuple[int, Row]]]:
    """The kind of a JSON file, and its rows: its lines, or the entries of its one list."""
    kind = "a Parquet file" if name.endswith(PARQUET) else "a JSON Lines file"
    is_list = text.lstrip().startswith("[")
    lines = [] if is_list else list(json_lines(text))
    if len(lines) > 1 and not isinstance(lines[0][1], str):
        return kind, lines
    try:
        found = json.loads(text)
    except RecursionError:
        return kind, lines or [(1, "is nested too deeply")]
    except ValueError as error:
        return kind, lines or [(getattr(error, "lineno", 1), not_json(error))]
    if isinstance(found, dict) and _form(found.keys(), given) is None:
        lists = [value for value in found.values() if isinstance(value, list) and value and isinstance(value[0], dict)]
        found = lists[0] if len(lists) == 1 else found
    if isinstance(found, list):
        return ARRAY_KIND, list(enumerate(map(as_row, found), 1))
    return kind, lines if lines and not isinstance(lines[0][1], str) else [(1, as_row(found))]


def _table(text: str, name: str, given: Mapping[str, str], show: Show) -> tuple[str, list[tuple[int, Row]]]:
    """The kind of a table, and its rows. Raises RecordsFaulty for a header of no known form, or a broken quote."""
    # A field may be as long as the file. The limit is the process's, and other readers of CSV need theirs.
    csv.field_size_limit(max(len(text), csv.field_size_limit()))
    header, delimiter = _header(text, name, given, show)
    kind = "a CSV file" if delimiter != "\t" else "a TSV file"
    try:
        return kind, list(_cells(text, header, delimiter, csv.QUOTE_MINIMAL))
    except csv.Error as error:
        # Of what is written with tabs, much has no quoting: a quote is then a letter like any other.
        if delimiter == "\t":
            return kind, list(_cells(text, header, delimiter, csv.QUOTE_NONE))
        raise RecordsFaulty(
            f"{name} is not valid CSV ({error}). Put text with commas, quotes or line breaks between double quotes, and double the quotes in it."
        ) from None


def _cells(text: str, header: list[str], delimiter: str, quoting: Any) -> Iterator[tuple[int, Row]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, quoting=quoting)
    try:
        next(reader)
        begins = reader.line_num + 1
        for cells in reader:
            if len(cells) != len(header) and any(cell.strip() for cell in cells):
                yield begins, f"has {len(cells)} columns, but the header has {len(header)}"
            elif any(cell.strip() for cell in cells):
                yield begins, dict(zip(header, cells, strict=True))
            begins = reader.line_num + 1
    except csv.Error as error:
        raise csv.Error(f"line {reader.line_num}: {error}") from None


def _header(text: str, name: str, given: Mapping[str, str], show: Show) -> tuple[list[str], str]:
    """The columns of a table and what stands between them."""
    best: list[str] = []
    for delimiter in _DELIMITERS:
        try:
            first = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
        except csv.Error:
            continue
        header = [cell.strip() for cell in first]
        best = max(best, header, key=len)
        if _form(set(header), given) and set(given.values()) <= set(header):
            twice = next((column for column in header if header.count(column) > 1), None)
            if twice is not None:
                raise RecordsFaulty(f"{name} has two columns named {show(twice)}. Rename one of them.")
            return header, delimiter
    # Without a header, the first line is a record.
    raise RecordsFaulty(f"{name} has an unknown first line: {_without(dict.fromkeys(best), given, show)}. {EXPECTED}")
