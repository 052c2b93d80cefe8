"""`captune sample`: draws whole documents from all over a file of any size, in constant memory: a corpus that Preflight can read.

The same seed draws the same text. Documents stand under `# Title` lines; a text without any is drawn in passages of whole paragraphs, which
get titles. Of rows (JSON Lines, CSV, TSV, Parquet) whole ones are drawn, or whole groups where they have a column `group`. Parquet becomes JSON Lines,
which a run reads.
"""

import csv
import io
import json
import os
import random
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from rich.console import Console
from rich.progress import Progress

from captune.account import Refused
from common.records import GROUP
from preflight.texts import forms, text_file
from rehearsal import user_files

MEGABYTE = 10**6
DEFAULT_MEGABYTES = 32  # a run of two hours learns 28 MB at most
CHUNK_BYTES = 8 * 2**20
# A passage of a text without titles, some 600 words: a document of usual length. A longer document than the second is refused.
PASSAGE_BYTES, LONGEST_BYTES = 4_000, 4 * 2**20
_NOTE_BYTES = 4_096
_TITLE, _BLANK_LINE = re.compile(rb"(?:\A|\n)# "), re.compile(rb"\n\r?\n")

Unit = tuple[bytes, str]  # a document, line or row, and the group that it belongs to, "" for none


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A text, or rows: JSON Lines, CSV, TSV or Parquet.", show_default=False, readable=False)],
    megabytes: Annotated[int, typer.Option(min=1, metavar="N", help="Draw N megabytes.")] = DEFAULT_MEGABYTES,
    seed: Annotated[int, typer.Option(metavar="N", help="Draw other documents with another seed.")] = 1,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write to this file (default: one next to FILE).", show_default=False)] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:  # fmt: skip
    """Draws the sample and prints what was drawn."""
    target = out or file.with_name(
        f"{file.stem}-{megabytes}mb-{seed}{'.jsonl' if user_files.is_parquet(file) else file.suffix}"
    )
    print(sample(file, target, megabytes * MEGABYTE, seed, force=force))


def sample(file: Path, target: Path, wanted: int, seed: int, *, force: bool = False) -> str:
    """Writes about `wanted` bytes of a file's documents to another file, in their order; answers what was drawn. Raises Refused and DatasetRejected."""
    size = user_files.checked_size(file)
    if not size:
        raise Refused(f"{file} is empty.")
    if size <= wanted and not user_files.is_parquet(file):
        raise Refused(f"{file} has {size / MEGABYTE:,.1f} MB, no more than is to be drawn: use it as it is.")
    if target.exists() and not force:
        raise Refused(f"{target} exists. Name another --output, or replace it with --force.")
    if user_files.is_parquet(file):
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".captune-") as folder:
            rows = Path(folder) / "rows.jsonl"
            with rows.open("wb") as lines:
                lines.writelines(user_files.parquet_lines(file))
            if rows.stat().st_size > wanted:
                return sample(rows, target, wanted, seed, force=force)
            os.replace(rows, target)
        return f"All rows of {file} are in {target}, as JSON Lines."
    partial = target.with_name(f"{target.name}.partial")
    try:
        with file.open("rb") as source, partial.open("wb") as drawn:
            if file.suffix.lower() in forms.TABLES:
                header = source.readline()
                drawn.write(header)
                units = _rows(source, header)
            elif forms.are_rows(file.name.lower()):
                units = _lines(source)
            else:
                drawn.write(_note(source))
                units = _documents(source)
            seen, kept = _draw(source, drawn, _readable(file, source, units), (size, wanted, seed))
        if not kept:
            raise Refused(
                f"No document of {file} is short enough for {wanted / MEGABYTE:.0f} MB. Put `# Title` lines between its documents, or draw more."
            )
        written = partial.stat().st_size
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return f"{kept:,} of {seen:,} documents, {written / MEGABYTE:,.1f} of {size / MEGABYTE:,.1f} MB, are in {target} (seed {seed})."


def _draw(source: BinaryIO, drawn: BinaryIO, units: Iterator[Unit], plan: tuple[int, int, int]) -> tuple[int, int]:
    """Writes the units that are drawn; answers how many were seen and kept."""
    size, wanted, seed = plan
    dice = random.Random(seed)
    seen = kept = written = done = 0
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("drawing", total=size)
        for unit, group in units:
            # The wanted share of what is left: every place of the file has the same chance, and the size comes out right.
            share = (wanted - written) / max(1, size - done)
            # Of a group all is drawn or none of it: its chance depends on its name alone.
            chance = random.Random(f"{seed}/{group}").random() if group else dice.random()
            if chance < wanted / size if group else chance < share and len(unit) <= wanted - written:
                drawn.write(unit)
                kept, written = kept + 1, written + len(unit)
            seen, done = seen + 1, done + len(unit)
            if seen % 1000 == 0:
                progress.update(task, completed=source.tell())
        progress.update(task, completed=size)
    return seen, kept


def _readable(file: Path, source: BinaryIO, units: Iterator[Unit]) -> Iterator[Unit]:
    """The units of a file. Raises Refused where one cannot be read."""
    try:
        yield from units
    except UnicodeDecodeError:
        raise Refused(f"{file} is not UTF-8 before byte {source.tell():,}. Save it as UTF-8.") from None
    except (ValueError, csv.Error) as error:
        raise Refused(f"{file} cannot be read before byte {source.tell():,}: {error}.") from None


def _note(source: BinaryIO) -> bytes:
    """The note in a text's first line, which the sample repeats. Reading continues after it."""
    line = source.readline(_NOTE_BYTES)
    if text_file.note(line.decode("utf-8-sig", "replace")):
        return line.rstrip() + b"\n\n"
    source.seek(0)
    return b""


def _documents(source: BinaryIO) -> Iterator[Unit]:
    rest, number, titled = b"", 0, False
    while chunk := source.read(CHUNK_BYTES):
        titled = titled or (not number and _TITLE.search(chunk) is not None)
        rest, start = rest + chunk, 0
        while (end := _end(rest, start, titled)) > 0:
            number += 1
            yield _document(rest[start:end], number, titled), ""
            start = end
        rest = rest[start:]
    if rest.strip():
        yield _document(rest, number + 1, titled), ""


def _end(rest: bytes, start: int, titled: bool) -> int:
    """Where the document that begins at `start` ends; 0 where more has to be read."""
    if titled:
        end = rest.find(b"\n# ", start + 1, start + LONGEST_BYTES) + 1
    else:
        blank = _BLANK_LINE.search(rest, start + PASSAGE_BYTES, start + LONGEST_BYTES)
        end = blank.end() if blank else 0
    if not end and len(rest) - start > LONGEST_BYTES:
        raise ValueError("a document has more than 4 MB; put `# Title` lines, or blank lines, between its parts")
    return end


def _document(content: bytes, number: int, titled: bool) -> bytes:
    """A document as it is written: decoded, so that no drawn part is another text than UTF-8, under a title."""
    text = content.decode("utf-8-sig").strip()
    return (text if titled and text.startswith("# ") else f"# Passage {number}\n\n{text}").encode() + b"\n\n"


def _lines(source: BinaryIO) -> Iterator[Unit]:
    grouped: bool | None = None
    for line in source:
        if not line.strip():
            continue
        if grouped is None:
            if line.lstrip().startswith(b"["):
                raise ValueError(
                    "a JSON array can only be read whole; write it as JSON Lines: jq -c '.[]' FILE > mine.jsonl"
                )
            grouped = bool(_group(json.loads(line.decode("utf-8-sig"))))
        yield line.rstrip(b"\r\n") + b"\n", _group(json.loads(line)) if grouped else ""


def _group(entry: Any) -> str:
    return str(entry.get(GROUP) or "") if isinstance(entry, dict) else ""


def _rows(source: BinaryIO, header: bytes) -> Iterator[Unit]:
    # Python's own limit is less than Preflight accepts; without any, a quote that never ends would read the whole file.
    csv.field_size_limit(LONGEST_BYTES)
    first = header.decode("utf-8-sig")
    delimiter = max(",;\t", key=first.count)
    columns = [name.strip() for name in next(csv.reader([first], delimiter=delimiter))]
    place = columns.index(GROUP) if GROUP in columns else -1
    for row in csv.reader((line.decode() for line in source), delimiter=delimiter, strict=True):
        yield _row(row, delimiter), row[place] if 0 <= place < len(row) else ""


def _row(cells: list[str], delimiter: str) -> bytes:
    line = io.StringIO()
    csv.writer(line, delimiter=delimiter, lineterminator="\n").writerow(cells)
    return line.getvalue().encode()
