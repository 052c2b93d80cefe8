"""Which groups of records are held out, and what on the other side of the split would give them away."""

from __future__ import annotations

import hashlib

from common.errors import HeldOutLeaks
from common.records import Record
from common.text import words
from common.text.utf8 import encoded
from preflight.texts import personal_data
from preflight.texts.overlap import Overlap
from preflight.texts.text_file import Document

# As many as a text of usual length gives.
WANTED_GROUPS = 10
# As many as a text of the largest size gives, in passages. A short interval needs no more, and the report resamples each.
MOST_GROUPS = 400
# An answer of which more stands in the training answers is known; less may be a turn of phrase that all answers have.
KNOWN_SHARE = 0.5
_SHOWN = 5


def groups(records: list[Record]) -> list[Document]:
    """The records of each group as one document, in the order of the file."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.group, []).append(record)
    return [
        Document(name, name, "\n\n".join(record.text for record in members), tuple(members))
        for name, members in found.items()
    ]


def different(records: list[Record]) -> tuple[list[Record], int]:
    """The records without those that say what an earlier one of the same group says, and how many were left out.

    Records without a named group are groups of their own: of two that say the same, one would give the other away.
    """
    kept: dict[int, Record] = {}
    for record in records:
        kept.setdefault(hash((record.group if record.named_group else "", *_words(record))), record)
    return list(kept.values()), len(records) - len(kept)


def split(parts: list[Document]) -> tuple[list[Document], list[Document]]:
    """Training and held-out groups: about a tenth is held out, ten groups at least where there are twenty, and 400 at most.

    Chosen by the hash of a group's name, or of what it says where the file names none: a file that grows keeps the choice, and no
    order in it can bear on it.
    """
    wanted = min(max(WANTED_GROUPS, len(parts) // 10), len(parts) // 2, MOST_GROUPS)
    chosen = first(parts, wanted)
    return [part for part in parts if part.id not in chosen], [part for part in parts if part.id in chosen]


def first(parts: list[Document], count: int) -> set[str]:
    """The names of so many groups, chosen as a split chooses them."""
    return {part.id for part in sorted(parts, key=_place)[:count]}


def _place(part: Document) -> str:
    named = part.records[0].named_group
    return hashlib.sha256(encoded(part.id if named else part.text)).hexdigest()


class Known:
    """What the training records say, to find the held-out ones that they give away."""

    def __init__(self, training: list[Document], held_out: list[Document]) -> None:
        """Of the training records; `held_out` are the only ones that will be looked for."""
        learned = [record for part in training for record in part.records]
        asked = (answer for part in held_out for record in part.records for answer in record.answers)
        self._same = {hash(tuple(_words(record))) for record in learned}
        self._answers = Overlap((answer for record in learned for answer in record.answers), asked)

    def holds(self, record: Record) -> bool:
        """Whether a training record says the same, or most of an answer stands in training answers."""
        if hash(tuple(_words(record))) in self._same:
            return True
        return any(self._answers.share(answer) > KNOWN_SHARE for answer in record.answers)


def refuse_shared_groups(training: list[Document], held_out: list[Document]) -> None:
    """Raises HeldOutLeaks for a named group that has records on both sides of a split that the user has made."""
    names = {part.id for part in training if part.records[0].named_group}
    both = [part.id for part in held_out if part.records[0].named_group and part.id in names]
    if both:
        shown = ", ".join(personal_data.shown(name) for name in both[:_SHOWN])
        raise HeldOutLeaks(
            f"{len(both)} group{'s have' if len(both) > 1 else ' has'} records in `corpus` and in `heldOut`: {shown}"
            f"{' and others' if len(both) > _SHOWN else ''}. Put all records of a group on one side, or leave `heldOut` out: then whole groups are held out."
        )


def refuse_known(held_out: list[Document], known: Known, name: str) -> None:
    """Raises HeldOutLeaks naming the held-out records that the training records give away."""
    given_away = [record for part in held_out for record in part.records if known.holds(record)]
    if given_away:
        lines = ", ".join(str(record.line) for record in given_away[:_SHOWN])
        raise HeldOutLeaks(
            f"{len(given_away)} of the held-out records of {name} (line {lines}{' and others' if len(given_away) > _SHOWN else ''}) say what a training "
            "record says, or more than half of their answer stands in training answers, so their loss would prove nothing. Take them out of one side."
        )


def _words(record: Record) -> list[str]:
    return [words.plain(text) for text in record.texts]
