"""What the report says in cases that few runs meet."""

from __future__ import annotations

import re
import zlib
from typing import Any

import pytest

from common.contracts.plan import Plan
from report import files, summary
from report.content import recall, run, seeds
from report.content.blocks import Notice, Para, Section
from report.content.headline import headline
from report.content.meaning import _share
from report.formatting import money
from report.html import page
from report.pdf import document as pdf
from tests.unit.report.test_pages import pdf_text


def words_of(section: Section | None) -> str:
    assert section is not None
    return " ".join(block.text for block in section.blocks if isinstance(block, Notice | Para))


def limits(document: Any) -> str:
    return str(run.limits(document, True).blocks)


@pytest.mark.parametrize(
    ("count", "told"), [(0, False), (1, "Only 1 held-out document:"), (4, "Only 4 held-out documents:"), (10, False)]
)
def test_few_documents_are_told_and_none_are_not_called_few(made: dict[str, Any], count: int, told: str | bool) -> None:
    one = made["improved"]
    one["heldout"]["documents_count"] = count
    assert (told in limits(one)) if isinstance(told, str) else "Only" not in limits(one).split("Held-out")[0]


@pytest.mark.parametrize(
    ("given", "domain"), [({}, "medical"), ({"corpus": "corpora/mine.txt"}, None), ({"seed": 7}, "medical")]
)
def test_the_domain_is_that_of_the_text_that_was_learnt(given: dict[str, Any], domain: str | None) -> None:
    plan: Any = {"runName": "r", "domain": "medical", "executionArn": "arn:r", "input": given}
    assert files.run_facts(plan, {"reservedCents": 1, "capCents": 2})["domain"] == domain
    served: Plan = {**plan, "domain": "finance", "input": {"adapterUri": "s3://b/runs/r/"}}  # type: ignore[typeddict-item]
    assert files.run_facts(served, {"reservedCents": 1, "capCents": 2}, learnt=plan)["domain"] == domain


def test_an_endpoint_that_stays_is_waited_for_until_the_cost_is_known(made: dict[str, Any]) -> None:
    one = made["improved"]
    one["cost"]["actual_cents"] = None
    assert "a few minutes after the run's end." in words_of(run.cost(one))
    one["configuration"]["input"] = {"keepEndpointMinutes": 30}
    assert "after the 30 minutes that its endpoint was asked to stay." in words_of(run.cost(one))


@pytest.mark.parametrize(("actual", "back"), [(400, True), (600, False)])
def test_what_was_used_up_does_not_go_back(made: dict[str, Any], actual: int, back: bool) -> None:
    one = made["improved"]
    one["cost"] |= {"actual_cents": actual, "reserved_cents": 600}
    assert ("The rest went back." in page.render(one)) == back


def test_a_debt_has_its_sign_before_the_dollars() -> None:
    assert (money(-67), money(67), money(0), money(None)) == ("\u2212$0.67", "$0.67", "$0.00", "\u2013")


def test_seeds_that_were_never_trained_were_not_made_again(made: dict[str, Any]) -> None:
    one = made["seeds"]
    assert "was made again with the other seeds below" in words_of(seeds.seeds(one))
    one["seeds"]["results"] = one["seeds"]["results"][:1]
    assert "made again" not in words_of(seeds.seeds(one))


def test_a_spread_that_is_not_nothing_is_not_written_as_nothing(made: dict[str, Any]) -> None:
    spread: Any = {"seeds": 3, "lowest": -0.0002, "highest": -0.0001, "standard_deviation": 0.00005, "agree": True}
    assert "from \u22120.0002 to \u22120.0001 nats" in seeds._sentence("held-out text", spread, None)


def test_a_gain_that_was_shown_is_not_told_as_nothing() -> None:
    assert _share({"difference": {"estimate": -0.0002, "standard_error": 0.00001}}) == "less than 0.1\u00a0%"
    assert _share({"difference": {"estimate": -0.02, "standard_error": 0.001}}) == "2.0\u00a0%"


def test_why_key_facts_are_not_reported(made: dict[str, Any]) -> None:
    one = made["improved"]
    one["recall"]["knowledge"]["all"] = None
    assert "Only prompts of general knowledge have key facts" in words_of(recall.recall(one))
    one["recall"] = None
    assert "was answered by both models" in words_of(recall.recall(one))
    one["prompts"] = [{**row, "facts": []} for row in one["prompts"]]
    assert "No prompt of this run has key facts to look for" in words_of(recall.recall(one))
    assert "Key facts found are marked" not in page.render(one)


def test_a_failed_run_does_not_deny_the_outside_text_that_it_was_given() -> None:
    failed = summary.failure({"run": "r", "input": {"heldOutside": "corpora/o.jsonl"}}, "FAILED", "E", "cause")
    assert "no loss came back" in failed["does_not_say"][0]
    assert "no outside text was given" in summary.failure({"run": "r"}, "FAILED", "E", "cause")["does_not_say"][0]


def test_an_end_that_nobody_knows_has_no_comma_behind_it(made: dict[str, Any]) -> None:
    assert ("Status", "ended, nobody knows how") in headline(made["improved"] | {"status": "UNKNOWN"}).facts


def test_letters_that_the_pdf_lacks_are_announced_and_the_page_finds_their_direction(made: dict[str, Any]) -> None:
    one = made["improved"]
    note = "Letters that the fonts of this file lack"
    assert note not in pdf_text(pdf.render(one))
    one["prompts"][0]["tuned"]["greedy"]["text"] = "\u05e9\u05dc\u05d5\u05dd"
    assert note in " ".join(pdf_text(pdf.render(one)).split())
    assert '<p class="answer" dir="auto">\u05e9\u05dc\u05d5\u05dd</p>' in page.render(one)


def test_the_pdf_holds_the_adapters_whole_address(made: dict[str, Any]) -> None:
    one = made["improved"]
    uri = "s3://captune-storage-data-123456789012/runs/" + "captune-run-of-a-name-of-some-length/" * 3 + "output/model/"
    one["configuration"]["adapter_uri"] = uri
    assert uri in "".join(pdf_text(pdf.render(one)).split())


def test_a_chart_of_hundreds_of_documents_stays_on_its_page(made: dict[str, Any]) -> None:
    one = made["improved"]
    rows = one["heldout"]["documents"]
    one["heldout"]["documents"] = [
        {**rows[0], "id": f"d{number}", "title": f"Document {number}"} for number in range(560)
    ]
    one["heldout"]["documents_count"] = 560
    assert lowest(pdf.render(one)) > 20


def lowest(made: bytes) -> float:
    """How near to the foot of its page anything is written, in points."""
    streams = [
        zlib.decompress(one).decode("latin-1") for one in re.findall(rb"stream\n(.*?)\nendstream", made, re.DOTALL)
    ]
    return min(float(y) for stream in streams for y in re.findall(r"rg [-\d.]+ ([-\d.]+) Td", stream))
