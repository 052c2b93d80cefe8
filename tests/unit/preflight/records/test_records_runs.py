"""A run on records: what of the files reaches training, measurement and comparison."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from common.errors import HeldOutLeaks, InvalidInput, PromptsRejected
from preflight.prompts.from_records import from_records
from preflight.records import apart
from preflight.records.record import Record
from preflight.texts.text_file import Document
from tests.doubles.preflight_site import Site
from tests.doubles.texts.made_up_records import conversations, lines, pairs, table
from tests.doubles.texts.prompt_lines import GOOD
from tests.doubles.texts.prompt_lines import lines as json_lines
from text import read_corpus, read_evaluation

CORPUS = {"corpus": "corpora/mine.jsonl"}
TRAINED, HELD_OUT, PROMPTS = "input/corpus/corpus.jsonl", "input/evaluation/heldout.jsonl", "input/prompts.jsonl"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(monkeypatch)


def staged(site: Site, path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in site.staged[path].decode().split("\n") if line]


def begin(site: Site, records: list[Any], **more: Any) -> Any:
    site.upload("mine.jsonl", lines(records))
    return site.begin({**CORPUS, **more})


def test_prompts_and_completions_are_split_into_training_and_held_out_records(site: Site) -> None:
    plan = begin(site, pairs(40))
    trained, held_out = staged(site, TRAINED), staged(site, HELD_OUT)
    assert (len(trained), len(held_out)) == (30, 10)
    assert "input/corpus/corpus.txt" not in site.staged
    second = pairs(2)[1]
    assert trained[0] == {
        "id": "record-0002", "group": "record-0002", "prompt": second["prompt"], "completion": f" {second['completion']}",
    }  # fmt: skip
    assert (plan["corpus"]["records"], plan["corpus"]["heldOutRecords"], plan["corpus"]["conversations"]) == (
        30,
        10,
        False,
    )
    assert plan["corpus"]["words"] == 30 * 60
    assert plan["evaluation"]["heldOutDocuments"] == 10
    assert plan["training"]["hyperparameters"]["long_records"] == "split"
    assert "document_order" not in plan["training"]["hyperparameters"]
    assert plan["warnings"] == []


def test_running_text_is_staged_and_trained_as_before(site: Site) -> None:
    plan = site.begin()
    assert TRAINED not in site.staged and "long_records" not in plan["training"]["hyperparameters"]
    assert plan["training"]["hyperparameters"]["document_order"] == "written"
    assert "records" not in plan["corpus"]


def test_the_training_job_reads_what_is_staged(site: Site, tmp_path: Path) -> None:
    site.settings["base_model"] = {**site.settings["base_model"], "has_chat_template": True}
    begin(site, conversations(30))
    for name in (TRAINED, HELD_OUT):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_bytes(site.staged[name])
    assert len(read_corpus(tmp_path / "input/corpus")) == 20
    assert len(read_evaluation(tmp_path / HELD_OUT)) == 10


def test_all_records_of_a_group_stay_on_one_side(site: Site) -> None:
    plan = begin(site, pairs(90, groups=30))
    trained, held_out = ({record["group"] for record in staged(site, path)} for path in (TRAINED, HELD_OUT))
    assert not trained & held_out
    assert (len(trained), len(held_out), plan["evaluation"]["heldOutDocuments"]) == (20, 10, 10)
    assert len(staged(site, HELD_OUT)) == plan["corpus"]["heldOutRecords"] == 30


def test_a_file_that_grows_keeps_what_was_held_out(site: Site) -> None:
    begin(site, pairs(60, groups=30))
    before = {record["group"] for record in staged(site, HELD_OUT)}
    for key in [key for key in site.s3.objects if key[1].startswith("runs/")]:
        del site.s3.objects[key]
    begin(site, list(reversed(pairs(80, groups=40))))
    after = {record["group"] for record in staged(site, HELD_OUT)}
    assert len(before & after) >= 7


def test_held_out_records_are_asked_with_their_own_answers_beside_them(site: Site) -> None:
    begin(site, pairs(40))
    held_out, asked = staged(site, HELD_OUT), staged(site, PROMPTS)
    assert [prompt["prompt"] for prompt in asked] == [record["prompt"] for record in held_out]
    assert [prompt["reference"] for prompt in asked] == [record["completion"].strip() for record in held_out]
    assert {prompt["kind"] for prompt in asked} == {"record"} and asked[0]["id"] == "record-1"


def test_conversations_are_asked_as_messages_up_to_their_last_answer(site: Site) -> None:
    site.settings["base_model"] = {**site.settings["base_model"], "has_chat_template": True}
    begin(site, conversations(40))
    for record, prompt in zip(staged(site, HELD_OUT), staged(site, PROMPTS), strict=True):
        assert prompt["messages"] == record["messages"][:-1]
        assert prompt["reference"] == record["messages"][-1]["content"]
        assert prompt["prompt"] == prompt["messages"][0]["content"]


def test_a_conversation_of_several_turns_is_shown_turn_by_turn(site: Site) -> None:
    site.settings["base_model"] = {**site.settings["base_model"], "has_chat_template": True}
    site.upload("mine.jsonl", lines(conversations(30)))
    talks = conversations(42)[30:]
    for talk in talks:
        talk["messages"] = [{"role": "system", "content": "Be brief."}, *talk["messages"]]
    site.upload("apart.jsonl", lines(talks))
    site.begin({**CORPUS, "heldOut": "corpora/apart.jsonl"})
    assert staged(site, PROMPTS)[0]["prompt"].startswith("System: Be brief.\n\nUser: ")


def test_csv_is_read_by_the_names_of_its_columns(site: Site) -> None:
    names = {"prompt": "question", "completion": "answer", "group": "patient"}
    site.upload("mine.csv", table(pairs(40, groups=20), **names))
    plan = site.begin({"corpus": "corpora/mine.csv", "columns": names})
    assert plan["corpus"]["records"] == 20 and plan["warnings"] == []
    assert {"clinic 0", "clinic 1"} <= {
        record["group"] for path in (TRAINED, HELD_OUT) for record in staged(site, path)
    }


def test_own_held_out_records_are_all_measured(site: Site) -> None:
    site.upload("apart.csv", table(pairs(52)[40:]))
    plan = begin(site, pairs(40), heldOut="corpora/apart.csv")
    assert (plan["corpus"]["records"], plan["corpus"]["heldOutRecords"]) == (40, 12)
    assert staged(site, HELD_OUT)[0]["id"] == "heldout-0002", "its line, below the header"


def test_a_group_on_both_sides_of_an_own_split_is_refused_by_name(site: Site) -> None:
    site.upload("mine.jsonl", lines(pairs(40, groups=8)))
    site.upload("apart.jsonl", lines([{**record, "group": f"clinic {n}"} for n, record in enumerate(pairs(60)[46:])]))
    message = site.refusal(HeldOutLeaks, {**CORPUS, "heldOut": "corpora/apart.jsonl"})
    assert "8 groups have records in `corpus` and in `heldOut`: 'clinic 0', 'clinic 1'" in message
    assert "Put all records of a group on one side" in message


def test_a_held_out_record_that_training_gives_away_is_refused_with_its_line(site: Site) -> None:
    site.upload("mine.jsonl", lines(pairs(40)))
    known = {"prompt": "Something else?", "completion": "As is known, " + pairs(4)[3]["completion"]}
    site.upload("apart.jsonl", lines([*pairs(48)[40:], known]))
    message = site.refusal(HeldOutLeaks, {**CORPUS, "heldOut": "corpora/apart.jsonl"})
    assert "1 of the held-out records of corpora/apart.jsonl (line 9)" in message


def test_the_same_record_is_known_however_short_its_answer_is(site: Site) -> None:
    short = {"prompt": "Is the lamp lit?", "completion": "Yes."}
    site.upload("mine.jsonl", lines([*pairs(40), short]))
    site.upload("apart.jsonl", lines([*pairs(48)[40:], short]))
    message = site.refusal(HeldOutLeaks, {**CORPUS, "heldOut": "corpora/apart.jsonl"})
    assert "1 of the held-out records of corpora/apart.jsonl (line 9)" in message


def test_a_turn_of_phrase_that_all_answers_have_gives_nothing_away(site: Site) -> None:
    phrase = "Thank you for asking, we are always glad to be of any help. "
    records = [{**one, "completion": phrase + one["completion"]} for one in pairs(40)]
    assert begin(site, records)["warnings"] == []


def test_what_training_gives_away_of_its_own_split_is_neither_learnt_nor_measured_and_said(site: Site) -> None:
    records = pairs(40, groups=20)
    begin(site, records)
    held, trained = staged(site, HELD_OUT)[0], staged(site, TRAINED)[0]
    site.s3.objects = {key: body for key, body in site.s3.objects.items() if not key[1].startswith("runs/")}
    copy = {"prompt": held["prompt"], "completion": held["completion"], "group": trained["group"]}
    plan = begin(site, [*records, copy])
    (warning,) = plan["warnings"]
    assert warning.startswith("1 of 10 held-out groups are neither learnt nor measured")
    assert plan["evaluation"]["heldOutDocuments"] == 9


def test_where_nothing_is_left_to_measure_the_run_is_refused(site: Site) -> None:
    records = pairs(20)
    twice = [{**record, "group": f"{side} {n}"} for side in ("a", "b") for n, record in enumerate(records)]
    alike = [{**one, "completion": records[0]["completion"]} for one in twice]
    site.upload("mine.jsonl", lines(alike))
    assert "Give records that belong together the same group" in site.refusal(HeldOutLeaks, CORPUS)


def test_records_that_say_the_same_are_taken_once_and_counted(site: Site) -> None:
    plan = begin(site, [*pairs(40), *pairs(3)])
    assert "3 records of corpora/mine.jsonl say what another one says; each is taken once." in plan["warnings"]
    assert len(staged(site, TRAINED)) == 30


def test_of_very_many_groups_four_hundred_are_measured(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "MOST_GROUPS", 12)
    assert begin(site, pairs(200))["evaluation"]["heldOutDocuments"] == 12
    site.s3.objects = {key: body for key, body in site.s3.objects.items() if not key[1].startswith("runs/")}
    site.upload("apart.jsonl", lines(pairs(60)[40:]))
    plan = begin(site, pairs(40), heldOut="corpora/apart.jsonl")
    assert plan["evaluation"]["heldOutDocuments"] == 12
    assert "Of the 20 held-out groups 12 are measured, which are enough for any interval." in plan["warnings"]


def test_few_groups_are_told_to_show_nothing(site: Site) -> None:
    (warning,) = begin(site, pairs(40, groups=8))["warnings"]
    assert warning.startswith("Only 4 held-out groups of records: with fewer than 6 the verdict is always “not shown”")


def test_columns_that_are_not_used_are_told(site: Site) -> None:
    (warning,) = begin(site, [{**one, "source": "a book", "stars": 5} for one in pairs(40)])["warnings"]
    assert warning == "Of corpora/mine.jsonl these columns are not used: 'source', 'stars'."


def test_a_part_of_the_records_is_trained_on_where_the_settings_say_so(site: Site) -> None:
    site.settings["corpus_words"] = 600
    assert begin(site, pairs(40))["corpus"]["records"] == 10


def test_prompts_that_are_too_long_to_be_asked_are_measured_and_told(site: Site) -> None:
    long = {"prompt": "A long tale. " * 400, "completion": "It ends well for all that heard of it."}
    plan = begin(site, [*pairs(10), long, *({**long, "completion": f"End {n}"} for n in range(9))])
    (told,) = (warning for warning in plan["warnings"] if "not asked" in warning)
    assert "held-out records are measured but not asked: their prompts have more than 4,000 bytes" in told


def test_where_no_prompt_is_short_enough_the_run_is_refused_and_own_prompts_mend_it(site: Site) -> None:
    site.upload("mine.jsonl", lines([{**one, "prompt": f"{one['prompt']} {'on ' * 1400}"} for one in pairs(40)]))
    assert "Give `prompts` of your own" in site.refusal(PromptsRejected, CORPUS)
    site.upload("asked.jsonl", json_lines(GOOD))
    assert site.run({**CORPUS, "prompts": "corpora/asked.jsonl"})["corpus"]["prompts"] == 1


def test_of_many_groups_those_that_can_be_asked_are() -> None:
    records = [
        Record(f"r{n}", f"r{n}", False, n, prompt="Why? " * (1 if n % 20 == 7 else 1000), completion="So.")
        for n in range(200)
    ]
    asked, told = from_records([Document(one.id, one.id, "", (one,)) for one in records])
    assert len(asked) == 10 and told[0].startswith("190 held-out records are measured but not asked")


def test_up_to_twenty_records_are_asked_in_turn_from_their_groups(site: Site) -> None:
    plan = begin(site, pairs(88, groups=22))
    asked, held_out = staged(site, PROMPTS), staged(site, HELD_OUT)
    of = {record["prompt"]: record["group"] for record in held_out}
    assert (plan["corpus"]["heldOutRecords"], len(asked)) == (40, 20)
    assert len({of[prompt["prompt"]] for prompt in asked[:10]}) == 10


@pytest.mark.parametrize(
    ("given", "words"),
    [({"corpus": "corpora/a.jsonl", "heldOut": "corpora/b.txt"}, "`heldOut` must be of the same kind as `corpus`"),
     ({"corpus": "corpora/a.txt", "heldOut": "corpora/b.csv"}, "`heldOut` must be of the same kind as `corpus`"),
     ({"corpus": "corpora/a.txt", "columns": {"prompt": "x"}}, "`columns` belongs to a corpus of records"),
     ({"columns": {"prompt": "x"}}, "`columns` belongs to a corpus of records"),
     ({"corpus": "corpora/a.csv", "columns": ["x"]}, "`columns` must say what columns of the records are called, {prompt: …"),
     ({"corpus": "corpora/a.csv", "columns": {"question": "x"}}, "`columns` must say what columns"),
     ({"corpus": "corpora/a.csv", "columns": {"prompt": " "}}, "`columns` must say what columns"),
     ({"corpus": "corpora/a.csv", "columns": {"prompt": "x", "completion": "x"}}, "`columns` names one column for two things"),
     ({"corpus": "corpora/a.csv", "columns": {"prompt": "completion"}}, "`columns` names one column for two things")],
)  # fmt: skip
def test_an_input_that_does_not_fit_together_is_refused(site: Site, given: dict[str, Any], words: str) -> None:
    assert words in site.refusal(InvalidInput, given)
