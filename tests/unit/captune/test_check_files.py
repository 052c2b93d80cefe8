"""`captune check FILE`: what a run would say of a person's files, by Preflight's own reader and before anything is uploaded."""

import json
import os
from pathlib import Path

import pytest

from captune.check import command
from tests.doubles.aws_account import said
from tests.doubles.texts import conversations, lines, pairs, prose, table


def titled(count: int, words: int) -> str:
    return "\n".join(f"# Document {number}\n\n{prose(words, number)}\n" for number in range(count))


GOOD = titled(30, 60)
# By name: the file's ending, its content, the error and what it says. That the reader notices each is Preflight's own test.
HOSTILE: dict[str, tuple[str, bytes, str, str]] = {
    "UTF-16": (".txt", GOOD.encode("utf-16"), "DatasetRejected", "iconv -f UTF-16 -t UTF-8"),
    "patients": (".txt", (GOOD + "\nMRN: 12345678, date of birth 03/04/1961\n").encode(), "PatientDataSuspected", "line"),
    "nested deep": (".jsonl", lines(pairs(40)) + b"[" * 60_000 + b"\n", "DatasetRejected", "nested too deeply"),
    "conversations for a model without a template": (".jsonl", lines(conversations(40)), "ChatTemplateMissing", "llama-2-7b-chat"),
    "too large": (".txt", b"a b " * (17 * 2**20), "DatasetRejected", "captune sample FILE"),
}  # fmt: skip


@pytest.mark.parametrize(("ending", "content", "kind", "told"), HOSTILE.values(), ids=HOSTILE)
def test_check_rejects_a_file_that_a_run_would_reject(
    tmp_path: Path, ending: str, content: bytes, kind: str, told: str
) -> None:
    file = tmp_path / f"mine{ending}"
    file.write_bytes(content)
    code, text = said("check", file)
    *faults, fix = text.strip().splitlines()
    assert code == 1 and faults[0].startswith(f"{kind}: ") and told in faults[0]
    again = f"captune check {file}"  # with another file; a model is another matter
    assert ("base_model" in fix) if kind == "ChatTemplateMissing" else fix.endswith(again)


def test_a_good_text_is_described_and_no_account_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(command, "clients")
    for name, text, told in (
        ("mine.txt", GOOD, "a run trains on 1,512 words in 24 documents, holds out 360 words in 6 documents, and asks 6 prompts."),
        ("one.txt", prose(2000), "passages, and asks"),
        ("MINE.JSONL", lines(pairs(40)).decode(), "in 30 groups, holds out"),
        ("mine.csv", table(pairs(40), prompt="question", completion="answer").decode(), "in 30 groups"),
    ):  # fmt: skip
        (tmp_path / name).write_text(text)
        more = ["--columns", '{"prompt": "question", "completion": "answer"}'] if name == "mine.csv" else []
        code, printed = said("check", tmp_path / name, *more)
        assert code == 0 and told in printed, printed


@pytest.mark.parametrize(("name", "ending"), [("mine.md", "mine.txt"), ("mine.TXT", "mine.txt"), ("mine", "mine.txt")])
def test_a_name_that_a_run_on_aws_does_not_take_is_told(tmp_path: Path, name: str, ending: str) -> None:
    (tmp_path / name).write_text(GOOD)
    code, text = said("check", tmp_path / name)
    assert code == 0 and f"upload this one as {ending}." in text


def test_a_file_without_permission_is_named_with_the_command_that_gives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.txt").write_text(GOOD)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)  # what typer asks, and root is never refused
    code, text = said("check", tmp_path / "mine.txt")
    assert code == 1 and "chmod u+r" in text


def test_files_beside_the_text_are_checked_with_it_or_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text(GOOD)
    (tmp_path / "held.txt").write_text(titled(8, 60))  # what the corpus says too
    (tmp_path / "others.jsonl").write_bytes(lines([{"text": prose(60, 100 + n)} for n in range(8)]))
    (tmp_path / "asked.jsonl").write_text('{"id": "a", "kind": "nonsense", "prompt": "Why?"}\n')
    held, others, asked, mine = (tmp_path / name for name in ("held.txt", "others.jsonl", "asked.jsonl", "mine.txt"))
    assert said("check", "--outside", others) == (0, f"{others} can be used: 8 documents.\n")
    code, text = said("check", "--outside", mine, "--prompts", asked)
    assert code == 1 and text.startswith("PromptsRejected: ") and "line 1 has the kind" in text
    code, text = said("check", mine, "--held-out", held, "--prompts", asked, "--outside", others)
    assert code == 1 and "HeldOutLeaks: " in text and "PromptsRejected: " in text, "all at once"
    assert said("check", mine, "--outside", others)[0] == 0
    assert "captune check FILE --held-out FILE" in said("check", "--held-out", held)[1]
    assert "--columns must" in said("check", mine, "--columns", '{"no": 1}')[1]
    faults = json.loads(said("check", mine, "--prompts", asked, "--json")[1])["faults"]
    assert [one["name"] for one in faults] == ["PromptsRejected"]
    code, text = said("check", tmp_path / "nothing.txt")
    assert code != 0 and str(tmp_path / "nothing.txt") in text


def test_a_run_of_part_of_the_corpus_is_described_as_such(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text(GOOD)
    _, told = said("check", tmp_path / "mine.txt", "-c", "corpus_words=600")
    assert "in 9 documents" in told or "in 10 documents" in told
