"""Summary, page, PDF and model card: every state renders, everything is escaped, and all say the same."""

from __future__ import annotations

import copy
import json
import math
import re
import zlib
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from verification.experiments.reports.examples import KINDS
from verification.experiments.reports.made_up import COST, SECONDS, answers, metrics, prompts, run
from report import summary
from report.content.headline import headline
from report.content.sections import sections
from report.html import page
from report.html.answers import segments
from report.model_card import card
from report.pdf import document as pdf
from report.summary_types import known

SCHEMA = json.loads((Path(summary.__file__).parent / "summary.schema.json").read_text(encoding="utf-8"))


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


@pytest.mark.parametrize("name", KINDS)
def test_the_summary_of_every_state_obeys_its_schema(made: dict[str, Any], name: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator(SCHEMA).validate(made[name])
    json.dumps(made[name], allow_nan=False)


def test_the_schema_refuses_a_verdict_of_its_own_invention(made: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**made["improved"], "verdict": "much better"}, SCHEMA)


@pytest.mark.parametrize("name", KINDS)
def test_every_state_renders_a_well_formed_accessible_page(made: dict[str, Any], name: str) -> None:
    reader = Reader(page.render(made[name]))
    assert reader.open == []
    assert len(reader.all("h1")) == 1
    assert {"main", "header", "nav", "footer"} <= {tag for tag, _ in reader.tags}
    levels = [int(tag[1]) for tag, _ in reader.tags if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
    identifiers = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    for svg in reader.all("svg"):
        assert svg["role"] == "img"
        assert set(svg["aria-labelledby"].split()) <= set(identifiers)
    assert all(cell.get("scope") for cell in reader.all("th"))
    links = [link["href"] for link in reader.all("a") if link["href"].startswith("#")]
    assert {link[1:] for link in links} <= set(identifiers)


@pytest.mark.parametrize("name", KINDS)
def test_no_page_runs_a_script_or_fetches_anything(made: dict[str, Any], name: str) -> None:
    html = page.render(made[name])
    reader = Reader(html)
    assert not {"script", "img", "iframe", "object", "embed", "form"} & {tag for tag, _ in reader.tags}
    assert not any(key.startswith("on") for _, attributes in reader.tags for key in attributes)
    assert "url(" not in html and "@import" not in html
    assert all(link["href"].startswith("data:") for link in reader.all("link"))


@pytest.mark.parametrize("name", KINDS)
def test_the_page_forbids_what_it_does_not_need(made: dict[str, Any], name: str) -> None:
    html = page.render(made[name])
    reader = Reader(html)
    (policy,) = [meta["content"] for meta in reader.all("meta") if "http-equiv" in meta]
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    assert policy.split("; ") == [
        "default-src 'none'", f"style-src 'sha256-{digest}'", "img-src data:", "base-uri 'none'", "form-action 'none'",
    ]  # fmt: skip
    # A hash allows the style sheet and no style attribute; the policy has to stand before what it governs.
    assert not any("style" in attributes for _, attributes in reader.tags)
    assert html.index("Content-Security-Policy") < html.index("<link") < html.index("<style>")


def test_hostile_text_is_shown_and_never_obeyed(made: dict[str, Any]) -> None:
    html = page.render(made["hostile"])
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert html.count("</main>") == 1
    assert not re.search("[\x00-\x08\x0e-\x1f\u202a-\u202e]", html)


def test_key_facts_are_marked_and_missing_ones_are_named(made: dict[str, Any]) -> None:
    html = page.render(made["improved"])
    assert "<mark>NPM1</mark>" in html
    assert re.search(r"Key facts: 1 of 2\. Missing: \w+", html)
    assert 'class="copied"' in html


def test_every_prompt_and_every_answer_is_on_the_page(made: dict[str, Any]) -> None:
    summary_ = made["improved"]
    html = page.render(summary_)
    assert html.count('<article class="prompt">') == len(summary_["prompts"])
    assert html.count('class="answer"') == sum(
        1 + len(row[side]["samples"]) for row in summary_["prompts"] for side in ("base", "tuned")
    )


def test_marks_and_copies_may_overlap() -> None:
    item = {"marks": [[2, 6]], "copied": {"words": 9, "start": 4, "end": 8}}
    pieces = segments("0123456789", item, 8)
    assert pieces == [
        ("01", False, False),
        ("23", True, False),
        ("45", True, True),
        ("67", False, True),
        ("89", False, False),
    ]


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("improved", "Improved on held-out documents of the same corpus"),
        ("not-shown", "No improvement shown on held-out documents of the same corpus"),
        ("worse", "Worse on held-out documents of the same corpus"),
        ("smoke", "A smoke run: nothing is shown about the model"),
        ("failed", "The run failed before anything could be compared"),
        ("aborted-early", "The run was stopped before anything could be compared"),
    ],
)
def test_the_verdict_comes_first(made: dict[str, Any], name: str, title: str) -> None:
    assert headline(made[name]).title == title
    assert page.render(made[name]).index(title) < page.render(made[name]).index("<main")


def test_a_failed_run_tells_error_cause_next_step_and_cost(made: dict[str, Any]) -> None:
    html = page.render(made["failed"])
    for words in ("QuotaTooLow", "is 0 in us-east-1", "Service Quotas console", "$0.03", "$24.97"):
        assert words in html


def test_a_running_run_says_that_its_cost_is_not_settled(made: dict[str, Any]) -> None:
    html = page.render(made["running"])
    assert "Not settled yet" in html
    assert "$5.58" in html
    assert made["running"]["cost"]["actual_cents"] is None


def test_memorisation_stands_apart_from_the_results(made: dict[str, Any]) -> None:
    parts = {part.identifier: part for part in sections(made["improved"])}
    assert parts["memorisation"].aside
    assert not parts["heldout"].aside


def test_settling_fills_in_the_cost_and_leaves_the_original_alone(made: dict[str, Any]) -> None:
    running = made["running"]
    before = copy.deepcopy(running)
    after = summary.settle(running, status="SUCCEEDED", cost=COST, seconds_by_state=SECONDS)
    assert running == before
    assert after["cost"]["actual_cents"] == 121
    assert after["cost"]["cap_cents"] == 2500
    assert after["status"] == "SUCCEEDED"
    assert after["verdict"] == before["verdict"]
    assert after["error"] is None
    # The answers of a large run are not held twice in a function's memory.
    assert after["prompts"] is running["prompts"]


def test_a_stand_in_is_called_by_its_own_name_everywhere(made: dict[str, Any]) -> None:
    model = made["improved"]["base_model"]
    assert (model["name"], model["matches_plan"]) == ("SmolLM2-135M", False)
    assert "These weights are not Llama 2 7B" in page.render(made["improved"])
    assert "HuggingFaceTB/SmolLM2-135M" in card.render(made["improved"])


@pytest.mark.parametrize(
    ("parameters", "matches"), [(6_738_415_616, True), (6_800_000_000, True), (7_000_000_000, False)]
)
def test_weights_within_one_per_cent_are_those_of_the_plan(parameters: float, matches: bool) -> None:
    model = summary.base_model(run(), {"base_model": {"name": "x", "parameters": parameters}})
    assert model["matches_plan"] is matches
    assert model["name"] == ("Llama 2 7B" if matches else "x")


@pytest.mark.parametrize("parameters", [None, 0, math.nan, "many", True])
def test_weights_of_unknown_size_are_never_those_of_the_plan(parameters: float) -> None:
    assert summary.base_model(run(), {"base_model": {"parameters": parameters}})["matches_plan"] is False


def test_no_nan_reaches_the_summary() -> None:
    measured = metrics(count=6)
    measured["training"]["tokens_per_second"] = math.nan
    measured["training"]["loss_curve"][3]["loss"] = math.nan
    asked = prompts(4)
    replies = answers(asked, "base", skill=0.1)
    made_: Any = summary.build(
        run(), measured, asked, replies, replies, {"verdict": "not shown", "heldout": {"p_value": math.inf}}
    )
    json.dumps(made_, allow_nan=False)
    assert len(made_["training"]["loss_curve"]) == 119
    page.render(made_)


def test_a_long_loss_curve_is_thinned_and_keeps_its_ends() -> None:
    measured = metrics()
    measured["training"]["loss_curve"] = [{"step": n, "loss": 3.0, "learning_rate": 0.1} for n in range(1, 5_001)]
    curve = known(summary.build(run(), measured, [], [], [], {})["training"])["loss_curve"]
    assert len(curve) <= 401
    assert (curve[0]["step"], curve[-1]["step"]) == (1, 5_000)


@pytest.mark.parametrize("name", KINDS)
def test_every_state_renders_a_sound_pdf(made: dict[str, Any], name: str) -> None:
    made_pdf = pdf.render(made[name])
    assert made_pdf.startswith(b"%PDF-1.7") and made_pdf.endswith(b"%%EOF\n")
    start = int(made_pdf.rsplit(b"startxref\n", 1)[1].split(b"\n")[0])
    table = made_pdf[start:].split(b"trailer")[0].splitlines()[2:]
    for place, line in enumerate(table[1:], 1):
        offset = int(line.split()[0])
        assert made_pdf[offset:].startswith(f"{place} 0 obj".encode())
    assert made_pdf == pdf.render(made[name])


def pdf_text(made_pdf: bytes) -> str:
    """What the text operators of all pages show."""
    shown = []
    for stream in re.findall(rb"stream\n(.*?)\nendstream", made_pdf, re.DOTALL):
        codes = re.findall(r"<([0-9a-f]*)> Tj", zlib.decompress(stream).decode("ascii"))
        shown += [bytes.fromhex(code).decode("cp1252", "replace") for code in codes]
    return " ".join(shown).replace("\xa0", " ")


def test_the_pdf_has_the_content_of_the_page(made: dict[str, Any]) -> None:
    words = pdf_text(pdf.render(made["improved"]))
    for part in sections(made["improved"]):
        assert part.title in words
    assert "captune-genomics-first-run" in words
    assert words.count("tuned, greedy") == len(made["improved"]["prompts"])


def test_pdf_pages_keep_their_text_inside_the_margins(made: dict[str, Any]) -> None:
    for name in ("improved", "hostile"):
        for stream in re.findall(rb"stream\n(.*?)\nendstream", pdf.render(made[name]), re.DOTALL):
            heights = [
                float(y) for y in re.findall(r"rg [\d.]+ (-?[\d.]+) Td", zlib.decompress(stream).decode("ascii"))
            ]
            assert min(heights) > 20 and max(heights) < 800


def test_a_command_to_start_the_run_again_is_given_only_where_its_input_is_known(made: dict[str, Any]) -> None:
    known_input: Any = {
        **made["failed"],
        "configuration": {**made["failed"]["configuration"], "input": {"smoke": True}},
    }
    assert "--input &#x27;{&quot;smoke&quot;: true}&#x27;" in page.render(known_input)
    refused: Any = {**made["failed"], "configuration": {**made["failed"]["configuration"], "input": None}}
    assert "start-execution" not in page.render(refused)


def test_no_sentence_sends_to_outside_text_that_was_not_measured(made: dict[str, Any]) -> None:
    assert "What others wrote is shown apart" in page.render(made["improved-outside"])
    for name in ("improved", "outside-not-measured"):
        assert "What others wrote is shown apart" not in page.render(made[name])


def test_of_records_it_is_records_and_their_answers_that_are_counted(made: dict[str, Any]) -> None:
    told = made["records"]
    told["corpus"] = {**told["corpus"], "documents": 400, "words": 9_000}
    for text in (page.render(told), card.render(told)):
        assert "records, " in text and "words of answers" in text and "training documents" not in text
    assert "held-out records of the same corpus" in card.render(told)
    assert "words of answers" not in page.render(made["improved"])
