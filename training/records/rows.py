"""The rows of a run: records packed whole into rows of one length, or running text; and what metrics.json says of the corpus."""

import dataclasses
import random
from collections.abc import Sequence

from arguments import Arguments
from common.settings import REFUSE
from failure import TrainingFailure
from progress import say
from records.record import IGNORED, LEARNT, Row, Tokens, pieces
from text import Boundaries, Document, Epochs, Rows

OPEN_ROWS = 64  # looked at for room: more hardly fill better, and every piece looks at all of them
_NAMED = 5  # long records in a refusal


@dataclasses.dataclass
class _Filling:
    inputs: list[int]
    labels: list[int]
    after: int  # the token that follows the last input, and has not been one itself


class RecordRows(Rows):
    """Rows of records. They are packed once, with the records shuffled by seed, and shuffled anew for every epoch. A record that is longer than a row is
    split (records/record.py); every token of an answer is learnt once an epoch.
    """

    def __init__(self, records: Sequence[Tokens], end: int, *, length: int, seed: int, epochs: int) -> None:
        self._seed = seed
        packed = _packed(records, length, seed)
        self._sizes = [len(row.inputs) for row in packed]
        self._filled = [_filled(row, end, length) for row in packed]
        super().__init__(len(packed), epochs)
        self._order: tuple[int, list[int]] = (-1, [])

    def _row(self, epoch: int, place: int) -> Row:
        return self._filled[self._places(epoch)[place]]

    def _tokens(self, epochs: int, more: int) -> int:
        return epochs * sum(self._sizes) + sum(self._sizes[place] for place in self._places(epochs)[:more])

    def _places(self, epoch: int) -> list[int]:
        if self._order[0] != epoch:
            order = list(range(self.rows_per_epoch))
            random.Random(f"{self._seed}/{epoch}").shuffle(order)
            self._order = epoch, order
        return self._order[1]


def _packed(records: Sequence[Tokens], length: int, seed: int) -> list[_Filling]:
    order = list(range(len(records)))
    random.Random(f"{seed}/records").shuffle(order)
    rows: list[_Filling] = []
    for index in order:
        whole = records[index].tokens
        cut = pieces(records[index], length, LEARNT)
        for inputs, labels in cut:
            # After a piece of a split record stands the token that it taught last, or the record's end.
            last = whole[-1] if len(cut) == 1 or labels[-1] == IGNORED else labels[-1]
            _put(rows, _Filling(list(inputs), list(labels), last), length)
    return rows


def _put(rows: list[_Filling], piece: _Filling, length: int) -> None:
    """Adds a piece to the first open row with room for it and for the token that ends what stands there, or begins a row with it."""
    for row in rows[-OPEN_ROWS:]:
        if len(row.inputs) + 1 + len(piece.inputs) <= length:
            row.inputs += [row.after, *piece.inputs]
            row.labels += [IGNORED, *piece.labels]
            row.after = piece.after
            return
    rows.append(piece)


def _filled(row: _Filling, end: int, length: int) -> Row:
    missing = length - len(row.inputs)
    return row.inputs + [end] * missing, row.labels + [IGNORED] * missing


def rows_of(corpus: Sequence[Document], edges: Boundaries, arguments: Arguments) -> Rows:
    """All rows of the run."""
    length, seed, epochs = arguments.sequence_length, arguments.seed, arguments.epochs
    if not corpus[0].records:
        order = arguments.document_order
        return Epochs(corpus, edges, length=length, seed=seed, epochs=epochs, document_order=order)
    read = [one for document in corpus for one in document.read]
    return RecordRows(read, edges.end, length=length, seed=seed, epochs=epochs)


def tell_of_long_records(corpus: Sequence[Document], arguments: Arguments) -> None:
    """Says how many records are longer than a row. Raises TrainingFailure naming them if long_records is refuse."""
    length = arguments.sequence_length
    long = _longer(corpus, length) if corpus[0].records else []
    if long:
        what = f"{len(long)} of {len(corpus)} records are longer than sequence_length, {length} tokens"
        if arguments.long_records == REFUSE:
            named = ", ".join(f"{one.records[0].id} ({_length(one)})" for one in long[:_NAMED])
            raise TrainingFailure(
                f"{what}: {named}{' and others' if len(long) > _NAMED else ''}.",
                'Raise sequence_length, shorten them, or set long_records to "split".',
            )
        say("note", text=f"{what}: Captune splits them, and trains on every token of their answers")


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
