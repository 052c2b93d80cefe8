"""Prompts: a file of them is refused by line, and a text without any is asked for sentences of its own."""

from typing import Any

import pytest

from common.errors import PatientDataSuspected, PromptsRejected
from common.text import count_words
from preflight.texts import prompts as prompt_file
from preflight.texts.held_out import split
from preflight.texts.prompts import MAXIMUM_CHOICE_PROMPTS, MAXIMUM_PROMPTS, OPENING_WORDS, is_asked, make, parse
from preflight.texts.text_file import Document
from tests.doubles.texts import GOOD, lines, prose

STARTER = {"id": "s-1", "kind": "starter", "prompt": "Genomes are"}
CHOICE = {"id": "c-1", "kind": "choice", "prompt": "The guardian of the genome is", "choices": ["TP53.", "MYC."]}
# The same text can be read in more and more ways.
SLOW = [r"(\w+\s?)+ kinase!", r"(a|a)*b", r"(?:x+x+)+y", r"(?x) ( \w+ \s? )+ !"]
QUICK = [r"\d+(?:\.\d+)?\s?(?:mg|ml)\b", r"(?:\d{1,3},)*\d{3}", r"(?>\w+\s?)x", r"(a)?(?(1)b|c)d"]


def with_pattern(pattern: str) -> dict[str, Any]:
    return {**GOOD, "facts": [{"name": "gene", "pattern": pattern}]}


FAULTS: list[tuple[Any, str]] = [
    ("Which gene?", "is not JSON"),
    ("[" * 100_000, "is nested too deeply"),
    ('{"id": ' + "1" * 5000 + "}", "is not JSON (Exceeds the limit (4300 digits)"),
    ('{"id": "\\ud800", "kind": "starter", "prompt": "x"}', "half of a surrogate pair"),
    ({**GOOD, "id": ""}, "has no text in `id`"),
    ({**GOOD, "kind": "riddle"}, "has the kind 'riddle': use one of starter"),
    *(({**GOOD, "cluster": value}, "has a `cluster` that is not a text") for value in (" ", 7, "x" * 201)),
    ({**GOOD, "facts": []}, "has no key facts"),
    *(
        ({**GOOD, "choices": ends}, "has `choices` that are not 2 to 8 different texts")
        for ends in ("TP53.", ["a"], ["a", "a "], ["a", ""], ["a", 1])
    ),
    ({**GOOD, "choices": ["TP53.", "x" * 5000]}, "has an option of more than 4,000 bytes"),
    ({**GOOD, "facts": [{"name": "gene"}]}, "has a fact without `name` or `pattern`"),
    (with_pattern("TP(53"), "does not compile"),
    (with_pattern("(TP53)?"), "matches everything"),
    (with_pattern("P53"), "that its own prompt matches, 'P53'"),
    ({**GOOD, "prompt": "細" * 1400}, "has a prompt of 4,200 bytes"),
    ({**GOOD, "id": "first"}, "repeats the id 'first' of line 1"),
]
PERSONAL = [
    {"prompt": "What has the patient with MRN 00483921?"},
    {"choices": ["The patient with MRN 00483921.", "Nobody."]},
    {"prompt": "What has she?\nJürgen Müller, 12.03.1956"},
    {"id": "jane.doe@hospital.org"},
    {"facts": [{"name": "Medical record 1234567", "pattern": "x"}]},
    {"facts": [{"name": "x", "pattern": r"\bMRN\s00483921\b"}]},
]


def refusal_of(*prompts: Any, kind: type[Exception] = PromptsRejected) -> str:
    with pytest.raises(kind) as refused:
        parse(lines(prompts), "corpora/p.jsonl")
    return str(refused.value)


class TestFile:
    @pytest.mark.parametrize(
        ("content", "prompts"),
        [
            (lines([GOOD, "", {**STARTER, "note": "mine"}]), [GOOD, {**STARTER, "facts": []}]),
            (lines([{**GOOD, "cluster": "p53"}]), [{**GOOD, "cluster": "p53"}]),
            (lines([GOOD, CHOICE]), [GOOD, {**CHOICE, "facts": []}]),
            (b"\xef\xbb\xbf" + lines([GOOD]) + b"\r\n", [GOOD]),
            (lines([{**GOOD, "prompt": "one\u2028two\u0085three"}]), [{**GOOD, "prompt": "one\u2028two\u0085three"}]),
            (lines([{**GOOD, "author": "jane.doe@hospital.org"}]), [GOOD]),
        ],
        ids=["unused keys", "cluster", "choices", "Windows", "line separators", "personal data that is not kept"],
    )
    def test_good_lines_are_read_in_order(self, content: bytes, prompts: list[Any]) -> None:
        assert parse(content, "p") == prompts

    @pytest.mark.parametrize(("line", "fault"), FAULTS)
    def test_faulty_line_is_rejected_with_its_number(self, line: Any, fault: str) -> None:
        message = refusal_of({**GOOD, "id": "first"}, line)
        assert message.startswith("corpora/p.jsonl: line 2 ")
        assert fault in message

    @pytest.mark.parametrize(("content", "fault"), [(b"\n \n", "has no prompts"), (b"\n\xff", "in line 2")])
    def test_file_without_readable_prompts_is_rejected(self, content: bytes, fault: str) -> None:
        with pytest.raises(PromptsRejected, match=fault):
            parse(content, "p")

    def test_prompts_that_are_only_scored_need_one_that_is_asked_and_are_limited(self) -> None:
        both = parse(lines([{**GOOD, "choices": CHOICE["choices"]}, CHOICE]), "p")
        assert [is_asked(one) for one in both] == [True, False]
        assert "has only prompts with `choices`" in refusal_of(CHOICE)
        many = [{**CHOICE, "id": str(n)} for n in range(MAXIMUM_CHOICE_PROMPTS + 1)]
        assert "1,001 prompts with `choices`, and a run scores at most 1,000" in refusal_of(GOOD, *many)
        assert len(parse(lines([GOOD, *many[1:]]), "p")) == MAXIMUM_CHOICE_PROMPTS + 1

    def test_more_prompts_than_a_run_can_ask_are_rejected(self) -> None:
        refusal_of(*({**STARTER, "id": str(n)} for n in range(MAXIMUM_PROMPTS + 1)))

    @pytest.mark.parametrize("pattern", SLOW)
    def test_pattern_that_could_stop_the_report_is_rejected(
        self, pattern: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(prompt_file, "SEARCH_SECONDS", 0.2)
        message = refusal_of({**GOOD, "id": "first"}, with_pattern(pattern))
        assert "line 2 has a pattern that can take for ever" in message and repr(pattern) in message

    @pytest.mark.parametrize("pattern", QUICK)
    def test_pattern_with_harmless_repeats_is_taken(self, pattern: str) -> None:
        parse(lines([{**with_pattern(pattern), "prompt": "?"}]), "p")

    def test_patterns_too_slow_together_are_rejected_with_the_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = iter(range(0, 1000, 30))
        monkeypatch.setattr(prompt_file.time, "monotonic", lambda: next(clock))
        message = refusal_of(*({**GOOD, "id": f"q-{n}"} for n in range(9)))
        assert "only the lines before 2 could be checked in 40 seconds" in message

    @pytest.mark.parametrize("change", PERSONAL)
    def test_personal_data_is_rejected_and_not_repeated(self, change: dict[str, Any]) -> None:
        message = refusal_of({**GOOD, "id": "first"}, "", {**GOOD, **change}, kind=PatientDataSuspected)
        assert message.startswith("corpora/p.jsonl appears to contain personal data (line 3: ")
        assert not any(secret in message for secret in ("00483921", "Jürgen", "jane", "1234567"))

    @pytest.mark.parametrize(
        "change",
        [
            {"kind": "Jane Doe, DOB 03/04/1961"},
            {"facts": [{"name": "x", "pattern": r"MRN\s00482913("}]},
            {"facts": [{"name": "x", "pattern": "(?P<jane@example.org>x)"}]},
        ],
    )
    def test_fault_does_not_repeat_personal_data(self, change: dict[str, Any]) -> None:
        message = refusal_of({**GOOD, **change})
        assert "line 1" in message and "not shown" in message
        assert not any(secret in message for secret in ("Jane", "00482913", "jane@", "1961"))


@pytest.mark.parametrize(
    "text",
    [prose(3000), "".join("。" if n % 29 == 28 else chr(0x4E00 + (n * 97) % 3000) for n in range(6000))],
    ids=["paragraphs", "Chinese"],
)
def test_text_without_prompts_is_asked_for_first_sentences_of_its_held_out_documents(text: str) -> None:
    held_out = split(text).held_out
    made, told = make(held_out)
    assert told == [] and 6 <= len(made) == len({prompt["id"] for prompt in made}) <= 20
    for prompt in made:
        assert (prompt["kind"], prompt["facts"]) == ("starter", [])
        assert prompt["prompt"][-1] in ".。"
        assert any(prompt["prompt"] in " ".join(part.text.split()) for part in held_out)


@pytest.mark.parametrize("text", ["ACGT" * 2500, "Too short. Also."])
def test_text_without_a_sentence_to_ask_is_rejected(text: str) -> None:
    with pytest.raises(PromptsRejected, match="and name the file in `prompts`"):
        make([Document("heldout-001", "T", text)])


@pytest.mark.parametrize("text", ["ภาษาไทยไม่มีจุดจบประโยค" * 30, "word " * 400, "これは文の終わりがない" * 30])
def test_a_text_without_sentence_ends_is_asked_by_its_first_words(text: str) -> None:
    made, _ = make([Document("a", "", text)])
    assert text.startswith(made[0]["prompt"]) and count_words(made[0]["prompt"]) == OPENING_WORDS
