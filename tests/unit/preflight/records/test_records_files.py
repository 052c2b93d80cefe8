"""Files of records that cannot be used are refused with the line and the fix."""

from __future__ import annotations

import json
from typing import Any

import pytest

from common.errors import ChatTemplateMissing, DatasetRejected, PatientDataSuspected
from preflight.records.reading import read
from preflight.records.record import Record, of_pair
from tests.doubles.preflight_site import Site
from tests.doubles.texts.made_up_records import conversations, lines, pairs, table

ASKED, SAID = {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}
PAIR = {"prompt": "Why?", "completion": "So."}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(monkeypatch)


def refused(content: bytes, kind: type[Exception] = DatasetRejected, name: str = "mine.jsonl", **columns: str) -> str:
    with pytest.raises(kind) as refusal:
        read(content, name, columns, "record")
    assert type(refusal.value) is kind
    return str(refusal.value)


def records(content: bytes, name: str = "mine.jsonl", **columns: str) -> list[Record]:
    return read(content, name, columns, "record")[0]


def talk(*messages: Any) -> dict[str, Any]:
    return {"messages": list(messages)}


@pytest.mark.parametrize(
    ("line", "fault"),
    [("{", "is not JSON"), ("[]", "is not a JSON object"), ('{"prompt": "\\ud800", "completion": "x"}', "has half of a surrogate pair"),
     ({"prompt": "Why?"}, "has no text in `completion`"), ({"prompt": "Why?", "completion": " \n"}, "has no text in `completion`"),
     ({"prompt": "", "completion": "So."}, "has no text in `prompt`"), ({"prompt": ["Why?"], "completion": "So."}, "has no text in `prompt`"),
     (talk(ASKED, SAID), "is a conversation, and earlier lines are prompts with completions"),
     ({"question": "Why?", "answer": "So."}, "has no text in `prompt`"), ({**PAIR, "id": "a"}, "repeats the id 'a' of line 1")],
)  # fmt: skip
def test_a_faulty_line_of_prompts_and_completions_is_named(line: Any, fault: str) -> None:
    written = line if isinstance(line, str) else json.dumps(line)
    message = refused(lines([{**PAIR, "id": "a"}]) + b"\n" + written.encode())
    assert f"mine.jsonl: line 3 {fault}" in message
    assert 'A line holds {"prompt": "…", "completion": "…"}' in message


@pytest.mark.parametrize(
    ("messages", "fault"),
    [([], "has no list of messages"), ("Why?", "has no list of messages"), ([{"content": "Why?"}, SAID], "has a message without a role (message 1)"),
     (["Why?", SAID], "has a message without a role (message 1)"), ([ASKED, {**SAID, "role": "bot"}], "has the role 'bot' in message 2; it must be one of system, user, assistant"),
     ([ASKED, {"role": "assistant"}], "has no text in message 2 (assistant)"), ([ASKED, {**SAID, "content": " "}], "has no text in message 2"),
     ([ASKED], "ends without an answer"), ([ASKED, SAID, ASKED], "ends without an answer"), ([SAID], "has two turns of one side in a row (message 1)"),
     ([ASKED, ASKED, SAID], "has two turns of one side in a row (message 2)"), ([ASKED, SAID, SAID], "has two turns of one side in a row (message 3)"),
     ([ASKED, SAID, {"role": "system", "content": "Hm"}, ASKED, SAID], "has a system message in place 3")],
)  # fmt: skip
def test_a_faulty_conversation_is_named(messages: Any, fault: str) -> None:
    message = refused(lines([talk(ASKED, SAID), {"messages": messages}]))
    assert f"mine.jsonl: line 2 {fault}" in message


def test_every_fault_is_told_up_to_eight() -> None:
    message = refused(lines([PAIR, *[{"prompt": "Why?"}] * 11]))
    assert message.count("has no text in `completion`") == 8 and "and 3 more" in message


def test_a_conversation_may_begin_with_a_system_message() -> None:
    (record,) = records(lines([talk({"role": "system", "content": "Be brief. "}, ASKED, SAID)]))
    assert record.turns == (("system", "Be brief."), ("user", "Why?"), ("assistant", "So."))
    assert (record.reference, record.answers) == ("So.", ["So."])


def test_a_group_is_a_text_or_a_number_and_once_named_every_line_has_one() -> None:
    assert [one.group for one in records(lines([{**PAIR, "group": 7}, {**PAIR, "group": "seven"}]))] == ["7", "seven"]
    assert "line 2 has no text in `group`" in refused(lines([{**PAIR, "group": 7}, PAIR]))
    assert "line 1 has no text in `patient`" in refused(lines([PAIR]), group="patient")


@pytest.mark.parametrize(
    ("prompt", "completion", "found"),
    [("Why?", "So.", ("Why?", " So.")), ("Why? ", "So.\n", ("Why?", " So.")), ("Why?\n\n", " So.", ("Why?", "\n\n So.")), ("Why?", "\nSo.", ("Why?", "\nSo."))],
)  # fmt: skip
def test_the_white_space_between_prompt_and_completion_is_the_completions(
    prompt: str, completion: str, found: tuple[str, str]
) -> None:
    assert of_pair(prompt, completion) == found


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_as_any_spreadsheet_writes_it(delimiter: str) -> None:
    made = [{"prompt": 'Why "so",\nand not; otherwise?', "completion": "So."}, {"prompt": "Ä?", "completion": "Ö."}]
    found = records(b"\xef\xbb\xbf" + table(made, delimiter), "mine.csv")
    assert [(one.prompt, one.line) for one in found] == [(made[0]["prompt"], 2), ("Ä?", 4)]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\xef\xbb\xbf", "mine.csv has no column `prompt`, `completion`; its first line names none"),
     (b"question,answer\nWhy?,So.\n", "mine.csv has no column `prompt`, `completion`; its first line names 'question, answer'"),
     (b"prompt,completion,prompt\na,b,c\n", "two columns called 'prompt'"), (b"prompt,completion\nWhy?\n", "line 2 has 1 columns, and the header has 2"),
     (b"prompt,completion\nWhy?,So.,Hm.\n", "line 2 has 3 columns"), (b"prompt,completion\nWhy?,So.\nWhy?,\n", "line 3 has no text in `completion`"),
     (b'prompt,completion\n"Why?"x,So.\n', "mine.csv, line 2 is not CSV"), (b'prompt,completion\n"Why?,So.\n', "is not CSV"),
     (b"prompt,completion\n\n", "holds no record")],
)  # fmt: skip
def test_faulty_csv_is_named(content: bytes, words: str) -> None:
    assert words in refused(content, name="mine.csv")


def test_a_first_line_that_is_a_record_of_a_person_is_not_repeated() -> None:
    message = refused(b"Jane Doe,03/05/1961,jane.doe@example.org and more\nJohn,b,c\n", name="mine.csv")
    assert "its first line names (not shown here: it looks like data of a person)" in message
    assert "Jane" not in message


def test_a_column_that_the_input_names_must_be_there() -> None:
    assert "has no column `patient`" in refused(b"prompt,completion\na,b\n", name="mine.csv", group="patient")


def test_json_lines_may_have_other_names_too() -> None:
    (record,) = records(lines([{"instruction": "Why?", "output": "So."}]), prompt="instruction", completion="output")
    assert (record.prompt, record.completion) == ("Why?", " So.")


@pytest.mark.parametrize(
    ("record", "secret"),
    [({**PAIR, "completion": "Write to jane.doe@example.org."}, "jane.doe"), ({**PAIR, "prompt": "MRN 1234567"}, "1234"),
     ({**PAIR, "group": "jane.doe@example.org"}, "jane.doe"), ({**PAIR, "completion": "She was born on\n12 March 1971."}, "12 March 1971"),
     (talk({**ASKED, "content": "Call 617-555-0199"}, SAID), "617-555-0199")],
)  # fmt: skip
def test_data_of_persons_is_refused_with_its_line_and_not_repeated(record: dict[str, Any], secret: str) -> None:
    message = refused(lines([record]), PatientDataSuspected)
    assert "line 1: " in message and secret not in message


def test_a_column_that_is_named_like_a_person_is_not_repeated() -> None:
    _, told = read(lines([{**PAIR, "jane.doe@example.org": 1}]), "mine.jsonl", {}, "record")
    assert "jane" not in told[0]


class TestInARun:
    def refusal(self, site: Site, made: list[Any], kind: type[Any] = DatasetRejected) -> str:
        site.upload("mine.jsonl", lines(made))
        return site.refusal(kind, {"corpus": "corpora/mine.jsonl"})

    def test_a_base_model_without_a_chat_template_is_refused_for_conversations(self, site: Site) -> None:
        message = self.refusal(site, conversations(40), ChatTemplateMissing)
        assert "Llama 2 7B has no chat template" in message and "llama-2-7b-chat" in message

    def test_too_little_is_refused(self, site: Site) -> None:
        assert "has 300 words in 5 records; at least 1000 are needed" in self.refusal(site, pairs(5))

    def test_a_file_that_repeats_itself_is_refused(self, site: Site) -> None:
        message = self.refusal(site, pairs(20) * 3)
        assert "of its 60 records only 20 differ" in message

    def test_one_group_alone_cannot_be_split(self, site: Site) -> None:
        assert "are of one group, so none can be held out" in self.refusal(site, pairs(40, groups=1))

    def test_held_out_records_of_another_kind_are_refused(self, site: Site) -> None:
        site.upload("mine.jsonl", lines(pairs(40)))
        site.upload("apart.jsonl", lines(conversations(50)[40:]))
        message = site.refusal(DatasetRejected, {"corpus": "corpora/mine.jsonl", "heldOut": "corpora/apart.jsonl"})
        assert "hold records of different kinds" in message

    def test_long_records_are_told_beforehand_and_split(self, site: Site) -> None:
        site.upload("mine.jsonl", lines([*pairs(40), {"prompt": "Tell all?", "completion": "word " * 600}]))
        warnings = site.begin({"corpus": "corpora/mine.jsonl"})["warnings"]
        assert any(
            "1 of 31 records may be longer than sequence_length, 512 tokens (line 41)" in one for one in warnings
        )

    def test_or_refused_where_the_settings_say_so(self, site: Site) -> None:
        site.settings["long_records"] = "refuse"
        message = self.refusal(site, [*pairs(40), {"prompt": "Tell all?", "completion": "word " * 600}])
        assert "1 records are longer than sequence_length, 512 tokens (line 41)" in message

    def test_a_record_with_as_many_words_as_a_sequence_has_tokens_may_still_fit(self, site: Site) -> None:
        site.settings["long_records"] = "refuse"
        filling = "word " * (512 - 2)
        site.upload("mine.jsonl", lines([*pairs(40), {"prompt": "Tell all?", "completion": filling}]))
        assert site.begin({"corpus": "corpora/mine.jsonl"})
        message = self.refusal(site, [*pairs(40), {"prompt": "Tell all?", "completion": filling + "word"}])
        assert "1 records are longer" in message
