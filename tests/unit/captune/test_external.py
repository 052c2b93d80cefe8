"""`captune external` and `captune corpus`: which public text is chosen, in a pinned version, and that no test document is trained on."""

import dataclasses
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from typer.testing import CliRunner

from captune import external, public_text
from captune.__main__ import app
from captune.account import PROJECT, Refused
from captune.external import chosen_abstracts, chosen_pages
from preflight.texts import outside_text, text_file
from tests.doubles.texts import prose

GENES = "A gene was read, with a mutation."  # too short for a run of eight words
LINKS = "These resources address the management of a disease: a list of links that is left out."


def record(title: str = "Do walks help?", text: str = "", meshes: tuple[str, ...] = ("Humans",)) -> dict[str, Any]:
    """A record of PubMedQA's form, all invented."""
    contexts = [prose(60, len(text)), text]
    return {"QUESTION": title, "CONTEXTS": contexts, "LONG_ANSWER": "So it was.", "MESHES": list(meshes)}


def page(**answers: str) -> str:
    """A document of MedQuAD's form, all invented."""
    pairs = "".join(
        f'<QAPair pid="1"><Question qid="1" qtype="{kind.replace("_", " ")}">?</Question><Answer>{escape(text)}</Answer></QAPair>'
        for kind, text in answers.items()
    )
    return f'<Document id="x" source="GHR"><Focus>a syndrome</Focus><QAPairs>{pairs}</QAPairs></Document>'


def archive(documents: dict[str, str]) -> bytes:
    """The documents by path, as GitHub packs a repository."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as packed:
        for path, text in documents.items():
            entry = tarfile.TarInfo(f"MedQuAD-1/{path}")
            entry.size = len(text.encode())
            packed.addfile(entry, io.BytesIO(text.encode()))
    return file.getvalue()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Both sources' files, pinned and at their addresses, and the options that name them. The corpus holds an abstract and a page of them."""
    of_genes = {str(n): record("Is the gene read?", f"{GENES} {prose(200, 500 + n)}") for n in range(4)}
    pages = {
        f"{external.GENETICS}/{n:07}.xml": page(information=f"{GENES} {prose(200, n)}", treatment=LINKS)
        for n in range(20)
    }
    other = {
        f"1_CancerGov_QA/{n:07}.xml": page(
            information=f"- A point of a list that has more words than eight\n{GENES} {prose(90, 700 + n)}"
        )
        for n in range(3)
    }
    other["1_CancerGov_QA/0000009.xml"] = page(
        information=f"{GENES} {prose(60, 5)}"
    )  # a page of the test set has it too
    content = {"abstracts": json.dumps(of_genes).encode(), "medquad": archive(pages | other)}
    sets = []
    for one in external.SETS:
        file = tmp_path / one.source.name
        file.write_bytes(content[one.source.name])
        digest = hashlib.sha256(one.source.unpack(content[one.source.name])).hexdigest()
        source = dataclasses.replace(one.source, address=file.as_uri(), sha256=digest)
        sets.append(dataclasses.replace(one, source=source))
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(f"# A\n\n{prose(40, 503)}\n\n# B\n\n{prose(40, 10)}")
    monkeypatch.setattr(external, "SETS", tuple(sets))
    monkeypatch.setattr(external, "CORPORA", (corpus,))
    monkeypatch.setattr(external, "TARGET", tmp_path / "new" / "set.jsonl")
    return [word for one in sets for word in ("--from-file", str(tmp_path / one.source.name))]


def gone(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """These sources' addresses don't answer."""
    away = tuple(
        dataclasses.replace(one, source=dataclasses.replace(one.source, address="file:///nowhere"))
        if one.source.name in names
        else one
        for one in external.SETS
    )
    monkeypatch.setattr(external, "SETS", away)


def run(*words: str) -> tuple[int, str]:
    """The exit code and output of a command."""
    answer = CliRunner().invoke(app, list(words))
    return answer.exit_code, answer.output


def ids() -> list[str]:
    """The documents of the file that was written, as a run reads it."""
    return [one.id for one in outside_text.read(external.TARGET.read_bytes(), external.TARGET.name)]


@pytest.mark.parametrize(
    ("made", "chosen"),
    [
        (record("Is the gene read?", GENES), True),
        (record(text=GENES, meshes=("Humans", "Genes")), True),
        (record(text=GENES), False),
        (record("Is the gene read?", "One gene."), False),
        (record("Leiomyosarcoma", "Tumours and metastases."), True),
        (record("Is general practice generic?", GENES), False),
    ],
)
def test_an_abstract_needs_words_of_an_area_in_title_and_text(made: dict[str, Any], chosen: bool) -> None:
    found = [name for name, _, _ in chosen_abstracts(json.dumps({"7": made}).encode())]
    assert found == (["pubmed-7"] if chosen else [])


def test_the_abstracts_densest_in_words_of_an_area_are_taken() -> None:
    numbers = range(1, external.AREA_ABSTRACTS + 3)
    many = {str(n): record("Is the gene read?", GENES + prose(40 + n, n)) for n in numbers}
    found = [name for name, _, _ in chosen_abstracts(json.dumps(many).encode())]
    assert len(found) == external.AREA_ABSTRACTS
    assert "pubmed-1" in found and f"pubmed-{external.AREA_ABSTRACTS + 2}" not in found


def test_pages_are_every_fifth_of_an_abstracts_length_without_links() -> None:
    """So none whose number leaves 3 is in the test set: these are kept apart for later measurements."""
    lengths = (
        dict.fromkeys(range(1000), 200)
        | dict.fromkeys(range(0, 1000, 20), 100)
        | dict.fromkeys(range(10, 1000, 20), 500)
    )
    documents = {
        f"{external.GENETICS}/{n:07}.xml": page(
            information=f"One.  {prose(words, n)}", treatment=LINKS, genetic_changes="Two."
        )
        for n, words in lengths.items()
    }
    found = list(chosen_pages(public_text.MEDQUAD.unpack(archive(documents))))
    numbers = [int(name.removeprefix("ghr-")) for name, _, _ in found]
    assert len(found) == 60 and {n % 10 for n in numbers} == {5}, "the others are too short or too long"
    assert max(numbers) > 960  # from all over
    assert {text.split("\n\n")[0] for _, _, text in found} == {"One."}
    assert {text.split("\n\n")[-1] for _, _, text in found} == {"Two."}


@pytest.mark.parametrize("by_hand", [True, False])
def test_both_sets_are_written_without_documents_of_the_corpus(
    files: list[str], monkeypatch: pytest.MonkeyPatch, by_hand: bool
) -> None:
    if by_hand:
        gone(monkeypatch, "abstracts", "medquad")
    code, printed = run("external", *(files if by_hand else ()))
    assert (code, ids()) == (0, ["pubmed-0", "pubmed-1", "pubmed-2", "ghr-0", "ghr-5", "ghr-15"])
    assert "3 abstracts" in printed and "3 reference pages" in printed and "CC BY 4.0" in printed
    assert printed.count("(1 more share eight words in a row with a training text") == 2
    assert list(external.TARGET.parent.iterdir()) == [external.TARGET]


def test_another_version_of_a_source_is_rejected(files: list[str]) -> None:
    Path(files[1]).write_bytes(Path(files[1]).read_bytes() + b" ")
    with pytest.raises(Refused, match="its SHA-256 is"):
        external.SETS[0].source.fetch()
    code, printed = run("external")
    assert code == 1 and "--from-file FILE" in printed and not external.TARGET.exists()


@pytest.mark.parametrize("words", [["--seconds", "1"], ["--from-file", "lost.json"]])
def test_a_source_that_cannot_be_read_names_the_fix(
    files: list[str], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone(monkeypatch, "abstracts")
    code, printed = run("external", *words)
    assert code == 1 and ("Correct its path: ls " if "lost.json" in words else "--from-file FILE") in printed


def test_a_slow_or_large_source_is_given_up(files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(range(0, 1000, 7))
    monkeypatch.setattr(public_text.time, "monotonic", lambda: next(moments))
    with pytest.raises(Refused, match="takes longer than 5 seconds"):
        external.SETS[0].source.fetch(seconds=5)
    small = dataclasses.replace(external.SETS[0].source, largest_bytes=10)
    with pytest.raises(Refused, match="larger than 10 bytes"):
        small.fetch()


def test_a_deployment_fetches_what_is_missing_and_goes_on_without_the_rest(
    files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as lost:
        gone(lost, "medquad")
        code, printed = run("external", "--optional")
        assert (
            code == 0
            and "going on without reference pages" in printed
            and ids() == ["pubmed-0", "pubmed-1", "pubmed-2"]
        )
    with monkeypatch.context() as lost:
        gone(lost, "abstracts")
        assert run("external", "--optional")[0] == 0
        assert ids()[3:] == ["ghr-0", "ghr-5", "ghr-15"]
        assert run("external", "--optional") == (0, "")


def test_the_file_is_where_a_deployment_takes_it_along_and_git_does_not() -> None:
    assert PROJECT / "data" / f"{external.DOMAIN}{outside_text.DEPLOYED}" == external.TARGET
    ignored = (PROJECT / ".gitignore").read_text("utf-8").splitlines()
    assert f"data/*{outside_text.DEPLOYED}" in ignored


@pytest.mark.parametrize(("source", "count"), [("medquad", 3), ("abstracts", 1)])
def test_a_corpus_shares_nothing_with_the_test_sets(files: list[str], tmp_path: Path, source: str, count: int) -> None:
    """Of MedQuAD, a page that repeats one of the test set is left out, and all of the institute that the test set is of; of the abstracts, those of the test set."""
    out = tmp_path / "mine.txt"
    code, printed = run("corpus", source, "--out", str(out), *files)
    assert code == 0, printed
    assert f"{count} documents" in printed and f"CORPUS={out}" in printed
    text = out.read_text("utf-8")
    assert "licence" in text.splitlines()[0] or "CC BY 4.0" in text.splitlines()[0]
    assert len(text_file.documents(text_file.checked(out.read_bytes(), out.name, 1), "corpus")) == count
    assert "A point" not in text


def test_a_corpus_has_about_as_many_words_as_asked_for(files: list[str], tmp_path: Path) -> None:
    _, printed = run("corpus", "medquad", "--words", "100", "--out", str(tmp_path / "mine.txt"), *files)
    assert "2 documents" in printed
