"""Files that you name: everything but a regular file of a fair size is rejected, with the fix, and without a read."""

import importlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import DatasetRejected
from rehearsal import user_files
from tests.doubles.aws_account import said

KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "There is no file {}. Correct its path: ls "),
    "below a file": (lambda path: path.write_text("a"), "There is no file {}/b.txt"),
    "folder": (lambda path: path.mkdir(), "{} is a folder. Name a file in it"),
    "pipe": (os.mkfifo, "{} is a pipe, not a file. Write its content to a file first"),
    "loop": (lambda path: path.symlink_to(path), "{} is a symbolic link that leads back to itself"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "{} is a device, not a file"),
    "large": (lambda path: path.write_bytes(b"ab" * 50), "{} has 0.0 MiB, and Captune reads at most 0 MiB"),
}


@pytest.mark.parametrize(("make", "told"), KINDS.values(), ids=KINDS)
def test_what_is_no_file_is_named_before_it_is_read(tmp_path: Path, make: Callable[[Path], object], told: str) -> None:
    make(tmp_path / "mine.txt")
    path = tmp_path / "mine.txt/b.txt" if "b.txt" in told else tmp_path / "mine.txt"
    with pytest.raises(DatasetRejected) as error:
        user_files.read(path, 99)
    assert told.format(tmp_path / "mine.txt") in str(error.value)


def test_a_link_to_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("text")
    (tmp_path / "link").symlink_to(tmp_path / "mine.txt")
    assert user_files.read(tmp_path / "link", 4) == b"text"


@pytest.mark.parametrize("words", [["check"], ["check", "--outside"], ["check", "--prompts"], ["estimate", "--corpus"], ["sample"],
    ["data", "--style", "--others"], ["outside", "--from-file"], ["benchmark", "latest"], ["rehearse", "--corpus"]], ids=" ".join)  # fmt: skip
def test_every_command_names_a_pipe(tmp_path: Path, words: list[str]) -> None:
    os.mkfifo(tmp_path / "mine.jsonl")
    code, text = said(*words, tmp_path / "mine.jsonl")
    assert code != 0 and "mine.jsonl is a pipe" in text


def test_parquet_becomes_json_lines(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    turns = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]
    path = tmp_path / "mine.parquet"
    importlib.import_module("pyarrow.parquet").write_table(
        arrow.Table.from_pylist([{"conversations": turns}] * 3), path
    )
    assert user_files.read(path, 9999).splitlines() == [json.dumps({"conversations": turns}).encode()] * 3
    code, text = said("sample", path)
    assert code == 0 and (tmp_path / "mine-32mb-1.jsonl").read_bytes() == user_files.read(path, 9999), text
    path.write_bytes(b"PAR1 no more")
    with pytest.raises(DatasetRejected, match="is not valid Parquet"):
        user_files.read(path, 9999)
