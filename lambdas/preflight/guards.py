"""Two reasons to refuse a good text: it looks like data of patients, or the held-out text was trained on."""

from __future__ import annotations

import re
from collections.abc import Iterable

from common.errors import HeldOutLeaks, PatientDataSuspected
from preflight import words

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}\.?"
_NUMERIC_DATE = r"(?:\d{1,2}[./-]\d{1,2}[./-](?:19|20)?\d{2}|(?:19|20)\d{2}[./-]\d{1,2}[./-]\d{1,2})"
_DATE = rf"(?:{_NUMERIC_DATE}|\d{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH},?\s+(?:19|20)\d{{2}}|{_MONTH}\s+\d{{1,2}}(?:st|nd|rd|th)?,?\s+(?:19|20)\d{{2}})"
_NAME = r"[A-Z][a-z]+(?:[ -][A-Z]\.?)?[ ,]+(?:[A-Z][a-z]+[ -])?[A-Z][a-z]+"

# Repetitions are bounded, so that a line of megabytes takes no longer than its length deserves.
_PATIENT_DATA: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("an e-mail address", re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,4}\.[A-Za-z]{2,}\b")),
    ("a telephone number", re.compile(r"(?<![\w.-])(?:\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}([.-])\d{3}\1\d{4})(?![\w-])")),
    ("an international telephone number", re.compile(r"(?<![\w.])\+\d{1,3}(?:[ .-]?(?:\(0\))?\d{2,4}){3,5}\b")),
    ("a telephone number", re.compile(r"(?i)\b(?:tel|phone|telephone|mobile|fax)\b\.?(?:\s+(?:no\.?|number))?\s*[:#]?\s*\+?\(?\d[\d ()./-]{5,}\d")),
    ("a social security number", re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])")),
    ("a medical record number", re.compile(
        r"(?i)\b(?:MRN|(?:medical |patient |hospital )?record (?:number|no)|(?:patient|hospital) (?:id|identifier|number|no)|NHS (?:number|no))\b\.?"
        r"\s*(?:is\s+)?[:#=]?\s*#?[A-Z]{0,4}[- ]?\d(?:[ -]?\d){3,}")),
    ("a date of birth", re.compile(rf"(?i)\b(?:DOB|D\.O\.B|dates? of birth|birth ?date|born(?: on)?(?: the)?)\b\W{{0,3}}(?:is |was )?\W{{0,2}}{_DATE}")),
    ("a name with a date of birth", re.compile(rf"\b{_NAME}\s*[,;:(]?\s*\(?(?:\*|b\.|born|geb\.|n[ée]e? le)?\s*{_NUMERIC_DATE}\b")),
)  # fmt: skip
_SHOWN = 8


def refuse_patient_data(text: str, name: str) -> None:
    """Raises PatientDataSuspected with the line of everything that looks like data of a person; the data itself is not repeated."""
    found = [
        f"line {number}: {kind}"
        for number, line in enumerate(text.split("\n"), 1)
        for kind in dict.fromkeys(kind for kind, pattern in _PATIENT_DATA if pattern.search(line))
    ]
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise PatientDataSuspected(
            f"{name} looks as if it held data of persons ({'; '.join(found[:_SHOWN])}{more}). A fine-tuned model can repeat what it has read. Remove these lines."
        )


class Overlap:
    """The runs of eight words of a training text, to find out what else holds one of them.

    Only their hashes are kept: the runs themselves would not fit into Preflight's memory for a corpus of the largest size.
    """

    def __init__(self, training: str) -> None:
        self._seen = {hash(run) for run, _ in words.runs(training.lower())}

    def first(self, text: str) -> tuple[int, str] | None:
        """The line and the words of the first run that the text shares with the training text, or None."""
        lowered = text.lower()
        for run, end in words.runs(lowered):
            if hash(run) in self._seen:
                return lowered.count("\n", 0, end) + 1, " ".join(run)
        return None

    def refuse(self, name: str, text: str) -> None:
        """Raises HeldOutLeaks when a held-out text shares a run with the training text."""
        shared = self.first(text)
        if shared:
            raise HeldOutLeaks(
                f"The held-out text {name}, line {shared[0]}, shares “{shared[1]}” with the training text, so its loss would prove nothing. "
                "Rewrite or remove one of the two passages."
            )


def refuse_leakage(training: str, held_out: Iterable[tuple[str, str]]) -> None:
    """Raises HeldOutLeaks when held-out text (name, text) shares eight words in a row with the training text."""
    overlap = Overlap(training)
    for name, text in held_out:
        overlap.refuse(name, text)
