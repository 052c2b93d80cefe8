"""Texts of a user: what is enough to learn from, what is held out of it, and what the training text gives away."""

from __future__ import annotations

import unicodedata

import pytest

from common.errors import DatasetRejected, HeldOutLeaks
from common.text import words
from preflight import learnable
from preflight.texts import holding_out, text_file
from preflight.texts.holding_out import MINIMUM_DOCUMENTS, PASSAGES, split
from preflight.texts.overlap import Overlap
from preflight.texts.text_file import Document, as_text, check, decode, documents, without_titles
from report.findings.verdict import MINIMUM_DOCUMENTS as LEAST_FOR_A_VERDICT
from tests.doubles.preflight_site import Site, titled
from tests.doubles.texts.made_up_prose import prose

CHINESE = "".join("。" if place % 37 == 36 else chr(0x4E00 + (place * 97) % 3000) for place in range(8000))
LINE = "The patient was well and went home on the third day after the operation."
REPEATED = "\n\n".join([prose(300, 1), *[prose(120, 2).replace("\n\n", " ")] * 20])
NO_TEXT = {
    "empty": (b"", "corpora/a.txt is empty"),
    "binary": (b"%PDF\x00\x01", "zero byte at position 4"),
    "UTF-16": ("some text".encode("utf-16"), "Export it as plain UTF-8"),
    "Latin-1": ("one\ntwo\ngrün".encode("latin-1"), "byte 10 in line 3"),
    "old line ends": (b"a\rb\rc\xff", "byte 5 in line 3"),
}
NOTHING_TO_LEARN = {
    "byte order mark alone": ("\ufeff", "has 0 words"),
    "one word short": (prose(999), "has 999 words"),
    "titles only": ("\n".join(f"# {line}" for line in prose(1200).replace("\n\n", " ").split(". ")), "has 0 words"),
    "Chinese, too short": (CHINESE[:1000], "has 487 words"),
    "one line": (f"# Title\n\n{LINE}\n" + f"{LINE}\n" * 199, "line 3 stands there 200 times"),
    "one paragraph among others": (REPEATED, "repeats itself"),
    "few words": (" ".join(f"w{(place * place) % 67}" for place in range(2000)), "different words in 2000"),
}
UNUSABLE = NO_TEXT | {name: (text.encode(), fault) for name, (text, fault) in NOTHING_TO_LEARN.items()}


@pytest.mark.parametrize(("content", "fault"), UNUSABLE.values(), ids=UNUSABLE)
def test_unusable_text_is_refused_with_the_place(content: bytes, fault: str) -> None:
    with pytest.raises(DatasetRejected) as refused:
        check(decode(content, "corpora/a.txt"), "corpora/a.txt", 1000)
    assert fault in str(refused.value)


def test_separators_are_no_repetition() -> None:
    check("\n\n* * *\n\n".join(prose(40, seed) for seed in range(40)), "a", 1000)


def test_text_is_split_at_its_title_lines() -> None:
    found = documents("before\n\n# One\nfirst\n## not a title\n\n# Empty\n\n# Two\n\nsecond\n", "part")
    assert [(d.title, d.text) for d in found] == [
        ("part 1", "before"),
        ("One", "first\n## not a title"),
        ("Two", "second"),
    ]
    assert found[0].id == "part-001"


def test_no_line_end_of_other_programs_is_left_in_a_document() -> None:
    parts = documents(decode("\ufeff# One\r\n\rfirst\u2028line\x0c# Chapter\x85end".encode(), "a"), "part")
    assert [d.text for d in parts] == ["first line # Chapter end"]
    assert len(text_file.as_lines(parts).splitlines()) == 1


@pytest.mark.parametrize(("words", "taken"), [(500, [3, 7, 11, 15, 19]), (0, range(20)), (9000, range(20))])
def test_part_of_a_corpus_is_whole_documents_from_all_over_it(words: int, taken: list[int]) -> None:
    whole = [Document(f"d-{n}", f"Title {n}", "word " * 100) for n in range(20)]
    assert [document.id for document in text_file.part(whole, words)] == [f"d-{n}" for n in taken]


TEXTS = {
    "paragraphs": prose(3000),
    "one line": prose(3000).replace("\n\n", " "),
    "many documents": titled(30, 120, 0).decode(),
    "equal documents": "\n\n".join(f"# Same\n\n{prose(60, n // 2)}" for n in range(40)),
    "the shortest that is taken": prose(1000),
    "Chinese": CHINESE,
}
SENTENCE = "Clonal haematopoiesis precedes myeloid neoplasms by many quiet years"
GERMAN = "Größere Übersichtsarbeiten über die ärztliche Prüfung hämatologischer Störungen überraschten"
# A sentence of the training text, and how the held-out text says it.
LEAKING = {
    "the same": (SENTENCE, f"As was said, {SENTENCE.lower()}!"),
    "upper case, wrapped": (SENTENCE, SENTENCE.upper().replace(" ", ",\n")),
    "accents apart": (GERMAN, unicodedata.normalize("NFD", GERMAN)),
    "invisible characters": (GERMAN, GERMAN.replace("ogisch", "o\u00adgisch\u200b")),
    "Chinese": ("造血干细胞的克隆性扩增常常比髓系肿瘤早许多年出现而没有任何症状",) * 2,
    "Hindi": ("क्लोनल रक्त निर्माण कई वर्षों तक बिना लक्षण के चलता रहता है",) * 2,
}
APART = {
    "another text": ("", prose(2000, 9)),
    "seven words": (SENTENCE, f"{' '.join(SENTENCE.split()[:7])} otherwise."),
    "a term of Chinese": ("急性髓系白血病的基因组特征",) * 2,
}


def refuse_leakage(training: str, held_out: list[tuple[str, str]]) -> None:
    """Looks for each held-out text (name, text) in the training text."""
    overlap = Overlap([training], [text for _, text in held_out])
    for name, text in held_out:
        overlap.refuse(name, text)


def squeezed(text: str) -> str:
    return "".join(without_titles(text).split())


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_any_text_is_split_with_enough_held_out_and_nothing_lost(text: str) -> None:
    training, held_out = split(text)
    assert (training, held_out) == split(text)
    assert len(training) >= len(held_out) >= LEAST_FOR_A_VERDICT == MINIMUM_DOCUMENTS
    assert sum(words.count(part.text) for part in training) >= sum(words.count(part.text) for part in held_out)
    assert sum(len(squeezed(part.text)) for part in training + held_out) == len(squeezed(text))
    if text != TEXTS["equal documents"]:
        check(text, "a", 1000)
        trained = squeezed(as_text(training))
        assert not [part.id for part in held_out if squeezed(part.text) in trained]


def test_a_tenth_of_many_documents_is_held_out_all_over_the_text() -> None:
    _, held_out = split(titled(200, 30, 0).decode())
    assert [int(part.title.split()[1]) for part in held_out] == list(range(5, 200, 10))


@pytest.mark.parametrize("number", [4000, 7500])
def test_one_article_gives_twelve_passages_and_keeps_two_thirds(number: int) -> None:
    training, held_out = split(prose(number))
    assert len(held_out) == PASSAGES == 12
    assert sum(words.count(part.text) for part in held_out) <= number / 3
    places = sorted(int(part.title.split()[1]) for part in held_out)
    assert places[0] <= 4 and places[-1] >= len(training) + len(held_out) - 4


@pytest.mark.parametrize(("sentence", "hidden"), LEAKING.values(), ids=LEAKING)
def test_eight_shared_words_are_refused_with_file_and_line(sentence: str, hidden: str) -> None:
    with pytest.raises(HeldOutLeaks, match="heldout.txt, line (3|10), shares “"):
        refuse_leakage(f"{prose(50, 1)} {sentence}. {prose(50, 2)}", [("heldout.txt", f"# B\n\n{hidden}\n")])


@pytest.mark.parametrize(("sentence", "similar"), APART.values(), ids=APART)
def test_fewer_shared_words_are_no_leak(sentence: str, similar: str) -> None:
    refuse_leakage(f"{prose(50, 1)} {sentence} {prose(50, 2)}", [("h", f"{prose(50, 3)} {similar} {prose(50, 4)}")])


LARGE = {"corpus": "corpora/mine.txt"}


@pytest.mark.parametrize("titles", [True, False])
def test_of_a_large_corpus_as_much_is_staged_as_a_run_learns(
    site: Site, monkeypatch: pytest.MonkeyPatch, titles: bool
) -> None:
    content = titled(60, 100, 100) if titles else prose(8000, 100).encode()
    site.upload("mine.txt", content)
    whole = site.begin(LARGE)
    size = len(site.staged["input/corpus/corpus.txt"])
    monkeypatch.setattr(learnable, "most_bytes", lambda *_: size // 4)
    plan = site.begin(LARGE, "second")
    staged = site.s3.objects["bucket", "runs/captune-second/input/corpus/corpus.txt"]
    assert 0.2 < len(staged) / size < 0.3
    assert plan["evaluation"] == whole["evaluation"]
    assert any("a run of this length learns no more" in warning for warning in plan["warnings"])
    learned = [line for line in staged.decode().splitlines() if line.startswith("# ")]
    assert int(learned[-1].split()[-1]) > 3 * int(learned[0].split()[-1]), "from all over it"


def test_no_more_is_held_out_of_a_large_text_than_can_be_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding_out, "MOST_DOCUMENTS", 8)
    monkeypatch.setattr(holding_out, "MOST_WORDS", 160)
    training, held_out = split(titled(200, 60, 0).decode())
    assert (len(training), len(held_out)) == (192, 8)
    assert all(words.count(part.text) == 20 for part in held_out)
