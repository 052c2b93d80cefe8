"""What `make data` says of the texts: words by register and area, and the stand-in's loss of each register."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from operations.__main__ import main
from operations.data import index as text_index
from operations.data import losses as text_losses
from operations.data import texts

PLAN = [  # title, area, register, split, words of the text
    ("One", "genomics", "abstract", "train", 30),
    ("Two", "virology", "abstract", "train", 20),
    ("Three", "virology", "report", "train", 7),
    ("Four", "virology", "abstract", "heldout", 5),
]


def entry(title: str, area: str, register: str, split: str, number: int) -> dict[str, object]:
    place = {"sources": "invented", "part": "p", "number": number}
    return {"title": title, "area": area, "register": register, "split": split, **place}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with one indexed domain."""
    lines = [json.dumps(entry(*row[:4], number)) for number, row in enumerate(PLAN, 1)]
    (tmp_path / "lawindex.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    for split, ending in text_index.FILES.items():
        chosen = [f"# {title}\n\n{'word ' * words}\n" for title, _, _, of, words in PLAN if of == split]
        (tmp_path / f"law{ending}").write_text("\n".join(chosen), "utf-8")
    return tmp_path


def cells(table: str, first: str) -> list[str]:
    return next(line.split()[1:] for line in table.splitlines() if line.split()[:1] == [first])


def test_words_are_counted_by_register_and_area_and_titles_are_not(folder: Path) -> None:
    table = text_index.table(text_index.pairs(folder, "law"), "train")
    assert cells(table, "words") == ["genomics", "virology", "all", "documents"]
    assert cells(table, "abstract") == ["30", "20", "50", "2"]
    assert cells(table, "report") == ["–", "7", "7", "1"]
    assert cells(table, "all") == ["30", "27", "57", "3"]


def test_an_index_is_no_file_of_prompts_and_each_split_has_its_table(folder: Path) -> None:
    counted = "\n".join(texts.count(folder))
    assert "lawindex.jsonl" not in counted
    assert "lawdataset.txt by register and area" in counted and "lawheldout.txt by register and area" in counted


def test_a_text_and_an_index_that_name_other_documents_are_refused_with_the_first_of_them(folder: Path) -> None:
    text = folder / "lawdataset.txt"
    text.write_text(text.read_text("utf-8").replace("# Two", "# Second"), "utf-8")
    with pytest.raises(
        text_index.IndexDiffers, match="from document 2 on: 'Two' stands in the index, 'Second' in the text"
    ):
        text_index.pairs(folder, "law")


def test_a_document_that_only_the_index_knows_is_refused(folder: Path) -> None:
    text = folder / "lawdataset.txt"
    text.write_text(text.read_text("utf-8").partition("# Three")[0], "utf-8")
    with pytest.raises(text_index.IndexDiffers, match="'Three' stands in the index, 'nothing' in the text"):
        text_index.pairs(folder, "law")


@pytest.mark.parametrize(
    ("number", "register", "split"),
    [
        (3, "abstract", "train"),
        (4, "abstract", "heldout"),
        (12, "report", "heldout"),
        (20, "general", "train"),
        (8, "report", "train"),
    ],
)
def test_every_eighth_document_from_the_fourth_on_is_held_out_but_no_general_prose(
    number: int, register: str, split: str
) -> None:
    assert text_index.Entry("t", "a", register, "train", "s", "p", number).planned_split == split


def of_length(parts: list[str]) -> list[tuple[float, int]]:
    """A model that gives two nats to each word."""
    return [(2.0 * len(part.split()), len(part.split())) for part in parts]


def test_the_loss_of_a_register_is_a_mean_over_tokens_and_not_over_documents(folder: Path) -> None:
    def dear_first(parts: list[str]) -> list[tuple[float, int]]:
        return [(9.0 if n == 0 else 1.0, 3 if n == 0 else 7) for n, _ in enumerate(parts)]

    found = {
        (split, register): (loss, tokens)
        for split, register, loss, tokens in text_losses.by_register(folder, "law", 0, dear_first)
    }
    assert found[("train", "abstract")] == (1.0, 10)
    assert found[("train", "report")] == (3.0, 3)
    assert found[("heldout", "abstract")] == (3.0, 3)


def test_of_a_long_register_only_so_many_words_are_scored(folder: Path) -> None:
    (first, *_) = text_losses.by_register(folder, "law", 25, of_length)
    assert first == ("train", "abstract", 2.0, 20)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("others.jsonl", '{"id": "1", "text": "one two three"}\n\n{"id": "2", "text": "four"}\n'),
        ("others.txt", "# T\n\none two three four\n"),
    ],
)
def test_a_text_of_others_is_scored_beside_ours_and_the_references(name: str, content: str, folder: Path) -> None:
    others = folder.parent / name
    others.write_text(content, "utf-8")
    lines = text_losses.table(folder, 0, others, of_length).splitlines()
    assert [line.split() for line in lines if line.startswith("others")] == [[name, "2.00", "4", "tokens"]]
    assert "  published abstracts              2.83  120 biomedical abstracts" in "\n".join(lines)
    assert lines[0].startswith("law: the stand-in's mean loss")


def test_the_command_scores_only_where_it_is_asked_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[dict[str, Any]] = []

    def table(**options: Any) -> str:
        asked.append(options)
        return "losses"

    monkeypatch.setattr(text_losses, "table", table)
    assert main(["data"]) == 0 and asked == []
    assert main(["data", "--loss", "--words", "300", "--others", "a.jsonl"]) == 0
    assert asked == [{"words": 300, "others": Path("a.jsonl")}]
    assert capsys.readouterr().out.endswith("losses\n")
