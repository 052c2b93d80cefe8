"""The files of a run, each read once, and its texts: is it text, is there enough of it, and can anything be learned from it?"""

import codecs
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import PurePath
from typing import Any

from common.errors import CaptuneError, DatasetRejected
from common.records import ID, Record, RecordsFaulty, faults_listed, words
from common.storage import Storage
from common.text import count_words, each_word
from preflight.texts import forms, personal_data
from preflight.texts.forms import Form, Rows

Attempt = Callable[[Callable[[], Any]], Any]  # takes one step; it may keep the step's fault for the end and answer None

MINIMUM_WORDS = 1000
MINIMUM_HELD_OUT_WORDS = 200
# What Preflight reads and checks of a corpus in its own time and memory: 51 s of a core and 380 MiB for as much (stacks/functions.py).
MOST_CORPUS_BYTES = 64 * 2**20
# Of every other file: held-out and outside text is scored twice, in whole documents from all over it.
MOST_BYTES = 4 * 2**20
# What is asked of `captune sample`: a run of two hours learns 28 MB at most.
SAMPLED_MEGABYTES = 32
MINIMUM_DISTINCT_SHARE = 0.5
# How files begin that are not text, and what they are.
_SIGNATURES = (
    (b"%PDF-", "a PDF", "Export its text: pdftotext FILE mine.txt"),
    (b"PK\x03\x04", "a zip archive, as .docx, .xlsx, .odt and .epub are", "Save it as plain UTF-8 text."),
    (b"\xd0\xcf\x11\xe0", "a file of an older Office", "Save it as plain UTF-8 text."),
    (b"{\\rtf", "Rich Text", "Save it as plain UTF-8 text."),
    (b"\x1f\x8b", "compressed with gzip", "Decompress it: gunzip FILE.gz"),
    (b"BZh91AY", "compressed with bzip2", "Decompress it: bunzip2 FILE.bz2"),
    (b"\xfd7zXZ\x00", "compressed with xz", "Decompress it: unxz FILE.xz"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "Decompress it: unzstd FILE.zst"),
    (b"PAR1", "a Parquet file", "Rename it: mv FILE mine.parquet"),
    *((mark, "UTF-32", "Convert it: iconv -f UTF-32 -t UTF-8 FILE > utf8.txt") for mark in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)),
    (b"GIF8", "a picture", "Upload its text."), (b"RIFF", "a picture or a recording", "Upload its text."),
    (b"\x89PNG", "a picture", "Upload its text."), (b"\xff\xd8\xff", "a picture", "Upload its text."),
    (b"SQLite format 3\x00", "a database", "Export its records as CSV."),
    *((mark, "UTF-16", "Convert it: iconv -f UTF-16 -t UTF-8 FILE > utf8.txt") for mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)),
)  # fmt: skip
_UTF_16 = re.compile(rb"(?:[\x09-\x7e]\x00){8}|(?:\x00[\x09-\x7e]){8}")  # without a byte order mark
_OTHER_LINE_ENDS = dict.fromkeys([0x0B, 0x0C, 0x1C, 0x1D, 0x1E, 0x85, 0x2028, 0x2029], " ")
_RETURN = re.compile(r"\r\n?")  # how other systems end a line
_HTML = re.compile(r"\s*(?:<\?xml\b|(?:<!--.*?-->\s*)?<(?:!doctype|html|head|body)\b)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"</[a-z][\w:.-]{0,40}\s*>|<(?:p|br|hr|li|td|tr)\b[^<>]{0,300}>", re.IGNORECASE)
# Markdown has a tag now and then; a page has more, or begins most lines with one.
_FEWEST_TAGS, _CHARACTERS_PER_TAG, _TAGGED_LINE = 10, 600, re.compile(r"(?m)^[ \t]*<[/a-z]", re.IGNORECASE)
# A line of a table has tabs between its columns, as many as the other lines.
_FEWEST_LINES, _TABLE_SHARE = 20, 0.9
_TITLE, _TITLE_MARK = re.compile(r"(?m)^# .*$"), re.compile(r"(?m)^# ")
_CODE = re.compile(r"(?ms)^[ \t]*(```|~~~).*?^[ \t]*\1")
_NOTE = re.compile(r"<!--([^\n]{0,1000})-->[ \t]*(?:\n|$)")


@dataclass(frozen=True)
class Document:
    """One document of a text file: a `# Title` line and its paragraphs. Or one group of records, whose text is all that they say."""

    id: str
    title: str
    text: str
    records: tuple[Record, ...] = ()


@dataclass(frozen=True)
class Files:
    """The files of a run: a user's from the bucket, in the version that was checked, and the domain's own from the deployed data.

    `versions` are those that must be read, by key; what is read without one is noted there. Of the corpus so many words (0 for all) and
    bytes are learned at most. With `measures_scale`, a part of the external test set chooses the adapter scale. Without an `attempt`
    faults are raised.
    """

    storage: Storage
    data: dict[str, bytes]
    domain: str
    versions: dict[str, str] = field(default_factory=dict)
    corpus_words: int = 0
    corpus_bytes: int = MOST_CORPUS_BYTES
    measures_scale: bool = False
    attempt: Attempt = lambda step: step()
    parsed: dict[str, Rows] = field(default_factory=dict)  # read to know their form, and not used yet

    def name(self, key: str | None, default: str) -> str:
        """How a message calls the file."""
        return key or f"data/{self.domain}{default}"

    def form(self, key: str | None, most_bytes: int, columns: Mapping[str, str]) -> Form | None:
        """The form of a file's rows, None for running text. Raises DatasetRejected."""
        if key is None or not forms.are_rows(key):
            return None
        if key not in self.parsed:
            self.parsed[key] = rows_of(self.content(key, "", most_bytes), key, columns)
        return self.parsed[key].form

    def rows(self, key: str, most_bytes: int, columns: Mapping[str, str]) -> Rows:
        """The rows of a file, to be used once: they take more memory than what is made of them. Raises DatasetRejected."""
        if self.form(key, most_bytes, columns) is None:
            raise DatasetRejected(
                f"{key} is running text, but `corpus` contains records. Use records for both, or text for both."
            )
        return self.parsed.pop(key)

    def text(
        self,
        key: str | None,
        default: str,
        minimum_words: int,
        most_bytes: int = MOST_BYTES,
        columns: Mapping[str, str] | None = None,
    ) -> str:
        """A text that can be learned from or measured on. Raises DatasetRejected or PatientDataSuspected."""
        if self.form(key, most_bytes, columns or {}) is None:
            return checked(self.content(key, default, most_bytes), self.name(key, default), minimum_words)
        return as_text(of_rows(self.rows(key or "", most_bytes, columns or {}), "row", minimum_words))

    def content(self, key: str | None, default: str, most_bytes: int = MOST_BYTES) -> bytes:
        """The bytes of a file. Raises DatasetRejected for one that is missing or too large."""
        if key is None:
            file = f"{self.domain}{default}"
            if file not in self.data:
                raise DatasetRejected(
                    f"data/{file} does not exist. Add it for this domain, or correct domain in cdk.json, and run make deploy."
                )
            return self.data[file]
        found = self.storage.fetch(key, most_bytes, self.versions.get(key, ""))
        if found is None:
            raise DatasetRejected(
                f"{key} does not exist in the bucket {self.storage.bucket}. Upload it: aws s3 cp FILE s3://{self.storage.bucket}/{key}"
            )
        refuse_too_large(key, found.size, most_bytes)
        self.versions[key] = found.version
        return found.content

    def control(self) -> list[Document]:
        """Text on unrelated subjects, to see what is forgotten; none where the data has none."""
        content = self.data.get("control.txt")
        return documents(decode(content, "data/control.txt"), "control") if content else []


def decode(content: bytes, name: str) -> str:
    """The text of a file. Raises DatasetRejected for what is empty, binary or not UTF-8."""
    if not content.strip():
        raise DatasetRejected(f"{name} is empty. Use a UTF-8 text of at least {MINIMUM_WORDS} words.")
    for mark, what, fix in _SIGNATURES:
        if content.startswith(mark):
            raise DatasetRejected(f"{name} is {what}, not plain UTF-8 text. {fix}")
    if _UTF_16.match(content):
        raise DatasetRejected(f"{name} is UTF-16. Convert it: iconv -f UTF-16LE -t UTF-8 FILE > utf8.txt (or UTF-16BE)")
    if (zero := content.find(0)) >= 0:
        raise DatasetRejected(
            f"{name} is not text: it has a zero byte at position {zero}. Export it as plain UTF-8 text."
        )
    text = as_utf8(content, name, DatasetRejected)
    if _HTML.match(text) or (not forms.are_rows(name) and _is_tagged(text)):
        raise DatasetRejected(
            f"{name} is HTML or XML, and the model would learn its tags. Extract its text: pandoc FILE -t plain --wrap=none -o mine.txt"
        )
    return text


def _is_tagged(text: str) -> bool:
    """Whether a text has so many tags that it is HTML or XML."""
    often = max(_FEWEST_TAGS, len(text) // _CHARACTERS_PER_TAG)
    tags = len(list(islice(_TAG.finditer(text), often)))
    lines = sum(1 for line in text.split("\n") if line.strip()) if tags >= _FEWEST_TAGS else 0
    return tags == often or (lines > 0 and 2 * len(_TAGGED_LINE.findall(text)) >= lines)


def as_utf8(content: bytes, name: str, refusal: type[CaptuneError]) -> str:
    """The text of a file without a byte order mark and with the line ends of this system. Raises `refusal` for what is not UTF-8."""
    mark = len(codecs.BOM_UTF8) if content.startswith(codecs.BOM_UTF8) else 0
    try:
        return _RETURN.sub("\n", content[mark:].decode("utf-8"))
    except UnicodeDecodeError as error:
        start = mark + error.start
        line = _RETURN.sub("\n", content[:start].decode("utf-8", "replace")).count("\n") + 1
        raise refusal(
            f"{name} is not UTF-8: byte {start}, in line {line}, is invalid. Save it as UTF-8, or convert it, for example from "
            f"Windows' encoding: iconv -f WINDOWS-1252 -t UTF-8 FILE > utf8{PurePath(name).suffix or '.txt'}"
        ) from None


def refuse_too_large(name: str, size: int, most_bytes: int) -> None:
    """Raises DatasetRejected for a file that is larger than Preflight reads, with the command that draws a part of it."""
    if size > most_bytes:
        megabytes = min(SAMPLED_MEGABYTES, most_bytes // 2**20)
        raise DatasetRejected(
            f"{name} has {size / 2**20:,.1f} MiB, and Captune reads at most {most_bytes // 2**20} MiB. Draw a sample of whole documents with "
            f"captune sample FILE --megabytes {megabytes}, and use its output."
        )


def checked(content: bytes, name: str, minimum_words: int) -> str:
    """The text of a file that can be learned from or measured on. Raises DatasetRejected or PatientDataSuspected."""
    text = decode(content, name)
    _refuse_rows(text, name)
    check(text, name, minimum_words)
    personal_data.refuse_patient_data(text, name)
    return text


def _refuse_rows(text: str, name: str) -> None:
    """Raises DatasetRejected for JSON or a table under the name of a text: its quotes and separators would be trained on."""
    if (ending := forms.ending_of(text)) is not None:
        raise DatasetRejected(
            f"{name} contains rows, not prose, and the model would learn their quotes and separators. Rename it: mv FILE mine{ending}"
            if ending
            else f"{name} is JSON in an unknown format. {forms.EXPECTED}"
        )
    tabs = Counter(line.count("\t") for line in text.split("\n") if line.strip())
    count, lines = max((times for number, times in tabs.items() if number), default=0), tabs.total()
    if lines >= _FEWEST_LINES and count >= _TABLE_SHARE * lines:
        raise DatasetRejected(
            f"{name} is a table: {count} of its {lines} lines have the same number of tabs. Name its columns in the first line, and rename it: "
            f"mv FILE mine.tsv. {forms.EXPECTED}"
        )


def rows_of(content: bytes, name: str, columns: Mapping[str, str] | None = None) -> Rows:
    """The rows of a file. Raises DatasetRejected."""
    try:
        return forms.read(decode(content, name), name, columns, personal_data.shown)
    except RecordsFaulty as fault:
        raise DatasetRejected(str(fault)) from None


def of_rows(rows: Rows, prefix: str, minimum_words: int) -> list[Document]:
    """The documents of a file of rows, each with its own id and title or those of its line. Raises DatasetRejected or PatientDataSuspected."""
    if not rows.are_documents:
        raise DatasetRejected(
            f"{rows.name} contains {rows.form.label}, but this file must be running text. Use rows with `text`, or a .txt file."
        )
    names, faults, found = rows.columns, [], dict[str, tuple[int, Document]]()
    for number, row in rows.rows:
        if isinstance(row, str) or names[forms.TEXT] not in row:
            faults.append(f"line {number} {row if isinstance(row, str) else f'has no text in `{names[forms.TEXT]}`'}")
        elif text := words(row[names[forms.TEXT]]):
            identifier = words(row.get(names[ID])) or f"{prefix}-{number:03d}"
            title, body = (with_line_ends_of_text(one) for one in (words(row.get(forms.TITLE)), text))
            if identifier in found:
                faults.append(
                    f"line {number} repeats the id {personal_data.shown(identifier)}: give each document its own"
                )
            # A line that begins with `# ` would begin a document in a text.
            body = _TITLE_MARK.sub(" # ", body).strip("\n")
            found[identifier] = number, Document(with_line_ends_of_text(identifier), " ".join(title.split()), body)
    if faults:
        raise DatasetRejected(f"{rows.read_as}: {faults_listed(faults)}. {forms.EXPECTED}")
    # Line for line as in the file, so that a message names the line that has to be corrected.
    lines = [""] * max((number for number, _ in rows.rows), default=0)
    for number, part in found.values():
        lines[number - 1] = " ".join(f"{part.title} {part.text}".split())
    check("\n".join(lines), rows.called, minimum_words)
    personal_data.refuse_patient_data("\n".join(lines), rows.called)
    ids = ((number, part.id) for number, part in found.values())
    personal_data.refuse_patient_data_in(ids, rows.called, personal_data.LEARNT)
    return [part for _, part in found.values()]


def documents(text: str, prefix: str) -> list[Document]:
    """Splits a text at its `# Title` lines; a text without any is one document. Its note is in none.

    A comment in a block of code between ``` or ~~~ is no title.
    """
    found: list[Document] = []
    whole = _CODE.sub(lambda code: _TITLE_MARK.sub(" # ", code[0]), with_line_ends_of_text(without_note(text)))
    for part in re.split(r"(?m)^(?=# )", whole):
        head, _, body = part.partition("\n")
        title, body = (head[2:].strip(), body) if head.startswith("# ") else ("", part)
        if body.strip():
            number = len(found) + 1
            found.append(Document(f"{prefix}-{number:03d}", title, body.strip()))
    return found


def with_line_ends_of_text(text: str) -> str:
    """A text with blanks for page breaks and the line ends of Unicode: the training job would end a line, or a document, at them."""
    return text.translate(_OTHER_LINE_ENDS)


def note(text: str) -> str:
    """What a text says of itself in a first line `<!-- … -->`, for people; "" where it says nothing."""
    found = _NOTE.match(text)
    return found[1].strip() if found else ""


def without_note(text: str) -> str:
    """A text without its note, which is neither learned nor measured nor counted."""
    found = _NOTE.match(text)
    return text[found.end() :] if found else text


def without_titles(text: str) -> str:
    """A text without its `# Title` lines and its note."""
    return _TITLE.sub("", without_note(text))


def check(text: str, name: str, minimum_words: int) -> None:
    """Raises DatasetRejected for a text that is too short or says the same thing over and over."""
    total, distinct = 0, set()
    for word in each_word(without_titles(text)):
        total += 1
        distinct.add(word.lower())
    if total < minimum_words:
        raise DatasetRejected(
            f"{name} has {total:,} words without its title lines, and needs at least {minimum_words:,}. Add more text."
        )
    lines = [line.strip() for line in text.split("\n")]
    seen = Counter(line for line in lines if line)
    # By length, so that short separators between long paragraphs do not count against a text.
    length, whole = sum(map(len, seen)), sum(len(line) * times for line, times in seen.items())
    if sum(seen.values()) > 3 and length <= MINIMUM_DISTINCT_SHARE * whole:
        line, times = max(seen.items(), key=lambda entry: len(entry[0]) * (entry[1] - 1))
        raise DatasetRejected(
            f"{name} repeats itself: only {len(seen)} of its {sum(seen.values())} lines differ, and line {lines.index(line) + 1} occurs {times} times. "
            "Remove the repetitions."
        )
    # Running prose of 1,000 words has some 400 different ones.
    least = min(100, minimum_words // 4)
    if len(distinct) < least:
        raise DatasetRejected(
            f"{name} has only {len(distinct)} different words among {total:,}, too few to learn from. Use running prose."
        )


def as_text(parts: Iterable[Document]) -> str:
    """Documents as one text again, each under its `# Title` line."""
    return "\n".join(map(titled, parts))


def titled(part: Document) -> str:
    """A document under its `# Title` line."""
    return f"# {part.title}\n\n{part.text}\n"


def as_lines(parts: Iterable[Document]) -> str:
    """Documents as JSON Lines, the form of the evaluation channel; groups as their records, the form of either channel."""
    entries = (
        entry
        for part in parts
        for entry in [record.as_entry() for record in part.records]
        or [{"id": part.id, "title": part.title or part.id, "text": part.text}]
    )
    return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)


def part(parts: list[Document], wanted_words: int) -> list[Document]:
    """Whole documents of about `wanted_words`, taken evenly from the whole of a text; 0 takes all of them."""
    share = wanted_words / max(1, sum(count_words(document.text) for document in parts))
    if wanted_words == 0 or share >= 1:
        return parts
    # Document n is taken where the n-th multiple of the share passes a whole number.
    return [document for n, document in enumerate(parts) if int((n + 1) * share) > int(n * share)] or parts[:1]
