"""The public set that `make outside` fetches: which abstracts are chosen, and what is said where it cannot be had."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from operations import __main__ as command
from operations.data import outside
from preflight.texts import outside_text
from tests.doubles.texts.made_up_prose import prose


def record(title: str = "Do walks help?", text: str = "", meshes: tuple[str, ...] = ("Humans",)) -> dict[str, Any]:
    """A record of the set's form, all invented."""
    return {
        "QUESTION": title,
        "CONTEXTS": [prose(60, len(text)), text],
        "LONG_ANSWER": "So it was.",
        "MESHES": list(meshes),
        "YEAR": "2011",
    }


GENES = "A gene was read. Each gene had a mutation."


def numbers(found: list[dict[str, str]]) -> list[str]:
    return [one["id"] for one in found]


class TestTheChoice:
    def test_a_word_of_an_area_in_the_title_and_twice_in_the_text_is_enough(self) -> None:
        found = outside.chosen(
            {
                "7": record("Is the gene read?", GENES),
                "8": record(text=GENES),
                "9": record("Is the gene read?", "One gene."),
            }
        )
        assert numbers(found) == ["pubmed-7"]

    def test_a_mesh_term_counts_like_the_title(self) -> None:
        assert numbers(outside.chosen({"7": record(text=GENES, meshes=("Humans", "Genes"))})) == ["pubmed-7"]

    @pytest.mark.parametrize(
        ("title", "text"),
        [
            ("Is it hepatitis B?", "HBV and HIV-1 were sought."),
            ("A retrovirus?", "Papillomaviruses and HPV."),
            ("Leiomyosarcoma", "Tumours and metastases."),
        ],
    )
    def test_the_areas_are_genomics_virology_and_oncology(self, title: str, text: str) -> None:
        assert outside.chosen({"7": record(title, text)})

    @pytest.mark.parametrize(
        "title", ["Is general practice generic?", "Do cancerous-looking walks help?", "Is eugenics read?"]
    )
    def test_a_word_inside_another_does_not_count(self, title: str) -> None:
        assert outside.chosen({"7": record(title, GENES)}) == []

    def test_of_each_area_those_are_taken_in_which_its_words_are_most_frequent(self) -> None:
        many = {
            str(n): record("Is the gene read?", GENES + prose(40 + n, n)) for n in range(1, outside.AREA_ABSTRACTS + 3)
        }
        found = numbers(outside.chosen(many))
        assert len(found) == outside.AREA_ABSTRACTS
        assert "pubmed-1" in found and f"pubmed-{outside.AREA_ABSTRACTS + 2}" not in found

    def test_an_abstract_of_two_areas_is_taken_once_and_whole(self) -> None:
        both = record("Which gene of the virus?", f"{GENES} A virus met another virus.")
        (found,) = outside.chosen({"7": both})
        assert found["title"] == "Which gene of the virus?"
        assert found["text"] == "\n\n".join([*both["CONTEXTS"], "So it was."])

    def test_the_same_records_in_any_order_give_the_same_file(self) -> None:
        records = {str(n): record("Is the gene read?", GENES + prose(40, n)) for n in range(1, 60)}
        assert outside.chosen(records) == outside.chosen(dict(reversed(records.items())))


@pytest.fixture(name="published")
def _published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The set as its home would send it: eight invented abstracts, one of which the corpus shares."""
    records = {str(n): record("Is the gene read?", f"{GENES} {prose(40, 500 + n)}") for n in range(8)}
    content = json.dumps(records).encode()
    monkeypatch.setattr(outside, "SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(outside, "CORPORA", (tmp_path / "corpus.txt",))
    (tmp_path / "corpus.txt").write_text(f"# A\n\n{prose(40, 503)}")
    return content


def test_what_is_written_can_be_measured_on_and_shares_nothing_with_the_corpus(
    published: bytes, tmp_path: Path
) -> None:
    target = tmp_path / "new" / "set.jsonl"
    asked: list[str] = []

    def download(address: str) -> bytes:
        asked.append(address)
        return published

    told = outside.fetch(target=target, download=download)
    assert [one.id for one in outside_text.read(target.read_bytes(), target.name)] == [
        f"pubmed-{n}" for n in range(8) if n != 3
    ]
    assert "7 abstracts" in told and "1 more share eight words in a row with a training text" in told
    assert f"make rehearse OUTSIDE={target}" in told and "MIT licence" in told
    assert asked == [f"https://raw.githubusercontent.com/pubmedqa/pubmedqa/{outside.COMMIT}/data/ori_pqal.json"]
    assert list(target.parent.iterdir()) == [target]


def test_a_file_that_was_downloaded_by_hand_needs_no_network(published: bytes, tmp_path: Path) -> None:
    (tmp_path / "ori_pqal.json").write_bytes(published)
    assert "7 abstracts" in outside.fetch(tmp_path / "ori_pqal.json", tmp_path / "set.jsonl", download=no_network)


def no_network(address: str) -> bytes:
    raise AssertionError(f"{address} was asked")


def test_another_file_than_the_one_meant_is_refused_and_nothing_is_written(published: bytes, tmp_path: Path) -> None:
    with pytest.raises(outside.OutsideUnavailable, match="not the file that was meant: its SHA-256 is"):
        outside.fetch(target=tmp_path / "set.jsonl", download=lambda _: published + b" ")
    assert not (tmp_path / "set.jsonl").exists()


def test_without_network_the_way_by_hand_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(outside, "ADDRESS", (tmp_path / "nowhere.json").as_uri())
    assert command.main(["outside"]) == 1
    message = capsys.readouterr().err
    assert message.startswith("OutsideUnavailable: ") and "cannot be reached" in message
    assert 'make outside ARGS="--from-file FILE"' in message


def test_a_file_that_is_not_there_is_told_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["outside", "--from-file", str(tmp_path / "lost.json")]) == 1
    assert "lost.json cannot be read (No such file or directory)" in capsys.readouterr().err


def test_nothing_of_the_set_can_come_into_the_repository(request: pytest.FixtureRequest) -> None:
    ignored = subprocess.run(
        ["git", "check-ignore", "-q", str(outside.TARGET)], cwd=request.config.rootpath, check=False
    )
    assert ignored.returncode == 0
