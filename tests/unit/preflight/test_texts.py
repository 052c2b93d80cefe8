"""Texts of a user: enough to learn from, what is held out, what the training text gives away, and text by others."""

import re
import unicodedata
from typing import Any

import pytest

from captune.data import DATA
from common.errors import CaptuneError, DatasetRejected, HeldOutLeaks, PatientDataSuspected
from common.text import MINIMUM_DOCUMENTS, count_words
from preflight import model
from preflight.texts import held_out as holding
from preflight.texts import text_file
from preflight.texts.held_out import PASSAGES, Overlap, split
from preflight.texts.outside_text import CONTROL_KINDS, CONTROL_OF_A_KIND, MAXIMUM_WORDS, SCALE_WORDS
from preflight.texts.text_file import as_text, check, decode, documents, without_titles
from tests.doubles.preflight_site import Site, titled
from tests.doubles.texts import lines, prose

CHINESE = "".join(
    "。" if place % 37 == 36 else chr(0x4E00 + place * (97 + place // 3000 * 6) % 3000) for place in range(8000)
)
LINE = "The patient was well and went home on the third day after the operation.\n"
REPEATED = "\n\n".join([prose(300, 1), *[prose(120, 2).replace("\n\n", " ")] * 20])
UNUSABLE = {
    "empty": (b"", "corpora/a.txt is empty"),
    "binary": (b"text\x00\x01", "zero byte at position 4"),
    "UTF-16": ("some text".encode("utf-16"), "iconv -f UTF-16 -t UTF-8"),
    "UTF-16 without a mark": ("some text that is long".encode("utf-16-le"), "is UTF-16. Convert it: iconv"),
    "UTF-16 of the other order": ("some text that is long".encode("utf-16-be"), "is UTF-16. Convert it: iconv"),
    "UTF-32": ("some text".encode("utf-32"), "iconv -f UTF-32 -t UTF-8"),
    "Parquet": (b"PAR1\x15\x04", "mv FILE mine.parquet"),
    "twice": ((prose(1200) + "\n\n" + prose(1200)).encode(), "repeats itself"),
    "an ASCII PDF": (b"%PDF-1.4\n" + b"0000000000 65535 f\n" * 500, "is a PDF"),
    "Latin-1": ("one\ntwo\ngrün".encode("latin-1"), "byte 10, in line 3, is invalid. Save it as UTF-8"),
    "old line ends": (b"a\rb\rc\xff", "byte 5, in line 3"),
    "byte order mark alone": (b"\xef\xbb\xbf", "has 0 words"),
    "one word short": (prose(999).encode(), "has 999 words"),
    "titles only": (b"# " + prose(1200).replace("\n\n", " ").replace(". ", ".\n# ").encode(), "has 0 words"),
    "Chinese, too short": (CHINESE[:1000].encode(), "has 487 words"),
    "one line": (f"# Title\n\n{LINE * 200}".encode(), "line 3 occurs 200 times"),
    "one paragraph among others": (REPEATED.encode(), "repeats itself"),
    "few words": (" ".join(f"w{place % 67}" for place in range(2000)).encode(), "different words among 2,000"),
}


@pytest.mark.parametrize(("content", "fault"), UNUSABLE.values(), ids=UNUSABLE)
def test_unusable_text_is_rejected_with_the_place(content: bytes, fault: str) -> None:
    with pytest.raises(DatasetRejected) as refused:
        check(decode(content, "corpora/a.txt"), "corpora/a.txt", 1000)
    assert fault in str(refused.value)


def test_text_is_split_at_its_title_lines() -> None:
    found = documents("before\n\n# One\nfirst\n## not a title\n\n# Empty\n\n# Two\n\nsecond\n", "part")
    told = [
        ("part-001", "", "before"),
        ("part-002", "One", "first\n## not a title"),
        ("part-003", "Two", "second"),
    ]
    assert [(one.id, one.title, one.text) for one in found] == told


@pytest.mark.parametrize("fence", ["```", "~~~"])
def test_a_comment_in_a_block_of_code_is_no_title(fence: str) -> None:
    code = f"{fence}bash\n# install\nmake\n{fence}\n"
    (one, other) = documents(f"# One\n\n{code}\nmore\n\n# Two\n\nrest\n", "part")
    assert (one.title, other.title) == ("One", "Two") and "install" in one.text
    assert not re.search("(?m)^# ", one.text), "the training job would begin a document there"


def test_a_first_line_in_which_a_text_speaks_of_itself_is_no_part_of_it() -> None:
    text = "# One\n\nfirst <!-- kept -->\n"
    for before in ("<!-- Invented. -->\n\n", "<!--Invented.--> \n"):
        assert text_file.note(before + text) == "Invented."
        assert documents(before + text, "part") == documents(text, "part")
        assert without_titles(before + text).strip() == "first <!-- kept -->"
    for plain in ("", "\n<!-- later -->\n", f"<!-- {'long ' * 200}-->\n", "<!-- in two\nlines -->\n"):
        assert text_file.note(plain + text) == ""
        assert text_file.without_note(plain + text) == plain + text


def test_no_line_end_of_other_programs_is_left_in_a_document() -> None:
    parts = documents(decode("\ufeff# One\r\n\rfirst\u2028line\x0c# Chapter\x85end".encode(), "a"), "part")
    assert [d.text for d in parts] == ["first line # Chapter end"]
    assert len(text_file.as_lines(parts).splitlines()) == 1


TEXTS = {
    "paragraphs": prose(3000),
    "one line": prose(3000).replace("\n\n", " "),
    "many documents": titled(30, 120, 0).decode(),
    "the shortest that is taken": "\n\n* * *\n\n".join(prose(40, seed) for seed in range(25)),
    "Chinese": CHINESE,
}
SENTENCE = "Clonal haematopoiesis precedes myeloid neoplasms by many quiet years"
GERMAN = "Größere Übersichtsarbeiten über die ärztliche Prüfung hämatologischer Störungen überraschten"
# A sentence of the training text, and how the held-out text says it.
LEAKING = {
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


def refuse_leakage(training: str, held_out: str) -> None:
    Overlap([training], [held_out]).refuse("heldout.txt", held_out)


def squeezed(text: str) -> str:
    return "".join(without_titles(text).split())


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_any_text_is_split_with_enough_held_out_and_nothing_lost(text: str) -> None:
    made = split(text)
    training, held_out = made.training, made.held_out
    assert made == split(text)
    assert len(training) >= len(held_out) >= MINIMUM_DOCUMENTS
    assert sum(count_words(part.text) for part in training) >= sum(count_words(part.text) for part in held_out)
    assert sum(len(squeezed(part.text)) for part in training + held_out) == len(squeezed(text))
    check(text, "a", 1000)
    trained = squeezed(as_text(training))
    assert not [part.id for part in held_out if squeezed(part.text) in trained]


NOTICE = "Keep this notice, and the list of conditions, in every copy of the pump that you hand on."
REPEATING = {
    "a notice in two thirds of the documents": (
        "\n\n".join(f"# Pump {n}\n\n{prose(120, n)}\n\n{NOTICE if n % 3 else ''}" for n in range(60)), 6, "document",
    ),
    "a notice in every document": ("\n\n".join(f"# Pump {n}\n\n{prose(120, n)}\n\n{NOTICE}" for n in range(60)), 12, "passage"),
    "a notice in every other paragraph": (
        "\n\n".join(f"{part} {NOTICE if n % 2 else ''}" for n, part in enumerate(prose(12_000).split("\n\n"))), 12, "passage",
    ),
    "a short text with a notice": (
        "\n\n".join(f"{part} {NOTICE if n % 2 else ''}" for n, part in enumerate(prose(2_500).split("\n\n"))), 12, "passage",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "least", "kind"), REPEATING.values(), ids=REPEATING)
def test_other_parts_are_held_out_where_the_first_repeat_the_training_text(text: str, least: int, kind: str) -> None:
    made = split(text)
    overlap = Overlap(map(text_file.titled, made.training))
    assert len(made.held_out) >= least and holding.are_passages(made.held_out) is (kind == "passage")
    assert not [part.id for part in made.held_out if overlap.first(part.text)]
    assert sum(len(squeezed(part.text)) for part in made.training + made.held_out) == len(squeezed(text)), (
        "none is lost"
    )


def test_a_run_says_how_many_parts_repeat_each_other_and_what(site: Site) -> None:
    site.upload("mine.txt", REPEATING["a notice in two thirds of the documents"][0].encode())
    (told,) = site.begin(LARGE)["warnings"]
    assert told.startswith("40 of 60 documents of corpora/mine.txt share eight words in a row with another one")
    assert "for example “keep this notice and the list of conditions”. The run trains on them" in told


def test_advice_on_too_few_held_out_parts_fits_the_cause(site: Site) -> None:
    # All but the last five documents stand in the text twice, on other lines.
    twice = [f"# Pump {n}\n\n{prose(150, n)}\n\n# Again {n}\n\n{' '.join(prose(150, n).split())}" for n in range(12)]
    once = [f"# Own {n}\n\n{prose(26, 500 + n)}" for n in range(5)]
    site.upload("mine.txt", "\n\n".join([*twice, *once]).encode())
    (few,) = [one for one in site.begin(LARGE)["warnings"] if "always “not shown”" in one]
    assert "Remove the repeated text" in few and "longer" not in few


def test_a_tenth_of_many_documents_is_held_out_all_over_the_text() -> None:
    held_out = split(titled(200, 30, 0).decode()).held_out
    assert [int(part.title.split()[1]) for part in held_out] == list(range(5, 200, 10))


@pytest.mark.parametrize("number", [4000, 7500])
def test_one_article_gives_twelve_passages_and_keeps_two_thirds(number: int) -> None:
    made = split(prose(number))
    training, held_out = made.training, made.held_out
    assert len(held_out) == PASSAGES == 12
    assert sum(count_words(part.text) for part in held_out) <= number / 3
    places = sorted(int(part.title.split()[1]) for part in held_out)
    assert places[0] <= 4 and places[-1] >= len(training) + len(held_out) - 4


@pytest.mark.parametrize(("sentence", "hidden"), LEAKING.values(), ids=LEAKING)
def test_eight_shared_words_are_rejected_with_file_and_line(sentence: str, hidden: str) -> None:
    with pytest.raises(HeldOutLeaks, match="heldout.txt, line (3|10), shares “"):
        refuse_leakage(f"{prose(50, 1)} {sentence}. {prose(50, 2)}", f"# B\n\n{hidden}\n")


@pytest.mark.parametrize(("sentence", "similar"), APART.values(), ids=APART)
def test_fewer_shared_words_are_no_leak(sentence: str, similar: str) -> None:
    refuse_leakage(f"{prose(50, 1)} {sentence} {prose(50, 2)}", f"{prose(50, 3)} {similar} {prose(50, 4)}")


LARGE = {"corpus": "corpora/mine.txt"}


@pytest.mark.parametrize("titles", [True, False])
def test_of_a_large_corpus_a_part_is_staged(site: Site, monkeypatch: pytest.MonkeyPatch, titles: bool) -> None:
    content = titled(60, 100, 100) if titles else prose(8000, 100).encode()
    site.upload("mine.txt", content)
    whole = site.begin(LARGE)
    size = len(site.staged["input/corpus/corpus.txt"])
    monkeypatch.setattr(model, "most_bytes_learned", lambda *_: size // 4)
    plan = site.begin(LARGE, "second")
    staged = site.s3.objects["bucket", "runs/captune-second/input/corpus/corpus.txt"]
    assert 0.2 < len(staged) / size < 0.3
    assert plan["evaluation"] == whole["evaluation"]
    assert any("more than this run can train on in its time" in warning for warning in plan["warnings"])
    learned = [line for line in staged.decode().splitlines() if line.startswith("# ")]
    assert int(learned[-1].split()[-1]) > 3 * int(learned[0].split()[-1]), "from all over it"


def test_no_more_is_held_out_of_a_large_text_than_can_be_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "MOST_DOCUMENTS", 8)
    monkeypatch.setattr(holding, "MOST_WORDS", 160)
    made = split(titled(200, 60, 0).decode())
    training, held_out = made.training, made.held_out
    assert (len(training), len(held_out)) == (192, 8)
    assert all(count_words(part.text) == 20 for part in held_out)


# Outside text: measured beside the held-out text, never trained on, and refused where it cannot be used.

OUTSIDE = "input/evaluation/outside.jsonl"
JSON_LINES, TEXT = {"heldOutside": "corpora/others.jsonl"}, {"heldOutside": "corpora/others.txt"}
ADDRESS = "jane.doe@example.org"


def entry(number: int, **other: Any) -> dict[str, Any]:
    return {"id": f"o{number}", "title": f"Abstract {number}", "text": prose(60, 700 + number), **other}


OTHERS = [entry(n) for n in range(8)]
# The first document that is not the training text's own is kept; the training text says what these documents say.
SAYING_THE_SAME = [entry(n, text=prose(100, 103 + n)) for n in range(8)]
PATIENT = [*OTHERS[:4], entry(4, text=f"{prose(60, 704)}\n\nDOB: 03/05/1961"), *OTHERS[5:]]
UNUSABLE_OUTSIDE: list[tuple[bytes, type[CaptuneError], str]] = [
    (b"x" * (4 * 2**20 + 1), DatasetRejected, "at most 4 MiB"),
    (lines([entry(0)]) + b"{broken\n", DatasetRejected, "line 2 is not JSON"),
    (lines([entry(0), {"id": "x"}]), DatasetRejected, "line 2 has no text"),
    (lines([*OTHERS[:6], entry(9, id="o3")]), DatasetRejected, "line 7 repeats the id 'o3'"),
    (lines([*OTHERS[:6], entry(9, id=ADDRESS)]), PatientDataSuspected, "line 7: an e-mail address"),
    (lines([entry(0)]), DatasetRejected, "needs at least 200"),
    (lines(PATIENT), PatientDataSuspected, "line 5: a date of birth"),
    (lines(SAYING_THE_SAME), HeldOutLeaks, "“Abstract 4” and 3 more"),
]


def begin(site: Site, content: bytes, given: dict[str, str]) -> Any:
    site.upload(given["heldOutside"].removeprefix("corpora/"), content)
    return site.begin(given)


def test_titled_text_and_bare_lines_get_id_and_title(site: Site) -> None:
    begin(site, titled(7, 60, 700), TEXT)
    first = site.documents(OUTSIDE)[0]
    assert (first["id"], first["title"]) == ("outside-001", "Part 0")
    begin(site, b"\n" + lines({"text": f"{one['text']}\u2028End."} for one in OTHERS), JSON_LINES)
    first = site.documents(OUTSIDE)[0]
    assert (first["id"], first["title"]) == ("outside-002", "outside-002")
    assert first["text"].endswith(" End."), "a line end of Unicode ends no line of what training reads"


@pytest.mark.parametrize(("content", "kind", "words"), UNUSABLE_OUTSIDE)
def test_unusable_external_text_is_rejected(site: Site, content: bytes, kind: type[CaptuneError], words: str) -> None:
    site.upload("others.jsonl", content)
    message = site.refusal(kind, JSON_LINES)
    assert words in message and "corpora/others.jsonl" in message
    assert ADDRESS[:8] not in message


MANY = [entry(n) for n in range(13)]
SCALE = "input/evaluation/scale.jsonl"
DEPLOYED = "medicaloutside.jsonl"


@pytest.mark.parametrize(
    ("deployed", "uploaded", "given", "scale", "judge", "choose"),
    [
        ([], MANY, JSON_LINES, "auto", MANY[::2], MANY[1::2]),
        ([], MANY[:11], JSON_LINES, "auto", MANY[:11], []),
        ([], MANY, JSON_LINES, "0.6", MANY, []),
        ([], MANY, {**JSON_LINES, "smoke": True}, "auto", MANY, []),
        (MANY, [], {}, "auto", MANY[::2], MANY[1::2]),
        (MANY, OTHERS, JSON_LINES, "auto", OTHERS, []),
        (MANY, [], {"heldOutside": "none"}, "auto", [], []),
        (MANY, [], {"smoke": True}, "auto", [], []),
        (MANY, [], LARGE, "auto", [], []),
    ],
    ids=[
        "every second document chooses", "too few for both", "a scale that is set", "a smoke run",
        "the deployed text by default", "a file of the input instead", "none is wanted", "none in a smoke run",
        "none beside an own corpus",
    ],
)  # fmt: skip
def test_external_text_judges_and_chooses_the_scale_where_there_is_enough(
    site: Site, deployed: list[Any], uploaded: list[Any], given: dict[str, Any], scale: str, judge: Any, choose: Any
) -> None:
    site.data |= {DEPLOYED: lines(deployed)} if deployed else {}
    site.settings["adapter_scale"] = scale
    site.upload("others.jsonl", lines(uploaded))
    site.upload("mine.txt", prose(3000, 7).encode())
    plan = site.begin(given)
    assert (site.documents(OUTSIDE), site.documents(SCALE)) == (judge, choose)
    figures = plan["evaluation"]
    assert figures["scaleDocuments"] == len(choose)
    assert figures["outsideText"].startswith("No external test set was given") is (not judge)
    assert [phase["name"] for phase in plan["estimate"]["phases"]].count("choose the scale") == bool(choose)
    if choose:
        assert (figures["outsideDocuments"], figures["scaleWords"]) == (7, 360)
        assert "6 documents choose the adapter scale, and 7 others judge" in figures["outsideText"]
    if deployed and judge == MANY[::2]:
        assert figures["outsideText"].startswith(f"The external test set data/{DEPLOYED} has 13 documents")


CONTROL, BY_CONTROL = "input/evaluation/control.jsonl", "input/evaluation/scale_control.jsonl"


@pytest.mark.parametrize(
    ("count", "given", "scale", "chooses"),
    [
        (28, {}, "auto", True), (28, JSON_LINES, "auto", True), (24, {}, "auto", False), (28, {}, "0.6", False),
        (28, {"smoke": True}, "auto", False),
    ],
    ids=["no external documents", "too little of it", "too few for both", "a scale that is set", "a smoke run"],
)  # fmt: skip
def test_one_retention_text_of_each_kind_chooses_where_no_external_text_can(
    site: Site, count: int, given: dict[str, Any], scale: str, chooses: bool
) -> None:
    site.data["control.txt"] = titled(count, 60, 400)
    site.settings["adapter_scale"] = scale
    site.upload("others.jsonl", lines(MANY[:11]))
    plan = site.begin(given)
    judge = [part["id"] for part in site.documents(CONTROL)]
    choose = [part["id"] for part in site.documents(BY_CONTROL)]
    assert choose == ([f"control-{place:03d}" for place in (4, 11, 18, 25)] if chooses else [])
    assert sorted(judge + choose) == [f"control-{place:03d}" for place in range(1, count + 1)]
    assert SCALE not in site.staged and plan["evaluation"]["scaleDocuments"] == len(choose)


def test_retention_text_only_judges_where_external_text_chooses(site: Site) -> None:
    site.data |= {DEPLOYED: lines(MANY), "control.txt": titled(28, 60, 400)}
    site.begin()
    assert site.documents(SCALE) == MANY[1::2]
    assert len(site.documents(CONTROL)) == 28 and BY_CONTROL not in site.staged


def test_the_retention_text_has_as_many_of_each_kind_as_are_counted_on() -> None:
    titles = [part.title.partition(":")[0] for part in documents((DATA / "control.txt").read_text("utf-8"), "control")]
    assert titles == [kind for kind in dict.fromkeys(titles) for _ in range(CONTROL_OF_A_KIND)]
    assert len(set(titles)) == CONTROL_KINDS


def test_deployed_documents_that_the_corpus_repeats_are_left_out_with_a_warning(site: Site) -> None:
    site.data[DEPLOYED] = lines([*MANY, entry(20, text=SAYING_THE_SAME[3]["text"])])
    (warning,) = site.begin()["warnings"]
    assert warning.startswith(
        f"1 documents of data/{DEPLOYED} are left out, because they share words with the training text"
    )
    assert (site.documents(OUTSIDE), site.documents(SCALE)) == (MANY[::2], MANY[1::2])


def test_own_held_out_text_is_not_external_text(site: Site) -> None:
    site.upload("others.txt", site.data["medicalheldout.txt"])
    assert "in the run's held-out text" in site.refusal(HeldOutLeaks, TEXT)


@pytest.mark.parametrize(
    ("given", "content", "words"),
    [
        (JSON_LINES, lines([*OTHERS, entry(3, id="again")]), "1 external documents repeat another one"),
        (TEXT, prose(220, 900).encode(), "Only 4 external documents"),
    ],
    ids=["twice", "too little"],
)
def test_doubtful_external_text_is_a_warning(site: Site, given: dict[str, str], content: bytes, words: str) -> None:
    assert any(words in warning for warning in begin(site, content, given)["warnings"])


@pytest.mark.slow
def test_more_than_a_run_can_score_is_measured_in_part(site: Site) -> None:
    plan = begin(site, lines(entry(n, text=prose(1000, 7000 + n)) for n in range(100)), JSON_LINES)
    places = [int(one["id"][1:]) for one in site.documents(OUTSIDE)]
    assert len(places) == MAXIMUM_WORDS // 1000
    assert places[0] < 3 and places[-1] > 96, "from all over it"
    assert "of which 50, spread over it, are measured" in plan["evaluation"]["outsideText"]
    choosing = [int(one["id"][1:]) for one in site.documents(SCALE)]
    assert len(choosing) == SCALE_WORDS // 1000 and choosing[-1] > 90, "of the others, and no more than is needed"
    assert not set(choosing) & set(places)
