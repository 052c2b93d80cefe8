"""The forms of the field: what each becomes, in each kind of file, and what is rejected with its line."""

import json
from typing import Any

import pytest

from common.errors import DatasetRejected, HeldOutLeaks
from common.records import Record, RecordsFaulty, read
from preflight.texts import forms, text_file
from tests.doubles.preflight_site import Site
from tests.doubles.texts import lines, pairs, prose, table

HUMAN, GPT = {"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}
USER, ASSISTANT = {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}
PARTS = {"role": "user", "content": [{"type": "text", "text": "Why"}, {"type": "text", "text": "so?"}]}
ASKED = (("user", "Why?"), ("assistant", "So."))
ALPACA = {"instruction": "Add.", "input": "1 and 2", "output": "3"}


def rows(content: bytes, name: str = "mine.jsonl", **columns: str) -> forms.Rows:
    return forms.read(content.decode("utf-8-sig"), name, columns)


def records(content: bytes, name: str = "mine.jsonl", **columns: str) -> list[Record]:
    found = rows(content, name, **columns)
    return read(found.rows, found.read_as, found.columns)


@pytest.mark.parametrize(
    ("row", "prompt", "completion"),
    [
        ({"prompt": "Why?", "completion": "So."}, "Why?", " So."),
        ({"prompt": 7, "completion": 0.5}, "7", " 0.5"),
        (ALPACA, "Add.\n\n1 and 2", "\n\n3"),
        ({**ALPACA, "input": "", "text": "all of it"}, "Add.", "\n\n3"),
        ({"instruction": "Add.", "output": "3"}, "Add.", "\n\n3"),
    ],
)
def test_pairs_and_instructions_become_prompts(row: Any, prompt: str, completion: str) -> None:
    ((found,)) = records(lines([row]))
    assert (found.prompt, found.completion) == (prompt, completion)


@pytest.mark.parametrize(
    ("row", "turns"),
    [
        ({"messages": [USER, ASSISTANT], "prompt": "Why?"}, ASKED),
        ({"conversations": [HUMAN, GPT]}, ASKED),
        ({"conversations": [{"from": "system", "value": "Be brief."}, HUMAN, GPT, HUMAN, GPT]}, (("system", "Be brief."), *ASKED, *ASKED)),
        ({"conversations": [USER, ASSISTANT]}, ASKED),
        ({"messages": [{"role": "developer", "content": "Be brief."}, PARTS, ASSISTANT]}, (("system", "Be brief."), ("user", "Why\nso?"), ASKED[1])),
    ],
)  # fmt: skip
def test_conversations_of_either_form_become_turns(row: Any, turns: Any) -> None:
    ((found,)) = records(lines([row]))
    assert found.turns == turns


PAIRS = [{"prompt": f"Why {n}?", "completion": "So."} for n in range(3)]
FILES: dict[str, tuple[bytes, str]] = {
    "mine.jsonl": (lines(PAIRS), "a JSON Lines file"),
    "mine.ndjson": (b"\xef\xbb\xbf" + lines(PAIRS).replace(b"\n", b"\r\n\r\n"), "a JSON Lines file"),
    "lines.json": (lines(PAIRS), "a JSON Lines file"),
    "mine.json": (json.dumps(PAIRS).encode(), "a JSON array"),
    "pretty.json": (json.dumps(PAIRS, indent=2).encode(), "a JSON array"),
    "array.jsonl": (json.dumps(PAIRS).encode(), "a JSON array"),
    "data.json": (json.dumps({"version": "1", "data": PAIRS}, indent=1).encode(), "a JSON array"),
    "mine.csv": (b"\xef\xbb\xbf" + table(PAIRS, ";"), "a CSV file"),
    "mine.tsv": (table(PAIRS, "\t"), "a TSV file"),
    "mine.parquet": (lines(PAIRS), "a Parquet file"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_gives_the_same_rows(name: str) -> None:
    content, kind = FILES[name]
    assert [one.prompt for one in records(content, name)] == ["Why 0?", "Why 1?", "Why 2?"]
    assert rows(content, name).described == f"{name} is {kind} of 3 prompts with completions."


def test_a_quote_in_tab_separated_text_is_a_letter() -> None:
    assert [one.completion for one in records(b'prompt\tcompletion\nWhy?\t"So" it is.\nHow?\t"So\n', "mine.tsv")] == [' "So" it is.', ' "So']  # fmt: skip


def test_given_columns_choose_among_forms() -> None:
    row = {"text": "all", "question": "Why?", "answer": "So.", "dialog": [HUMAN, GPT]}
    ((pair,)) = records(lines([row]), prompt="question", completion="answer")
    assert pair.prompt == "Why?"
    ((talk,)) = records(lines([row]), messages="dialog")
    assert talk.turns == ASKED
    assert rows(lines([row]), text="answer").are_documents
    assert rows(lines([ALPACA]), group="input").form is forms.ALPACA


REJECTED: dict[str, tuple[bytes, str, str]] = {
    "mixed": (lines([*PAIRS, ALPACA]), "mine.jsonl", "line 4 has instructions with outputs (Alpaca), but line 1 has prompts with completions"),
    "later": (lines([*PAIRS, {"prompt": "Why?"}]), "mine.jsonl", "line 4 has no text in `completion`"),
    "entry": (json.dumps([*PAIRS, {"prompt": "a", "completion": None}]).encode(), "mine.json", "mine.json (line N is its N-th entry), read as prompts with completions: line 4 has no text in `completion`"),
    "unknown": (lines([{"question": "Why?", "answer": "So."}]), "mine.jsonl", "rows in an unknown format: its columns are 'question, answer'"),
    "object": (b'{"a": 1}', "mine.json", "unknown format: its columns are 'a'"),
    "broken": (b'[{"prompt": "a"},\n]', "mine.json", "line 2 is not JSON"),
    "deep": (b"[" * 60_000, "mine.json", "line 1 is nested too deeply"),
    "texts": (b'["one", "two"]', "mine.json", "line 1 is not a JSON object"),
    "blank answer": (lines([{**ALPACA, "output": " "}]), "mine.jsonl", "line 1 has no text in `output`"),
    "tool": (lines([{"conversations": [HUMAN, {"from": "tool", "value": "4"}]}]), "mine.jsonl", "has the role 'tool' in message 2"),
    "image": (lines([{"messages": [{"role": "user", "content": [{"type": "image_url"}]}, ASSISTANT]}]), "mine.jsonl", "no text in message 1 (user)"),
    "plain": (b"No JSON at all.", "mine.json", "line 1 is not JSON"),
    "comma": (b'[{"prompt": "a"}, ]', "mine.json", "at character 19; look for an extra comma)"),
    "commas": (b'{"a": 1},\n{"a": 2},\n', "mine.jsonl", "line 2 is not JSON (Extra data at character 9"),
    "answer first": (lines([{"conversations": [GPT, HUMAN, GPT]}]), "mine.jsonl", "begins with the assistant"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "name", "told"), REJECTED.values(), ids=REJECTED)
def test_what_has_no_form_is_rejected_with_its_line(content: bytes, name: str, told: str) -> None:
    with pytest.raises(RecordsFaulty) as fault:
        records(content, name)
    assert told in str(fault.value)


TEXTS: list[dict[str, Any]] = [{"text": f"{prose(60, n)}\n# {prose(5, n + 900)}"} for n in range(40)]
CORPUS, HELD_OUT = "input/corpus/corpus.txt", "input/evaluation/heldout.jsonl"


@pytest.mark.parametrize("name", ["mine.jsonl", "mine.json", "mine.csv"])
def test_rows_of_text_are_whole_documents(site: Site, name: str) -> None:
    content = {"mine.jsonl": lines(TEXTS), "mine.json": json.dumps(TEXTS).encode(), "mine.csv": table(TEXTS)}[name]
    site.upload(name, content)
    plan = site.begin({"corpus": f"corpora/{name}"})
    assert (plan["corpus"]["documents"], plan["evaluation"]["heldOutDocuments"]) == (34, 6)
    staged = site.staged[CORPUS].decode()
    assert staged.count("# \n\n") == 34, "without invented titles"
    assert staged.count("\n # ") == 34, "a line of a document begins no other"


def test_a_row_of_text_may_be_blank_and_have_a_title(site: Site) -> None:
    rows = [{"title": f"Part {n}", "id": f"p{n}", **one} for n, one in enumerate(TEXTS)]
    site.upload("mine.jsonl", lines([*rows, {"text": " "}, {"text": None}]))
    assert site.begin({"corpus": "corpora/mine.jsonl"})["corpus"]["documents"] == 34
    assert {one["title"] for one in site.documents(HELD_OUT)} < {one["title"] for one in rows}


@pytest.mark.parametrize(
    ("corpus", "held_out", "told"),
    [
        (lines(TEXTS), lines(pairs(20)), "completions, but this file must be running text"),
        (lines(pairs(40)), lines(TEXTS), "apart.jsonl contains documents (`text`), but `corpus` contains records"),
        (lines([*TEXTS, {"id": "a"}]), b"", "line 41 has no text in `text`"),
        (lines([{"text": "dull dull"}] * 40), b"", "has 80 words"),
    ],
)
def test_text_that_is_no_document_is_rejected(site: Site, corpus: bytes, held_out: bytes, told: str) -> None:
    site.upload("mine.jsonl", corpus)
    site.upload("apart.jsonl", held_out)
    given = {"corpus": "corpora/mine.jsonl", **({"heldOut": "corpora/apart.jsonl"} if held_out else {})}
    assert told in site.refusal(DatasetRejected, given)


def test_a_text_beside_records_is_rejected(site: Site) -> None:
    site.upload("mine.jsonl", lines(pairs(40)))
    site.upload("apart.txt", prose(300).encode())
    given = {"corpus": "corpora/mine.jsonl", "heldOut": "corpora/apart.txt"}
    assert "apart.txt is running text, but `corpus` contains records" in site.refusal(DatasetRejected, given)


def test_held_out_rows_of_text_may_stand_beside_a_text(site: Site) -> None:
    site.upload("mine.txt", prose(2000, 5000).encode())
    site.upload("apart.jsonl", lines(TEXTS[:8]))
    given = {"corpus": "corpora/mine.txt", "heldOut": "corpora/apart.jsonl"}
    assert site.begin(given)["evaluation"]["heldOutDocuments"] == 8
    site.upload("apart.jsonl", lines([*TEXTS[:7], {"text": prose(2000, 5000)[:900]}]))
    message = site.refusal(HeldOutLeaks, given)
    assert "apart.jsonl shares “" in message, "without a line, which would not be that of the file"


PAGE = "<ul class='a'><li>{}</li></ul>\n"
MARKED: dict[str, str] = {
    "page": "<!DOCTYPE html>\n<html><body>" + prose(300),
    "page after a comment": "<!-- saved from a site -->\n<HTML>" + prose(300),
    "XML": '<?xml version="1.0"?><article>' + prose(300),
    "few tags, each on a line": "".join("<article>\n" + prose(400, n).replace("\n\n", " ") + "</article>\n" for n in range(12)),
    "a few tags": "".join(f"<section>{prose(60, n)}</section>\n" for n in range(60)).replace("\n\n", " "),
    "part of a page": "".join(PAGE.format(prose(20, n)) for n in range(60)),
}  # fmt: skip


@pytest.mark.parametrize("text", MARKED.values(), ids=MARKED)
def test_html_is_rejected_by_its_name_with_the_tool_that_extracts_its_text(text: str) -> None:
    with pytest.raises(DatasetRejected, match="is HTML or XML.*pandoc FILE -t plain"):
        text_file.decode(text.encode(), "mine.txt")


TABBED = "".join(f"{prose(8, n).strip()}\t{prose(6, n + 50).strip()}\t{n}\n" for n in range(200))
DISGUISED: dict[str, tuple[bytes, str]] = {
    "lines": (lines(pairs(60)), "mv FILE mine.jsonl"),
    "array": (json.dumps(pairs(60)).encode(), "mv FILE mine.json"),
    "CSV": (table(pairs(60)), "mv FILE mine.csv"),
    "TSV": (table(pairs(60), delimiter="\t"), "mv FILE mine.tsv"),
    "columns without a name": (TABBED.encode(), "200 of its 200 lines have the same number of tabs"),
    "a notebook": (json.dumps({"cells": [{"source": prose(1500)}]}).encode(), "is JSON in an unknown format"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "told"), DISGUISED.values(), ids=DISGUISED)
def test_rows_under_the_name_of_a_text_are_rejected(content: bytes, told: str) -> None:
    with pytest.raises(DatasetRejected) as fault:
        text_file.checked(content, "mine.txt", 100)
    assert told in str(fault.value)


@pytest.mark.parametrize(
    "first", ["text, more\n", "[A note] ", "{x} and ", "prompt\n", "a\tb\n", "text\n"], ids=lambda first: first.strip()
)
def test_prose_may_begin_like_rows(first: str) -> None:
    assert text_file.checked(f"{first}{prose(1200)}".encode(), "mine.txt", 1000).startswith(first)


def test_the_encoding_is_converted_into_a_file_of_the_same_kind() -> None:
    with pytest.raises(DatasetRejected, match=r"> utf8\.csv"):
        text_file.rows_of("prompt,completion\ngrün,ja\n".encode("latin-1"), "mine.csv")


def test_prose_may_have_a_tag_now_and_then() -> None:
    text = "".join(f"{prose(200, n)} a < b, and <b>bold</b>.\n" for n in range(20))
    assert text_file.decode(text.encode(), "mine.md") == text
