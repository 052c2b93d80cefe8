"""The mutations of one JSONata expression: each operator, number, text, path, regular expression and choice in it, one at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

Mutation = tuple[str, str]  # what was changed, and the expression that came of it

_TOKEN = re.compile(
    r"""(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    |(?P<regex>(?<=,\ )/(?:[^/\\]|\\.)+/i?)
    |(?P<number>\d+(?:\.\d+)?)
    |(?P<function>\$[A-Za-z]\w*(?=\())
    |(?P<path>\$[A-Za-z]\w*(?:\.[A-Za-z]\w*)*)
    |(?P<word>[A-Za-z]\w*)
    |(?P<sign><=|>=|!=|:=|[<>=?:+\-*/%&(){}\[\],;.])
    |(?P<space>\s+)""",
    re.VERBOSE,
)
_OTHER_SIGNS = {
    "=": ["!="], "!=": ["="], "<": ["<=", ">"], "<=": ["<"], ">": [">=", "<"], ">=": [">"], "+": ["-"], "-": ["+"],
    "*": ["+"], "/": ["*"], "%": ["+"],
}  # fmt: skip
_OTHER_WORDS = {"and": "or", "or": "and", "true": "false", "false": "true"}
_OPENING, _CLOSING = "([{", ")]}"


class _Token(NamedTuple):
    kind: str
    text: str


def mutations(expression: str, variables: Iterable[str], is_condition: bool) -> Iterator[Mutation]:
    """Every mutation of an expression, without its {% %}.

    Args:
        expression: the JSONata text.
        variables: the variables of the machine, one of which may stand where another should.
        is_condition: whether it is the Condition of a Choice, which may also be always true or never.

    Raises ValueError for a text that is no JSONata as far as it is known here.
    """
    if is_condition:
        yield "always", "true"
        yield "never", "false"
    tokens = list(_tokens(expression))
    others = sorted(variables)
    for index, token in enumerate(tokens):
        for text in _changes(tokens, index, others):
            before = "".join(one.text for one in tokens[:index])
            after = "".join(one.text for one in tokens[index + 1 :])
            yield f"{before[-24:]}[{token.text} → {text}]{after[:12]}", before + text + after
    yield from _one_way(tokens)


def _tokens(expression: str) -> Iterator[_Token]:
    at = 0
    while at < len(expression):
        found = _TOKEN.match(expression, at)
        if found is None or found.lastgroup is None:
            raise ValueError(f"not understood: {expression[at:]}")
        yield _Token(found.lastgroup, found.group())
        at = found.end()


def _changes(tokens: list[_Token], index: int, variables: list[str]) -> Iterator[str]:
    kind, text = tokens[index]
    if kind == "text":
        yield "''" if text != "''" else "'x'"
    elif kind == "number":
        yield str(int(text) + 1)
        if int(text) > 0:
            yield str(int(text) - 1)
            yield str(10 * int(text))
    elif kind == "sign" and not (text == "-" and _is_unary(tokens, index)):
        yield from _OTHER_SIGNS.get(text, [])
    elif kind == "sign":
        yield ""
    elif kind == "word" and text in _OTHER_WORDS:
        yield _OTHER_WORDS[text]
    elif kind == "path":
        yield from _other_paths(text, variables)
    elif kind == "regex":
        yield from _other_regexes(text)
    elif kind == "function" and text in ("$exists", "$contains"):
        # Turned round: `$exists(a)` becomes `$exists(a) = false`, which needs no look at where its brackets close.
        yield f"false = {text}"


def _is_unary(tokens: list[_Token], index: int) -> bool:
    before = [token.text for token in tokens[:index] if token.kind != "space"]
    return not before or before[-1] in ("(", ",", "[", "?", ":", "&", "=")


def _other_paths(path: str, variables: list[str]) -> Iterator[str]:
    root, *parts = path.removeprefix("$").split(".")
    if parts:
        yield path + "X"
    elif root in variables:
        at = variables.index(root)
        yield "$" + variables[(at + 1) % len(variables)]


def _other_regexes(regex: str) -> Iterator[str]:
    body, end = regex[1:].rsplit("/", 1)
    parts = body.split("|")
    if len(parts) > 1:
        for index in range(len(parts)):
            yield "/" + "|".join(parts[:index] + parts[index + 1 :]) + "/" + end
    if body.startswith("^"):
        yield "/" + body[1:] + "/" + end
    yield "/nothing of the kind/"


def _one_way(tokens: list[_Token]) -> Iterator[Mutation]:
    """For each `condition ? one : other` the expression that always takes the one, and that always takes the other."""
    for index, token in enumerate(tokens):
        if token.text != "?" or token.kind != "sign":
            continue
        start = _reach(tokens, range(index - 1, -1, -1), _CLOSING, _OPENING, {"(", "{", "[", ",", ";", ":="})
        colon = _reach(tokens, range(index + 1, len(tokens)), _OPENING, _CLOSING, {":"})
        end = _reach(tokens, range(colon + 1, len(tokens)), _OPENING, _CLOSING, {",", ";"})
        head, tail = tokens[: start + 1], tokens[end:]
        for word, way in (("one way", tokens[index + 1 : colon]), ("the other way", tokens[colon + 1 : end])):
            yield (
                f"always {word} at ? {_text(tokens[index + 1 : colon]).strip()[:20]}",
                _text(head) + _text(way).strip() + _text(tail),
            )


def _text(tokens: Iterable[_Token]) -> str:
    return "".join(token.text for token in tokens)


def _reach(tokens: list[_Token], way: range, deeper: str, higher: str, stops: set[str]) -> int:
    """The first token on a way that stops it or leaves the bracket it began in; one beyond its end where none does."""
    depth = 0
    for index in way:
        kind, text = tokens[index]
        if kind != "sign":
            continue
        if depth == 0 and (text in stops or text in higher):
            return index
        depth += (text in deeper) - (text in higher)
    return -1 if way.step < 0 else len(tokens)
