"""Whether a text states a key fact, as a reader would judge it.

A fact is a case-insensitive regular expression. It is looked for in a plain spelling of the text, so that a pattern for
`44 months`, `98 bp`, `15%` or `IFN-lambda` needs no other form; one for `forty-four` or `λ` finds what is written so.
An exchange that is told in words is read as `M184V`, and "member 1 of family 10" as `family 10 member 1`.
A place does not count where the text denies the fact ("is not SMN1", "SMN2 rather than SMN1") or takes it back ("SMN1, but this
is wrong"), asks for it, or names it as one of several that may be ("could be SMN1 or SMN2", "SMN1, SMN2 or NAIP"). Only the
part that answers is judged (`own_answer`).
"""

import re
import signal
import threading
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, NoReturn


class Reading(NamedTuple):
    """A spelling of a text, and for each character the place in the text that it comes from; one more place for the end."""

    text: str
    places: Sequence[int]


_PLAIN = {
    sign: plain
    for signs, plain in {
        "αΑ": "alpha", "βΒ": "beta", "γΓ": "gamma", "δΔ": "delta", "ε": "epsilon", "κ": "kappa", "λΛ": "lambda", "π": "pi",
        "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63\uff0d": "-", "\u2018\u2019\u02bc\u2032": "'",
        "\u201c\u201d\u2033": '"', "\u2192\u27f6": ">", "\u2265": ">=", "\u2264": "<=", "\u00ba\u02da": "°", "\u2044": "/",
        "μµ": "u", "\u00ad\u200b\u200c\u200d\ufeff": "",
    }.items()
    for sign in signs
}  # fmt: skip
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_NUMBERS = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
    "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18,
    "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80,
    "ninety": 90,
}  # fmt: skip
_TO_9, _TO_19, _TENS = ("|".join(list(_NUMBERS)[part]) for part in (slice(8), slice(18), slice(18, None)))
_TO_99 = rf"(?:{_TENS})(?:[ -](?:one|{_TO_9}))?|{_TO_19}"


def _letters(sign: re.Match[str]) -> str:
    """`λ` as lambda, `ö` as o, `₅` as 5."""
    signs = sign[0] if sign[0] in _PLAIN else unicodedata.normalize("NFKD", sign[0])
    return "".join(_PLAIN.get(one, one) for one in signs if not unicodedata.combining(one))


def _digits(number: re.Match[str]) -> str:
    """`one hundred and eighty` as 180."""
    before, hundred, rest = number[0].lower().rpartition("hundred")
    tens = sum(_NUMBERS.get(word, word == "one") for word in re.split(r"[ -]", rest))
    return str(tens + (100 * _NUMBERS.get(before.strip(), 1) if hundred else 0))


_UNITS = {
    "%": "%|per ?cent", " bp": "base[ -]?pairs?|bases?|nucleotides?|nts?|bps?", " kb": "kilo-?bases?(?: pairs?)?|kbp?",
    " Mb": "mega-?bases?(?: pairs?)?|mbp?", " aa": "amino[ -]acids?(?: residues?)?|aa", " h": "hours?|hrs?|h",
    " min": "minutes?|mins?", " days": "days?", " months": "months?", " years": "years?|yrs?", " mg": "milligrams?|mgs?",
    " °C": r"(?:°|degrees?)\s*(?:celsius|centigrade|c)", " °F": r"(?:°|degrees?)\s*(?:fahrenheit|f)",
}  # fmt: skip
_LETTER = {
    name: letter
    for letter, names in {
        "A": "ala,alanine,adenine,adenosine", "C": "cys,cysteine,cytosine,cytidine", "D": "asp,aspartate,aspartic acid",
        "E": "glu,glutamate,glutamic acid", "F": "phe,phenylalanine", "G": "gly,glycine,guanine,guanosine", "H": "his,histidine",
        "I": "ile,isoleucine", "K": "lys,lysine", "L": "leu,leucine", "M": "met,methionine", "N": "asn,asparagine",
        "P": "pro,proline", "Q": "gln,glutamine", "R": "arg,arginine", "S": "ser,serine", "T": "thr,threonine,thymine,thymidine",
        "V": "val,valine", "W": "trp,tryptophan", "Y": "tyr,tyrosine",
    }.items()
    for name in names.split(",")
}  # fmt: skip
_RESIDUE = rf"\b(?:an? |the )?(?P<{{}}>{'|'.join(_LETTER)}|(?-i:[A-Y]))"
_OLD, _NEW = _RESIDUE.format("old"), _RESIDUE.format("new") + r"\b"
_BECOMES = r"(?:[ -](?:to|into|by|with)[ -]|\s?>\s?| (?:is |was )?(?:changed|replaced|substituted) (?:to|by|with) | gives way to | becomes )"
_REPLACES = r" (?:for|replaces|replacing|instead of|in (?:the )?place of) "
_AT = r"(?:(?:at|of|in) )?(?:(?:position|residue|codon|nucleotide|amino acid) )+"
_NUMBER = r"(?P<number>\d{1,5})\b"


def _exchange(told: re.Match[str]) -> str:
    """`Met to Val at codon 184` as M184V."""
    old, new = (_LETTER.get(told[side].lower(), told[side]) for side in ("old", "new"))
    return f"{old}{told['number']}{new}"


_SPELLINGS: list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = [
    # How Markdown escapes signs, and emphasises words.
    (re.compile(r"[\\_](?:(?<=\\)(?=[*_])|(?<=_)(?!\w)|(?<![\w\\]_)(?<=_))"), lambda _: ""),
    # `one` alone stays a word, for it is a pronoun more often than a number.
    (re.compile(rf"\b(?:(?:a|one|{_TO_9}) hundred(?:(?: and)? (?:{_TO_99}))?|{_TO_99})\b", re.I), _digits),
    (re.compile(r"(?<![\d.,])\d{1,3}(?:[,']\d{3})+(?!\d|,\d)"), lambda number: re.sub(r"\D", "", number[0])),
    (
        re.compile(rf"\b(\d[\d.,]*)[\s-]*(?:{'|'.join(f'({unit})' for unit in _UNITS.values())})(?!\w)", re.I),
        lambda found: found[1] + list(_UNITS)[(found.lastindex or 2) - 2],
    ),
    *(
        (re.compile(told, re.I), _exchange)
        for told in (
            rf"{_OLD}{_BECOMES}{_NEW}(?: \w+){{0,2}}?,? {_AT}{_NUMBER}",
            rf"{_OLD}[ -]?(?:{_AT})?{_NUMBER}{_BECOMES}{_NEW}",
            rf"{_AT}{_NUMBER},? {_OLD}{_BECOMES}{_NEW}",
            rf"{_NEW}{_REPLACES}{_OLD} (?:{_AT})?{_NUMBER}",
        )
    ),
    # The long name of a protein told from its end: `receptor 5 of the C-C chemokines`.
    (
        re.compile(
            r"\b((?:\w-)?\w*(?:transfer|polymer|reduct|dehydrogen|kin|prote|synth|lig|deamin)ase(?: \d\w?)?"
            r"|(?:receptor|member|subunit)(?: \d\w?)?) of (?:the )?((?:[\w()/-]+ ){0,3}?[\w()/-]*?[\w)])(?:(?<=[^su])s)?(?=[.,;:]|$)",
            re.I,
        ),
        lambda name: f"{name[2]} {name[1]}",
    ),
]

NEAR = 200  # characters of a sentence on each side of a fact; a model that repeats itself may write no full stop at all
# A question of the model's own, or a new paragraph after a whole sentence.
_NEXT_SUBJECT = re.compile(r"\n\s*(?:Question|Q\d*)\s?[:.)]|(?<=[.!?])[\"')\]]*[ \t]*\n\s*\n", re.I)
_SENTENCE_END = re.compile(r"[.!?;](?=\s|$)|\n")
# What denies a fact that follows in the same clause; a comma or `and` ends that, but not within a list.
_DENIAL = (
    r"(?:\bnot\b(?! (?:only|just|merely|simply|solely|least)\b)|n['’]t\b|\bcannot\b|\bnever\b|\bneither\b|\bno longer\b"
    r"|\bno (?:role|evidence)\b|\brather than\b|\binstead of\b|\bunlike\b|(?<!\bnone )\bother than\b|\bapart from\b|\bopposed to\b"
    r"|\b(?:contrast|contrary) to\b|\b(?:different|distinct) from\b|\b(?:rules|ruled) out\b"
    r"|\bun(?:known|clear|certain) (?:whether|if)\b)"
)
_NEW_CLAUSE = "but|although|because|since|whereas|while|who|which|when|where|without|unless|lack|lacks|lacking|they|use|uses|need|needs"
_DENIED_BEFORE = re.compile(rf"{_DENIAL}(?:(?!\b(?:and|{_NEW_CLAUSE})\b)(?:[^.,]|\.(?!\s))){{0,70}}$", re.I)
_DENIED_IN_LIST = re.compile(rf"{_DENIAL}(?:(?!\b(?:{_NEW_CLAUSE})\b)(?:[^.]|\.(?!\s))){{0,70}}$", re.I)
_LISTED = re.compile(r"\b(?:n?or|and)\s+(?:the |in |of )?$", re.I)
_LISTED_AFTER = re.compile(r"[^.]{0,40}?\bn?or\b|,? but\b", re.I)
_OWN_VERB = re.compile(r"\s(?:is|are|was|were|has|have)\b", re.I)
_BE = r"(?:is|are|was|were|has been|have been|would be)"
_DENIED_AFTER = re.compile(
    rf"[\w)\]'\"/+-]{{0,8}}\s*(?:\w+ )?(?:{_BE}(?: not|n['’]t) (?:the|one|it|that|this|correct|right|true|involved|responsible"
    r"|among|implicated|meant|associated|linked|to blame|an? (?:answer|cause|driver))\b"
    rf"|{_BE} (?:ruled out|excluded|(?:the )?wrong|incorrect|false|unrelated|irrelevant|(?:of |still )?un(?:known|clear|certain))\b"
    r"|(?:plays?|has|have) no (?:role|part)\b|(?:has|have) nothing to do\b)",
    re.I,
)
_WRONG = (
    r"\b(?:this|that|it) (?:is|was) (?:(?:the |a )?(?:wrong|mistake)|incorrect|untrue|false|not (?:correct|right|true))\b"
    r"(?! (?:for|in|of|to|about|that|with)\b)"
)
_TAKEN_BACK = re.compile(
    rf"\b(?:but|yet|though|although) (?:{_WRONG}|(?:in (?:fact|truth|reality)|actually)\b)|\bor rather\b|[-,] no,", re.I
)
_WRONG_NEXT = re.compile(rf"\s+{_WRONG}", re.I)
_OTHERS_SAY = (  # an opinion that is reported, and not shared
    r"(?:\b(?:most|many|some)(?: people)? (?:would |might )?(?:say|think|believe|guess|name|call)\b|\bwas (?:once )?suspected\b"
    r"|\b(?:often|commonly|widely|long) (?:said|thought|believed|assumed)\b|\bone (?:might|would) (?:think|say)\b)"
)
_OTHERS_SAY_BEFORE = re.compile(rf"{_OTHERS_SAY}(?:(?!\b(?:{_NEW_CLAUSE})\b)[^.,]){{0,40}}$", re.I)
_OTHERS_SAY_AFTER = re.compile(rf"[^.]{{0,15}}{_OTHERS_SAY}", re.I)
_CHOICE = re.compile(r"\s+or\s+|(?:^|\s)[a-d]\)\s|\s?/\s?", re.I)
_NOT_A_NAME = re.compile(
    r"\b(?:and|not|no|an?|the|that|which|by|with|of|in|for|as|at|from|on|to|then|also|is|are|\w+ly)\b", re.I
)
_OPEN = re.compile(r"\b(?:(?:might|may|could|can) (?:also )?be|perhaps|possibly|maybe|either|whether)\b", re.I)
_ANOTHER_AFTER = re.compile(r"[^.]{0,30}?\bor\s+([^.,]+)", re.I)
_ANOTHER_BEFORE = re.compile(r"([^.]{1,40}?),?\s+or\s+(?:the )?$", re.I)


def readings(text: str) -> list[Reading]:
    """The text as written, with plain letters and signs, and with numbers and units in one spelling too."""
    written = Reading(text, range(len(text) + 1))
    lettered = spelled = _replaced(written, _BEYOND_ASCII, _letters)
    for pattern, by in _SPELLINGS:
        spelled = _replaced(spelled, pattern, by)
    return [written, lettered, spelled]


def _replaced(reading: Reading, pattern: re.Pattern[str], by: Callable[[re.Match[str]], str]) -> Reading:
    """The reading with each match in another spelling, whose characters all come from where the match begins."""
    parts, places, end = list[str](), list[int](), 0
    for match in pattern.finditer(reading.text):
        parts += [reading.text[end : match.start()], by(match)]
        places += [*reading.places[end : match.start()], *[reading.places[match.start()]] * len(parts[-1])]
        end = match.end()
    return Reading("".join([*parts, reading.text[end:]]), [*places, *reading.places[end:]]) if parts else reading


def own_answer(text: str) -> str:
    """The part of an answer that answers: up to where the model goes on to another subject, as small models do."""
    other = _NEXT_SUBJECT.search(text)
    return text[: other.start()] if other else text


def _searched(pattern: re.Pattern[str], texts: Sequence[Reading]) -> list[Reading]:
    """The readings to search, each once: the text as written only for a pattern with signs that the others may not have."""
    others = texts[1:] if texts[1] is not texts[2] else texts[1:2]
    has_signs = not pattern.pattern.isascii() or "\\u" in pattern.pattern
    return [texts[0], *others] if has_signs and texts[0] is not others[0] else [*others]


def mentioned(pattern: re.Pattern[str], texts: Sequence[Reading]) -> bool:
    """Whether a text has the words of the fact, stated or not; `texts` are its readings."""
    return any(pattern.search(text) for text, _ in _searched(pattern, texts))


def stated(pattern: re.Pattern[str], texts: Sequence[Reading]) -> list[tuple[int, int]]:
    """The spans in which a text states the fact; `texts` are its readings."""
    spans = []
    for text, places in _searched(pattern, texts):
        for match in pattern.finditer(text):
            if match[0] and not _open_or_denied(text, match.start(), match.end(), pattern):
                spans.append((places[match.start()], max(places[match.end()], places[match.end() - 1] + 1)))
    return spans


def _open_or_denied(text: str, start: int, end: int, pattern: re.Pattern[str]) -> bool:
    """Whether the sentence around a match denies it, asks for it, or leaves it open among others."""
    near = max(0, start - NEAR)
    ends = (match.end() for match in _SENTENCE_END.finditer(text, near, start + 1))
    begin = max((place for place in ends if place <= start), default=near)
    stop = _SENTENCE_END.search(text, end, end + NEAR)
    before, after = text[begin:start], text[end : stop.start() if stop else end + NEAR]
    if stop and stop[0] == "?":
        return True
    if _DENIED_BEFORE.search(before) or _DENIED_AFTER.match(after):
        return True
    if _TAKEN_BACK.search(after) or _OTHERS_SAY_BEFORE.search(before) or _OTHERS_SAY_AFTER.match(after):
        return True
    if (stop and _WRONG_NEXT.match(text, stop.end())) or _one_of_several(before, after, pattern):
        return True
    listed = (_LISTED.search(before) and not _OWN_VERB.match(after)) or _LISTED_AFTER.match(after)
    if listed and _DENIED_IN_LIST.search(before):
        return True
    others = [_ANOTHER_BEFORE.search(before), _ANOTHER_AFTER.match(after)] if _OPEN.search(before) else []
    return any(other and not pattern.search(other[1]) for other in others)


def _one_of_several(before: str, after: str, pattern: re.Pattern[str]) -> bool:
    """Whether the fact stands in a list that is no sentence, of three names or more: `SMN1, SMN2 or NAIP`, `SMN1/SMN2/NAIP`."""
    sentence = f"{before}\0{after}"
    if not _CHOICE.search(sentence):
        return False
    names = [name.strip() for part in _CHOICE.split(sentence) for name in part.split(",") if name.strip()]
    others = [name for name in names if "\0" not in name and not pattern.search(name)]
    return len(others) >= 2 and all(len(name.split()) <= 3 and not _NOT_A_NAME.search(name) for name in names)


@contextmanager
def time_limit(seconds: float, error: Exception) -> Iterator[None]:
    """Raises `error` when the block takes longer: `re` looks for signals, however long it searches. Main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def expire(*_: object) -> NoReturn:
        raise error

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
