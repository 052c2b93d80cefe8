"""A corpus that is too large to be held: read as a stream, checked and split, and staged no more of than a run can learn."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from common.environment import RunSettings
from common.errors import DatasetChanged, DatasetRejected, HeldOutLeaks, PatientDataSuspected
from preflight.learnable import most_bytes
from preflight.model import catalogued
from preflight.request import Request
from preflight.texts import large_text, text_file
from tests.doubles.lambda_fakes import S3
from tests.doubles.preflight_site import Site, titled
from tests.doubles.run_settings import SETTINGS
from tests.doubles.texts.made_up_prose import prose

MINE = {"corpus": "corpora/mine.txt"}
# Of the staged input of three runs, as it was before large corpora could be read; the prompts that are made from a user's text have changed since.
STAGED = {
    "the project's own": "cb0b42372c23c795163a25cd9acbb556112dd965f95c9008aa606e1a9b940a20",
    "documents": "c6114ba0b0170e6bf394b960e69e17c1122bc471a831108d9d4c3f1c6f087f09",
    "one text without titles": "c2865f3e54af791f8e1e27c7d583395aad2d31d0de3ef10379fc31a8bb795811",
}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    """An account in which what has more than 16 kB is large, and is read in pieces of 1,000 bytes."""
    monkeypatch.setattr("common.storage.PIECE_BYTES", 1000)
    monkeypatch.setattr(text_file, "MAXIMUM_BYTES", 16_000)
    return Site(monkeypatch)


@pytest.fixture
def learns(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets how many bytes a run can learn in its time."""
    return lambda count: monkeypatch.setattr("preflight.learnable.most_bytes", lambda *_: count)


def lines(site: Site, path: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in site.staged[path].splitlines()]


def corpus(site: Site) -> str:
    return site.staged["input/corpus/corpus.txt"].decode()


class TestATextBelowTheLimit:
    @pytest.mark.parametrize("kind", STAGED)
    def test_is_staged_byte_for_byte_as_it_was_before_there_were_larger_ones(
        self, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        site = Site(monkeypatch)
        site.upload("documents.txt", titled(40, 150, 7))
        site.upload("one.txt", b"\n\n".join(prose(90, n).encode() for n in range(50)))
        given = {"the project's own": {}, "documents": {"corpus": "corpora/documents.txt"}}
        plan = site.begin(given.get(kind, {"corpus": "corpora/one.txt"}))
        assert plan["inputDigest"] == STAGED[kind]


class TestDocumentsUnderTitles:
    def test_a_tenth_of_them_is_held_out_and_all_others_are_learnt(
        self, site: Site, learns: Callable[[int], None]
    ) -> None:
        learns(10**6)
        site.upload("mine.txt", titled(60, 100, 100))
        plan = site.begin(MINE)
        held = [f"Part {n}" for n in (5, 15, 25, 35, 45, 55)]
        assert [one["title"] for one in lines(site, "input/evaluation/heldout.jsonl")] == held
        told = [line.removeprefix("# ") for line in corpus(site).split("\n") if line.startswith("# ")]
        assert told == [f"Part {n}" for n in range(60) if f"Part {n}" not in held]
        assert plan["corpus"]["documents"] == 54
        assert not any("MiB" in warning for warning in plan["warnings"]), "nothing is left out"

    def test_they_are_staged_as_a_smaller_file_of_them_would_be(
        self, site: Site, learns: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        learns(10**6)
        site.upload("mine.txt", titled(60, 100, 100))
        site.begin(MINE)
        large = corpus(site)
        monkeypatch.setattr(text_file, "MAXIMUM_BYTES", 10**6)
        site.begin(MINE)
        assert corpus(site) == large

    def test_of_more_than_a_run_can_learn_documents_from_all_over_it_are_taken_and_the_plan_tells_how_much(
        self, site: Site, learns: Callable[[int], None]
    ) -> None:
        content = titled(200, 100, 100)
        learns(len(content) // 4)
        site.upload("mine.txt", content)
        plan = site.begin(MINE)
        numbers = [int(line.removeprefix("# Part ")) for line in corpus(site).split("\n") if line.startswith("# ")]
        assert 0.2 < len(corpus(site)) / len(content) < 0.27
        assert all(1 <= after - before <= 8 for before, after in zip(numbers, numbers[1:], strict=False))
        (told,) = [warning for warning in plan["warnings"] if "MiB" in warning]
        assert (
            f"{plan['corpus']['documents']} documents or passages from all over it: a run of this length learns no more"
            in told
        )

    def test_a_document_that_is_longer_than_is_held_comes_in_parts(
        self, site: Site, learns: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        learns(10**6)
        monkeypatch.setattr("preflight.texts.stream.LONGEST_PART", 2000)
        long = "# Long\n\n" + "\n\n".join(prose(60, n) for n in range(900, 930))
        site.upload("mine.txt", titled(40, 100, 100) + b"\n\n" + long.encode())
        site.begin(MINE)
        assert all(prose(60, n) in corpus(site) for n in range(900, 930))

    def test_it_is_the_setting_that_takes_less_where_it_asks_for_less(
        self, site: Site, learns: Callable[[int], None]
    ) -> None:
        learns(10**6)
        site.settings["corpus_words"] = 2000
        site.upload("mine.txt", titled(60, 100, 100))
        plan = site.begin(MINE)
        assert 1600 < plan["corpus"]["words"] < 2400
        assert any("corpus_words asks for no more" in warning for warning in plan["warnings"])


def test_a_text_with_few_titles_is_learnt_and_measured_in_passages(site: Site, learns: Callable[[int], None]) -> None:
    learns(10**6)
    site.upload("mine.txt", b"\n\n".join(prose(200, n).encode() for n in range(500, 700)))
    plan = site.begin(MINE)
    held = lines(site, "input/evaluation/heldout.jsonl")
    assert len(held) >= 6
    assert all(one["text"] not in corpus(site) for one in held)
    assert any("was cut into passages" in warning for warning in plan["warnings"])


def test_held_out_text_of_the_users_is_measured_and_the_whole_corpus_learnt(
    site: Site, learns: Callable[[int], None]
) -> None:
    learns(10**6)
    site.upload("mine.txt", titled(60, 100, 100))
    site.upload("held.txt", titled(8, 60, 9000))
    plan = site.begin(MINE | {"heldOut": "corpora/held.txt"})
    assert (plan["corpus"]["documents"], plan["evaluation"]["heldOutDocuments"]) == (60, 8)


class TestWhatIsRefused:
    @pytest.fixture(autouse=True)
    def _learns(self, learns: Callable[[int], None]) -> None:
        learns(10**6)

    def test_more_than_a_gibibyte_by_its_size_alone(self, site: Site) -> None:
        site.s3.sizes["corpora/mine.txt"] = 2**30 + 1
        assert "1,024.0 MiB; at most 1,024 MiB" in site.refusal(DatasetRejected, MINE)

    def test_data_of_persons_by_its_line(self, site: Site) -> None:
        content = titled(60, 100, 100) + b"\n\nMRN: 12345678\n"
        site.upload("mine.txt", content)
        line = content.count(b"\n")
        assert (
            f"corpora/mine.txt looks as if it held data of persons (line {line}: a medical record number)"
            in site.refusal(PatientDataSuspected, MINE)
        )

    @pytest.mark.parametrize("cut", range(-3, 4))
    def test_what_is_not_utf8_by_its_byte_and_its_line_wherever_a_piece_ends(self, site: Site, cut: int) -> None:
        content = bytearray(titled(60, 100, 100).replace(b"\n", b"\r\n"))
        place = 17_000 + cut
        content[place] = 0xE9
        site.upload("mine.txt", bytes(content))
        line = bytes(content[:place]).replace(b"\r\n", b"\n").replace(b"\r", b"\n").count(b"\n") + 1
        assert f"byte {place} in line {line} cannot be read" in site.refusal(DatasetRejected, MINE)

    def test_a_text_that_ends_in_the_middle_of_a_character(self, site: Site) -> None:
        content = titled(60, 100, 100) + "é".encode()[:1]
        site.upload("mine.txt", content)
        assert f"byte {len(content) - 1} in line" in site.refusal(DatasetRejected, MINE)

    def test_a_file_that_is_no_text_by_the_place_of_its_zero_byte(self, site: Site) -> None:
        content = titled(60, 100, 100) + b"\0"
        site.upload("mine.txt", content)
        assert f"zero byte at position {len(content) - 1}" in site.refusal(DatasetRejected, MINE)

    def test_one_line_over_and_over_by_a_line_of_them_and_their_number(self, site: Site) -> None:
        content = titled(25, 100, 100) + b"\nthe same line again and again, and nothing else at all\n" * 900
        site.upload("mine.txt", content)
        line = content.count(b"\n")
        assert f"line {line} stands there 900 times" in site.refusal(DatasetRejected, MINE)

    def test_a_text_without_words_to_learn_from(self, site: Site) -> None:
        site.upload("mine.txt", b"".join(b"- " * n + b"\n" for n in range(1, 400)))
        assert "has only 1 different words in" in site.refusal(DatasetRejected, MINE)

    def test_a_text_with_hardly_any_words(self, site: Site) -> None:
        site.upload("mine.txt", b"\n".join(bytes([97 + n % 26]) * (20 + n) for n in range(300)))
        assert "has 300 words beside its title lines; at least 1000 are needed" in site.refusal(DatasetRejected, MINE)

    def test_held_out_text_that_the_corpus_holds(self, site: Site) -> None:
        site.upload("mine.txt", titled(60, 100, 100))
        site.upload("held.txt", titled(8, 60, 9000) + b"\n\n" + prose(100, 120).encode())
        message = site.refusal(HeldOutLeaks, MINE | {"heldOut": "corpora/held.txt"})
        assert "corpora/held.txt, line" in message

    def test_outside_text_that_the_corpus_holds(self, site: Site) -> None:
        site.upload("mine.txt", titled(60, 100, 100))
        site.upload("others.txt", titled(8, 60, 9000) + b"\n\n# Ours\n\n" + prose(100, 120).encode())
        message = site.refusal(HeldOutLeaks, MINE | {"heldOutside": "corpora/others.txt"})
        assert "The document “Ours” of the outside text corpora/others.txt shares eight words" in message

    def test_a_corpus_that_says_everything_twice(self, site: Site) -> None:
        site.upload("mine.txt", titled(55, 100, 100) + b"\n\n" + titled(55, 100, 100))
        assert "Every part of corpora/mine.txt" in site.refusal(HeldOutLeaks, MINE)

    def test_one_that_takes_too_long_to_be_read(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("preflight.checks.READ_SECONDS", -1)
        site.upload("mine.txt", titled(60, 100, 100))
        assert "could not be read and checked in -1 seconds. Give a part of it" in site.refusal(DatasetRejected, MINE)

    def test_one_that_is_replaced_while_it_is_read(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        site.upload("mine.txt", titled(60, 100, 100))
        read = S3.on_get_object

        def replaced(self: S3, Bucket: str, Key: str, **more: str) -> object:
            answer = read(self, Bucket, Key, **more)
            if more.get("Range", "").startswith("bytes=4000-"):
                monkeypatch.setattr(S3, "_etag", lambda *_: '"another"')
            return answer

        monkeypatch.setattr(S3, "on_get_object", replaced)
        assert "corpora/mine.txt was replaced while it was read" in site.refusal(DatasetChanged, MINE)


class TestHowMuchARunCanLearn:
    @staticmethod
    def bytes_of(**settings: object) -> int:
        read = RunSettings.from_json(json.dumps({**SETTINGS, **settings}))
        return most_bytes(read, Request(), catalogued(read))

    def test_goes_by_the_time_the_speed_of_the_card_and_the_passes(self) -> None:
        # 6,000 seconds beside image, weights, loading and saving, at 1,190 tokens a second of 4 bytes, and a quarter more.
        assert self.bytes_of(max_training_seconds=7200, epochs=2) == 6000 * 1190 * 4 * 5 // 4 // 2

    def test_leaves_out_the_time_that_a_larger_download_takes(self) -> None:
        read = RunSettings.from_json(json.dumps({**SETTINGS, "max_training_seconds": 7200, "epochs": 2}))
        model = replace(catalogued(read), downloaded_bytes=28 * 10**9)  # 280 seconds, where the allowances hold 180
        assert most_bytes(read, Request(), model) == 5900 * 1190 * 4 * 5 // 4 // 2

    def test_is_no_less_than_a_corpus_that_is_taken_whole_and_no_more_than_can_be_checked(self) -> None:
        assert self.bytes_of(max_training_seconds=1800, epochs=3) == text_file.MAXIMUM_BYTES
        assert self.bytes_of(max_training_seconds=21600, epochs=1) == large_text.MOST_LEARNT_BYTES

    def test_is_what_can_be_checked_where_nobody_has_measured_the_card(self) -> None:
        assert self.bytes_of(training_instance_types=["ml.g6.2xlarge"]) == large_text.MOST_LEARNT_BYTES
