"""`captune sample`: whole documents from all over a file, the same for the same seed, and about as much as was asked for."""

import csv
from pathlib import Path

import pytest

from captune import sample
from common.records import read
from preflight.texts import forms
from preflight.texts.text_file import documents
from tests.doubles.aws_account import said
from tests.doubles.texts import lines, prose, table

WANTED = 20_000
TITLED = "".join(f"# Part {n}\n\n{prose(100, n)}\n\n" for n in range(300))
UNTITLED = "\n\n".join(prose(40, n).replace("\n\n", " ") for n in range(800)).replace("e", "é")
RECORDS = [{"prompt": f"What is {n}?", "completion": prose(20, n), "group": f"g{n % 200}"} for n in range(1000)]


def drawn(tmp_path: Path, name: str, content: str, seed: int = 1) -> str:
    file, target = tmp_path / name, tmp_path / f"drawn{seed}-{name}"
    file.write_text(content, "utf-8")
    told = sample.sample(file, target, WANTED, seed, force=True)
    assert target.name in told and not list(tmp_path.glob("*.partial"))
    return target.read_text("utf-8")


@pytest.mark.parametrize("content", [TITLED, UNTITLED], ids=["titled", "untitled"])
def test_documents_from_all_of_a_text_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    one, other = drawn(tmp_path, "a.txt", content), drawn(tmp_path, "a.txt", content, seed=2)
    assert one == drawn(tmp_path, "a.txt", content) != other
    assert 0.8 * WANTED < len(one.encode()) <= 1.05 * WANTED
    parts = documents(one, "a")
    assert all(part.text in content for part in parts)
    numbers = [int(part.title.split()[1]) for part in parts]
    assert numbers == sorted(numbers) and numbers[0] < max(numbers) / 4
    # However the file is read.
    monkeypatch.setattr(sample, "CHUNK_BYTES", 7000)
    assert one == drawn(tmp_path, "a.txt", content)


@pytest.mark.parametrize("content", [TITLED, UNTITLED], ids=["titled", "untitled"])
def test_what_a_text_says_of_itself_is_said_of_what_is_drawn_too(tmp_path: Path, content: str) -> None:
    note = "<!-- Invented. -->\n\n"
    one = drawn(tmp_path, "a.txt", note + content)
    assert one.startswith(note)
    assert not any("Invented" in part.text for part in documents(one, "a"))


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_all_records_of_a_group_are_drawn_or_none(tmp_path: Path, form: str, request: pytest.FixtureRequest) -> None:
    before = csv.field_size_limit(100)  # another reader of the process may have left any
    request.addfinalizer(lambda: csv.field_size_limit(before))
    content = lines(RECORDS) if form == "jsonl" else table(RECORDS, ";")
    rows = forms.read(drawn(tmp_path, f"a.{form}", content.decode()), f"a.{form}")
    groups = [record.group for record in read(rows.rows, rows.name)]
    assert 10 < len(set(groups)) < 100
    assert all(groups.count(group) == 5 for group in groups)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gone.txt", None, "There is no file"),
        ("a.txt", b"", "is empty"),
        ("a.txt", b"short", "use it as it is"),
        ("a.txt", b"word " * 1_000_000, "a document has more than 4 MB"),
        ("a.txt", b"caf\xe9 " * 400_000, "is not UTF-8"),
        ("a.jsonl", b"{" + b" " * 2_000_000, "cannot be read before byte"),
        ("a.txt", b"# One\n\n" + b"word " * 400_000, "No document"),
    ],
)
def test_a_file_that_cannot_be_sampled_is_rejected(
    tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    target = tmp_path / "out.txt"
    code, text = said("sample", tmp_path / name, "--megabytes", "1", "--out", target)
    assert code == 1 and words in text
    assert not target.exists() and not list(tmp_path.glob("*.partial"))


def test_an_output_that_is_there_is_replaced_by_force_only(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TITLED * 10, "utf-8")
    line = ["sample", str(tmp_path / "a.txt"), "--megabytes", "1"]
    assert said(*line)[0] == 0
    code, text = said(*line)
    assert code == 1 and "--force" in text
    assert said(*line, "--force")[0] == 0
