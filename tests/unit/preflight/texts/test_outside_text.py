"""Outside text: what is taken as such, what is refused with its line, and what the plan says of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from common.errors import DatasetChanged, DatasetRejected, HeldOutLeaks, InvalidInput, PatientDataSuspected
from preflight.texts.outside_text import MAXIMUM_WORDS
from tests.doubles.preflight_site import Site, titled
from tests.doubles.texts.made_up_prose import prose

KEY = "corpora/others.jsonl"
ASKED = {"heldOutside": KEY}
STAGED = "input/evaluation/outside.jsonl"


@pytest.fixture(name="site")
def _site(monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(monkeypatch)


def entry(number: int, **other: Any) -> dict[str, Any]:
    return {"id": f"o{number}", "title": f"Abstract {number}", "text": prose(60, 700 + number), **other}


def lines(*entries: dict[str, Any]) -> bytes:
    return "".join(json.dumps(one) + "\n" for one in entries).encode()


def staged(site: Site) -> list[dict[str, Any]]:
    return [json.loads(line) for line in site.staged[STAGED].splitlines()]


def refusal(site: Site, kind: type[Any], content: bytes, name: str = "others.jsonl") -> str:
    site.upload(name, content)
    answer: str = site.refusal(kind, {"heldOutside": f"corpora/{name}"})
    return answer


def test_outside_text_is_staged_beside_the_held_out_text_and_never_trained_on(site: Site) -> None:
    others = [entry(n) for n in range(8)]
    site.upload("others.jsonl", lines(*others))
    plan = site.begin(ASKED)
    assert staged(site) == others
    assert not [one for one in others if one["text"] in site.staged["input/corpus/corpus.txt"].decode()]
    assert plan["evaluation"]["outsideDocuments"] == 8 and plan["warnings"] == []
    assert "corpora/others.jsonl has 8 documents" in plan["evaluation"]["outsideText"]


def test_titled_text_is_split_like_every_other(site: Site) -> None:
    site.upload("others.txt", titled(7, 60, 700))
    site.begin({"heldOutside": "corpora/others.txt"})
    assert [(one["id"], one["title"]) for one in staged(site)][:2] == [
        ("outside-001", "Part 0"),
        ("outside-002", "Part 1"),
    ]


def test_a_line_needs_no_more_than_its_text(site: Site) -> None:
    site.upload("others.jsonl", b"\n" + lines(*({"text": prose(60, 700 + n)} for n in range(8))))
    site.begin(ASKED)
    assert staged(site)[0] == {"id": "outside-002", "title": "outside-002", "text": prose(60, 700)}


def test_line_ends_of_unicode_end_no_line_of_what_the_training_job_reads(site: Site) -> None:
    site.upload(
        "others.jsonl", lines(*(entry(n, title="One\u2028two", text=f"{prose(60, n)}\u0085End.") for n in range(8)))
    )
    site.begin(ASKED)
    assert len(site.staged[STAGED].decode().splitlines()) == 8
    assert (staged(site)[0]["title"], staged(site)[0]["text"][-5:]) == ("One two", " End.")


def test_a_single_long_document_is_measured_in_passages_from_all_over_it(site: Site) -> None:
    site.upload("others.txt", prose(MAXIMUM_WORDS + 30_000, 700).replace(". ", ".\n\n").encode())
    site.begin({"heldOutside": "corpora/others.txt"})
    assert sum(len(one["text"].split()) for one in staged(site)) <= MAXIMUM_WORDS + 300


def test_a_run_without_outside_text_is_told_plainly_that_it_has_none(site: Site) -> None:
    plan = site.begin()
    assert STAGED not in site.staged
    assert plan["evaluation"]["outsideDocuments"] == 0
    assert plan["evaluation"]["outsideText"].startswith("No outside text was given (input key `heldOutside`)")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"\x00", "is not a text"),
        (lines(*(entry(n) for n in range(8))) + b"\xff", "is not UTF-8"),
        (lines(entry(0)) + b"{broken\n", "line 2 is not JSON"),
        (lines(entry(0)) + b'["a list"]\n', "line 2 has no text"),
        (lines(entry(0), {"id": "x", "text": " "}), "line 2 has no text"),
        (lines(entry(0), {"id": "x", "text": 7}), "line 2 has no text"),
        (lines(*(entry(n) for n in range(6)), entry(9, id="o3")), "line 7 repeats the id 'o3'"),
        (lines(entry(0)), "at least 200 are needed"),
        (lines(*(entry(1, id=f"o{n}") for n in range(8))), "repeats itself"),
    ],
)
def test_what_is_no_text_to_measure_on_is_refused_with_its_line(site: Site, content: bytes, told: str) -> None:
    message = refusal(site, DatasetRejected, content)
    assert KEY in message and told in message


def test_an_id_that_looks_like_data_of_a_person_is_refused_and_not_repeated(site: Site) -> None:
    address = "jane.doe@example.org"
    for content in (lines(*(entry(n) for n in range(6)), entry(9, id=address)), lines(*[entry(1, id=address)] * 2)):
        message = refusal(site, PatientDataSuspected if b"o5" in content else DatasetRejected, content)
        assert address[:8] not in message


def test_outside_text_that_is_too_large_or_missing_is_refused(site: Site) -> None:
    assert "There is no corpora/others.jsonl in the bucket" in site.refusal(DatasetRejected, ASKED)
    assert "at most 4 MiB" in refusal(site, DatasetRejected, b"x" * (4 * 2**20 + 1))


def test_data_of_patients_is_refused_in_the_line_where_it_stands(site: Site) -> None:
    others = [entry(n) for n in range(8)]
    others[4]["text"] += "\n\nDOB: 03/05/1961"
    message = refusal(site, PatientDataSuspected, lines(*others))
    assert message.startswith(f"{KEY} looks as if it held data of persons (line 5: a date of birth)")


def test_a_document_that_the_training_text_holds_in_part_is_refused_by_its_name(site: Site) -> None:
    others = [entry(n) for n in range(8)]
    others[2]["text"] = prose(100, 103)
    message = refusal(site, HeldOutLeaks, lines(*others))
    assert (
        "“Abstract 2” of the outside text corpora/others.jsonl shares eight words in a row with the training text"
        in message
    )
    assert "Take those documents out" in message


def test_all_documents_that_leak_are_counted_at_once(site: Site) -> None:
    others = [entry(n, text=prose(100, 103 + n)) for n in range(8)]
    assert "“Abstract 4” and 3 more" in refusal(site, HeldOutLeaks, lines(*others))


def test_the_runs_own_held_out_text_is_not_text_by_others(site: Site) -> None:
    message = refusal(site, HeldOutLeaks, site.data["medicalheldout.txt"], "ours.txt")
    assert "held-out text of the run itself" in message


def test_a_document_that_stands_there_twice_is_measured_once(site: Site) -> None:
    site.upload("others.jsonl", lines(*(entry(n) for n in range(8)), entry(3, id="again")))
    (warning,) = site.begin(ASKED)["warnings"]
    assert warning == "1 outside documents say what another one says; each is measured once."
    assert len(staged(site)) == 8


@pytest.mark.slow
def test_more_than_a_run_has_time_to_score_is_measured_in_part(site: Site) -> None:
    site.upload("others.jsonl", lines(*(entry(n, text=prose(1000, 7000 + n)) for n in range(100))))
    plan = site.begin(ASKED)
    places = [int(one["id"][1:]) for one in staged(site)]
    assert len(places) == MAXIMUM_WORDS // 1000
    assert places[0] < 3 and places[-1] > 96, "from all over it"
    assert "of which 50 from all over it are measured" in plan["evaluation"]["outsideText"]


def test_few_long_documents_are_cut_into_passages_for_a_verdict(site: Site) -> None:
    site.upload("review.txt", prose(2000, 900).encode())
    (warning,) = site.begin({"heldOutside": "corpora/review.txt"})["warnings"]
    assert "was cut into passages" in warning
    assert len(staged(site)) >= 6


def test_too_little_outside_text_for_a_verdict_is_told_beforehand(site: Site) -> None:
    site.upload("others.txt", prose(220, 900).encode())
    assert any("Only 4 outside documents" in one for one in site.run({"heldOutside": "corpora/others.txt"})["warnings"])


def test_a_file_that_changes_between_check_and_copy_is_refused(site: Site) -> None:
    site.upload("others.jsonl", lines(*(entry(n) for n in range(8))))
    plan = site.run(ASKED)
    site.upload("others.jsonl", lines(*(entry(n) for n in range(7))))
    with pytest.raises(DatasetChanged, match=r"corpora/others\.jsonl was changed"):
        site.stage(plan)


def test_every_fault_of_the_texts_is_told_at_once(site: Site) -> None:
    site.data["medicalheldout.txt"] += b"\n\n" + prose(100, 100).encode()
    site.upload("others.jsonl", b"{broken")
    with pytest.raises(DatasetRejected, match=r"2 things to mend(?s:.*)not JSON(?s:.*)HeldOutLeaks"):
        site.run(ASKED)


@pytest.mark.parametrize("value", ["others.jsonl", "corpora/others.csv", 7, ""])
def test_a_key_that_names_no_such_file_is_refused(site: Site, value: Any) -> None:
    assert "`heldOutside` must be the key of a .jsonl or .txt file" in site.refusal(
        InvalidInput, {"heldOutside": value}
    )


def test_nothing_is_measured_where_nothing_is_trained(site: Site) -> None:
    adapter = "s3://bucket/runs/captune-a/training/captune-a/output/model/"
    message = site.refusal(InvalidInput, {"heldOutside": KEY, "adapterUri": adapter})
    assert "`heldOutside` is measured while a run trains" in message
