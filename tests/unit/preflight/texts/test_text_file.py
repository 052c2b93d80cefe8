"""The corpus: what is text, what is enough of it, and what can be learned from."""

from __future__ import annotations

import pytest

from common.errors import DatasetRejected
from preflight.texts import text_file
from preflight.texts.text_file import Document, check, decode, documents
from tests.doubles.texts.made_up_prose import prose

CHINESE = "".join(chr(0x4E00 + (place * 97) % 3000) for place in range(4000))
RUSSIAN = prose(1200, 5).translate({ord("a") + place: 0x430 + place for place in range(26)})


def refusal_of(step: object, *arguments: object) -> str:
    with pytest.raises(DatasetRejected) as refused:
        step(*arguments)  # type: ignore[operator]
    return str(refused.value)


@pytest.mark.parametrize("content", [b"", b" \n\t\r\n "])
def test_an_empty_file_is_refused(content: bytes) -> None:
    assert "corpora/a.txt is empty" in refusal_of(decode, content, "corpora/a.txt")


def test_a_binary_file_is_refused_with_the_place_of_its_first_zero_byte() -> None:
    assert "zero byte at position 4" in refusal_of(decode, b"%PDF\x00\x01", "corpora/a.txt")


def test_a_file_in_utf_16_is_refused() -> None:
    assert "Export it as plain UTF-8" in refusal_of(decode, "some text".encode("utf-16"), "corpora/a.txt")


def test_a_file_that_is_not_utf_8_is_refused_with_the_line() -> None:
    message = refusal_of(decode, "one\ntwo\ngrün".encode("latin-1"), "corpora/a.txt")
    assert "byte 10 in line 3" in message
    assert "Save it as UTF-8" in message


def test_the_place_is_counted_in_the_file_as_it_lies_there() -> None:
    assert "byte 5 in line 2" in refusal_of(decode, b"\xef\xbb\xbfa\n\xff", "a")
    assert "byte 5 in line 3" in refusal_of(decode, b"a\rb\rc\xff", "a")


def test_a_file_above_the_limit_is_refused_with_its_size() -> None:
    message = refusal_of(decode, b"a " * (text_file.MAXIMUM_BYTES // 2 + 1), "corpora/a.txt")
    assert "4.0 MiB; at most 4 MiB" in message


def test_a_byte_order_mark_and_the_line_ends_of_other_systems_vanish() -> None:
    assert decode(b"\xef\xbb\xbfone\r\ntwo\rthree\n", "a") == "one\ntwo\nthree\n"


def test_a_byte_order_mark_alone_is_no_text() -> None:
    text = decode(b"\xef\xbb\xbf", "a")
    assert "0 words" in refusal_of(check, text, "a", 1000)


def test_a_text_is_split_at_its_title_lines() -> None:
    found = documents("before\n\n# One\nfirst\n## not a title\n\n# Two\n\nsecond\n", "part")
    assert [(d.id, d.title, d.text) for d in found] == [
        ("part-001", "part 1", "before"),
        ("part-002", "One", "first\n## not a title"),
        ("part-003", "Two", "second"),
    ]


def test_a_title_without_a_text_is_no_document() -> None:
    assert [d.title for d in documents("# Empty\n\n# Full\n\ntext", "part")] == ["Full"]


def test_documents_survive_the_way_to_the_training_job() -> None:
    parts = documents("# One\n\nfirst\n\nmore\n\n# Two\n\nsecond", "part")
    again = documents(text_file.as_text(parts), "part")
    assert [(d.title, d.text) for d in again] == [(d.title, d.text) for d in parts]


def test_nothing_that_another_program_takes_for_a_line_end_is_left_in_a_document() -> None:
    parts = documents("# One\n\nfirst\u2028line\x0c# Chapter\x85end", "part")
    assert [d.text for d in parts] == ["first line # Chapter end"]
    assert len(text_file.as_lines(parts).splitlines()) == 1


def test_a_text_one_word_short_is_refused_with_its_length() -> None:
    check(prose(1000), "a", 1000)
    assert "has 999 words" in refusal_of(check, prose(999), "a", 1000)


def test_titles_do_not_count_as_text() -> None:
    titles = "\n".join(f"# {line}" for line in prose(1200).split(". "))
    assert "has 0 words beside its title lines" in refusal_of(check, titles.replace("\n\n", " "), "a", 1000)


def test_one_repeated_line_is_refused_with_its_number_and_count() -> None:
    line = "The patient was well and went home on the third day after the operation."
    message = refusal_of(check, "# Title\n\n" + f"{line}\n" * 200, "a", 1000)
    assert "line 3 stands there 200 times" in message


def test_one_repeated_paragraph_among_others_is_refused() -> None:
    text = "\n\n".join([prose(300, 1), *[prose(120, 2).replace("\n\n", " ")] * 20])
    assert "repeats itself" in refusal_of(check, text, "a", 1000)


def test_short_separators_between_long_paragraphs_are_no_repetition() -> None:
    check("\n\n* * *\n\n".join(prose(40, seed) for seed in range(40)), "a", 1000)


def test_a_few_words_in_ever_new_order_are_refused() -> None:
    few = " ".join(f"w{(place * place) % 67}" for place in range(2000))
    assert "different words in 2000" in refusal_of(check, few, "a", 1000)


@pytest.mark.parametrize(
    "text", [CHINESE, RUSSIAN, "カタカナとひらがな" + CHINESE], ids=["Chinese", "Russian", "Japanese"]
)
def test_scripts_beside_the_latin_one_are_counted_in_words(text: str) -> None:
    check(text, "a", 1000)


def test_a_short_text_in_a_script_without_spaces_is_refused_for_its_length_only() -> None:
    assert "has 500 words" in refusal_of(check, CHINESE[:1000], "a", 1000)


def test_a_repeated_line_in_a_script_without_spaces_is_refused() -> None:
    assert "repeats itself" in refusal_of(check, f"{CHINESE[:60]}\n" * 100, "a", 1000)


@pytest.mark.parametrize("name", ["medicaldataset", "medicalheldout", "control", "financedataset", "financeheldout"])
def test_the_texts_that_ship_with_the_project_pass(name: str, request: pytest.FixtureRequest) -> None:
    content = (request.config.rootpath / "data" / f"{name}.txt").read_bytes()
    check(decode(content, name), name, 1000)


def test_a_part_of_a_corpus_takes_whole_documents_from_all_over_it() -> None:
    whole = [Document(f"d-{n}", f"Title {n}", "word " * 100) for n in range(20)]
    taken = text_file.part(whole, 500)
    assert len(taken) == 5
    assert [document.id for document in taken] == ["d-3", "d-7", "d-11", "d-15", "d-19"]


def test_no_number_of_words_and_more_than_there_are_both_take_all() -> None:
    whole = [Document("d-1", "Title", "word " * 100)]
    assert text_file.part(whole, 0) == whole == text_file.part(whole, 1000)
