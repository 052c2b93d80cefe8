"""A corpus too large to be held: read as a stream, checked, and staged no more of than a run can learn."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from common.environment import RunSettings
from common.errors import CaptuneError, DatasetChanged, DatasetRejected, HeldOutLeaks, PatientDataSuspected
from preflight.learnable import most_bytes
from preflight.model import catalogued
from preflight.request import Request
from preflight.texts import large_text, text_file
from tests.doubles.lambda_fakes import S3
from tests.doubles.preflight_site import Site, titled
from tests.doubles.run_settings import SETTINGS
from tests.doubles.texts.made_up_prose import prose

MINE = {"corpus": "corpora/mine.txt"}
DOCUMENTS = titled(60, 100, 100)
REFUSED: list[tuple[bytes, type[CaptuneError], str]] = [
    (DOCUMENTS + b"\n\nMRN: 12345678\n", PatientDataSuspected, "a medical record number"),
    (DOCUMENTS[:17_000] + b"\xe9" + DOCUMENTS[17_001:], DatasetRejected, "byte 17000 in line"),
    (DOCUMENTS + b"\0", DatasetRejected, f"zero byte at position {len(DOCUMENTS)}"),
    (titled(25, 100, 1) + b"\nthe same line, and nothing else\n" * 900, DatasetRejected, "900 times"),
]


@pytest.fixture
def site(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """An account in which more than 16 kB are large and read in pieces of 1,000 bytes, and a run learns a megabyte."""
    monkeypatch.setattr("common.storage.PIECE_BYTES", 1000)
    monkeypatch.setattr(text_file, "MAXIMUM_BYTES", 16_000)
    monkeypatch.setattr("preflight.learnable.most_bytes", lambda *_: 10**6)
    return site


def titles(site: Site) -> list[str]:
    """The titles of what is learnt."""
    return re.findall(r"(?m)^# (.*)$", site.staged["input/corpus/corpus.txt"].decode())


def held_out(site: Site) -> list[dict[str, str]]:
    return [json.loads(line) for line in site.staged["input/evaluation/heldout.jsonl"].splitlines()]


def test_large_corpus_is_staged_like_a_small_one(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    # Characters and line ends of several bytes, which a piece may end in.
    site.upload("mine.txt", b"\xef\xbb\xbf" + DOCUMENTS.replace(b"e", "é中".encode()).replace(b"\n", b"\r\n"))
    plan = site.begin(MINE)
    assert len(held_out(site)) == 6 and plan["corpus"]["documents"] == len(titles(site)) == 54
    assert not {one["title"] for one in held_out(site)} & set(titles(site))
    large = site.staged["input/corpus/corpus.txt"]
    monkeypatch.setattr(text_file, "MAXIMUM_BYTES", 10**6)
    site.begin(MINE)
    assert site.staged["input/corpus/corpus.txt"] == large


def test_no_more_is_learnt_than_a_run_can_from_all_over_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    content = titled(200, 100, 100)
    monkeypatch.setattr("preflight.learnable.most_bytes", lambda *_: len(content) // 4)
    site.upload("mine.txt", content)
    assert any("a run of this length learns no more" in warning for warning in site.begin(MINE)["warnings"])
    assert 0.2 < len(site.staged["input/corpus/corpus.txt"]) / len(content) < 0.27
    numbers = [int(title.removeprefix("Part ")) for title in titles(site)]
    assert all(1 <= after - before <= 8 for before, after in zip(numbers, numbers[1:], strict=False))


@pytest.mark.parametrize(("content", "kind", "words"), REFUSED)
def test_unusable_large_corpus_is_refused(site: Site, content: bytes, kind: type[CaptuneError], words: str) -> None:
    site.upload("mine.txt", content)
    message = site.refusal(kind, MINE)
    assert words in message and "corpora/mine.txt" in message


@pytest.mark.parametrize("key", ["heldOut", "heldOutside"])
def test_measured_text_in_a_large_corpus_is_refused(site: Site, key: str) -> None:
    site.upload("mine.txt", DOCUMENTS)
    site.upload("apart.txt", titled(8, 60, 9000) + b"\n\n# Ours\n\n" + prose(100, 120).encode())
    assert "corpora/apart.txt" in site.refusal(HeldOutLeaks, {**MINE, key: "corpora/apart.txt"})


def test_corpus_replaced_while_it_is_read_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.upload("mine.txt", DOCUMENTS)
    read = S3.on_get_object

    def replaced(self: S3, Bucket: str, Key: str, **more: str) -> object:
        answer = read(self, Bucket, Key, **more)
        if more.get("Range", "").startswith("bytes=4000-"):
            monkeypatch.setattr(S3, "_etag", lambda *_: '"another"')
        return answer

    monkeypatch.setattr(S3, "on_get_object", replaced)
    assert "corpora/mine.txt was replaced while it was read" in site.refusal(DatasetChanged, MINE)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # 6,000 seconds of learning at 1,190 tokens a second, a token having 4 bytes, and a quarter more.
        ({"max_training_seconds": 7200, "epochs": 2}, 6000 * 1190 * 4 * 5 // 4 // 2),
        ({"max_training_seconds": 1800, "epochs": 3}, text_file.MAXIMUM_BYTES),
        ({"training_instance_types": ["ml.g6.2xlarge"]}, large_text.MOST_LEARNT_BYTES),
    ],
    ids=["time and speed", "no less than a small corpus", "a card of unknown speed"],
)
def test_bytes_that_a_run_learns(settings: dict[str, Any], expected: int) -> None:
    read = RunSettings.from_json(json.dumps({**SETTINGS, **settings}))
    assert most_bytes(read, Request(), catalogued(read)) == expected
