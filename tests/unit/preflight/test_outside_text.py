"""Outside text: measured beside the held-out text, never trained on, and refused where it cannot be used."""

from __future__ import annotations

from typing import Any

import pytest

from common.errors import CaptuneError, DatasetRejected, HeldOutLeaks, PatientDataSuspected
from preflight.texts.outside_text import MAXIMUM_WORDS
from tests.doubles.preflight_site import Site, titled
from tests.doubles.texts.made_up_prose import prose
from tests.doubles.texts.made_up_records import lines

STAGED = "input/evaluation/outside.jsonl"
JSON_LINES, TEXT = {"heldOutside": "corpora/others.jsonl"}, {"heldOutside": "corpora/others.txt"}
ADDRESS = "jane.doe@example.org"


def entry(number: int, **other: Any) -> dict[str, Any]:
    return {"id": f"o{number}", "title": f"Abstract {number}", "text": prose(60, 700 + number), **other}


OTHERS = [entry(n) for n in range(8)]
# The first document that is not the training text's own is kept; the training text says what these documents say.
LEAKING = [entry(n, text=prose(100, 103 + n)) for n in range(8)]
PATIENT = [*OTHERS[:4], entry(4, text=f"{prose(60, 704)}\n\nDOB: 03/05/1961"), *OTHERS[5:]]
REFUSED: list[tuple[bytes, type[CaptuneError], str]] = [
    (b"", DatasetRejected, "is empty"),
    (b"x" * (4 * 2**20 + 1), DatasetRejected, "at most 4 MiB"),
    (lines([entry(0)]) + b"{broken\n", DatasetRejected, "line 2 is not JSON"),
    (lines([entry(0), {"id": "x", "text": " "}]), DatasetRejected, "line 2 has no text"),
    (lines([*OTHERS[:6], entry(9, id="o3")]), DatasetRejected, "line 7 repeats the id 'o3'"),
    (lines([*OTHERS[:6], entry(9, id=ADDRESS)]), PatientDataSuspected, "line 7: an e-mail address"),
    (lines([entry(0)]), DatasetRejected, "at least 200 are needed"),
    (lines([entry(1, id=f"o{n}") for n in range(8)]), DatasetRejected, "repeats itself"),
    (lines(PATIENT), PatientDataSuspected, "line 5: a date of birth"),
    (lines([*OTHERS[:2], LEAKING[2], *OTHERS[3:]]), HeldOutLeaks, "“Abstract 2” of the outside text"),
    (lines(LEAKING), HeldOutLeaks, "“Abstract 4” and 3 more"),
]


def begin(site: Site, content: bytes, given: dict[str, str]) -> Any:
    site.upload(given["heldOutside"].removeprefix("corpora/"), content)
    return site.begin(given)


def test_outside_text_is_staged_and_never_trained_on(site: Site) -> None:
    plan = begin(site, lines(OTHERS), JSON_LINES)
    assert site.documents(STAGED) == OTHERS
    assert not [one for one in OTHERS if one["text"] in site.staged["input/corpus/corpus.txt"].decode()]
    assert plan["evaluation"]["outsideDocuments"] == 8 and plan["warnings"] == []
    assert "corpora/others.jsonl has 8 documents" in plan["evaluation"]["outsideText"]


def test_titled_text_and_bare_lines_get_id_and_title(site: Site) -> None:
    begin(site, titled(7, 60, 700), TEXT)
    first = site.documents(STAGED)[0]
    assert (first["id"], first["title"]) == ("outside-001", "Part 0")
    begin(site, b"\n" + lines({"text": f"{one['text']}\u2028End."} for one in OTHERS), JSON_LINES)
    first = site.documents(STAGED)[0]
    assert (first["id"], first["title"]) == ("outside-002", "outside-002")
    assert first["text"].endswith(" End."), "a line end of Unicode ends no line of what training reads"


@pytest.mark.parametrize(("content", "kind", "words"), REFUSED)
def test_unusable_outside_text_is_refused(site: Site, content: bytes, kind: type[CaptuneError], words: str) -> None:
    site.upload("others.jsonl", content)
    message = site.refusal(kind, JSON_LINES)
    assert words in message and "corpora/others.jsonl" in message
    assert ADDRESS[:8] not in message


def test_own_held_out_text_is_not_text_by_others(site: Site) -> None:
    site.upload("others.txt", site.data["medicalheldout.txt"])
    assert "held-out text of the run itself" in site.refusal(HeldOutLeaks, TEXT)


@pytest.mark.parametrize(
    ("given", "content", "words"),
    [
        (JSON_LINES, lines([*OTHERS, entry(3, id="again")]), "1 outside documents say what another one says"),
        (TEXT, prose(220, 900).encode(), "Only 4 outside documents"),
    ],
    ids=["twice", "too little"],
)
def test_doubtful_outside_text_is_a_warning(site: Site, given: dict[str, str], content: bytes, words: str) -> None:
    assert any(words in warning for warning in begin(site, content, given)["warnings"])


@pytest.mark.slow
def test_more_than_a_run_can_score_is_measured_in_part(site: Site) -> None:
    plan = begin(site, lines(entry(n, text=prose(1000, 7000 + n)) for n in range(100)), JSON_LINES)
    places = [int(one["id"][1:]) for one in site.documents(STAGED)]
    assert len(places) == MAXIMUM_WORDS // 1000
    assert places[0] < 3 and places[-1] > 96, "from all over it"
    assert "of which 50 from all over it are measured" in plan["evaluation"]["outsideText"]
