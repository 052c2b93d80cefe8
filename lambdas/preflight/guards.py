"""Two reasons to refuse a good text: it looks like data of patients, or the held-out text was trained on."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from common.errors import HeldOutLeaks, PatientDataSuspected
from preflight import words

# Latin, Greek and Cyrillic capitals: `[A-Z]` would miss Müller's Österreich and every É.
_CAPITAL = "".join(character for character in map(chr, range(0x530)) if character.isupper())
_MONTH = r"(?i:Jan|Feb|M[aä]r|Apr|Ma[iy]|Jun|Jul|Aug|Sep|O[ck]t|Nov|De[cz])[A-Za-z]{0,6}\.?"
_YEAR = r"(?:19|20)\d{2}"
_ISO_DATE = rf"{_YEAR}[./-]\d{{1,2}}[./-]\d{{1,2}}"
_NUMERIC_DATE = rf"(?:\d{{1,2}}[./-]\d{{1,2}}[./-](?:19|20)?\d{{2}}|{_ISO_DATE})"
# A version such as “STAR Aligner 2.7.10” follows a name of two words too: a year of two digits needs a day and a month of two.
_FULL_DATE = rf"(?:\d{{1,2}}[./-]\d{{1,2}}[./-]{_YEAR}|\d{{2}}[./-]\d{{2}}[./-]\d{{2}}|{_ISO_DATE})"
_TEXTUAL_DATE = (
    rf"(?:\d{{1,2}}(?:st|nd|rd|th|\.)? (?:of )?{_MONTH},? {_YEAR}|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? {_YEAR})"
)
_DATE_ENDS = r"(?!\w|[./-]\d)"

# Capitalised words that stand before dates and belong to no name.
_NO_NAME = (
    "on|in|at|by|since|from|until|till|before|after|the|of|as|an?|and|or|for|to|dated?|day|version|release|updated?|published|received|accepted|"
    "revised|retrieved|accessed|effective|online|mon|tues?|wed|thurs?|fri|sat|sun|(?:mon|tues|wednes|thurs|fri|satur|sun)day|"
    "am|im|vom|seit|bis|der|die|das|stand|montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonntag"
)
# Prose gives the places, the bodies and the days of history a textual date: “World Health Organization, 11 March 2020”.
_NO_PERSON = (
    "new|san|santa|saint|st|los|las|hong|north|south|east|west|united|great|black|york|city|state|states|kingdom|republic|street|university|college|"
    "school|institutes?|hospital|clinic|cent(?:er|re)|laborator(?:y|ies)|committee|council|commission|agency|administration|organi[sz]ation|"
    "department|ministry|association|society|foundation|bank|reserve|treasury|brothers|inc|ltd|llc|corp|corporation|company|group|exchange|"
    "journal|times|post|news|press|report|conference|congress|treaty|act|court|parliament|trial|study|war"
)
_PARTICLES = "(?:(?:van|von|vom|zu|de|der|den|del|della|di|da|dos|du|la|le|bin|al|el) ){0,3}"
# Capital letters, an apostrophe and hyphens stand inside names: McDonald, O’Brien, SMITH, Mary-Ann.
_WORD = rf"[{_CAPITAL}](?:['’-]?[^\W\d_]){{1,30}}"
_BORN = r"(?:\*|b\.|born|geb\.|n[ée]e? le)"
_LINK = r" ?[,;:(|–—-] ?\(?"


def _name(between: str, never: str) -> str:
    """A pattern of a name of two or three words, the second after `between`; no word of it is one of `never`."""
    word = rf"(?=[{_CAPITAL}])(?!(?i:{never})\b){_WORD}"
    return rf"\b{word}(?: [{_CAPITAL}]\.?){{0,2}}{between}{_PARTICLES}(?:{word} )?{word}(?: [{_CAPITAL}]\.?)?"


# What stands around the digits keeps lists of figures, coordinates (chr7:140 453 136) and identifiers (10.1000/617-555-0199) apart.
_NO_NUMBER_BEFORE = r"(?<![\w.+-])(?<!\d[ ,/:])(?<![XYMT]:)"
_NO_NUMBER_AFTER = r"(?![\w-]|[.,:/]\d| \d)"
# 250 500 1000 mg are doses and 256 512 1024 dilutions.
_ROUND = r"(?!\d\d0 \d\d0 \d{3}0|256 512 1024)"
_NO_UNIT = (
    r"(?! ?(?:[%€$£]|(?:[mµμunk]?[gGlLM]|[kMG]?bp?|[KMGkmcµμn]?[bm]|nt|IU|reads?|cells?|copies|genes?|patients?|persons?|people|samples?|times|years?|"
    r"days|euros?|dollars?|USD|EUR)\b))"
)

# They see a line with single blanks, and their repetitions are bounded: a line of megabytes takes no longer than its length deserves.
_PATIENT_DATA: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("an e-mail address", re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,4}\.[A-Za-z]{2,24}\b")),
    ("a telephone number", re.compile(
        r"(?<![\w.+-])(?<!\d/)(?:1[ .-])?(?:\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}([.-])\d{3}\1\d{4})(?![\w-])")),
    ("an international telephone number", re.compile(r"(?<![\w.])\+\d{1,3}(?:[ .-]?(?:\(0\))?\d{2,4}){3,5}\b")),
    ("a telephone number", re.compile(
        r"(?i)\b(?:tel|phone|telephone|mobile|fax)\b\.?(?: (?:no\.?|number))? ?[:#]? ?\+?\(?\d[\d ()./-]{5,30}(?<=\d)")),
    ("a social security number", re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])")),
    ("a medical record number", re.compile(
        r"(?i)\b(?:MRN|(?:medical |patient |hospital )?record (?:number|no|id)|(?:patient|hospital) (?:id|identifier|number|no)(?: number| no)?|"
        r"NHS (?:number|no))\b\.? ?(?:is )?[:#=]? ?#?[A-Z]{0,4}[- ]?\d(?:[ -]?\d){3}")),
    # Without the word “number” only a long one: “the electronic medical record 2015-2019” tells years.
    ("a medical record number", re.compile(r"(?i)\b(?:medical|patient|hospital) record\b ?(?:is )?[:#=]? ?#?[A-Z]{0,4}[- ]?\d{5}")),
    ("a telephone number", re.compile(
        rf"{_NO_NUMBER_BEFORE}(?:1 )?{_ROUND}[2-9]\d\d [2-9]\d\d \d{{4}}{_NO_NUMBER_AFTER}{_NO_UNIT}")),
    ("a telephone number", re.compile(
        rf"{_NO_NUMBER_BEFORE}\(?0[1-9](?:\d\)?[ -]\d{{4}}[ -]\d{{4}}|\d\d\)?[ -]\d{{3}}[ -]\d{{4}}|\d{{3}}\)?[ -]\d{{3}}[ -]?\d{{3}}){_NO_NUMBER_AFTER}")),
    ("a date of birth", re.compile(
        rf"(?i)\b(?:DOB|D\.O\.B|dates? of birth|birth ?date|born(?: on)?(?: the)?)\b\W{{0,3}}(?:is |was )?\W{{0,2}}(?:{_NUMERIC_DATE}|{_TEXTUAL_DATE})")),
    ("a name with a date of birth", re.compile(
        rf"{_name('(?: ?, ?| )', _NO_NAME)}(?:(?:{_LINK}(?:{_BORN} ?)?| {_BORN} ?){_NUMERIC_DATE}| ?{_FULL_DATE}){_DATE_ENDS}")),
    ("a name with a date of birth", re.compile(
        rf"{_name(' ', f'{_NO_NAME}|{_NO_PERSON}')}(?:{_LINK}| )(?:{_BORN} ?)?{_TEXTUAL_DATE}{_DATE_ENDS}")),
)  # fmt: skip
_SHOWN = 8


def refuse_patient_data(text: str, name: str) -> None:
    """Raises PatientDataSuspected with the line of everything that looks like data of a person; the data itself is not repeated."""
    refuse_patient_data_in(enumerate(text.split("\n"), 1), name, "A fine-tuned model can repeat what it has read.")


def refuse_patient_data_in(lines: Iterable[tuple[int, str]], name: str, reason: str) -> None:
    """Raises PatientDataSuspected for numbered lines of a file, of which several may have one number; `reason` tells what could become of the data."""
    found = dict.fromkeys(f"line {number}: {kind}" for number, line in lines for kind in _kinds(line))
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise PatientDataSuspected(
            f"{name} looks as if it held data of persons ({'; '.join(list(found)[:_SHOWN])}{more}). {reason} Remove these lines."
        )


def _kinds(line: str) -> Iterator[str]:
    """What kinds of data of persons a line seems to hold."""
    # The blanks of a table or a line of nothing else count as one; a letter and its accent may be two characters.
    line = unicodedata.normalize("NFC", " ".join(line.split()))
    return (kind for kind, pattern in _PATIENT_DATA if pattern.search(line))


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
