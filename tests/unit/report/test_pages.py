"""Page, PDF and model card: every kind of run renders, hostile text is shown as text, all say the same, and no number is rounded to what is not true."""

import random
import re
import sys
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from html import unescape
from typing import Any
from xml.etree import ElementTree

import pytest
import typst
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.utils import validate_repo_id

from common.storage import Storage
from rehearsal.models import weights
from report import formatting, render
from report.analysis import analyse, judged
from report.content.figures import changes, forgetting, forgotten_kinds, kind_cells, phases
from report.content.meaning import _more, _share, headline
from report.findings.verdict import IMPROVED, NONE_BETTER, NOT_SHOWN, WORSE, WORSE_OUTSIDE
from report.summary import build, settle
from stacks.configuration import catalog
from tests.doubles.lambda_fakes import S3
from verification.experiments.made_up_runs import COST, choices, metrics, prompts, run
from verification.experiments.report_examples import KINDS

HELD_OUT = "held-out documents of the same corpus"
EXTERNAL = "the external test set"
# A kind of run, its verdict and its headline, which names the held-out text and never claims the field.
HEADLINES = {
    "improved": (IMPROVED, f"Improved on {HELD_OUT}"),
    "improved-outside": (IMPROVED, f"Improved on {HELD_OUT} and on {EXTERNAL}"),
    "worse-outside": (WORSE_OUTSIDE, f"Worse on {EXTERNAL}"),
    "none-better": (NONE_BETTER, "No adapter scale is better than the base model"),
    "not-shown-outside": (NOT_SHOWN, f"No improvement shown on {EXTERNAL}"),
    "not-shown": (NOT_SHOWN, f"No improvement shown on {HELD_OUT}"),
    "control-as-much": (NOT_SHOWN, "No improvement shown: no clear gain beyond the retention set"),
    "too-few": (NOT_SHOWN, "Nothing can be shown: only 5 held-out documents"),
    "outside-not-measured": (NOT_SHOWN, f"Nothing can be shown: {EXTERNAL} was not measured"),
    "worse": (WORSE, f"Worse on {HELD_OUT}"),
    "records": (IMPROVED, "Improved on held-out records of the same corpus"),
    "smoke": (NOT_SHOWN, "A smoke run: nothing is shown about the model"),
    "failed": (NOT_SHOWN, "The run failed before anything could be compared"),
    "aborted-early": (NOT_SHOWN, "The run was stopped before anything could be compared"),
}


def page(document: Any) -> str:
    return render.page(document).decode()


def paper(document: Any) -> ElementTree.Element:
    return ElementTree.fromstring(render.paper(document, {}))


def words(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", text)).replace("\u00a0", " ")


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_run_has_a_page_that_runs_and_fetches_nothing(made: dict[str, Any], name: str) -> None:
    html = page(made[name])
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
def test_every_kind_of_run_has_the_same_sections_and_charts_on_paper(made: dict[str, Any], name: str) -> None:
    body, html = paper(made[name]), page(made[name])
    titles = ["".join(heading.itertext()) for heading in body.iter("h2")]
    assert titles == [re.sub(r"&#39;", "'", title) for title in re.findall(r"<h2[^>]*>(.*?)</h2>", html)]
    assert len(list(body.iter("img"))) == html.count('class="chart wide"') == html.count('class="chart narrow"')
    assert all(len(image.attrib["alt"]) > 20 for image in body.iter("img"))


@pytest.mark.parametrize("name", ["improved", "hostile", "failed", "aborted-early"])
def test_a_pdf_is_tagged_for_reading_aloud_and_the_same_each_time(made: dict[str, Any], name: str) -> None:
    file = render.pdf(made[name])
    assert file.startswith(b"%PDF-1.7") and b"<pdfuaid:part>1</pdfuaid:part>" in file and b"/FontFile3" in file
    assert file == render.pdf(made[name]), "the same run gives the same file"


def test_unknown_letters_are_replaced_and_markup_is_text(made: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    document = made["improved"]
    document["prompts"] = document["prompts"][:1]
    document["prompts"][0]["prompt"] = (
        "#panic() $x^2$ *b* @a <c> \\u{41} \U0001f9ec \u4e2d \u0645\u0631\u062d\u0628\u0627 \ud800"
    )
    tried: list[Any] = []
    compile: Any = typst.compile

    def kept(files: Any, **given: Any) -> Any:
        tried.append(dict(files))
        return compile(files, **given)

    monkeypatch.setattr(typst, "compile", kept)
    render.pdf(document)
    first, last = (ElementTree.fromstring(files["body.xml"]) for files in (tried[0], tried[-1]))
    assert "\U0001f9ec \u4e2d \u0645" in (first.findtext(".//h4") or "")
    assert (last.findtext(".//h4") or "").startswith("#panic() $x^2$ *b* @a <c> \\u{41} ? ? \u0645")
    assert b'"letters_replaced": true' in tried[-1]["document.json"]


def test_a_pdf_says_where_its_other_prompts_are(made: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(list(paper(made["improved"]).iter("article"))) == len(made["improved"]["prompts"])
    monkeypatch.setattr(render, "PDF_ANSWERS", 60)  # each prompt of these has six
    body = paper(made["improved"])
    assert len(list(body.iter("article"))) == 10
    assert "the first 10 prompts. The other 38 are in report.html" in words(ElementTree.tostring(body, "unicode"))


def test_a_pdf_that_cannot_be_made_leaves_the_page(made: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def rejects(*_: Any, **__: Any) -> bytes:
        raise typst.TypstError("out of paper", "")

    s3 = S3()
    monkeypatch.setattr(typst, "compile", rejects)
    (told,) = render.write(Storage(s3, "bucket"), "", made["improved"])
    assert told.startswith("report.pdf could not be made, report.html has the same content: typst rejected the PDF: ")
    assert "out of paper" in told
    assert {key for _, key in s3.objects} == {"summary.json", "report.html", "MODEL_CARD.md"}
    monkeypatch.setitem(sys.modules, "typst", None)
    assert "the package typst is missing" in render.write(Storage(s3, "bucket"), "", made["improved"])[0]


@pytest.mark.parametrize("name", HEADLINES)
def test_the_headline_is_true_and_the_same_everywhere(made: dict[str, Any], name: str) -> None:
    document = made[name]
    verdict, title = HEADLINES[name]
    told = headline(document)
    assert (document["verdict"], told.title) == (verdict, title)
    if document["status"] == "SUCCEEDED":
        assert told.tone == {IMPROVED: "good", NOT_SHOWN: "neutral"}.get(verdict, "bad")
    model = "( SmolLM2-135M, not Llama 2 7B| Llama 2 7B)?"
    assert re.search(f"<h1>{re.escape(title)}{model}</h1>", re.sub(r"</?span[^>]*>", "", page(document)))
    assert f"**{title}.**" in render.card(document)


def test_the_parts_of_one_long_article_are_passages_everywhere(made: dict[str, Any]) -> None:
    document = made["improved"]
    for place, row in enumerate(document["heldout"]["documents"]):
        row["id"] = f"block-{place:03d}"
    document |= judged(document["heldout"], document["beyond_control"], document["choices"])
    assert headline(document).title == "Improved on held-out passages of the same corpus"
    assert "passages" in document["verdict_reason"] and "passages" in document["says"]
    for text in (page(document), render.card(document)):
        assert "held-out passages" in text.lower() and "Held-out documents" not in text


@pytest.mark.parametrize(
    ("sets", "told"),
    [(0, "No prompt of this run has options"), (1, "Chance is 25%"), (24, "would be detected in four of five runs")],
)
def test_few_or_no_items_to_choose_from_make_a_report_too(sets: int, told: str) -> None:
    measured = metrics() | {"choices": choices(random.Random(1), sets, 0.4)}
    built = build(run(), measured, prompts(4), [], [], analyse(measured, prompts(4), [], [], resamples=200))
    document = settle(built, status="SUCCEEDED", cost=COST, seconds_by_state={})
    assert told in page(document) and ("would be detected" in page(document)) is (sets > 1)
    assert ("Secondary metric" in render.card(document)) is (sets > 0)
    shown = (document["choices"] or {}).get("most_changed", [])
    assert len(shown) == (0 if not sets else 4 if sets == 1 else 6)
    assert all(page(document).count(f">{row['prompt']}<") == 1 for row in shown)
    assert paper(document).findall(".//p")


def test_a_rehearsal_states_that_no_money_was_spent_and_has_no_aws_command(made: dict[str, Any]) -> None:
    for name in ("improved", "failed"):
        on_aws = made[name]
        here: Any = {
            **on_aws,
            "execution_arn": str(on_aws["execution_arn"]).replace(":111122223333:", ":123456789012:"),
        }
        for document, rehearsed in ((on_aws, False), (here, True)):
            html = page(document)
            assert ("no money was spent" in html) is rehearsed
            assert ("captune run --input" in html) is not rehearsed
            assert ("Would have cost" in html) is rehearsed
            assert ("captune serve" in html) is (name == "improved" and not rehearsed)
            assert ("captune use" in html) is (name == "improved")
            assert not rehearsed or "s3://" not in html
            assert ("The execution in the console" in html) is (name == "failed" and not rehearsed)
            assert ("no money was spent" in render.card(document)) is rehearsed


def test_page_and_pdf_show_every_answer_and_the_deciding_loss_first(made: dict[str, Any]) -> None:
    document = made["improved"]
    html = page(document)
    answers = [1 + len(row[side]["samples"]) for row in document["prompts"] for side in ("base", "tuned")]
    assert html.count('class="answer"') == sum(answers)
    assert "<mark>NPM1</mark>" in html and 'class="copied"' in html
    assert len(paper(document).findall(".//p[@class='answer']")) == sum(answers)
    for name, first in (("worse-outside", "External loss"), ("improved-outside", "Held-out loss")):
        assert re.findall("<dt>(.*?)</dt>", page(made[name]))[0] == first


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("improved-outside", "The adapter scale is 0.45: the best of the scales tried on 40 external documents"),
        ("improved", "The adapter scale is 0.2. It was not measured: no text was set aside for it"),
        ("scale-by-control", "The adapter scale is 0.3: chosen, within narrow bounds, on 4 retention documents"),
        ("none-better", "The adapter scale is 0: the best"),
    ],
)
def test_the_report_shows_how_the_scale_came_about(made: dict[str, Any], name: str, told: str) -> None:
    html = page(made[name])
    assert told in words(html)
    assert ('id="scale-curve' in html) == (name != "improved")


# The model card.


def test_the_training_curve_shows_the_held_out_loss_where_it_was_measured(made: dict[str, Any]) -> None:
    document = made[next(iter(made))]
    points = [{"step": 0, "loss": 4.1}, {"step": 40, "loss": 3.5}]
    document["training"]["heldout_curve"] = {"documents": 7, "tokens": 252, "seconds": 5.2, "points": points}
    told = "Held-out loss from 4.10 to 3.50."
    assert told in page(document) and "the openings of 7 held-out" in page(document)
    del document["training"]["heldout_curve"]
    assert told not in page(document) and "held-out openings" not in page(document)


def front_matter(document: Any) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(render.card(document).split("---\n")[1])
    return found


@pytest.mark.parametrize("name", KINDS)
def test_every_model_card_has_its_sections_and_hub_metadata(made: dict[str, Any], name: str) -> None:
    meta = front_matter(made[name])
    for part in ("Intended use", "Out of scope", "Training data", "Evaluation", "Limitations", "Cost"):
        assert re.search(rf"^##+ {part}$", render.card(made[name]), re.M), part
    assert (meta["library_name"], meta["pipeline_tag"]) == ("peft", "text-generation")
    assert "lora" in meta["tags"] and all(isinstance(tag, str) for tag in meta["tags"])
    assert ("license" in meta) == ("base_model" in meta)


@pytest.mark.parametrize("name", [*(model.name for model in catalog.BASE_MODELS.values()), weights.NAME])
def test_every_base_model_has_its_name_and_licence_on_the_hub(made: dict[str, Any], name: str) -> None:
    one = made["improved"]
    one["base_model"]["name"] = name
    meta = front_matter(one)
    validate_repo_id(meta["base_model"])
    assert meta["license"] in ("llama2", "llama3.1", "llama3.2", "apache-2.0")
    assert f'base = "{meta["base_model"]}"' in render.card(one)


def test_unknown_weights_claim_no_licence_and_a_users_text_no_language(made: dict[str, Any]) -> None:
    one = made["improved"]
    assert front_matter(one)["language"] == "en"
    assert "language" not in front_matter(made["support"])
    one["base_model"]["name"], one["domain"] = "Our own 7B", None
    assert front_matter(one).keys().isdisjoint({"base_model", "license", "language"})


MEDICAL_WORDS = re.compile(r"medical|clinic", re.IGNORECASE)


@pytest.mark.parametrize(
    ("kind", "field"),
    [("improved", "clinical use"), ("support", "the support domain"), ("without-control", "the field of your text")],
)
@pytest.mark.parametrize("form", ["card", "page", "pdf"])
def test_what_a_model_is_not_fit_for_follows_its_domain(
    made: dict[str, Any], monkeypatch: pytest.MonkeyPatch, kind: str, field: str, form: str
) -> None:
    monkeypatch.setattr(typst, "compile", lambda files, **_: b" ".join(files.values()))  # what the PDF is set from
    document = made[kind]
    document["prompts"], document["configuration"]["warnings"] = [], []
    forms: dict[str, Callable[[Any], str]] = {
        "card": render.card,
        "page": page,
        "pdf": lambda made: render.pdf(made).decode(),
    }
    text = forms[form](document)
    assert f"fit for {field}" in text or f"fit for use in {field}" in text
    assert bool(MEDICAL_WORDS.search(text)) == ("medical device" in text) == (kind == "improved")


def test_the_model_card_gives_every_difference_with_its_interval(made: dict[str, Any]) -> None:
    text = render.card(made["improved"])
    data: Any = ModelCard(text).data
    assert data.eval_results[0].metric_type == "loss"
    assert text.count("| held out |") == 3
    figures = r"[\d.]+ ± [\d.]+ \| [\d.]+ ± [\d.]+ \| −0\.\d+ ± [\d.]+ \| −0\.\d+ to −0\.\d+ \|"
    assert re.search(rf"\| held out \| Loss, nats per token \| {figures}", text)


ROSE = {"estimate": 0.1, "standard_error": 0.01, "low": 0.08, "high": 0.12}
FELL = {"estimate": -0.1, "standard_error": 0.01, "low": -0.12, "high": -0.08}


@pytest.mark.parametrize(
    ("change", "p_value", "smoke", "heldout", "told"),
    [
        (ROSE, 0.01, False, None, "Forgetting is shown: the loss .* rose by"),
        (ROSE, 0.0625, False, None, "No forgetting is shown: the loss .* can be chance"),
        (ROSE, 0.01, True, None, "The loss on the retention set changed by"),
        # A fall of the control loss is set beside a gain only.
        (FELL, 0.01, False, FELL, "The loss .* fell by .*, so part of the gain"),
        (FELL, 0.01, False, ROSE, r"The loss .* fell by [^:]+\)\.$"),
    ],
)
def test_forgetting_is_claimed_by_the_verdicts_own_rule(
    change: Any, p_value: float, smoke: bool, heldout: Any, told: str
) -> None:
    control = {"difference": change, "p_value": p_value}
    document: Any = {"control": control, "heldout": {"difference": heldout}, "configuration": {"smoke": smoke}}
    assert re.match(told, forgetting(document))


@pytest.mark.parametrize(
    ("low", "smoke", "told"),
    [(0.001, False, [True, False]), (-0.001, False, [False, True]), (0.001, True, [False, False])],
)
def test_what_is_stated_of_other_prompts_facts_stands_beside_recall(
    made: dict[str, Any], low: float, smoke: bool, told: list[bool]
) -> None:
    """It says where the fine-tuned model gained by naming more, by what counts as a change in the verdict."""
    document = made["improved"]
    change = {"estimate": 0.002, "standard_error": 0.0005, "low": low, "high": 0.003}
    document["recall"]["mismatched"] |= {"difference": change, "p_value": 0.01}
    document["configuration"]["smoke"] = smoke
    figures = "Facts of other prompts in the same answers:"
    for text in (page(document), ElementTree.tostring(paper(document), "unicode"), render.card(document)):
        assert re.search(rf"{figures} [^;]+; change \+0\.20 percentage points", words(text))
        assert [part in words(text) for part in ("names more terms", "no evidence that the fine-tuned")] == told
    del document["recall"]["mismatched"]  # a summary of an earlier version
    assert figures not in page(document)


def test_a_kind_of_retention_text_that_got_worse_is_named(made: dict[str, Any]) -> None:
    document = made["code-forgotten"]
    pattern = r"Forgetting is shown: the loss on Code rose by 0\.\d+ nats per token \(95% interval 0\.\d+ to 0\.\d+\)\."
    for text in (page(document), ElementTree.tostring(paper(document), "unicode"), render.card(document)):
        assert re.search(pattern, words(text))
    rows = re.findall(r"^\| ([^|]+?) \| Loss, nats per token \|", render.card(document), re.M)
    kinds = [f"retention, {kind}" for kind in ("Essay", "Code", "Arithmetic")]
    assert rows == ["held out", "retention set (forgetting)", *kinds, "training text (memorisation)"]
    # Five documents have no interval, whatever they say.
    assert [cells[:2] + cells[5:6] for cells in kind_cells(document)][2] == ("Arithmetic", "5", "–")
    assert re.match("(Forgetting is shown: the|The) loss on the retention set", forgetting(document))
    smoke = document | {"configuration": document["configuration"] | {"smoke": True}}
    assert forgotten_kinds(smoke) == ""
    two = kind_cells(KINDS["improved-outside"](), "outside")
    assert [(cells[0], cells[1]) for cells in two] == [("Abstract", "20"), ("Reference page", "20")]
    assert all(re.search(r"percentage points", cells[-1]) for cells in two), "what each gained beyond vocabulary"
    # What can be chance is told of no kind.
    document["control"]["by_kind"][1]["p_value"] = 0.0625
    assert forgotten_kinds(document) == ""


CHANGE = {"estimate": -0.05228, "standard_error": 0.00723, "low": -0.06915, "high": -0.03713}
BESIDE_ZERO = {"estimate": -0.04, "standard_error": 0.02, "low": -0.08, "high": -0.0004}
BARE = {"estimate": 0.125, "standard_error": 0.125, "low": None, "high": None}


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (lambda v: formatting.interval_text(v, "nats"), CHANGE, "−0.052 nats (95% interval −0.069 to −0.037)"),
        (lambda v: formatting.interval_text(v, "points"), BARE, "+0.12 points (standard error 0.12)"),
        (lambda v: formatting.change_text(v, "nats"), CHANGE, "0.052 nats (95% interval 0.037 to 0.069)"),
        (formatting.range_text, BESIDE_ZERO, "−0.0800 to −0.0004"),  # a bound beside zero is not rounded to zero
        (formatting.share, {"estimate": 0.1087, "standard_error": 0.0207}, "10.9 ± 2.1%"),
        # A gain that was shown is not written as nothing.
        (_share, {"difference": {"estimate": -0.0002, "standard_error": 0.00001}}, "less than 0.1%"),
        (_more, {"difference": {"estimate": -0.12, "standard_error": 0.02}}, "13% more"),
        (_more, {"difference": {"estimate": -2.166, "standard_error": 0.02}}, "8.7 times as much"),
        (lambda v: formatting.with_error(v, 0.0875), 2.9123, "2.91 ± 0.09"),
        (lambda v: formatting.number(v, 2, signed=True), -0.0004, "0.00"),
        *((formatting.format_p, p, f"p = {p}") for p in (0.0504, 0.049999)),  # not rounded to the limit
        (formatting.format_p, 0.00001, "p < 0.0001"),
        (formatting.format_p, None, "p unknown"),
        *zip([formatting.money] * 5, (121, -67, 67, 0, None), ("$1.21", "−$0.67", "$0.67", "$0.00", "–"), strict=True),
        (formatting.rate, 151.5, "$1.515"),
        (formatting.rate, 152, "$1.52"),
        *zip([formatting.duration] * 4, (0.4, 61, 7_260, None), ("0.4 s", "1 min 1 s", "2 h 1 min", "–"), strict=True),
    ],
)
def test_numbers_are_written_for_reading(write: Callable[[Any], str], value: Any, text: str) -> None:
    assert write(value) == text


# The rule of the Particle Data Group: 0.827 ± 0.119, 0.83 ± 0.367 as 0.8 ± 0.4, 0.827 ± 0.0967 as 0.83 ± 0.10.
@pytest.mark.parametrize(
    ("error", "places"), [(0.119, 2), (0.367, 1), (0.0967, 2), (3.6, 0), (35.0, 0), (0.0, 3), (None, 3)]
)
def test_digits_follow_the_standard_error(error: float | None, places: int) -> None:
    assert formatting.decimals_for(error) == places


@pytest.mark.parametrize("both", [{}, {"AskBothModels": 1200.0}])
def test_phases_add_up_states_and_count_side_by_side_ones_once(both: dict[str, float]) -> None:
    branches = {"AskBaseModel": 1200.0, "AskFineTunedModel": 1190.0}
    states = {"Preflight": 2.0, "StageInput": 3.0, "StartSpotTraining": 1.0, "WaitForTraining": 600.0}
    told = {"Prepare": 5.0, "Train": 601.0, "Ask both models": 1200.0}
    assert phases({**states, **branches, **both, "CreateModel": 0.4}) == told


def test_a_change_that_can_be_chance_is_marked(made: dict[str, Any]) -> None:
    doubted = {name: note.startswith("not significant") for name, _, note in changes(made["not-shown"])}
    assert doubted["Held-out loss"] and doubted["Beyond retention set"]
    assert not changes(made["improved"])[0][2].startswith("not")
    assert all(note.startswith("not judged") for _, _, note in changes(made["smoke"]))
