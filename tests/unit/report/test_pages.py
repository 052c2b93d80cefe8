"""Page, PDF and model card: every kind of run renders, hostile text is shown as text, and all three say the same."""

from __future__ import annotations

import re
import zlib
from base64 import b64encode
from hashlib import sha256
from html import unescape
from typing import Any

import pytest

from report.content.headline import headline
from report.content.sections import sections
from report.findings.verdict import IMPROVED, NOT_SHOWN, WORSE, WORSE_OUTSIDE
from report.html import page
from report.model_card import card
from report.pdf import document as pdf
from verification.experiments.reports.examples import KINDS

HELD_OUT = "held-out documents of the same corpus"
GIVEN = "text by others was given but not measured"
# A kind of run, its verdict and its headline, which names the held-out text and never claims the field.
HEADLINES = {
    "improved": (IMPROVED, f"Improved on {HELD_OUT}"),
    "improved-outside": (IMPROVED, f"Improved on {HELD_OUT} and on text by others"),
    "worse-outside": (WORSE_OUTSIDE, "Worse on text by others"),
    "not-shown-outside": (NOT_SHOWN, "No improvement shown on text by others"),
    "not-shown": (NOT_SHOWN, f"No improvement shown on {HELD_OUT}"),
    "control-as-much": (NOT_SHOWN, "No improvement shown: not clearly more than on unrelated text"),
    "too-few": (NOT_SHOWN, "Nothing can be shown: only 5 held-out documents"),
    "outside-not-measured": (NOT_SHOWN, f"Nothing can be shown: {GIVEN}"),
    "worse": (WORSE, f"Worse on {HELD_OUT}"),
    "records": (IMPROVED, "Improved on held-out records of the same corpus"),
    "smoke": (NOT_SHOWN, "A smoke run: nothing is shown about the model"),
    "failed": (NOT_SHOWN, "The run failed before anything could be compared"),
    "aborted-early": (NOT_SHOWN, "The run was stopped before anything could be compared"),
}


def pdf_words(document: Any) -> str:
    """What the pages of the PDF show, in its order."""
    shown = []
    for stream in re.findall(rb"stream\n(.*?)\nendstream", pdf.render(document), re.DOTALL):
        codes = re.findall(r"<([0-9a-f]*)> Tj", zlib.decompress(stream).decode("ascii"))
        shown += [bytes.fromhex(code).decode("cp1252", "replace") for code in codes]
    return " ".join(" ".join(shown).replace("\xa0", " ").split())


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_run_has_a_page_that_runs_and_fetches_nothing(made: dict[str, Any], name: str) -> None:
    html = page.render(made[name])
    assert html.count("<h1") == html.count("</main>") == 1
    identifiers = re.findall(r'\bid="([^"]+)"', html)
    assert len(identifiers) == len(set(identifiers))
    assert set(re.findall(r'href="#([^"]+)"', html)) <= set(identifiers)
    assert not re.search(r"<(script|img|iframe|object|embed|form)\b|<[^>]+ (on\w+|style)=|url\(|@import", html)
    assert all(link.startswith("data:") for link in re.findall(r'<link[^>]* href="([^"]*)', html))
    assert not re.search("[\x00-\x08\x0e-\x1f\u202a-\u202e]", html)
    # The policy forbids both, and stands before what it governs.
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    expected = {"default-src 'none'", f"style-src 'sha256-{digest}'", "form-action 'none'"}
    assert expected <= set(unescape(policy).split("; "))
    assert html.index("Content-Security-Policy") < html.index("<link") < html.index("<style>")


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_run_has_a_pdf_that_opens_and_names_the_verdict(made: dict[str, Any], name: str) -> None:
    file = pdf.render(made[name])
    assert file.startswith(b"%PDF-1.7") and file.endswith(b"%%EOF\n")
    assert file == pdf.render(made[name]), "the same run gives the same file"
    words = pdf_words(made[name])
    assert " ".join(headline(made[name]).title.split()) in words
    assert all(part.title in words for part in sections(made[name]))


@pytest.mark.parametrize("name", HEADLINES)
def test_the_headline_is_true_and_the_same_everywhere(made: dict[str, Any], name: str) -> None:
    document = made[name]
    verdict, title = HEADLINES[name]
    told = headline(document)
    assert (document["verdict"], told.title) == (verdict, title)
    if document["status"] == "SUCCEEDED":
        assert told.tone == {IMPROVED: "good", WORSE: "bad", WORSE_OUTSIDE: "bad", NOT_SHOWN: "neutral"}[verdict]
    assert f"<h1>{title}</h1>" in re.sub(r"</?span[^>]*>", "", page.render(document))
    assert f"**{title}.**" in card.render(document)


def test_outside_text_is_told_as_given_measured_or_neither(made: dict[str, Any]) -> None:
    told = {
        "improved": "No outside text was given",
        "outside-not-measured": "Outside text was given, but no usable loss came back",
    }
    for name, words in told.items():
        for text in (page.render(made[name]), card.render(made[name]), pdf_words(made[name])):
            assert words in text
            assert not [other for other in told.values() if other != words and other in text]
    measured = page.render(made["improved-outside"]) + card.render(made["improved-outside"])
    assert not [words for words in told.values() if words in measured]
    assert "40 documents that others wrote" in measured


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("failed", ("QuotaTooLow", "is 0 in us-east-1", "Service Quotas console", "$0.03", "$24.97")),
        ("running", ("Not settled yet", "$5.58")),
        ("hostile", ("&lt;script&gt;alert(1)&lt;/script&gt;",)),
    ],
)
def test_the_page_shows_error_cost_and_hostile_text(made: dict[str, Any], kind: str, words: tuple[str, ...]) -> None:
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.render(made[kind]))).replace("\u00a0", " ")
    assert all(word in text for word in words)


def test_page_and_pdf_show_every_answer_and_the_deciding_loss_first(made: dict[str, Any]) -> None:
    document = made["improved"]
    html = page.render(document)
    answers = [1 + len(row[side]["samples"]) for row in document["prompts"] for side in ("base", "tuned")]
    assert html.count('class="answer"') == sum(answers)
    assert "<mark>NPM1</mark>" in html and 'class="copied"' in html
    assert pdf_words(document).count("tuned, greedy") == len(document["prompts"])
    for name, first in (("worse-outside", "Loss on text by others"), ("improved-outside", "Held-out loss")):
        assert headline(made[name]).figures[0][0] == first
