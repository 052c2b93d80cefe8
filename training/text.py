"""From text to token sequences: documents, tokens, and the order in which an epoch shows them."""

import dataclasses
import json
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from common.records import Record
from common.settings import SHUFFLED, WRITTEN
from common.text import word_ends
from failure import TrainingFailure
from records.record import IGNORED, Row, Tokens, holds_records, read_records, tokens_of

NEIGHBORHOOD = 0.05  # how far a document may move where the order is that of the file, as a share of all documents
RECORDS = "corpus.jsonl"  # the corpus channel's file where it holds records; else it holds *.txt


@dataclasses.dataclass(frozen=True)
class Document:
    """A text with a title, the unit that is shuffled, scored and compared; or the records of one group, whose answers are the text."""

    id: str
    title: str
    text: str
    tokens: tuple[int, ...] = ()  # what is scored of it
    records: tuple[Record, ...] = ()
    read: tuple[Tokens, ...] = ()  # for each record, its tokens in their context

    @property
    def bytes(self) -> int:
        """UTF-8 bytes of the text."""
        return len(self.text.encode("utf-8"))


@dataclasses.dataclass(frozen=True)
class Boundaries:
    """The ids that stand before and after a document; `start` is None for tokenizers without such a token."""

    start: int | None
    end: int


def split_documents(text: str) -> list[Document]:
    """Splits at lines `# Title`; a text without such lines is one document. Empty documents are left out."""
    found: list[tuple[str, list[str]]] = [("", [])]
    for line in text.lstrip("\ufeff").splitlines():
        if line.startswith("# "):
            found.append((line[2:].strip(), []))
        else:
            found[-1][1].append(line.rstrip())
    bodies = [(title, "\n".join(lines).strip()) for title, lines in found]
    kept = [(title, body) for title, body in bodies if body]
    return [
        Document(f"training-{number:04d}", title, f"{title}\n\n{body}" if title else body)
        for number, (title, body) in enumerate(kept, 1)
    ]


def read_corpus(channel: Path) -> list[Document]:
    """All *.txt files of the corpus channel in the order of their names; or its records, a document each.

    Raises TrainingFailure where the channel is missing, has no text, or is not UTF-8.
    """
    fix = "Put a UTF-8 text of at least a few thousand words into the corpus channel as corpus.txt."
    if not channel.is_dir():
        raise TrainingFailure(f"The channel {channel.name!r} is missing.", fix)
    if (channel / RECORDS).is_file():
        records = [of_records([record]) for record in read_records(channel / RECORDS)]
        if not records:
            raise TrainingFailure(f"{RECORDS} contains no record.", "Write one record on each line.")
        return records
    text = ""
    for path in sorted(channel.rglob("*.txt")):
        try:
            text += path.read_text(encoding="utf-8") + "\n"
        except UnicodeDecodeError as error:
            raise TrainingFailure(f"{path.name} is not UTF-8: byte {error.start} is invalid.", fix) from None
    documents = split_documents(text)
    if not documents:
        raise TrainingFailure("The corpus is empty: no .txt file with text in it.", fix)
    return documents


def of_records(records: Sequence[Record]) -> Document:
    """The records of one group as one document: they are alike, so that they count as one observation."""
    answers = "\n".join(answer.strip() for record in records for answer in record.answers)
    return Document(records[0].group, records[0].group, answers, records=tuple(records))


def read_evaluation(path: Path) -> list[Document]:
    """Documents of a .jsonl file, one {"id", "title", "text"} a line, or one a group of its records; [] where there is no such file.

    Raises TrainingFailure naming the line that is malformed.
    """
    if not path.is_file():
        return []
    if holds_records(path):
        groups: dict[str, list[Record]] = {}
        for record in read_records(path):
            groups.setdefault(record.group, []).append(record)
        return [of_records(group) for group in groups.values()]
    documents: dict[str, Document] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            document = Document(str(entry["id"]), str(entry.get("title", "")), str(entry["text"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TrainingFailure(
                f"{path.name} line {number} is not a document ({type(error).__name__}: {error}).",
                'Write each line as {"id": "…", "title": "…", "text": "…"}.',
            ) from None
        if not document.text.strip() or document.id in documents:
            problem = f"repeats the id {document.id}" if document.id in documents else "has no text"
            raise TrainingFailure(f"{path.name} line {number} {problem}.", "Remove or correct that line.")
        documents[document.id] = document
    return list(documents.values())


def tokenize(documents: Sequence[Document], tokenizer: Any) -> list[Document]:
    """The same documents with their tokens, without any special token; of records, the tokens of their answers."""
    return [_tokenized(document, tokenizer) for document in documents]


def _tokenized(document: Document, tokenizer: Any) -> Document:
    if not document.records:
        tokens = tokenizer(document.text, add_special_tokens=False)["input_ids"]
        return dataclasses.replace(document, tokens=tuple(tokens))
    read = tuple(tokens_of(record, tokenizer) for record in document.records)
    return dataclasses.replace(document, read=read, tokens=tuple(token for one in read for token in one.scored))


def boundaries(tokenizer: Any) -> Boundaries:
    """The tokenizer's own start and end tokens. Raises TrainingFailure where it has no end token."""
    if tokenizer.eos_token_id is None:
        raise TrainingFailure(
            "The tokenizer has no end-of-text token.", "Set eos_token in the model channel's tokenizer_config.json."
        )
    return Boundaries(tokenizer.bos_token_id, tokenizer.eos_token_id)


def excerpts(documents: Sequence[Document], tokenizer: Any, length: int, seed: int, count: int = 12) -> list[Document]:
    """The first `length` tokens of up to `count` documents, chosen by seed, in corpus order; records stay whole."""
    chosen = sorted(random.Random(seed).sample(range(len(documents)), min(count, len(documents))))
    result = []
    for document in (documents[index] for index in chosen):
        if document.records:
            result.append(document)
            continue
        tokens = document.tokens[:length]
        text = document.text if tokens == document.tokens else tokenizer.decode(tokens)
        result.append(dataclasses.replace(document, text=text, tokens=tokens))
    return result


def shuffled_sets(sets: Mapping[str, Sequence[Document]], seed: int) -> dict[str, list[Document]]:
    """The control for word order: the external documents, or else the held-out ones, each with its words in a random order.

    What a model gains on these is vocabulary: which words the field uses, and nothing of how they go together. The name is that of the set with
    `_shuffled` after it. Empty where the set is of records, whose short answers have too little order to lose.
    """
    name = "outside" if "outside" in sets else "heldout"
    if any(document.records for document in sets[name]):
        return {}
    return {f"{name}_shuffled": [dataclasses.replace(one, text=_shuffled(one, seed)) for one in sets[name]]}


def _shuffled(document: Document, seed: int) -> str:
    """A document's words in a random order by seed and id, with single spaces between them where it has any."""
    spaced = f" {document.text}" if re.search(r"\s", document.text) else document.text
    words = [spaced[begin:end] for begin, end in pairwise([0, *word_ends(spaced)])]
    random.Random(f"{seed}/{document.id}").shuffle(words)
    return re.sub(r"\s+", " ", "".join(words)).strip()


def ordered(count: int, seed: int, epoch: int, document_order: str) -> list[int]:
    """The places of `count` documents in the order in which an epoch shows them, which depends on seed and epoch.

    "shuffled": any order. "written": what stands earlier is learnt earlier, but each document is moved on by up to a
    twentieth of all, so that seeds differ and neighbors in the file are not always neighbors.
    """
    generator = random.Random(f"{seed}/{epoch}")
    order = list(range(count))
    if document_order == WRITTEN:
        moved = [place + generator.uniform(0, NEIGHBORHOOD * count) for place in order]
        return sorted(order, key=moved.__getitem__)
    generator.shuffle(order)
    return order


def pack(
    documents: Sequence[Document],
    edges: Boundaries,
    length: int,
    seed: int,
    epoch: int,
    document_order: str = SHUFFLED,
) -> list[Row]:
    """One epoch as (inputs, labels) of `length` tokens each.

    Whole documents stand in their order (`ordered`), each between its start and end token, and the stream is cut
    every `length` tokens, so no token is lost. Labels are the inputs moved on by one; the last sequence is filled up
    with the end token, labelled `IGNORED`.

    Attention may look back across a document's start: on abstracts by others the stream gained 0.093 nats a token where rows packed
    by TRL, with attention ending at each document, gained 0.070 (7,700 words, one pass, SmolLM2-135M, rank 16).
    """
    stream: list[int] = []
    for index in ordered(len(documents), seed, epoch, document_order):
        stream += [edges.start] if edges.start is not None else []
        stream += documents[index].tokens
        stream.append(edges.end)
    sequences = []
    for begin in range(0, max(1, len(stream) - 1), length):
        window = stream[begin : begin + length + 1]
        inputs, labels = window[:-1], window[1:]
        missing = length - len(inputs)
        sequences.append((inputs + [edges.end] * missing, labels + [IGNORED] * missing))
    return sequences


class Rows(ABC):
    """All rows of a run in the order in which they are learnt, as many in every epoch."""

    def __init__(self, rows_per_epoch: int, epochs: int) -> None:
        self.rows_per_epoch = rows_per_epoch
        self._rows = rows_per_epoch * epochs

    def stop_after(self, most: int) -> None:
        """Leaves out what comes after the first `most` rows."""
        self._rows = min(self._rows, most)

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[dict[str, list[int]]]:
        return map(self.__getitem__, range(self._rows))

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        if not 0 <= index < self._rows:
            raise IndexError(index)
        inputs, labels = self._row(*divmod(index, self.rows_per_epoch))
        return {"input_ids": inputs, "labels": labels}

    def tokens(self, rows: int) -> int:
        """How many tokens are in the first `rows` rows; of records, prompts and answers."""
        return self._tokens(*divmod(min(rows, self._rows), self.rows_per_epoch))

    @abstractmethod
    def _row(self, epoch: int, place: int) -> Row:
        """The row at a place of an epoch."""

    @abstractmethod
    def _tokens(self, epochs: int, more: int) -> int:
        """The tokens of `epochs` whole epochs and `more` rows of the next one."""


class Epochs(Rows):
    """Rows of running text, packed an epoch at a time."""

    def __init__(
        self,
        documents: Sequence[Document],
        edges: Boundaries,
        *,
        length: int,
        seed: int,
        epochs: int,
        document_order: str = SHUFFLED,
    ) -> None:
        self._document_order = document_order
        self._documents, self._edges, self._length, self._seed = documents, edges, length, seed
        extra = 1 if edges.start is None else 2
        stream = sum(len(document.tokens) + extra for document in documents)
        self._learnt = stream - 1  # of each epoch: the stream's first token follows nothing
        super().__init__(max(1, -(-self._learnt // length)), epochs)  # whatever the order of the documents
        self._packed: tuple[int, list[Row]] = (-1, [])

    def _row(self, epoch: int, place: int) -> Row:
        if self._packed[0] != epoch:
            packed = pack(self._documents, self._edges, self._length, self._seed, epoch, self._document_order)
            self._packed = (epoch, packed)
        return self._packed[1][place]

    def _tokens(self, epochs: int, more: int) -> int:
        return epochs * self._learnt + min(more * self._length, self._learnt)
