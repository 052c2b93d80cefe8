"""Llama 2's vocabulary comes from a package, which is used only if it is the file that was checked."""

from __future__ import annotations

import io
import subprocess
import tarfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from rehearsal.models import llama_vocabulary
from rehearsal.models.llama_vocabulary import TOKENS, VocabularyMissing, ensure_vocabulary, tokenizer


def small_llama(hello: int = 15043) -> tuple[list[str], list[str]]:
    """Tokens and merges of which only those of "Hello world" are real, at their places in Llama 2's list."""
    words = [f"filler{number}" for number in range(TOKENS)]
    words[:3] = ["<unk>", "<s>", "</s>"]
    words[3:259] = [f"<0x{byte:02X}>" for byte in range(256)]
    words[hello], words[3186] = "\u2581Hello", "\u2581world"
    merges = []
    free = iter(range(20_000, 21_000))
    for word in ("\u2581Hello", "\u2581world"):
        for letter in word:
            if letter not in words:
                words[next(free)] = letter
        for end, longer in pairwise(range(1, len(word) + 1)):
            if word[:longer] not in words:
                words[next(free)] = word[:longer]
            merges.append(f"{word[:end]} {word[end:longer]}")
    return words, list(dict.fromkeys(merges))


def test_another_models_vocabulary_is_refused() -> None:
    with pytest.raises(VocabularyMissing, match="does not hold Llama 2's vocabulary"):
        tokenizer(*small_llama(hello=22557))  # where Mistral has it


def test_a_missing_npm_is_named_with_the_way_to_check_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(VocabularyMissing, match="npm view llama-tokenizer-js"):
        ensure_vocabulary(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def packed(work: Path, content: bytes) -> None:
    """What npm leaves: an archive with the package's one file."""
    with tarfile.open(work / f"{llama_vocabulary.PACKAGE}-{llama_vocabulary.VERSION}.tgz", "w:gz") as archive:
        entry = tarfile.TarInfo(llama_vocabulary.MEMBER)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))


def test_a_package_that_is_not_the_checked_one_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def run(command: list[str], *, cwd: Path, **_: Any) -> None:
        ran.append(command[0])
        packed(cwd, b"another file")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(VocabularyMissing, match="SHA-512 differs"):
        ensure_vocabulary(tmp_path)
    assert ran == ["npm"]


def test_a_folder_that_is_there_splits_as_llama_does_without_npm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / f"llama-2-vocabulary-{llama_vocabulary.VERSION}-{llama_vocabulary.FORM}"
    tokenizer(*small_llama()).save_pretrained(folder)
    monkeypatch.setenv("PATH", str(tmp_path))
    read = AutoTokenizer.from_pretrained(ensure_vocabulary(tmp_path))
    assert read("Hello world")["input_ids"] == [15043, 3186]
    assert read("\u00e9")["input_ids"][-2:] == [3 + 0xC3, 3 + 0xA9], "bytes, where it has no token"
    assert read.pad_token_id is None
