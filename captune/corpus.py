"""`captune corpus`: writes a training text of openly licensed text, which this project may not ship.

It shares no document with the external test set of `captune external`, and no run of eight words with a document of it.
"""

import os
import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from captune import external
from captune.public_text import ABSTRACTS, MEDQUAD, abstracts, pages, write_whole
from common.text import count_words
from preflight.texts.held_out import Overlap

# A heading or a point of a list, most of which repeat a sentence of the text.
_LEAST_WORDS, _POINT = 8, re.compile(r"[-*•] ")


class SourceName(StrEnum):
    """The sources of a training text."""

    MEDQUAD = MEDQUAD.name
    ABSTRACTS = ABSTRACTS.name


def command(
    source: Annotated[SourceName, typer.Argument(help="medquad: pages of the NIH for patients. abstracts: of PubMed.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="The file to write; SOURCE.txt by default.")] = None,
    words: Annotated[
        int, typer.Option(min=0, help="Take about this many words, those densest in words of the field; 0 for all.")
    ] = 0,
    from_file: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A source's file that you downloaded.")
    ] = None,
) -> None:
    """Fetches the source and writes a corpus with its licence."""
    target = out or Path(f"{source}.txt")
    contents = {one.source.name: one.source.fetch(from_file or ()) for one in external.SETS}
    found = (row for one in external.SETS for row in one.documents(contents[one.source.name]))
    tested = [row["text"] for row in external.untrained(found)]
    wanted = next(one.source for one in external.SETS if one.source.name == source)
    taken = chosen(contents[wanted.name], source is SourceName.ABSTRACTS, tested, words)
    parts = [f"<!-- {wanted.attribution} -->\n", *(f"# {title}\n\n{text}\n" for title, text in taken)]
    write_whole(target, "\n".join(parts))
    total = sum(count_words(text) for _, text in taken)
    print(f"{len(taken)} documents, {total:,} words, in {target}. {wanted.attribution}")
    print(
        f"Rehearse with it, and measure on the external test set: make rehearse CORPUS={target} OUTSIDE={os.path.relpath(external.TARGET)}"
    )


def chosen(content: bytes, of_abstracts: bool, tested: Iterable[str], words: int = 0) -> list[tuple[str, str]]:
    """Title and text of a source's documents of the field, the densest in its words first, until there are so many words.

    A document that shares eight words in a row with a tested text is left out, and so each that is one.
    """
    overlap, dense = Overlap(tested), []
    for place, (title, text) in enumerate(_abstracts(content) if of_abstracts else _pages(content)):
        size = count_words(text)
        times = max(len(pattern.findall(f"{title}\n{text}")) for pattern in external.PATTERNS.values())
        if times >= external.LEAST_IN_TEXT and overlap.first(text) is None:
            dense.append((-times / size, place, size, title, text))
    found, total = [], 0
    for _, _, size, title, text in sorted(dense):
        if words and total >= words:
            break
        found.append((title, text))
        total += size
    return found


def _abstracts(content: bytes) -> Iterator[tuple[str, str]]:
    for one in abstracts(content):
        yield one.title, one.text


def _pages(content: bytes) -> Iterator[tuple[str, str]]:
    """Pages but those of Genetics Home Reference, which the test set is of, without their headings and lists."""
    for one in pages(content):
        if one.folder != external.GENETICS:
            parts = [
                part
                for part in one.text().split("\n\n")
                if len(part.split()) >= _LEAST_WORDS and not _POINT.match(part)
            ]
            if text := "\n\n".join(dict.fromkeys(parts)):
                yield one.title, text
