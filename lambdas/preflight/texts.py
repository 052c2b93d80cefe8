"""Corpus and held-out text: is it text, is there enough of it, and can anything be learned from it?"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from common.errors import DatasetRejected

MINIMUM_WORDS = 1000
MINIMUM_HELD_OUT_WORDS = 200
# 32 MiB of text is some six million words: more than the cap can train on, and more than Preflight's memory should hold.
MAXIMUM_BYTES = 32 * 1024 * 1024
MINIMUM_DISTINCT_SHARE = 0.5


@dataclass(frozen=True)
class Document:
    """One document of a text file: a `# Title` line and its paragraphs."""

    id: str
    title: str
    text: str


def decode(content: bytes, name: str) -> str:
    """The text of a file. Raises DatasetRejected for what is empty, too large, binary or not UTF-8."""
    if not content.strip():
        raise DatasetRejected(f"{name} is empty. Give a UTF-8 text of at least {MINIMUM_WORDS} words.")
    if len(content) > MAXIMUM_BYTES:
        raise DatasetRejected(
            f"{name} has {len(content) / 2**20:.0f} MiB; at most {MAXIMUM_BYTES // 2**20} MiB can be trained on within the cap. Take a part of it."
        )
    if b"\x00" in content:
        raise DatasetRejected(
            f"{name} is not a text: it has a zero byte at position {content.index(0)}. Export it as plain UTF-8 text."
        )
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DatasetRejected(
            f"{name} is not UTF-8: byte {error.start} in line {line} cannot be read. Save it as UTF-8."
        ) from None


def documents(text: str, prefix: str) -> list[Document]:
    """Splits a text at its `# Title` lines; a text without any is one document."""
    found: list[Document] = []
    for part in re.split(r"(?m)^(?=# )", text):
        if not part.strip():
            continue
        head, _, body = part.partition("\n")
        title, body = (head[2:].strip(), body) if head.startswith("# ") else ("", part)
        if body.strip():
            found.append(
                Document(f"{prefix}-{len(found) + 1:03d}", title or f"{prefix} {len(found) + 1}", body.strip())
            )
    return found


def check(text: str, name: str, minimum_words: int) -> None:
    """Raises DatasetRejected for a text that is too short or says the same thing over and over."""
    words = len(text.split())
    if words < minimum_words:
        raise DatasetRejected(f"{name} has {words} words; at least {minimum_words} are needed. Add more text.")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 3 and len(set(lines)) / len(lines) < MINIMUM_DISTINCT_SHARE:
        most = max(set(lines), key=lines.count)
        raise DatasetRejected(
            f"{name} repeats itself: of {len(lines)} lines only {len(set(lines))} differ, and line {lines.index(most) + 1} comes back "
            f"{lines.count(most)} times. Remove the repetitions."
        )
    tokens = text.lower().split()
    if len(set(tokens)) < 100:
        raise DatasetRejected(
            f"{name} has only {len(set(tokens))} different words in {words}: there is nothing to learn from it. Use running prose."
        )


def split(text: str) -> tuple[list[Document], list[Document]]:
    """Holds out whole documents of a corpus that came without held-out text: about a tenth, spread over it.

    A corpus with fewer than twenty documents is cut into blocks of paragraphs first, because a verdict needs several.
    """
    parts = documents(text, "corpus")
    if len(parts) < 20:
        parts = _blocks(text)
    step = max(2, min(10, len(parts) // 6))
    held_out = parts[step - 1 :: step]
    return [part for part in parts if part not in held_out], held_out


def _blocks(text: str, words_per_block: int = 150) -> list[Document]:
    blocks: list[list[str]] = [[]]
    for piece in _pieces(text):
        if sum(len(line.split()) for line in blocks[-1]) >= words_per_block:
            blocks.append([])
        blocks[-1].append(piece)
    return [
        Document(f"block-{i + 1:03d}", f"Block {i + 1}", "\n\n".join(block)) for i, block in enumerate(blocks) if block
    ]


def _pieces(text: str) -> list[str]:
    paragraphs = [
        " ".join(p.split()) for p in re.split(r"\n\s*\n", text) if p.strip() and not p.lstrip().startswith("# ")
    ]
    pieces: list[str] = []
    for paragraph in paragraphs:
        if len(paragraph.split()) <= 200:
            pieces.append(paragraph)
        else:
            pieces.extend(_sentences(paragraph))
    return pieces


def _sentences(paragraph: str, words: int = 80) -> list[str]:
    chunks: list[str] = []
    current: list[str] = []
    for sentence in re.split(r"(?<=[.!?])\s+", paragraph):
        current.extend(sentence.split())
        while len(current) >= words:
            chunks.append(" ".join(current[:words]))
            current = current[words:]
    return chunks + ([" ".join(current)] if current else [])


def as_text(parts: list[Document]) -> str:
    """Documents as one text again, each under its `# Title` line."""
    return "\n".join(f"# {part.title}\n\n{part.text}\n" for part in parts)


def as_lines(parts: list[Document]) -> str:
    """Documents as JSON Lines, the form of the evaluation channel."""
    return "".join(json.dumps({"id": p.id, "title": p.title, "text": p.text}, ensure_ascii=False) + "\n" for p in parts)
