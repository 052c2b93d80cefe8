"""What looks like data of a person: names with dates, dates of birth, numbers and addresses. It does not replace de-identification."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from common.errors import PatientDataSuspected
from common.text import composed

# Latin, Greek and Cyrillic capitals: `[A-Z]` would miss Müller's Österreich and every É.
_CAPITAL = "".join(character for character in map(chr, range(0x530)) if character.isupper())
_MONTH = r"(?i:Jan|F[eé][bv]|M[aä]r|A[pv]r|Ma[iy]|Ju[inl]|Aug|Ao[uû]|Sep|O[ck]t|Nov|D[eé][cz])[^\W\d_]{0,6}\.?"
_YEAR = r"(?:19|20)\d{2}"
_DAY, _NUMBER_OF_MONTH = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])"
_ISO_DATE = rf"{_YEAR}[./-]\d{{1,2}}[./-]\d{{1,2}}"
# Day and month in either order: 9.0.10 and 27.0.10 are versions.
_DAY_AND_MONTH = rf"(?:{_DAY}[./-]{_NUMBER_OF_MONTH}|{_NUMBER_OF_MONTH}[./-]{_DAY})"
_NUMERIC_DATE = rf"(?:{_DAY_AND_MONTH}[./-](?:19|20)?\d{{2}}|{_ISO_DATE})"
# A version such as “STAR Aligner 2.7.10” follows a name of two words too: a year of two digits needs a day and a month of two.
_FULL_DATE = rf"(?:{_DAY_AND_MONTH}[./-]{_YEAR}|\d{{2}}[./-]\d{{2}}[./-]\d{{2}}|{_ISO_DATE})"
_TEXTUAL_DATE = (
    rf"(?:\d{{1,2}}(?:st|nd|rd|th|\.)?(?: (?:of )?{_MONTH},? {_YEAR}|-{_MONTH}-(?:{_YEAR}|\d{{2}}))|"
    rf"{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? {_YEAR})"
)
# Dose Levels, 5/10/20 mg; Kaplan Meier, 12-24-36 months.
_DATE_ENDS = r"(?!\w|[./-]\d| ?(?:[mµμnk]?[gGlL]|hours?|h|min|days|weeks|months|years|%)(?!\w))"

# Capitalised words that stand before dates and belong to no name.
_NO_NAME = (
    "on|in|at|by|since|from|until|till|before|after|the|of|as|an?|and|or|for|to|dated?|day|version|release|updated?|published|received|accepted|"
    "revised|retrieved|accessed|effective|online|mon|tues?|wed|thurs?|fri|sat|sun|(?:mon|tues|wednes|thurs|fri|satur|sun)day|"
    "am|im|vom|seit|bis|der|die|das|stand|montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonntag|"
    # Bodies and programs, of which a date or a version in figures follows: “R Core Team (2020-04-24)”, “Docker Engine 20.10.12”.
    "organi[sz]ation|agency|administration|committee|consortium|institute|team|software|package|toolkit|pipeline|workflow|engine|suite|levels?|counts?"
)
# Prose gives the places, the bodies and the days of history a textual date: “World Health Organization, 11 March 2020”.
_NO_PERSON = (
    "new|san|santa|saint|st|los|las|hong|north|south|east|west|united|great|black|york|city|state|states|kingdom|republic|street|university|college|"
    "school|institutes?|hospital|clinic|cent(?:er|re)|laborator(?:y|ies)|committee|council|commission|agency|administration|organi[sz]ation|"
    "department|ministry|association|society|foundation|bank|reserve|treasury|brothers|inc|ltd|llc|corp|corporation|company|group|exchange|"
    "journal|nature|science|medicine|communications|genetics|reports|advances|project|buenos|times|post|news|press|report|conference|congress|treaty|act|court|parliament|trial|study|war"
)
_PARTICLES = "(?:(?:van|von|vom|zu|de|der|den|del|della|di|da|dos|du|la|le|bin|al|el) ){0,3}"
# Capital letters, an apostrophe and hyphens stand inside names: McDonald, O’Brien, SMITH, Mary-Ann.
_WORD = rf"[{_CAPITAL}](?:['’-]?[^\W\d_]){{1,30}}"
_BORN = r"(?:\*|b\.|born|geb\.?(?: am)?|geboren(?: am)?|n[ée]e? le)"
_LINK = r"[\"”]? ?[,;:(|—-] ?[(\"“]?(?:[FMfm], )?"


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

_RECORD = (
    r"(?:(?:medical|patient|hospital)[ _-])?record[ _-](?:number|no|id)|"
    r"(?:patient|hospital)[ _-](?:id|identifier|number|no)(?:[ _-](?:number|no))?|patientennummer|fallnummer"
)
_BEFORE_ID = r"[ :#=|*\"'.)—-]"
_ID = rf"#?(?-i:[A-Z]{{0,4}})[- ]?(?!{_YEAR}(?![\d-]))\d(?:[ -]?\d){{3}}"

# What has to stand in a line, its letters folded, before a pattern is tried on it, which takes ten times as long: one of some words, or such figures.
_Sign = tuple[str, ...] | re.Pattern[str]
_AT, _PLUS = ("@",), ("+",)
_TELEPHONE = ("tel", "tél", "phone", "fax", "mobile")
_NUMBERED = ("mrn", "mr#", "mr #", "nhs", "record", "patient", "hospital", "fallnummer")
_BIRTH = ("dob", "d.o.b", "birth", "born", "geb", "né", "ne le", "nee le", "naissance")
_NINE_DIGITS = re.compile(r"\d(?:\D{0,2}\d){8}")
_DATE_IN_FIGURES = re.compile(r"\d[./-]\d{1,2}[./-]\d")
_YEAR_IN_FIGURES = re.compile(r"(?:19|20|-\d)\d")
# Every pattern but that of an e-mail address, which has no blanks, ends with one.
_DIGIT = re.compile(r"\d")

# They see a line with single blanks, and their repetitions are bounded: a line of megabytes takes no longer than its length deserves.
_PATIENT_DATA: tuple[tuple[str, _Sign, re.Pattern[str]], ...] = (
    ("an e-mail address", _AT, re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,4}\.[A-Za-z]{2,24}\b")),
    ("a telephone number", _NINE_DIGITS, re.compile(
        r"(?<![\w.+-])(?<!\d/)(?:1[ .-])?(?:\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}([.-])\d{3}\1\d{4})(?![\w-])")),
    ("an international telephone number", _PLUS, re.compile(
        r"(?<![\w.])\+\d{1,3}(?=(?:[ .()-]{0,2}\d){7})[ .-]?(?:\(0\))?(?:\(\d{2,4}\)|\d{1,4})(?:[ .-]?\d{2,4}){2,5}\b")),
    ("a telephone number", _TELEPHONE, re.compile(
        r"(?i)\b(?:tel(?:efon)?|t[ée]l|phone|telephone|fax|mobile(?= ?(?:no\b|number|[:#+(0])))\b\.?(?: (?:no\.?|number))? ?[:#]? ?\+?\(?\d[\d ()./-]{5,30}(?<=\d)")),
    ("a social security number", _NINE_DIGITS, re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])")),
    # MRN is a protein complex as well (“MRN in 2016”): what stands before the digits is no word, and four digits are no year.
    ("a medical record number", _NUMBERED, re.compile(
        rf"(?i)(?<![^\W_])(?:MRN(?: number\b| no\b)?|MR ?(?=#)|NHS[ _-](?:number|no)\b)(?![^\W_]){_BEFORE_ID}{{0,5}}(?:is )?{_ID}")),
    ("a medical record number", _NUMBERED, re.compile(
        rf"(?i)(?<![^\W_])(?:{_RECORD})(?![^\W_])(?: \(MRN\))?(?=[^\w,;]{{0,4}}[:#=|]){_BEFORE_ID}{{1,5}}{_ID}")),
    ("a medical record number", _NUMBERED, re.compile(
        rf"(?i)(?<![^\W_])(?:{_RECORD})(?![^\W_])\.? ?(?:is )?(?=[A-Z]{{0,4}}[- ]?(?:\d-?){{5}}){_ID}")),
    # Without the word “number” only a long one: “the electronic medical record 2015-2019” tells years.
    ("a medical record number", _NUMBERED, re.compile(
        r"(?i)\b(?:medical|patient|hospital) record\b ?(?:is )?[:#=]{0,2} ?#?(?-i:[A-Z]{0,4})[- ]?\d{5}")),
    ("a telephone number", _NINE_DIGITS, re.compile(
        rf"{_NO_NUMBER_BEFORE}(?:1 )?{_ROUND}[2-9]\d\d [2-9]\d\d \d{{4}}{_NO_NUMBER_AFTER}{_NO_UNIT}")),
    ("a telephone number", _NINE_DIGITS, re.compile(
        rf"{_NO_NUMBER_BEFORE}\(?0[1-9](?:\d\)?[ -]\d{{4}}[ -]\d{{4}}|\d\d\)?[ -]\d{{3}}[ -]\d{{4}}|\d{{3}}\)?[ -]\d{{3}}[ -]?\d{{3}}){_NO_NUMBER_AFTER}")),
    ("a telephone number", _NINE_DIGITS, re.compile(
        rf"{_NO_NUMBER_BEFORE}(?:0[1-9](?!(?:[ .]0\d){{4}})(?:[ .]\d\d){{4}}|0[1-9]\d{{1,3}}[/-]\d{{6,8}}|07\d{{9}}){_NO_NUMBER_AFTER}")),
    ("a date of birth", _BIRTH, re.compile(
        r"(?i)(?<![^\W_])(?:DOB|D\.O\.B|dates?[ _-]of[ _-]birth|birth[ _-]?date|born(?: on)?(?: the)?|geb(?:\.? am)?|geboren(?: am)?|geburtsdatum|n[ée]e? le|"
        rf"date de naissance)(?![^\W_])(?: ?\([dmyj/. -]{{6,12}}\))?\W{{0,3}}(?:is |was )?\W{{0,2}}(?:{_NUMERIC_DATE}|{_TEXTUAL_DATE}|{_YEAR}\d{{4}}(?!\w))")),
    ("a name with a date of birth", _DATE_IN_FIGURES, re.compile(
        rf"{_name('(?: ?, ?| )', _NO_NAME)}(?:(?:{_LINK}(?:{_BORN} ?)?| {_BORN} ?){_NUMERIC_DATE}| ?{_FULL_DATE}){_DATE_ENDS}")),
    ("a name with a date of birth", _YEAR_IN_FIGURES, re.compile(
        rf"{_name(' ', f'{_NO_NAME}|{_NO_PERSON}')}(?:{_LINK}| )(?:{_BORN} ?)?{_TEXTUAL_DATE}{_DATE_ENDS}")),
)  # fmt: skip
_SIGNS = tuple(dict.fromkeys(sign for _, sign, _ in _PATIENT_DATA))
LEARNT = "A fine-tuned model can repeat what it has read."  # what could become of data in a text of a run
_SHOWN = 8
_SHOWN_CHARACTERS = 80
NOT_SHOWN = "(not shown here: it looks like data of a person)"
_ACROSS = 120  # characters on either side of a line's end
_DASH = re.compile("[\u2010-\u2013\u2212]")


def refuse_patient_data(text: str, name: str) -> None:
    """Raises PatientDataSuspected with the line of everything that looks like data of a person; the data itself is not repeated."""
    lines = text.split("\n")
    found = [(number, kind) for number, line in enumerate(lines, 1) for kind in _kinds(line)]
    # Wrapped prose and pasted forms have the name on one line and the date on the next.
    found += [
        (number, kind) for number, (line, after) in enumerate(pairwise(lines), 1) for kind in _kinds_across(line, after)
    ]
    _refuse(sorted(found), name, LEARNT)


def refuse_patient_data_in(lines: Iterable[tuple[int, str]], name: str, reason: str) -> None:
    """Raises PatientDataSuspected for numbered lines of a file, of which several may have one number; `reason` tells what could become of the data."""
    _refuse([(number, kind) for number, line in lines for kind in _kinds(line)], name, reason)


def looks_personal(text: str) -> bool:
    """Whether a text must not be repeated in a message, because it looks like data of a person."""
    return any(_kinds(text))


def shown(value: str, characters: int = _SHOWN_CHARACTERS) -> str:
    """A value for a message, cut after so many characters; nothing of one that looks like data of a person, since messages end up in logs.

    The whole value is looked at: the part of an address that a cut leaves does not look like one.
    """
    if looks_personal(value):
        return NOT_SHOWN
    return repr(value) if len(value) <= characters else repr(value[:characters]) + "…"


def _refuse(places: list[tuple[int, str]], name: str, reason: str) -> None:
    found = dict.fromkeys(f"line {number}: {kind}" for number, kind in places)
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise PatientDataSuspected(
            f"{name} looks as if it held data of persons ({'; '.join(list(found)[:_SHOWN])}{more}). {reason} Remove these lines."
        )


def _kinds(line: str) -> Iterator[str]:
    """What kinds of data of persons a line seems to hold."""
    line = _plain(line)
    return (kind for kind, pattern in _conceivable(line) if pattern.search(line))


def _conceivable(line: str) -> list[tuple[str, re.Pattern[str]]]:
    """The kinds, with their patterns, of which a line bears the sign."""
    folded = line.casefold()
    seen = {sign for sign in _SIGNS if _bears(line, folded, sign)}
    return [(kind, pattern) for kind, sign, pattern in _PATIENT_DATA if sign in seen] if seen else []


def _bears(line: str, folded: str, sign: _Sign) -> bool:
    return any(word in folded for word in sign) if isinstance(sign, tuple) else sign.search(line) is not None


def _kinds_across(line: str, after: str) -> Iterator[str]:
    """What kinds begin in a line and end in the next one."""
    if not _DIGIT.search(after, 0, _ACROSS):
        return iter(())
    tail, head = line[-_ACROSS:].split(), after[:_ACROSS].split()
    if not tail or not head:
        return iter(())
    # Without the word or the number that was cut.
    before = _plain(" ".join(tail[1:] if len(line) > _ACROSS else tail))
    both = f"{before} {_plain(' '.join(head[:-1] if len(after) > _ACROSS else head))}"
    return (
        kind
        for kind, pattern in _conceivable(both)
        if any(match.start() < len(before) < match.end() - 1 for match in pattern.finditer(both))
    )


def _plain(line: str) -> str:
    """A line as a person reads it: single blanks, plain dashes, nothing invisible, and each letter one character with its accent."""
    line = " ".join(line.split())
    return line if line.isascii() else composed(_DASH.sub("-", line))
