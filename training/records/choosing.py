"""What depends on whether a corpus is running text or records: its rows, and what metrics.json says of it."""

from __future__ import annotations

from collections.abc import Sequence

from arguments import Arguments
from failure import TrainingFailure
from progress import say
from records.rows import RecordRows
from text import Boundaries, Document, Epochs, Rows

_SHOWN = 5


def rows_of(corpus: Sequence[Document], edges: Boundaries, arguments: Arguments) -> Rows:
    """All rows of the run."""
    length, seed, epochs = arguments.sequence_length, arguments.seed, arguments.epochs
    if not corpus[0].records:
        order = arguments.document_order
        return Epochs(corpus, edges, length=length, seed=seed, epochs=epochs, document_order=order)
    read = [one for document in corpus for one in document.read]
    return RecordRows(read, edges.end, length=length, seed=seed, epochs=epochs)


def tell_of_long_records(corpus: Sequence[Document], arguments: Arguments) -> None:
    """Says how many records are longer than a row. Raises TrainingFailure naming them where the settings say to refuse them."""
    length = arguments.sequence_length
    long = _longer(corpus, length) if corpus[0].records else []
    if long:
        what = f"{len(long)} of {len(corpus)} records are longer than sequence_length, {length} tokens"
        if arguments.long_records == "refuse":
            named = ", ".join(f"{one.records[0].id} ({_length(one)})" for one in long[:_SHOWN])
            raise TrainingFailure(
                f"{what}: {named}{' and others' if len(long) > _SHOWN else ''}.",
                'Raise sequence_length, shorten them, or set long_records to "split".',
            )
        say("note", text=f"{what}: they are split, and every token of their answers is learnt")


def describe(corpus: Sequence[Document], sequences: int, length: int) -> dict[str, int]:
    """The corpus in figures; of records, how many were split and how many tokens their answers have."""
    figures = {
        "documents": len(corpus),
        "tokens": sum(len(document.tokens) for document in corpus),
        "bytes": sum(document.bytes for document in corpus),
        "words": sum(len(document.text.split()) for document in corpus),
        "sequences": sequences,
    }
    if not corpus[0].records:
        return figures
    return {
        **figures,
        "tokens": sum(_length(document) for document in corpus),
        "answer_tokens": figures["tokens"],
        "split_records": len(_longer(corpus, length)),
    }


def _longer(corpus: Sequence[Document], length: int) -> list[Document]:
    # The last token is only ever a label, so a row holds one token more than its length.
    return [document for document in corpus if _length(document) > length + 1]


def _length(document: Document) -> int:
    return sum(len(one.tokens) for one in document.read)
