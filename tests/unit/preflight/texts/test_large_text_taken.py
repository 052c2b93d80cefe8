"""What is taken of a corpus that is too large to be held: about as much as was asked for, under its own titles, and each file looked at once."""

from __future__ import annotations

import pytest

from common.errors import DatasetChanged, DatasetRejected
from preflight import staging
from preflight.texts import text_file
from preflight.texts.prose import Prose
from tests.doubles import MovedTime
from tests.doubles.preflight_site import Site, titled
from tests.doubles.texts.made_up_prose import prose
from tests.doubles.texts.prompt_lines import GOOD
from tests.doubles.texts.prompt_lines import lines as json_lines

MINE = {"corpus": "corpora/mine.txt"}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    """An account in which what has more than 16 kB is large, of which a run can learn a megabyte."""
    monkeypatch.setattr("common.storage.PIECE_BYTES", 1000)
    monkeypatch.setattr(text_file, "MAXIMUM_BYTES", 16_000)
    monkeypatch.setattr("preflight.learnable.most_bytes", lambda *_: 10**6)
    return Site(monkeypatch)


def corpus(site: Site) -> str:
    return site.staged["input/corpus/corpus.txt"].decode()


class TestAsManyWordsAsTheSettingAsksFor:
    def test_are_taken_of_documents_that_are_each_longer_than_that(self, site: Site) -> None:
        site.settings["corpus_words"] = 1200
        site.upload("mine.txt", titled(20, 3000, 100))
        plan = site.begin(MINE)
        assert plan["corpus"]["documents"] == 1
        assert 1100 < plan["corpus"]["words"] < 1300
        assert corpus(site).startswith("# Part 0\n\n")

    @pytest.mark.parametrize("blank", [b"\n" * 9000, b"\n", b" \n" * 9000 + b"# A title without text\n\n"])
    def test_are_taken_of_a_text_that_begins_with_nothing(self, site: Site, blank: bytes) -> None:
        site.settings["corpus_words"] = 2000
        site.upload("mine.txt", blank + titled(60, 100, 100))
        assert 1500 < site.begin(MINE)["corpus"]["words"] < 2500

    def test_are_named_as_the_reason_only_where_they_are_it(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        content = titled(200, 100, 100)
        # One that a division by the size and a multiplication do not give back.
        most = next(n for n in range(len(content) // 4, len(content)) if n / len(content) * len(content) < n)
        monkeypatch.setattr("preflight.learnable.most_bytes", lambda *_: most)
        site.settings["corpus_words"] = 10**6
        site.upload("mine.txt", content)
        assert any("a run of this length learns no more" in told for told in site.run(MINE)["warnings"])


class TestTitles:
    def test_parts_of_a_long_document_have_its_own(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("preflight.texts.stream.LONGEST_PART", 2000)
        long = "# Long\n\n" + "\n\n".join(prose(60, n) for n in range(900, 930))
        site.upload("mine.txt", titled(40, 100, 100) + b"\n\n" + long.encode())
        site.begin(MINE)
        titles = [line for line in corpus(site).split("\n") if line.startswith("# ")]
        assert titles.count("# Long") > 3
        assert all(title == "# Long" or title.startswith("# Part ") for title in titles)

    def test_text_before_the_first_is_called_as_in_a_small_file(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.upload("mine.txt", prose(100, 7).encode() + b"\n\n" + titled(60, 100, 100))
        site.begin(MINE)
        large = corpus(site)
        monkeypatch.setattr(text_file, "MAXIMUM_BYTES", 10**6)
        site.begin(MINE)
        assert large == corpus(site)

    def test_an_indented_line_is_none_for_a_stream_and_for_a_whole_text(self) -> None:
        text = "# Title\n\n" + " # not one\n" * 40 + prose(150, 1)
        counted = Prose(1000)
        counted.add(text, 1)
        words = "has 270 words beside its title lines"
        with pytest.raises(DatasetRejected, match=words):
            counted.refuse("a")
        with pytest.raises(DatasetRejected, match=words):
            text_file.check(text, "a", 1000)

    def test_a_corpus_with_text_under_those_alone_that_are_held_out_is_refused(self, site: Site) -> None:
        # Of twenty documents six are held out, the second among them.
        empty = b"".join(b"# Part %d\n\n" % n for n in range(2, 20))
        site.upload("mine.txt", b"# Part 0\n\n# Part 1\n\n" + prose(4000, 1).encode() + b"\n\n" + empty)
        assert "nothing is left to learn" in site.refusal(DatasetRejected, MINE)


class TestEachFile:
    def test_is_asked_for_its_size_once(self, site: Site) -> None:
        site.upload("mine.txt", titled(60, 100, 100))
        site.upload("others.txt", titled(8, 60, 9000))
        site.run(MINE | {"heldOutside": "corpora/others.txt"})
        asked = [request["Key"] for request in site.s3.called("head_object")]
        assert sorted(asked) == ["corpora/mine.txt", "corpora/others.txt"]

    def test_beside_it_is_read_once(self, site: Site) -> None:
        site.upload("mine.txt", titled(60, 100, 100))
        site.upload("others.txt", titled(8, 60, 9000))
        site.run(MINE | {"heldOutside": "corpora/others.txt"})
        read = [request["Key"] for request in site.s3.called("get_object")]
        assert read.count("corpora/others.txt") == 1

    def test_has_the_time_that_the_prompts_have_left(
        self, site: Site, monkeypatch: pytest.MonkeyPatch, clock: MovedTime
    ) -> None:
        parse = staging.prompt_file.parse

        def slow(content: bytes, name: str) -> list[dict[str, object]]:
            clock.now += 30
            return parse(content, name)

        monkeypatch.setattr(staging.prompt_file, "parse", slow)
        monkeypatch.setattr("preflight.checks.READ_SECONDS", 29)
        site.upload("mine.txt", titled(60, 100, 100))
        site.upload("prompts.jsonl", json_lines(GOOD))
        assert "could not be read and checked in -1 seconds" in site.refusal(
            DatasetRejected, MINE | {"prompts": "corpora/prompts.jsonl"}
        )
        monkeypatch.setattr("preflight.checks.READ_SECONDS", 31)
        assert site.run(MINE | {"prompts": "corpora/prompts.jsonl"})["corpus"]["prompts"] == 1

    def test_has_the_time_that_the_quotas_have_left(
        self, site: Site, monkeypatch: pytest.MonkeyPatch, clock: MovedTime
    ) -> None:
        tell = site.quotas.on_get_service_quota

        def slow(**asked: str) -> dict[str, object]:
            clock.now += 15
            return tell(**asked)

        monkeypatch.setattr(site.quotas, "on_get_service_quota", slow)
        monkeypatch.setattr("preflight.checks.READ_SECONDS", 29)
        site.upload("mine.txt", titled(60, 100, 100))
        assert "could not be read and checked in -1 seconds" in site.refusal(DatasetRejected, MINE)
        monkeypatch.setattr("preflight.checks.READ_SECONDS", 31)
        assert site.run(MINE)["corpus"]["words"] > 1000

    def test_is_not_said_to_have_changed_where_it_only_took_too_long_to_be_read_again(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.upload("mine.txt", titled(60, 100, 100))
        plan = site.run(MINE)
        monkeypatch.setattr("stage.copying.READ_SECONDS", -1)
        with pytest.raises(DatasetChanged, match="or could not be read in time. corpora/mine.txt has"):
            site.stage(plan)

    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> MovedTime:
        """The clock by which texts are read."""
        clock = MovedTime()
        for module in ("preflight.checks", "preflight.staging", "preflight.texts.large_text"):
            monkeypatch.setattr(f"{module}.time", clock)
        return clock
