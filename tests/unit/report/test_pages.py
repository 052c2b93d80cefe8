"""Page, PDF and model card: every kind of run renders, hostile text is shown as text, and all three say the same."""

from __future__ import annotations

import re
import zlib
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
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
GAIN_OR_HARM, OTHERS, FIELD = ("mprove", "Worse"), ("by others", "field"), ("field",)
NOT_CLEAR = ("Improved", "Worse")
# A kind of run, its verdict and headline, and words that would not be true of it.
HEADLINES = {
    "improved": (IMPROVED, f"Improved on {HELD_OUT}", OTHERS),
    "improved-outside": (IMPROVED, f"Improved on {HELD_OUT} and on text by others", FIELD),
    "worse-outside": (WORSE_OUTSIDE, "Worse on text by others", ("Improved", "fell")),
    "not-shown-outside": (NOT_SHOWN, "No improvement shown on text by others", NOT_CLEAR),
    "not-shown": (NOT_SHOWN, f"No improvement shown on {HELD_OUT}", NOT_CLEAR + OTHERS),
    "control-as-much": (NOT_SHOWN, "No improvement shown: not clearly more than on unrelated text", NOT_CLEAR + OTHERS),
    "too-few": (NOT_SHOWN, "Nothing can be shown: only 5 held-out documents", GAIN_OR_HARM + OTHERS),
    "outside-not-measured": (NOT_SHOWN, f"Nothing can be shown: {GIVEN}", GAIN_OR_HARM),
    "worse": (WORSE, f"Worse on {HELD_OUT}", ("mprove", *OTHERS)),
    "records": (IMPROVED, "Improved on held-out records of the same corpus", ("documents", *OTHERS)),
    "smoke": (NOT_SHOWN, "A smoke run: nothing is shown about the model", GAIN_OR_HARM),
    "failed": (NOT_SHOWN, "The run failed before anything could be compared", GAIN_OR_HARM),
    "aborted-early": (NOT_SHOWN, "The run was stopped before anything could be compared", GAIN_OR_HARM),
}


class Reader(HTMLParser):
    """Collects what the page holds, and fails on a tag that is closed out of turn."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in {"meta", "link"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, Any]]:
        return [attributes for name, attributes in self.tags if name == tag]


def pdf_words(document: Any) -> str:
    """What the pages of the PDF show, in its order."""
    shown = []
    for stream in re.findall(rb"stream\n(.*?)\nendstream", pdf.render(document), re.DOTALL):
        codes = re.findall(r"<([0-9a-f]*)> Tj", zlib.decompress(stream).decode("ascii"))
        shown += [bytes.fromhex(code).decode("cp1252", "replace") for code in codes]
    return " ".join(" ".join(shown).replace("\xa0", " ").split())


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_run_has_a_sound_page_without_scripts(made: dict[str, Any], name: str) -> None:
    html = page.render(made[name])
    reader = Reader(html)
    assert reader.open == []
    assert len(reader.all("h1")) == 1
    assert {"main", "header", "nav", "footer"} <= {tag for tag, _ in reader.tags}
    identifiers = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert all(svg["role"] == "img" and svg["aria-labelledby"] for svg in reader.all("svg"))
    assert all(cell.get("scope") for cell in reader.all("th"))
    links = [link["href"] for link in reader.all("a") if link["href"].startswith("#")]
    assert {link[1:] for link in links} <= set(identifiers)
    # It runs no script and fetches nothing, and its policy forbids both.
    assert not {"script", "img", "iframe", "object", "embed", "form"} & {tag for tag, _ in reader.tags}
    assert not any(key.startswith("on") for _, attributes in reader.tags for key in attributes)
    assert "url(" not in html and "@import" not in html
    assert all(link["href"].startswith("data:") for link in reader.all("link"))
    (policy,) = [meta["content"] for meta in reader.all("meta") if "http-equiv" in meta]
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    assert {"default-src 'none'", f"style-src 'sha256-{digest}'", "form-action 'none'"} <= set(policy.split("; "))
    # A hash allows the style sheet and no style attribute; the policy has to stand before what it governs.
    assert not any("style" in attributes for _, attributes in reader.tags)
    assert html.index("Content-Security-Policy") < html.index("<link") < html.index("<style>")


def test_hostile_text_is_shown_and_never_obeyed(made: dict[str, Any]) -> None:
    html = page.render(made["hostile"])
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert html.count("</main>") == 1
    assert not re.search("[\x00-\x08\x0e-\x1f\u202a-\u202e]", html)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_run_has_a_pdf_that_opens_and_names_the_verdict(made: dict[str, Any], name: str) -> None:
    file = pdf.render(made[name])
    assert file.startswith(b"%PDF-1.7") and file.endswith(b"%%EOF\n")
    assert b"/MarkInfo << /Marked true >>" in file and b"/Lang (en)" in file, "it can be read out"
    assert file == pdf.render(made[name]), "the same run gives the same file"
    words = pdf_words(made[name])
    assert " ".join(headline(made[name]).title.split()) in words
    assert all(part.title in words for part in sections(made[name]))


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_run_has_a_model_card_with_its_sections(made: dict[str, Any], name: str) -> None:
    text = card.render(made[name])
    assert text.startswith("---\n")
    for part in ("Intended use", "Out of scope", "Training data", "Evaluation", "Limitations", "Cost"):
        assert re.search(rf"^##+ {part}$", text, re.M), part


@pytest.mark.parametrize("name", HEADLINES)
def test_the_headline_is_true_and_the_same_everywhere(made: dict[str, Any], name: str) -> None:
    document = made[name]
    verdict, title, untrue = HEADLINES[name]
    told = headline(document)
    assert (document["verdict"], told.title) == (verdict, title)
    assert not [word for word in untrue if word in told.title]
    if document["status"] == "SUCCEEDED":
        assert told.tone == {IMPROVED: "good", WORSE: "bad", WORSE_OUTSIDE: "bad", NOT_SHOWN: "neutral"}[verdict]
    html = re.sub(r"</?span[^>]*>", "", page.render(document))
    assert f"<h1>{title}</h1>" in html and html.index(title) < html.index("<main")
    assert f"**{title}.**" in card.render(document)


def test_a_summary_of_an_older_deployment_keeps_its_headline(made: dict[str, Any]) -> None:
    older: Any = {key: value for key, value in made["improved"].items() if key not in ("headline", "outside")}
    assert headline(older).title == f"Improved on {HELD_OUT}"
    assert "outside" in {part.identifier for part in sections(older)}


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


def test_the_loss_that_decides_comes_first(made: dict[str, Any]) -> None:
    for name, first in (("worse-outside", "Loss on text by others"), ("improved-outside", "Held-out loss")):
        assert headline(made[name]).figures[0][0] == first


def test_every_answer_is_on_the_page_with_its_key_facts(made: dict[str, Any]) -> None:
    document = made["improved"]
    html = page.render(document)
    assert html.count('<article class="prompt">') == len(document["prompts"])
    assert html.count('class="answer"') == sum(
        1 + len(row[side]["samples"]) for row in document["prompts"] for side in ("base", "tuned")
    )
    assert "<mark>NPM1</mark>" in html and 'class="copied"' in html
    assert pdf_words(document).count("tuned, greedy") == len(document["prompts"])


def test_a_failed_run_names_error_cause_next_step_and_cost(made: dict[str, Any]) -> None:
    html = page.render(made["failed"])
    for words in ("QuotaTooLow", "is 0 in us-east-1", "Service Quotas console", "$0.03", "$24.97"):
        assert words in html


def test_a_running_run_has_a_reservation_and_no_cost_yet(made: dict[str, Any]) -> None:
    assert made["running"]["cost"]["actual_cents"] is None
    html = page.render(made["running"])
    assert "Not settled yet" in html and "$5.58" in html


def test_memorisation_stands_apart_from_the_results(made: dict[str, Any]) -> None:
    parts = {part.identifier: part for part in sections(made["improved"])}
    assert parts["memorisation"].aside and not parts["heldout"].aside


def test_each_seed_and_what_was_left_out_is_shown(made: dict[str, Any]) -> None:
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.render(made["seeds"]))).replace("\u00a0", " ")
    assert "42 (served)" in text and "Seed 99" in text
    assert "seeds" not in {part.identifier for part in sections(made["improved"])}
