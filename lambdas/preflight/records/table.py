"""CSV: rows by the names of their columns, with the line where each begins."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from common.errors import DatasetRejected
from preflight.texts import personal_data

# What spreadsheets write, by country.
_DELIMITERS = (",", ";", "\t")
_NEEDED = ("prompt", "completion")
_SHOWN_HEADER = 300


def rows(text: str, name: str, names: Mapping[str, str]) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """The rows of a CSV text, or what is wrong with one. Raises DatasetRejected for a header without the named columns, or a broken quote."""
    # A field may be as long as the file, which was looked at before. The limit is the process's: an earlier file's may be too small.
    csv.field_size_limit(max(len(text), 1))
    header, delimiter = _header(text, name, names)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        next(reader)
        while True:
            begins = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                yield begins, f"has {len(cells)} columns, and the header has {len(header)}"
            else:
                yield begins, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise DatasetRejected(
            f"{name}, line {reader.line_num} is not CSV ({error}). Put text with commas, quotes or line ends between double quotes, and double the quotes in it."
        ) from None


def _header(text: str, name: str, names: Mapping[str, str]) -> tuple[list[str], str]:
    needed = [names[column] for column in _NEEDED]
    asked = needed + [named for column, named in names.items() if named != column and column not in _NEEDED]
    best: list[str] = []
    for delimiter in _DELIMITERS:
        try:
            first = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
            header = [cell.strip() for cell in first]
        except csv.Error:
            continue
        best = max(best, header, key=len)
        if set(asked) <= set(header):
            if len(set(header)) < len(header):
                twice = next(column for column in header if header.count(column) > 1)
                raise DatasetRejected(
                    f"{name} has two columns called {personal_data.shown(twice)}. Give each a name of its own."
                )
            return header, delimiter
    missing = ", ".join(f"`{column}`" for column in asked if column not in best)
    # Without a header, the first line is a record.
    shown = personal_data.shown(", ".join(best), _SHOWN_HEADER) if any(best) else "none"
    raise DatasetRejected(
        f"{name} has no column {missing}; its first line names {shown}. Name the columns in the input, for example "
        '"columns": {"prompt": "question", "completion": "answer", "group": "patient"}.'
    )
