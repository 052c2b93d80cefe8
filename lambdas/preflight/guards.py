"""Two reasons to refuse a good text: it looks like data of patients, or the held-out text was trained on."""

from __future__ import annotations

import re
from collections.abc import Iterable

from common.errors import HeldOutLeaks, PatientDataSuspected

# Eight words in a row are rarely shared by texts that were written apart.
LEAK_WORDS = 8

_PATIENT_DATA: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("an e-mail address", re.compile(r"\b[\w.+-]+@[\w-]+\.[A-Za-z]{2,}\b")),
    ("a telephone number", re.compile(r"(?<![\w.-])(?:\+\d{1,3}[ .-]?)?\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?![\w-])")),
    ("an international telephone number", re.compile(r"(?<![\w.])\+\d{1,3}(?:[ .-]?\d{2,4}){3,4}\b")),
    ("a social security number", re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])")),
    ("a medical record number", re.compile(r"(?i)\b(?:MRN|medical record (?:number|no\.?)|patient (?:id|number))\b\s*[:#=]?\s*[A-Z]{0,3}[-]?\d{4,}")),
    ("a date of birth", re.compile(r"(?i)\b(?:DOB|date of birth|born on)\b\W{0,3}(?:\d{1,4}[./-]\d{1,2}[./-]\d{1,4}|\d{1,2}\s+[A-Z][a-z]+\s+\d{4}|[A-Z][a-z]+\s+\d{1,2},?\s+\d{4})")),
)  # fmt: skip


def refuse_patient_data(text: str, name: str) -> None:
    """Raises PatientDataSuspected with the line of everything that looks like data of a person; the data itself is not repeated."""
    found = [
        f"line {number}: {kind}"
        for number, line in enumerate(text.splitlines(), 1)
        for kind, pattern in _PATIENT_DATA
        if pattern.search(line)
    ]
    if found:
        more = f" and {len(found) - 8} more" if len(found) > 8 else ""
        raise PatientDataSuspected(
            f"{name} looks as if it held data of persons ({'; '.join(found[:8])}{more}). A fine-tuned model can repeat what it has read. Remove these lines."
        )


def refuse_leakage(training: str, held_out: Iterable[tuple[str, str]]) -> None:
    """Raises HeldOutLeaks when held-out text (name, text) shares eight words in a row with the training text."""
    seen = set(_runs(training))
    for name, text in held_out:
        for number, line in enumerate(text.splitlines(), 1):
            shared = next((run for run in _runs(line) if run in seen), None)
            if shared:
                raise HeldOutLeaks(
                    f"The held-out text {name}, line {number}, shares “{' '.join(shared)}” with the training text, so its loss would prove nothing. "
                    "Rewrite or remove one of the two passages."
                )


def _runs(text: str) -> Iterable[tuple[str, ...]]:
    words = re.findall(r"[a-z0-9]+", text.lower())
    return (tuple(words[i : i + LEAK_WORDS]) for i in range(len(words) - LEAK_WORDS + 1))
