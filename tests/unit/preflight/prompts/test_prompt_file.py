"""The prompts file: refused by line, with what is wrong there."""

from __future__ import annotations

from typing import Any

import pytest

from common.errors import PatientDataSuspected, PromptsRejected
from preflight.prompts import patterns, prompt_file
from preflight.prompts.prompt_file import MAXIMUM_PROMPTS, parse
from tests.doubles.texts.prompt_lines import GOOD, lines

# The same text can be read in more and more ways.
SLOW = [
    r"(\w+\s?)+ kinase!",
    r"(a|a)*b",
    r"(?:a|ab|b)+c",
    r"(?:x+x+)+y",
    r"([a-z]+)*;",
    r"(?:\w{1,9}\s?)+!",
    r"(?x) ( \w+ \s? )+ !",
]
QUICK = [
    r"TP53.*mutation", r".*haematopoietic stem cell", r"\d+(?:\.\d+)?\s?(?:mg|ml)\b", r"\bhigh\s+(?:interest\s+)?rate", r"\w+ \w+ \w+ kinase",
    r"(?:\w+ ){0,3}kinase", r"(?:\w+\s)+kinase", r"(?:\S+\s+){0,5}inhibitor", r"(?:AML|ALL|CML)+", r"(?:foo|bar)*baz", r"(?:[a-z]+-)+x",
    r"(?:\d{1,3},)*\d{3}", r"TP53.{0,40}mutation.{0,40}loss", r"[а-я]+\s+[а-я]+x", r"α+β+γ", r"(?>\w+\s?)x", r"\w++x", r"(?=.*kinase)inhib",
    r"(\w)\1x", r"(?:a?b?){0,4}x", r"\w+$", r"(a)?(?(1)b|c)d", r"B\*?\s?57:?01",
]  # fmt: skip


def refusal_of(*prompts: Any) -> str:
    with pytest.raises(PromptsRejected) as refused:
        parse(lines(*prompts), "corpora/p.jsonl")
    return str(refused.value)


def test_a_good_file_is_read_in_its_order_and_without_what_is_not_needed() -> None:
    starter = {"id": "s-1", "kind": "starter", "prompt": "Genomes are", "note": "mine"}
    assert parse(lines(GOOD, "", starter), "p") == [
        GOOD,
        {"id": "s-1", "kind": "starter", "prompt": "Genomes are", "facts": []},
    ]


def test_the_cluster_of_a_prompt_is_kept_where_it_names_one() -> None:
    named = {**GOOD, "cluster": "p53"}
    assert parse(lines(named, {**GOOD, "id": "q-2"}), "p") == [named, {**GOOD, "id": "q-2"}]


def test_a_server_that_takes_fewer_tokens_may_refuse_long_prompts() -> None:
    prompts = [{**GOOD, "prompt": "a" * 1000}, {**GOOD, "prompt": "b" * 3000}]
    assert prompt_file.too_long_for(prompts, 4096) == []
    # As it is shown, a conversation that can be asked may be somewhat longer than its messages.
    assert prompt_file.too_long_for([{**GOOD, "prompt": "c" * 4100}], 4096) == []
    (told,) = prompt_file.too_long_for(prompts, 1596)
    assert told.startswith(
        "1 prompts may be too long: the longest has 3,000 bytes, and this model takes 1,500 tokens beside the answer."
    )
    assert "less than 2.0 bytes" in told
    assert prompt_file.too_long_for(prompts[:1], 1596) == []


def test_a_byte_order_mark_and_the_line_ends_of_windows_do_not_matter() -> None:
    assert parse(b"\xef\xbb\xbf" + lines(GOOD) + b"\r\n", "p") == [GOOD]


def test_a_line_separator_inside_a_text_does_not_end_the_line() -> None:
    odd = {**GOOD, "prompt": "one\u2028two\u0085three"}
    assert parse(lines(odd), "p")[0]["prompt"] == "one\u2028two\u0085three"


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_a_file_without_prompts_is_refused(content: bytes) -> None:
    with pytest.raises(
        PromptsRejected, match=r"has no prompts\. Each line is a JSON object with id, kind, prompt and facts"
    ):
        parse(content, "p")


def test_a_file_that_is_not_utf_8_is_refused_with_its_line() -> None:
    with pytest.raises(PromptsRejected, match="not UTF-8: byte .* in line 2"):
        parse(lines(GOOD) + b"\n\xff", "p")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("Which gene?", "is not JSON"),
        ('{"id": "a"', "is not JSON"),
        ("[1, 2]", "is not a JSON object"),
        ("[" * 100_000, "is nested too deeply"),
        ('{"id": ' + "1" * 5000 + "}", "is not JSON (Exceeds the limit (4300 digits) for integer string conversion"),
        ('{"id": "\\ud800", "kind": "starter", "prompt": "x"}', "half of a surrogate pair"),
        ({**GOOD, "id": ""}, "has no text in `id`"),
        ({**GOOD, "id": 7}, "has no text in `id`"),
        ({"id": "a", "kind": "question", "facts": []}, "has no text in `prompt`"),
        ({**GOOD, "kind": "riddle"}, "has the kind 'riddle'; it must be one of starter, central, completion, question, outside, control"),
        ({**GOOD, "cluster": " "}, "has a `cluster` that is no text of 1 to 200 characters"),
        ({**GOOD, "cluster": 7}, "has a `cluster` that is no text"),
        ({**GOOD, "cluster": None}, "has a `cluster` that is no text"),
        ({**GOOD, "cluster": "x" * 201}, "has a `cluster` that is no text"),
        ({**GOOD, "facts": []}, "has no key facts"),
        ({**GOOD, "facts": None}, "has no key facts"),
        ({**GOOD, "facts": {"name": "gene"}}, "has no key facts"),
        ({"id": "a", "kind": "control", "prompt": "x"}, "has no key facts"),
        ({**GOOD, "facts": [{"name": "gene"}]}, "has a fact without `name` or `pattern`"),
        ({**GOOD, "facts": ["TP53"]}, "has a fact without `name` or `pattern`"),
        ({**GOOD, "facts": [{"name": "gene", "pattern": "TP(53"}]}, "does not compile (missing ), unterminated subpattern at position 2), 'TP(53'"),
        ({**GOOD, "facts": [{"name": "gene", "pattern": "a{99999999999999999999}"}]}, "does not compile"),
        ({**GOOD, "facts": [{"name": "gene", "pattern": "(TP53)?"}]}, "matches everything"),
        ({**GOOD, "facts": [{"name": "gene", "pattern": "P53"}]}, "that its own prompt matches, 'P53'"),
        ({**GOOD, "prompt": "x" * 4001}, "has a prompt of 4001 bytes; at most 4000 fit"),
        ({**GOOD, "prompt": "細" * 1400}, "has a prompt of 4200 bytes"),
    ],
)  # fmt: skip
def test_a_faulty_line_is_refused_with_its_number_and_its_fault(line: Any, fault: str) -> None:
    message = refusal_of({**GOOD, "id": "first"}, line)
    assert message.startswith("corpora/p.jsonl: line 2 ")
    assert fault in message


@pytest.mark.parametrize("pattern", SLOW)
def test_a_pattern_that_could_stop_the_report_is_refused_with_its_line(
    pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patterns, "SEARCH_SECONDS", 0.2)
    message = refusal_of({**GOOD, "id": "first"}, {**GOOD, "facts": [{"name": "gene", "pattern": pattern}]})
    assert "line 2 has a pattern that can take for ever (take out repeats inside a repeat" in message
    assert repr(pattern) in message


@pytest.mark.parametrize("pattern", QUICK)
def test_a_pattern_with_harmless_repeats_is_accepted(pattern: str) -> None:
    parse(lines({**GOOD, "prompt": "?", "facts": [{"name": "gene", "pattern": pattern}]}), "p")


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"prompt": "What has the patient with MRN 00483921?"}, "a medical record number"),
        ({"prompt": "What has she?\nJürgen Müller, 12.03.1956"}, "a name with a date of birth"),
        ({"id": "jane.doe@hospital.org"}, "an e-mail address"),
        ({"cluster": "jane.doe@hospital.org"}, "an e-mail address"),
        ({"facts": [{"name": "Medical record 1234567", "pattern": "x"}]}, "a medical record number"),
        ({"facts": [{"name": "x", "pattern": r"\bMRN\s00483921\b"}]}, "a medical record number"),
        ({"facts": [{"name": "x", "pattern": r"jane@hospital\.org"}]}, "an e-mail address"),
    ],
)
def test_data_of_persons_is_refused_with_the_file_and_the_line_and_never_repeated(change: Any, kind: str) -> None:
    with pytest.raises(PatientDataSuspected) as refused:
        parse(lines({**GOOD, "id": "first"}, "", {**GOOD, **change}), "corpora/p.jsonl")
    assert str(refused.value) == (
        f"corpora/p.jsonl looks as if it held data of persons (line 3: {kind}). The report shows prompts and facts. Remove these lines."
    )


def test_data_that_is_not_kept_is_not_searched() -> None:
    facts = [{**fact, "source": ["617-555-0199"]} for fact in GOOD["facts"]]
    assert parse(lines({**GOOD, "author": "jane.doe@hospital.org", "facts": facts}), "p") == [GOOD]


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "Jane Doe, DOB 03/04/1961"},
        {"facts": [{"name": "x", "pattern": "Jane Doe, MRN 00482913("}]},
        {"facts": [{"name": "x", "pattern": r"MRN\s00482913("}]},
        {"facts": [{"name": "x", "pattern": "(?P<jane@example.org>x)"}]},
    ],
)
def test_a_refusal_never_repeats_what_looks_like_data_of_a_person(change: Any) -> None:
    message = refusal_of({**GOOD, **change})
    assert "line 1" in message and "not shown here" in message
    assert not any(told in message for told in ("Jane", "00482913", "jane@", "1961"))


def test_a_repeated_address_is_not_told() -> None:
    assert "repeats the id (not shown here" in refusal_of(*[{**GOOD, "id": "jane.doe@example.org"}] * 2)


def test_flags_that_contradict_each_other_are_a_fault_of_their_line() -> None:
    assert "line 1 has a pattern that does not compile" in refusal_of(
        {**GOOD, "facts": [{"name": "x", "pattern": "(?a)(?u)x"}]}
    )


def test_patterns_too_slow_for_the_time_of_preflight_are_refused_with_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 30))
    monkeypatch.setattr(prompt_file.time, "monotonic", lambda: next(clock))
    assert "line 2 was reached when 40 seconds were over" in refusal_of(*({**GOOD, "id": f"q-{n}"} for n in range(9)))


def test_line_ends_of_old_systems_do_not_matter() -> None:
    assert parse(lines(GOOD).replace(b"\n", b"\r"), "p") == [GOOD]


def test_a_repeated_id_is_refused_with_both_lines() -> None:
    assert "line 3 repeats the id 'q-1' of line 1" in refusal_of(GOOD, "", GOOD)


def test_all_faulty_lines_are_told_and_only_eight_named() -> None:
    message = refusal_of(*["not json"] * 30)
    assert "line 8 is not JSON" in message
    assert "line 9" not in message
    assert "and 22 more" in message


def test_more_prompts_than_a_deadline_holds_are_refused() -> None:
    many = [{"id": str(n), "kind": "starter", "prompt": "Genomes are"} for n in range(MAXIMUM_PROMPTS + 1)]
    assert "has 10001 prompts; at most 10000" in refusal_of(*many)


@pytest.mark.parametrize("domain", ["medical", "finance"])
def test_the_prompts_that_ship_with_the_project_pass(domain: str, request: pytest.FixtureRequest) -> None:
    content = (request.config.rootpath / "data" / f"{domain}prompts.jsonl").read_bytes()
    assert len(parse(content, domain)) == content.count(b"\n")
