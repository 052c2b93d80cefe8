"""Text by others: how it enters the verdict, and that whoever reads the headline alone is told the truth."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from verification.experiments.reports import examples
from verification.experiments.reports.examples import finished, settled, with_outside_text
from verification.experiments.reports.made_up import metrics
from report.charts.drawing import Label
from report.content.blocks import Figure
from report.content.headline import headline
from report.content.sections import sections
from report.findings import analysis
from report.findings.verdict import IMPROVED, NOT_SHOWN, RULE, WORSE, WORSE_OUTSIDE, judge_loss
from report.html import page
from report.model_card import card
from report.pdf import document as pdf
from report.summary_types import Summary
from tests.unit.report.findings.test_analysis import FURTHER, GOOD
from tests.unit.report.test_pages import pdf_text

PROJECT = Path(__file__).resolve().parents[3]
FELL = GOOD["difference"]
ROSE = {"estimate": 0.1, "standard_error": 0.02, "low": 0.06, "high": 0.14}
UNCLEAR = {"estimate": -0.01, "standard_error": 0.02, "low": -0.05, "high": 0.03}


def outside(change: dict[str, float], **other: Any) -> dict[str, Any]:
    """A block of losses on outside text that changed so."""
    p_value = 0.4 if change is UNCLEAR else 0.001
    return {"documents_count": 40, "unusable_documents": 0, "difference": change, "p_value": p_value, **other}


class TestTheRule:
    def test_improved_needs_a_gain_on_outside_text_where_it_was_given(self) -> None:
        assert judge_loss(GOOD, FURTHER).verdict == IMPROVED
        assert judge_loss(GOOD, FURTHER, outside(FELL)).verdict == IMPROVED
        assert judge_loss(GOOD, FURTHER, outside(UNCLEAR)).verdict == NOT_SHOWN

    @pytest.mark.parametrize("held_out", [GOOD, {**GOOD, "difference": ROSE}, {**GOOD, "difference": UNCLEAR}, None])
    @pytest.mark.parametrize("beyond", [FURTHER, None])
    def test_outside_text_that_got_worse_decides_whatever_the_rest_says(self, held_out: Any, beyond: Any) -> None:
        assert judge_loss(held_out, beyond, outside(ROSE)).verdict == WORSE_OUTSIDE

    def test_a_gain_on_outside_text_alone_is_no_improvement(self) -> None:
        assert judge_loss({**GOOD, "difference": UNCLEAR, "p_value": 0.4}, FURTHER, outside(FELL)).verdict == NOT_SHOWN
        assert judge_loss(GOOD, None, outside(FELL)).verdict == NOT_SHOWN

    @pytest.mark.parametrize("others", [outside(FELL), outside(UNCLEAR), outside(FELL, documents_count=3)])
    def test_worse_on_held_out_documents_stays_worse_unless_the_outside_is(self, others: Any) -> None:
        assert judge_loss({**GOOD, "difference": ROSE}, FURTHER, others).verdict == WORSE

    @pytest.mark.parametrize(
        ("others", "why"),
        [
            ({"documents_count": 0, "unusable_documents": 0}, "it was not measured"),
            ({"documents_count": 0, "unusable_documents": 40}, "no usable loss was measured on 40 documents"),
            (outside(FELL, unusable_documents=1), "no usable loss was measured on 1 document of it"),
            (outside(ROSE, unusable_documents=1), "no usable loss was measured on 1 document of it"),
            (outside(FELL, documents_count=5), "only 5 documents"),
            (outside({**FELL, "high": math.nan}), "not a number"),
            (outside(FELL, p_value=None), "not a number"),
        ],
    )
    def test_outside_text_that_was_given_and_not_measured_shows_nothing(self, others: Any, why: str) -> None:
        judged = judge_loss(GOOD, FURTHER, others)
        assert judged.verdict == NOT_SHOWN
        assert why in judged.reason

    def test_the_interval_alone_or_the_test_alone_decides_nothing(self) -> None:
        assert judge_loss(GOOD, FURTHER, outside(ROSE, p_value=0.06)).verdict == NOT_SHOWN
        assert judge_loss(GOOD, FURTHER, outside({**ROSE, "low": -0.001})).verdict == NOT_SHOWN

    def test_the_declaration_repeats_the_rule_word_for_word(self) -> None:
        declared = (PROJECT / "evidence" / "DECLARATION.md").read_text("utf-8")
        assert RULE in " ".join(declared.replace("\n> ", " ").split())


@dataclass(frozen=True)
class Outcome:
    """An invented run, the headline that it must have, and words that would not be true of it."""

    made: Any
    verdict: str
    title: str
    reason_begins: str
    untrue: tuple[str, ...]


HELD_OUT = "held-out documents of the same corpus"
OUTCOMES = {
    "better on its own text, nobody else's was given": Outcome(
        lambda: settled(finished()),
        IMPROVED, f"Improved on {HELD_OUT}", f"On {HELD_OUT}, the loss of the tuned model fell", ("by others", "field"),
    ),
    "better on its own text and on that of others": Outcome(
        lambda: with_outside_text(-0.08),
        IMPROVED, f"Improved on {HELD_OUT} and on text by others", f"On {HELD_OUT}, the loss of the tuned model fell", ("field",),
    ),
    "better on its own text, worse on that of others": Outcome(
        lambda: with_outside_text(0.1),
        WORSE_OUTSIDE, "Worse on text by others", "On outside text, which others wrote, the loss of the tuned model rose", ("Improved", "fell"),
    ),
    "better on its own text, unclear on that of others": Outcome(
        lambda: with_outside_text(0.0),
        NOT_SHOWN, "No improvement shown on text by others", "The loss of the tuned model did not clearly fall on outside text", ("Improved", "Worse"),
    ),
    "nothing learned at all": Outcome(
        lambda: with_outside_text(0.0, effect=-0.01),
        NOT_SHOWN, f"No improvement shown on {HELD_OUT}", f"On {HELD_OUT}, the loss of the tuned model changed", ("Improved", "Worse"),
    ),
    "better on any text, so on its own too": Outcome(
        examples.control_gained_as_much,
        NOT_SHOWN, "No improvement shown: not clearly more than on unrelated text",
        f"The loss of the tuned model fell on {HELD_OUT}, but not clearly further than on control text", ("Improved", "Worse", "by others"),
    ),
    "too little held out to tell": Outcome(
        examples.too_few_documents,
        NOT_SHOWN, "Nothing can be shown: only 5 held-out documents", "The loss was measured on only 5 held-out documents.",
        ("mprove", "Worse", "by others"),
    ),
    "text by others that nobody measured": Outcome(
        examples.outside_not_measured,
        NOT_SHOWN, "Nothing can be shown: text by others was given but not measured", "Outside text was given, but it was not measured",
        ("mprove", "Worse"),
    ),
    "worse on its own text": Outcome(
        lambda: settled(finished(effect=0.12)),
        WORSE, f"Worse on {HELD_OUT}", f"On {HELD_OUT}, the loss of the tuned model rose", ("by others", "mprove", "field"),
    ),
    "better on conversations": Outcome(
        examples.of_conversations,
        IMPROVED, "Improved on held-out records of the same corpus", "On held-out records of the same corpus, the loss of the tuned model fell",
        ("documents", "by others", "field"),
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=list(OUTCOMES), name="told")
def _told(request: pytest.FixtureRequest) -> tuple[Outcome, Summary]:
    outcome = OUTCOMES[request.param]
    return outcome, outcome.made()


def test_the_sentence_that_a_hurried_reader_takes_away_is_true(told: tuple[Outcome, Summary]) -> None:
    outcome, made = told
    assert (made["verdict"], headline(made).title) == (outcome.verdict, outcome.title)
    assert headline(made).reason.startswith(outcome.reason_begins)
    assert not [word for word in outcome.untrue if word in headline(made).title]
    assert (
        headline(made).tone
        == {IMPROVED: "good", WORSE: "bad", WORSE_OUTSIDE: "bad", NOT_SHOWN: "neutral"}[outcome.verdict]
    )


def test_page_pdf_and_card_lead_with_the_same_sentence(told: tuple[Outcome, Summary]) -> None:
    outcome, made = told
    html, words = page.render(made), " ".join(pdf_text(pdf.render(made)).split())
    assert f"<h1>{outcome.title}</h1>" in re.sub(r"</?span[^>]*>", "", html)
    assert html.count('<span class="whole">held-out</span>') == outcome.title.count("held-out")
    assert words.index(outcome.title) < words.index("What the verdict says")
    assert f"**{outcome.title}.**" in card.render(made)


def test_every_outcome_keeps_to_the_schema(told: tuple[Outcome, Summary]) -> None:
    schema = json.loads((PROJECT / "lambdas" / "report" / "summary.schema.json").read_text("utf-8"))
    jsonschema.validate(told[1], schema)


def test_a_run_without_outside_text_says_so_wherever_it_is_read() -> None:
    made = settled(finished())
    plainly = "No outside text was given, so nothing is known about text of the field that others wrote."
    for text in (page.render(made), card.render(made), " ".join(pdf_text(pdf.render(made)).split())):
        assert plainly in text
    assert any("no outside text was given" in line for line in made["does_not_say"])


def test_with_outside_text_its_documents_are_shown_and_nothing_says_that_there_are_none() -> None:
    made = with_outside_text(-0.08)
    html = page.render(made)
    assert "No outside text was given" not in html + card.render(made)
    assert "40 documents that others wrote" in html and "corpora/heldoutside-others.jsonl" in html
    assert "Outside documents, loss in nats per token" in html
    assert "| outside, by others | Loss, nats per token |" in card.render(made)


def test_outside_text_of_which_no_loss_came_back_does_not_pass_for_none_given() -> None:
    measured = metrics(effect=-0.3)
    assert analysis.analyse(measured, [], [], [], resamples=300)["verdict"] == IMPROVED
    asked = analysis.analyse(measured, [], [], [], resamples=300, outside_given=True)
    assert (asked["verdict"], asked["outside"]["documents_count"]) == (NOT_SHOWN, 0)
    measured["evaluation"]["outside"] = {"documents": [], "tokens": 0}
    assert analysis.analyse(measured, [], [], [], resamples=300)["verdict"] == NOT_SHOWN


def test_a_smoke_run_is_not_judged_on_outside_text_either() -> None:
    found = analysis.analyse(metrics(outside=0.1), [], [], [], resamples=300, smoke=True)
    assert (found["verdict"], found["headline"]) == (NOT_SHOWN, "A smoke run: nothing is shown about the model")


def test_a_summary_of_an_older_deployment_keeps_its_headline() -> None:
    older: Any = {key: value for key, value in settled(finished()).items() if key not in ("headline", "outside")}
    assert headline(older).title == f"Improved on {HELD_OUT}"
    assert "outside" in {part.identifier for part in sections(older)}


def test_outside_text_that_was_not_measured_is_told_as_that_everywhere() -> None:
    made = examples.outside_not_measured()
    html, words = page.render(made), card.render(made)
    for text in (html, words):
        assert "Outside text was given, but no usable loss came back." in text
        assert "0 outside documents" not in text
    assert ">not measured<" in html  # its line in the first chart


def test_what_decides_comes_first_in_figures_and_chart() -> None:
    worse, better = with_outside_text(0.1), with_outside_text(-0.08)
    assert [name for name, _, _ in headline(worse).figures][:2] == ["Loss on text by others", "Held-out loss"]
    assert [name for name, _, _ in headline(better).figures][:2] == ["Held-out loss", "Loss on text by others"]
    for made, first in ((worse, "Outside text"), (better, "Held-out text")):
        figure = next(block for part in sections(made) for block in part.blocks if isinstance(block, Figure))
        assert next(item.text for item in figure.wide.items if isinstance(item, Label) and "text" in item.text) == first
    assert "s-bad-thick" in page.render(worse)
