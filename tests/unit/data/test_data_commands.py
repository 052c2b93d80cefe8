"""`captune data`: counts by register and area, the proxy model's loss, and how texts are written."""

import json
from pathlib import Path

import pytest

from captune import data, external, text_style
from captune.account import Refused
from captune.data import Fact, Statements
from preflight.texts.text_file import documents
from tests.doubles.texts import prose

PLAN = [  # title, area, register, split, words of the text
    ("One", "genomics", "abstract", "train", 30),
    ("Two", "virology", "abstract", "train", 20),
    ("Three", "virology", "report", "train", 7),
    ("Four", "virology", "abstract", "heldout", 5),
]


def made(folder: Path, domain: str, *rows: tuple[str, str, str, str, str]) -> Path:
    """The folder with an indexed domain, by the title, area, register, split and text of each document."""
    keys, place = ("title", "area", "register", "split"), {"topic": "invented", "part": "p"}
    entries = [dict(zip(keys, row[:4], strict=True)) | place | {"number": n} for n, row in enumerate(rows, 1)]
    (folder / f"{domain}index.jsonl").write_text("".join(f"{json.dumps(entry)}\n" for entry in entries), "utf-8")
    for split, ending in data.FILES.items():
        chosen = [f"# {title}\n\n{text}\n" for title, _, _, of, text in rows if of == split]
        (folder / f"{domain}{ending}").write_text("\n".join(chosen), "utf-8")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made(tmp_path, "law", *((*named, "word " * words) for *named, words in PLAN))  # type: ignore[arg-type]


def test_words_are_counted_by_register_and_area_without_titles(folder: Path) -> None:
    counted = "\n".join(data.count(folder))
    first = counted.partition("lawdataset.txt by register and area\n")[2]
    cells = {line.split()[0]: line.split()[1:] for line in first.splitlines()[:4]}
    assert cells == {
        "words": ["genomics", "virology", "all", "documents"],
        "abstract": ["30", "20", "50", "2"],
        "report": ["–", "7", "7", "1"],
        "all": ["30", "27", "57", "3"],
    }
    assert "lawindex.jsonl" not in counted and "lawheldout.txt by register and area" in counted


def test_a_text_that_differs_from_its_index_is_rejected(folder: Path) -> None:
    text = folder / "lawdataset.txt"
    text.write_text(text.read_text("utf-8").replace("# Two", "# Second"), "utf-8")
    with pytest.raises(Refused, match="document 2 on: 'Two' .* 'Second'"):
        data.pairs(folder, "law")


def test_the_loss_of_a_register_and_of_a_external_text_is_a_mean_over_tokens(folder: Path) -> None:
    def dear_first(parts: list[str]) -> list[tuple[float, int]]:
        return [(9.0 if n == 0 else 1.0, 3 if n == 0 else 7) for n, _ in enumerate(parts)]

    others = folder.parent / "others.txt"
    others.write_text(f"# T\n\n{prose(600)}\n", "utf-8")
    told = [" ".join(line.split()) for line in data.losses(folder, 0, others, dear_first).splitlines()]
    assert told[1:3] == ["train abstract 1.00 10 tokens", "train report 3.00 3 tokens"]
    assert told[3:5] == ["heldout abstract 3.00 3 tokens", "others.txt 3.00 3 tokens"]


IMATINIB = Fact("Imatinib inhibits BCR::ABL1", "imatinib", r"bcr::abl1|tyrosine kinase", "")


def test_a_fact_is_stated_by_a_sentence_that_names_subject_and_object() -> None:
    twice = "Imatinib inhibits BCR::ABL1. The tyrosine kinase is blocked by imatinib. Nothing else."
    apart = "Imatinib is a drug. It inhibits BCR::ABL1.\n\nImatinib\n\nBCR::ABL1; imatinib"
    found = [documents(f"# Imatinib inhibits BCR::ABL1\n\n{text}\n", "test")[0] for text in (twice, twice, apart)]
    stated = Statements(IMATINIB.fact, frozenset([(0, 0), (0, 1), (1, 0), (1, 1)]))
    assert data.statements([IMATINIB], found) == [stated]
    assert (stated.sentences, stated.documents) == (4, 2)


# captune data --style: figures that can be counted by hand, and what a text says twice ------------------------------------


def test_a_sentence_nearly_repeats_one_with_half_of_all_their_words() -> None:
    first = "The virus was found in blood of all patients."  # nine words
    assert text_style.near_repeats([first, "The virus was found in blood on 3 days."]) == 100  # six of twelve
    assert text_style.near_repeats([first, "The virus was found in plasma on 3 days."]) == 0  # five of thirteen
    assert text_style.near_repeats(["Blood was drawn again.", "Blood was drawn again."]) == 0


def test_documents_share_a_run_of_eight_words_with_another_one_and_not_with_themselves() -> None:
    run = "one two three four five six seven eight"
    assert text_style.sharing([f"So {run}.", f"{run.upper()}!", f"{run[:-6]}", f"{prose(40)} {prose(40)}"]) == 50


TWO = [
    "Risk fell by 12.5% (p < 0.05) because doses rose. It has 40 % more, since 2020.\n\nResults\n\n3.2% and 5% were new.",
    f"One {'long ' * 35}sentence. HIV drugs, which rose significantly (P = 0.03 and p<0.01, respectively), should be given. "
    "CYP2D6, 5HT, HBeAg and T790M did, which is significant for DNA (DNA). Insignificant ones shoulder it.",
]


def test_registers_stand_beside_a_external_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (("Of two", "a", "abstract", "train", text) for text in TWO)
    medical = made(tmp_path, "medical", one, two, ("Third", "a", "report", "train", prose(60)))
    monkeypatch.setattr(external, "TARGET", medical / "others.txt")
    alone = "\n".join(data.styles(medical))
    assert "others.txt" not in alone and "captune external" in alone
    external.TARGET.write_text("".join(f"# {n}\n\n{prose(60, 100 + n)}\n" for n in range(5)))
    for given in (None, external.TARGET):
        printed = "\n".join(data.styles(medical, given))
        table = printed.partition("medicaldataset.txt")[2]
        cells = {line.split()[0]: line.split()[1:] for line in table.splitlines()[1:4]}
        # Sentences of 10, 7, 5, 37, 14, 12 and 4 words; the heading of one word is none. Three p values and six abbreviations in 90 words.
        assert " ".join(cells["abstract"]) == "2 45 12.7 10.5 14.3 2.22 2.0 50 222 222 111 333 333 667 111"
        assert list(cells) == ["abstract", "report", "others.txt"]
        assert "from others.txt (its figures in brackets): words 45 (60), sentence 12.7 (11.0), spread" in printed
        assert "others.txt: 0.0% of sentences share half" in printed
