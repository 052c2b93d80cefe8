"""Plain English: pages, messages, templates and test names use the field's terms. Pages have short sentences and address the reader."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

import pytest

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "data/README.md", "results/README.md")
FILES = [*(ROOT / name for name in NAMES), *sorted((ROOT / "docs").glob("*.md"))]
# Generated parts are checked where they are written: in the code's string literals.
_NOT_PROSE = re.compile(r"```.*?```", re.DOTALL)
CODE = re.compile(r"`[^`]*`")
PAGES = [(str(f.relative_to(ROOT)), CODE.sub("X", _NOT_PROSE.sub(" ", f.read_text("utf-8")))) for f in FILES]

ROOMS = (
    "app.py",
    "captune",
    "examples",
    "lambdas",
    "rehearsal",
    "stacks",
    "tests",
    "training",
    "verification",
    ".github",
)
YAML, TEMPLATES = {".yaml", ".yml"}, {".html", ".css", ".js", ".mjs", ".cjs", ".jinja", ".typ", ".xml", ".ipynb"}
YAML_KEY = re.compile(r"^[\s-]*[\w ?]+:", re.MULTILINE)
# Words that stay: a policy's description that CloudFormation cannot change, and samples of how people write.
STAY = {
    "stacks/storage_stack.py": {"nobody"},
    "tests/stacks/test_templates.py": {"nobody"},
    "tests/unit/common/test_key_facts.py": {"per cent", "1.5 %"},
    "tests/unit/data/test_data_commands.py": {"40 %"},
}

# A word, and the one to use instead.
TERMS = {
    r"(?:text |abstracts )?by others|others wrote|outside (?:texts?|documents?|loss)": "external test set",
    r"rightly|right ends?|near miss(?:es)?": "multiple-choice accuracy; correct option, distractors",
    r"adapter(?:'s)? strength|\d of the adapter": "adapter scale",
    r"control texts?|what was forgotten": "retention set, forgetting",
    r"second line": "secondary metric: knowledge",
    r"one pass|passes over|learnt": "epoch, train",
    r"usual (?:run|recipe)": "typical run, baseline recipe",
    r"the most that it (?:may|can) cost": "worst-case cost, maximum",
    r"(?<!model )cards?": "GPU",
    r"rights(?! reserved)|the right to": "permission",
    r"(?:is|are) away": "is unavailable",
    r"mend(?:s|ed|ing)?": "fix",
    r"settl(?:es?|ed|ing|ements?)|(?:over)?book(?:ed|ings?)": "record the actual cost",
    r"tear-downs?": "teardown, cleanup",
    r"announced|as declared": "preregistered",
    r"nulls": "negative controls, false-positive rate",
    r"stand-ins?": "proxy model",
    r"made[- ]up": "synthetic",
    r"a person|somebody|nobody": "you, the user",
    r"(?<!\bx )refus(?:e[sd]?|als?|ing)": "reject; is invalid",
    r"anew|in place of|dearer|but for|reckon(?:s|ed)?": "again; instead of; more expensive; except; estimate",
    r"per cent|(?:\d*\.)?\d+ %(?!})": "95%",
}
# A word within a path or a dotted name is part of an identifier.
MEANT = {re.compile(rf"(?<![\w/.-])(?:{word})(?![\w/-]|\.\w)", re.IGNORECASE): term for word, term in TERMS.items()}
SENTENCES, PARAGRAPHS = re.compile(r"(?<=[.!?:;])\s+"), re.compile(r"\n\s*[|#<][^\n]*|\n\s*\n|\n\s*(?:[-*]|\d+\.) ")
WHAT = re.compile(r"[a-z,] what [a-z]")


def words_to_replace(text: str) -> dict[str, str]:
    """The words of a text that have a better one, with that."""
    line = " ".join(text.split())
    return {found[0]: term for word, term in MEANT.items() for found in word.finditer(line)}


def prose(suffix: str, text: str) -> Iterator[str]:
    """What people read in a file. Of Python, test names and each literal with a space, but no docstring. In backticks is code."""
    if suffix in YAML | TEMPLATES:
        yield CODE.sub("X", YAML_KEY.sub("", text) if suffix in YAML else text)
    if suffix != ".py":
        return
    nodes = list(ast.walk(ast.parse(text)))
    docstrings = {node.value for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        match node:
            case ast.FunctionDef() if node.name.startswith("test_"):
                yield node.name.replace("_", " ")
            case ast.Constant(value=str(literal)) if " " in literal and node not in docstrings:
                yield CODE.sub("X", literal)
            case ast.JoinedStr():
                yield CODE.sub(
                    "X", "".join(str(part.value) if isinstance(part, ast.Constant) else "0" for part in node.values)
                )


def lengths(page: str) -> list[int]:
    """The words of each sentence of a page, without its tables and headings."""
    sentences = [one for part in PARAGRAPHS.split(f"\n\n{page}") for one in SENTENCES.split(part)]
    return [len(one.split()) for one in sentences if len(one.split()) > 1]


@pytest.mark.parametrize(("where", "text"), PAGES, ids=[where for where, _ in PAGES])
def test_a_page_uses_the_terms_of_its_field(where: str, text: str) -> None:
    assert words_to_replace(text) == {}, where


@pytest.mark.parametrize("room", ROOMS)
def test_code_templates_and_test_names_use_the_terms_of_their_field(room: str) -> None:
    found = {}
    for file in (
        path for path in [ROOT / room, *(ROOT / room).rglob("*")] if path.is_file() and path != Path(__file__)
    ):
        name = file.relative_to(ROOT).as_posix()
        texts = (
            " | ".join(prose(file.suffix, file.read_text("utf-8"))) if file.suffix in {".py"} | YAML | TEMPLATES else ""
        )
        found[name] = {word: term for word, term in words_to_replace(texts).items() if word not in STAY.get(name, ())}
    assert {name: words for name, words in found.items() if words} == {}


@pytest.mark.parametrize(("where", "page"), PAGES, ids=[where for where, _ in PAGES])
def test_sentences_are_short(where: str, page: str) -> None:
    assert mean(lengths(page)) <= 20 and max(lengths(page)) <= 40, where


def test_pages_address_the_reader_and_use_few_noun_clauses() -> None:
    text = " ".join(page for _, page in PAGES)
    thousands = len(text.split()) / 1000
    assert len(re.findall(r"\byou", text, re.IGNORECASE)) >= 8 * thousands
    assert len(WHAT.findall(text)) <= 1.5 * thousands


def test_a_planted_word_is_found() -> None:
    assert list(words_to_replace("A model card. Two cards are away.")) == ["cards", "are away"]
    assert words_to_replace("One pass\nand a card's weight.") == {"One pass": "epoch, train", "card": "GPU"}
    assert lengths("# Not this\n\nOne two three. Four five.\n- " + "six " * 41) == [3, 2, 41]


@pytest.mark.parametrize(
    ("suffix", "text", "found"),
    [
        (".py", "raise Error('The run is refused.')", ["refused"]),
        (".py", "print(f'{count} cards')", ["cards"]),
        (".py", "print('Two ' 'cards')", ["cards"]),
        (".py", "def test_a_run_is_settled(): ...", ["settled"]),
        (
            ".py",
            "def settle():\n    'Settles it.'\n    return 'settle', 'settle.billing is in `settle`', row('A x refused')",
            [],
        ),
        (".yaml", "# Not settled\nrefused: fails", ["settled"]),
        (".yaml", "Comment: Two cards", ["cards"]),
        (".html", "<p>Two\ncards, {% if n > 1 %}95 %", ["cards", "95 %"]),
        (".css", "/* anew */", ["anew"]),
        (".js", "say('made up')", ["made up"]),
    ],
)
def test_a_planted_word_is_found_in_what_people_read(suffix: str, text: str, found: list[str]) -> None:
    assert list(words_to_replace(" | ".join(prose(suffix, text)))) == found
