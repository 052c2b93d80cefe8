"""Records: how files of them are read, what a run learns, holds out and asks, and what is refused with its line."""

import csv
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from common.errors import (
    CaptuneError,
    ChatTemplateMissing,
    DatasetRejected,
    HeldOutLeaks,
    PatientDataSuspected,
    PromptsRejected,
)
from common.records import Record, RecordsFaulty, of_pair, read
from preflight.texts import forms, held_out
from tests.doubles.preflight_site import Site
from tests.doubles.texts import conversations, lines, pairs, table
from text import read_corpus, read_evaluation

USER, ASSISTANT = {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}
SYSTEM = {"role": "system", "content": "Be brief. "}
PAIR = {"prompt": "Why?", "completion": "So."}


def after_pair(line: Any) -> bytes:
    return lines([{**PAIR, "id": "a"}]) + (line.encode() if isinstance(line, str) else lines([line]))


def after_talk(*messages: Any) -> bytes:
    return lines([{"messages": [USER, ASSISTANT]}, {"messages": list(messages)}])


FAULTY: list[tuple[str, bytes, str]] = [
    ("jsonl", after_pair("{"), "line 2 is not JSON"),
    ("jsonl", after_pair({"prompt": "Why?"}), "line 2 has no text in `completion`"),
    (
        "jsonl",
        after_pair({"messages": [USER, ASSISTANT]}),
        "line 2 has conversations (`messages`), but line 1 has prompts with completions",
    ),
    ("jsonl", after_pair({**PAIR, "id": "a"}), "line 2 repeats the id 'a' of line 1"),
    ("jsonl", after_talk(), "line 2 has no list of messages"),
    ("jsonl", after_talk({"content": "Why?"}, ASSISTANT), "line 2 has a message without a role (message 1)"),
    ("jsonl", after_talk(USER, {**ASSISTANT, "role": "bot"}), "line 2 has the role 'bot' in message 2"),
    ("jsonl", after_talk(USER, {**ASSISTANT, "content": " "}), "line 2 has no text in message 2 (assistant)"),
    ("jsonl", after_talk(USER), "line 2 ends without an answer"),
    ("jsonl", after_talk(USER, ASSISTANT, ASSISTANT), "line 2 has two turns of one side in a row (message 3)"),
    ("jsonl", after_talk(USER, ASSISTANT, SYSTEM, USER, ASSISTANT), "line 2 has a system message in place 3"),
    ("jsonl", lines([{**PAIR, "group": 7}, PAIR]), "line 2 has no text in `group`"),
    ("csv", b"\xef\xbb\xbf", "has an unknown first line: its columns are none"),
    ("csv", b"prompt,completion,prompt\na,b,c\n", "two columns named 'prompt'"),
    ("csv", b"prompt,completion\nWhy?\n", "line 2 has 1 columns, but the header has 2"),
    ("csv", b'prompt,completion\n"Why?"x,So.\n', "mine.csv is not valid CSV (line 2: "),
    ("csv", b"prompt,completion\n\n", "has no rows"),
]
PERSONAL: list[tuple[dict[str, Any], str]] = [
    ({**PAIR, "completion": "Write to jane.doe@example.org."}, "jane.doe"),
    ({**PAIR, "group": "jane.doe@example.org"}, "jane.doe"),
    ({**PAIR, "completion": "She was born on\n12 March 1971."}, "12 March 1971"),
    ({"messages": [{**USER, "content": "Call 617-555-0199"}, ASSISTANT]}, "617-555-0199"),
]


def records(content: bytes, name: str = "mine.jsonl", **columns: str) -> list[Record]:
    rows = forms.read(content.decode("utf-8-sig"), name, columns)
    return read(rows.rows, name, rows.columns)


def refused(content: bytes, name: str = "mine.jsonl", **columns: str) -> str:
    with pytest.raises(RecordsFaulty) as refusal:
        records(content, name, **columns)
    return str(refusal.value)


@pytest.mark.parametrize(("form", "content", "fault"), FAULTY)
def test_faulty_record_is_rejected_with_its_line(form: str, content: bytes, fault: str) -> None:
    message = refused(content, name=f"mine.{form}")
    assert fault in message and f"mine.{form}" in message


@pytest.mark.parametrize(("record", "secret"), PERSONAL)
def test_personal_data_is_rejected_and_not_repeated(site: Site, record: dict[str, Any], secret: str) -> None:
    site.upload("mine.jsonl", lines([record]))
    message = site.refusal(PatientDataSuspected, CORPUS)
    assert "line 1: " in message and secret not in message


def test_names_of_columns_do_not_repeat_personal_data(site: Site) -> None:
    site.upload("mine.csv", b"Jane Doe,03/05/1961,jane.doe@example.org and more\nJohn,b,c\n")
    message = site.refusal(DatasetRejected, {"corpus": "corpora/mine.csv"})
    assert "not shown" in message and "Jane" not in message
    plan = begin(site, [{**one, "jane.doe@example.org": 1} for one in pairs(40)])
    assert "jane" not in plan["warnings"][0]


def test_group_is_text_or_number_of_a_named_column() -> None:
    assert [one.group for one in records(lines([{**PAIR, "group": 7}, {**PAIR, "group": "seven"}]))] == ["7", "seven"]
    assert "line 1 has no text in `patient`" in refused(lines([PAIR]), group="patient")
    assert "without `patient`" in refused(b"prompt,completion\na,b\n", name="mine.csv", group="patient")


def test_white_space_between_belongs_to_the_completion() -> None:
    assert of_pair("Why? ", "So.\n") == ("Why?", " So.")
    assert of_pair("Why?\n\n", " So.") == ("Why?", "\n\n So.")
    assert of_pair("Why?", "\nSo.") == ("Why?", "\nSo.")


def test_a_field_may_be_as_long_as_its_file_and_other_readers_of_csv_keep_their_limit() -> None:
    before = csv.field_size_limit()
    records(table(pairs(1)), "short.csv")
    assert csv.field_size_limit() == before
    (found,) = records(f"prompt,completion\nWhy?,{'x' * (before + 1)}\n".encode(), "long.csv")
    csv.field_size_limit(before)
    assert "x" * (before + 1) in str(found)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_of_any_spreadsheet_is_read(delimiter: str) -> None:
    made = [{"prompt": 'Why "so",\nand not; otherwise?', "completion": "So."}, {"prompt": "Ä?", "completion": "Ö."}]
    names = {"prompt": "question", "completion": "answer"}
    found = records(b"\xef\xbb\xbf" + table(made, delimiter, **names), "mine.csv", **names)
    assert [(one.prompt, one.line) for one in found] == [(made[0]["prompt"], 2), ("Ä?", 4)]


CORPUS = {"corpus": "corpora/mine.jsonl"}
APART = {**CORPUS, "heldOut": "corpora/apart.jsonl"}
TRAINED, HELD_OUT, PROMPTS = "input/corpus/corpus.jsonl", "input/evaluation/heldout.jsonl", "input/prompts.jsonl"
LONG = {"prompt": "Tell all?", "completion": "word " * 600}


def begin(site: Site, records: list[Any], **more: Any) -> Any:
    """A run on these records, and on no others that were staged before."""
    site.s3.objects = {key: body for key, body in site.s3.objects.items() if not key[1].startswith("runs/")}
    site.upload("mine.jsonl", lines(records))
    return site.begin({**CORPUS, **more})


@pytest.fixture
def chat_site(site: Site) -> Site:
    site.settings["base_model"] = {**site.settings["base_model"], "has_chat_template": True}
    return site


def test_pairs_are_split_into_training_and_held_out_records(site: Site) -> None:
    plan = begin(site, pairs(40))
    assert (len(site.documents(TRAINED)), len(site.documents(HELD_OUT))) == (30, 10)
    assert "input/corpus/corpus.txt" not in site.staged
    second = pairs(2)[1]
    completion = f" {second['completion']}"
    named = {"id": "record-0002", "group": "record-0002"}
    assert site.documents(TRAINED)[0] == {**named, "prompt": second["prompt"], "completion": completion}
    corpus = plan["corpus"]
    assert (corpus["records"], corpus["heldOutRecords"], corpus["conversations"]) == (30, 10, False)
    assert corpus["words"] == 30 * 60
    assert plan["evaluation"]["heldOutDocuments"] == 10
    assert plan["training"]["hyperparameters"]["long_records"] == "split"
    assert plan["warnings"] == []


def test_training_job_reads_what_is_staged(chat_site: Site, tmp_path: Path) -> None:
    begin(chat_site, conversations(30))
    for name in (TRAINED, HELD_OUT):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_bytes(chat_site.staged[name])
    assert len(read_corpus(tmp_path / "input/corpus")) == 20
    assert len(read_evaluation(tmp_path / HELD_OUT)) == 10


class TestSplit:
    def test_all_records_of_a_group_are_on_one_side(self, site: Site) -> None:
        plan = begin(site, pairs(90, groups=30))
        trained, held_out = ({record["group"] for record in site.documents(path)} for path in (TRAINED, HELD_OUT))
        assert not trained & held_out
        assert (len(trained), len(held_out), plan["evaluation"]["heldOutDocuments"]) == (20, 10, 10)
        assert len(site.documents(HELD_OUT)) == plan["corpus"]["heldOutRecords"] == 30

    def test_growing_file_keeps_what_was_held_out(self, site: Site) -> None:
        begin(site, pairs(60, groups=30))
        before = {record["group"] for record in site.documents(HELD_OUT)}
        begin(site, list(reversed(pairs(80, groups=40))))
        assert len(before & {record["group"] for record in site.documents(HELD_OUT)}) >= 7

    def test_shared_phrase_of_all_answers_is_no_leak(self, site: Site) -> None:
        phrase = "Thank you for asking, we are always glad to be of any help. "
        assert begin(site, [{**one, "completion": phrase + one["completion"]} for one in pairs(40)])["warnings"] == []

    def test_leak_of_its_own_split_is_neither_learned_nor_measured(self, site: Site) -> None:
        records = pairs(40, groups=20)
        begin(site, records)
        held, trained = site.documents(HELD_OUT)[0], site.documents(TRAINED)[0]
        copy = {"prompt": held["prompt"], "completion": held["completion"], "group": trained["group"]}
        plan = begin(site, [*records, copy])
        (warning,) = plan["warnings"]
        assert warning.startswith("1 of 10 held-out groups are left out")
        assert plan["evaluation"]["heldOutDocuments"] == 9

    def test_no_more_groups_are_measured_than_needed(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(held_out, "MOST_GROUPS", 12)
        site.upload("apart.csv", table(pairs(60)[40:]))
        plan = begin(site, pairs(40), heldOut="corpora/apart.csv")
        assert (plan["corpus"]["records"], plan["evaluation"]["heldOutDocuments"]) == (40, 12)


class TestPrompts:
    def test_held_out_records_are_asked_with_their_references(self, site: Site) -> None:
        begin(site, pairs(40))
        held_out, prompts = site.documents(HELD_OUT), site.documents(PROMPTS)
        assert [prompt["prompt"] for prompt in prompts] == [record["prompt"] for record in held_out]
        assert [prompt["reference"] for prompt in prompts] == [record["completion"].strip() for record in held_out]
        assert {prompt["kind"] for prompt in prompts} == {"record"}

    def test_conversations_are_asked_as_messages_up_to_their_last_answer(self, chat_site: Site) -> None:
        system = {"role": "system", "content": "Be brief."}
        begin(chat_site, [{"messages": [system, *one["messages"]]} for one in conversations(40)])
        for record, prompt in zip(chat_site.documents(HELD_OUT), chat_site.documents(PROMPTS), strict=True):
            assert prompt["messages"] == record["messages"][:-1]
            assert prompt["reference"] == record["messages"][-1]["content"]
            assert prompt["prompt"].startswith("System: Be brief.\n\nUser: ")

    def test_twenty_records_are_asked_in_turn_from_their_groups(self, site: Site) -> None:
        plan = begin(site, pairs(88, groups=22))
        prompts = site.documents(PROMPTS)
        group_of = {record["prompt"]: record["group"] for record in site.documents(HELD_OUT)}
        assert (plan["corpus"]["heldOutRecords"], len(prompts)) == (40, 20)
        assert len({group_of[prompt["prompt"]] for prompt in prompts[:10]}) == 10


ALIKE = [{**one, "completion": pairs(1)[0]["completion"], "group": f"{n}"} for n, one in enumerate(pairs(20) * 2)]
SHORT = {"prompt": "Is the lamp lit?", "completion": "Yes."}
KNOWN = {"prompt": "Something else?", "completion": "As is known, " + pairs(4)[3]["completion"]}
OTHER_SPLIT = [{**record, "group": f"clinic {n}"} for n, record in enumerate(pairs(60)[46:])]
# The corpus, held-out records of the user's own, the error and what it names.
UNUSABLE: list[tuple[list[Any], list[Any], type[CaptuneError], str]] = [
    (conversations(40), [], ChatTemplateMissing, "llama-2-7b-chat"),
    (pairs(5) * 9, [], DatasetRejected, "has 300 words in 5 records, and needs at least 1,000"),
    ([*pairs(40), {"prompt": "All of it?", "completion": "word " * 220_000}], [], DatasetRejected, "1 MiB (line 41)"),
    (pairs(40, groups=1), [], DatasetRejected, "belong to one group, so none can be held out"),
    (pairs(40), conversations(50)[40:], DatasetRejected, "contain records of different kinds"),
    (pairs(40, groups=8), OTHER_SPLIT, HeldOutLeaks, "8 groups have records in `corpus` and in `heldOut`: 'clinic 0'"),
    ([*pairs(40), SHORT], [*pairs(48)[40:], KNOWN, SHORT], HeldOutLeaks, "corpora/apart.jsonl (line 9, 10)"),
    (ALIKE, [], HeldOutLeaks, "has a record (line"),
    ([{**one, "prompt": "on " * 1400 + one["prompt"]} for one in pairs(40)], [], PromptsRejected, "in `prompts`"),
]
DOUBTFUL: list[tuple[list[Any], str]] = [
    ([*pairs(40), LONG], "1 of 31 records may be longer than sequence_length, 512 tokens (line 41)"),
    (pairs(50) * 3, "100 records of corpora/mine.jsonl repeat another one; each is used once"),
    (pairs(40, groups=8), "Only 4 held-out groups of records: with fewer than 6"),
    ([{**one, "source": "a book", "stars": 5} for one in pairs(40)], "mine.jsonl: 'source', 'stars'"),
    (
        [*pairs(10), *({"prompt": "A long tale. " * 400, "completion": f"End {n}"} for n in range(10))],
        "held-out records are measured but not used as prompts",
    ),
]


@pytest.mark.parametrize(("corpus", "held_out", "kind", "words"), UNUSABLE)
def test_unusable_records_are_rejected(
    site: Site, corpus: Any, held_out: Any, kind: type[CaptuneError], words: str
) -> None:
    site.upload("mine.jsonl", lines(corpus))
    site.upload("apart.jsonl", lines(held_out))
    assert words in site.refusal(kind, APART if held_out else CORPUS)


@pytest.mark.parametrize(("corpus", "words"), DOUBTFUL)
def test_doubtful_records_are_a_warning(site: Site, corpus: list[Any], words: str) -> None:
    assert any(words in warning for warning in begin(site, corpus)["warnings"])


@pytest.mark.parametrize(("words", "refused"), [(510, False), (511, True)])
def test_setting_rejects_records_longer_than_a_sequence(site: Site, words: int, refused: bool) -> None:
    site.settings["long_records"] = "refuse"
    records = [*pairs(40), {**LONG, "completion": "word " * words}]
    expected = pytest.raises(DatasetRejected, match=r"1 records are longer than .* \(line 41\)")
    with expected if refused else nullcontext():
        begin(site, records)
