"""StageInput: the run gets what was checked, once the prefix is its own, or nothing at all."""

from __future__ import annotations

import json

import pytest

from common.errors import BudgetExceeded, DatasetChanged, RunNameTaken, ServiceUnreachable
from preflight import staging
from tests.doubles.lambda_fakes import refusal
from tests.doubles.preflight_site import KEPT, Site
from tests.doubles.texts.made_up_prose import prose
from tests.doubles.texts.prompt_lines import GOOD
from tests.doubles.texts.prompt_lines import lines as json_lines

MINE = {"corpus": "corpora/mine.txt", "prompts": "corpora/p.jsonl"}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    site = Site(monkeypatch)
    site.upload("mine.txt", prose(3000, 7).encode())
    site.upload("p.jsonl", json_lines(GOOD))
    return site


class TestARunThatIsRefused:
    def test_it_leaves_the_corpus_of_the_run_whose_name_it_asks_for(self, site: Site) -> None:
        site.begin(MINE)
        site.ledger.with_run("abc", execution_arn="arn:of:another")
        before = dict(site.staged)
        site.refusal(RunNameTaken, {})
        assert site.staged == before

    def test_one_without_money_leaves_nothing(self, site: Site) -> None:
        site.cap_cents = 1
        site.refusal(BudgetExceeded)
        assert not site.staged


class TestAFileThatChangesInBetween:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("mine.txt", prose(3000, 8).encode()),
            ("mine.txt", prose(3000, 7).encode() + b" more."),
            ("mine.txt", b"far too short"),
            ("p.jsonl", json_lines({**GOOD, "prompt": "What else?"})),
            ("p.jsonl", b"no prompts"),
        ],
        ids=["another text", "a word more", "a text that is refused", "another prompt", "prompts that are refused"],
    )
    def test_it_ends_the_run_by_name_before_anything_is_written(self, site: Site, name: str, content: bytes) -> None:
        plan = site.run(MINE)
        site.upload(name, content)
        with pytest.raises(DatasetChanged, match=f"corpora/{name}"):
            site.stage(plan)
        assert not site.staged

    def test_one_that_was_deleted_does_too(self, site: Site) -> None:
        plan = site.run(MINE)
        del site.s3.objects["bucket", "corpora/mine.txt"]
        with pytest.raises(DatasetChanged, match="There is no corpora/mine.txt"):
            site.stage(plan)

    def test_other_deployed_data_do_too(self, site: Site) -> None:
        plan = site.run()
        site.data["control.txt"] += b" More."
        site.deploy()
        with pytest.raises(DatasetChanged, match="what is deployed was changed"):
            site.stage(plan)

    def test_another_file_beside_it_does_not(self, site: Site) -> None:
        plan = site.run(MINE)
        site.upload("other.txt", b"anything")
        assert site.stage(plan)["inputDigest"] == plan["inputDigest"]


class TestTwice:
    def test_what_was_staged_stays_whatever_becomes_of_the_users_files(self, site: Site) -> None:
        plan = site.begin(MINE)
        before = dict(site.staged)
        site.upload("mine.txt", prose(3000, 9).encode())
        assert site.stage(plan) == {"runName": "captune-abc", "inputDigest": plan["inputDigest"]}
        assert site.staged == before

    def test_it_goes_on_where_s3_failed_it(self, site: Site) -> None:
        plan = site.run(MINE)
        site.s3.troubles["put_object"] = [refusal("SlowDown")]
        with pytest.raises(ServiceUnreachable, match="copy of the run's input"):
            site.stage(plan)
        site.stage(plan)
        assert json.loads(site.staged["plan.json"]) == plan

    def test_the_plan_is_written_last_so_that_where_it_lies_all_else_does(self, site: Site) -> None:
        site.begin(MINE)
        written = [request["Key"] for request in site.s3.called("put_object")]
        assert written[-1] == f"{KEPT}plan.json"
        assert len(written) == len(set(written)) == len(site.staged)

    def test_a_part_without_the_plan_is_staged_again(self, site: Site) -> None:
        plan = site.begin(MINE)
        before = dict(site.staged)
        del site.s3.objects["bucket", f"{KEPT}plan.json"]
        site.s3.objects["bucket", f"{KEPT}input/corpus/corpus.txt"] = b"half of"
        site.stage(plan)
        assert site.staged == before


class TestTheDigest:
    def test_it_is_the_same_in_any_order(self) -> None:
        assert staging.digest({"a": b"1", "b": b"2"}) == staging.digest({"b": b"2", "a": b"1"})

    @pytest.mark.parametrize(
        "other", [{"a": b"12"}, {"a": b"1", "c": b"2"}, {"a": b"1", "b": b"3"}, {"a": b"1 1 b 1 2"}]
    )
    def test_it_is_another_for_other_paths_and_contents(self, other: dict[str, bytes]) -> None:
        assert staging.digest({"a": b"1", "b": b"2"}) != staging.digest(other)

    def test_it_covers_every_file_that_is_staged(self, site: Site) -> None:
        plan = site.begin(MINE)
        files = {path: content for path, content in site.staged.items() if path != "plan.json"}
        assert plan["inputDigest"] == staging.digest(files)
