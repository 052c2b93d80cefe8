"""A summary in every form for readers: report.html, report.pdf and MODEL_CARD.md. Each is made from the summary alone.

The templates hold the words and the order; jinja2 fills them in and escapes every text of a run. The PDF is set from the same sections by
typst, which also checks it against PDF/UA-1, the standard for PDFs that can be read out.
"""

import io
import json
import math
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from common.contracts import run_folder
from common.errors import advice
from common.storage import Storage
from common.text import kind_name, kinds_in_order
from report import charts, formatting
from report.content import circumstances, figures, meaning
from report.findings.intervals import DRAW_LIMIT, RESAMPLES
from report.findings.memorisation import NOTABLE_WORDS
from report.findings.verdict import Kind, kind_of
from report.formatting import printable, tidy
from report.summary_types import Summary, has_figures, or_empty

TEMPLATES = Path(__file__).parent / "templates"
# The answers that a PDF shows: 3,000 of 64 tokens take 250 pages, 6 s of a core and 600 MiB. Ten thousand prompts can have 180,000.
PDF_ANSWERS = 3_000
# The functions of `report.formatting` that templates use as filters.
FORMATS = (
    "duration", "format_p", "interval_text", "moment", "money", "number", "plural", "range_text", "rate", "share", "whole",
)  # fmt: skip
_NOT_IN_A_FONT = re.compile(r"the text `\"(.+?)\"` could not be displayed")

Draw = Callable[..., charts.Drawing | None]


class NotDrawn(ValueError):
    """A summary that is not of the form that the templates read, or a PDF that typst rejects."""


def write(storage: Storage, prefix: str, document: Summary) -> list[str]:
    """Writes every form (no card of a failed run), and answers what could not be made. Raises NotDrawn without a page."""
    storage.write_json(f"{prefix}{run_folder.SUMMARY}", document)
    storage.write(f"{prefix}{run_folder.PAGE}", page(document), "text/html; charset=utf-8")
    if document.get("heldout"):
        storage.write(f"{prefix}{run_folder.MODEL_CARD}", card(document), "text/markdown; charset=utf-8")
    try:
        storage.write(f"{prefix}{run_folder.PDF}", pdf(document), "application/pdf")
    except NotDrawn as error:
        return [f"{run_folder.PDF} could not be made, {run_folder.PAGE} has the same content: {error}"]
    return []


def page(summary: Summary) -> bytes:
    """report.html: no scripts, no requests. Its Content-Security-Policy lets no text that broke out run, load or send."""
    return _filled("page.html", summary, frame(meaning.document_title(summary)))


def frame(title: str) -> dict[str, Any]:
    """What a page in the style of the report needs beside its content: its title, the style sheet with the policy that allows it, and charts."""
    style = printable(_text("page.css") + _text("charts.css"))
    digest = b64encode(sha256(style.encode()).digest()).decode()
    allowed = "img-src data:; base-uri 'none'; form-action 'none'"
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; {allowed}"
    return {"policy": policy, "style": Markup(style), "title": title, "figure": _figure_on_a_page}


def card(summary: Summary) -> str:
    """MODEL_CARD.md for the adapter, in the form of the Hugging Face Hub: YAML front matter, then Markdown."""
    domain = str(summary.get("domain") or "custom").lower()
    context = {
        "hub": figures.on_the_hub(summary),
        "domain": domain,
        "tag": re.sub(r"[^a-z0-9-]+", "-", domain),  # as the Hub takes one
        "model": or_empty(summary.get("base_model")),
        "settings": or_empty(summary.get("configuration")),
    }
    filled = _filled("card.md", summary, context).decode()
    return re.sub(r"\n{3,}", "\n\n", filled).strip() + "\n"


def pdf(summary: Summary) -> bytes:
    """report.pdf, tagged and with its fonts (PDF/UA-1), of `PDF_ANSWERS` answers at most; the same for the same summary.

    Letters that typst's fonts lack become question marks, and the file says so. Raises NotDrawn if typst rejects it.
    """
    try:
        import typst  # 80 MB: not before it is needed
    except ImportError as error:
        raise NotDrawn(
            f"the package typst is missing ({error}); make setup installs it, and a deployment brings it"
        ) from error
    files: dict[str, bytes] = {"main.typ": (TEMPLATES / "report.typ").read_bytes()}
    files["body.xml"] = paper(summary, files).encode()
    texts = {
        "title": meaning.document_title(summary),
        "run": summary["run"],
        "purpose": meaning.purpose(summary.get("domain")),
    }
    document = {name: printable(text) for name, text in texts.items()}
    letters_replaced = False
    for _ in range(3):
        files["document.json"] = json.dumps({**document, "letters_replaced": letters_replaced}).encode()
        try:
            sources: Any = files  # its types leave out that files may come by name
            made: bytes = typst.compile(sources, format="pdf", pdf_standards=["ua-1"], ignore_system_fonts=True)
            return made
        except typst.TypstError as error:
            missing = set("".join(_unescaped(found) for found in _NOT_IN_A_FONT.findall(str(error))))
            if not missing:
                raise NotDrawn(f"typst rejected the PDF: {str(error)[:300]}") from error
        replaced, letters_replaced = str.maketrans(dict.fromkeys(missing, "?")), True
        document = {name: text.translate(replaced) for name, text in document.items()}
        files = {name: content.decode().translate(replaced).encode() for name, content in files.items()}
    raise NotDrawn("typst finds letters that no font has in every try")


def paper(summary: Summary, files: dict[str, bytes]) -> str:
    """What the PDF is set from: the page's sections as XML. Adds its charts to the files."""
    return _filled("paper.xml", summary, {"figure": _figure_on_paper(files)}, PDF_ANSWERS).decode()


def pieces(item: Mapping[str, Any]) -> Iterable[tuple[str, bool, bool]]:
    """An answer in pieces: (text, states a key fact, stands in the corpus as part of a long run). Space around it says nothing and is left out."""
    text = item["text"]
    first, last = len(text) - len(text.lstrip()), len(text.rstrip())
    marks, copied = item.get("marks") or [], item.get("copied") or {}
    run = (copied["start"], copied["end"]) if copied.get("words", 0) >= NOTABLE_WORDS else (0, 0)
    cuts = sorted({first, last, *run, *(place for span in marks for place in span)})
    for start, end in zip(cuts, cuts[1:], strict=False):
        start, end = max(start, first), min(end, last)
        if start < end:
            yield text[start:end], any(low <= start < high for low, high in marks), run[0] <= start < run[1]


def _filled(template: str, summary: Summary, context: Mapping[str, Any], answers: float = math.inf) -> bytes:
    """A template with a summary's content, as bytes piece by piece: as one text, ten thousand prompts would take four times their size."""
    output = io.BytesIO()
    try:
        for part in environment().get_template(template).generate({**_context(summary, answers), **context}):
            output.write(part.encode())
    except jinja2.TemplateError as error:
        raise NotDrawn(f"{template}: {error}") from error
    return output.getvalue()


def _context(summary: Summary, answers: float) -> dict[str, Any]:
    """What the templates read beside the summary, with the first prompts that have `answers` together at most."""
    prompts = summary.get("prompts") or []
    kinds = kinds_in_order(row["kind"] for row in prompts)
    ordered = [row for kind in kinds for row in prompts if row["kind"] == kind]
    counts = accumulate(
        sum(1 + len(or_empty(row[side])["samples"]) for side in ("base", "tuned") if row[side]) for row in ordered
    )
    ordered = [row for row, count in zip(ordered, counts, strict=True) if count <= answers]
    by_kind = [(kind_name(kind), [row for row in ordered if row["kind"] == kind]) for kind in kinds]
    kind = kind_of(summary.get("heldout"), circumstances.is_of_records(summary))
    titles = _sections(summary, kind)
    differing, compared = figures.greedy_answers(prompts)
    phases = figures.phases(or_empty(summary.get("seconds_by_state")))
    return {
        "s": summary,
        "medical": summary.get("domain") == circumstances.MEDICAL,
        "head": meaning.headline(summary),
        "rehearsed": circumstances.is_rehearsed(summary),
        "results": meaning.has_results(summary),
        "phases": phases,
        "elapsed": sum(phases.values()),
        "titles": titles,
        "kind": kind,
        "contents": list(titles.items()),
        "prompts_by_kind": [(name, rows) for name, rows in by_kind if rows],
        "shown_prompts": len(ordered),
        "left_out": len(prompts) - len(ordered),
        "differing_prompts": differing,
        "compared_prompts": compared,
    }


def _sections(summary: Summary, kind: Kind) -> dict[str, str]:
    """The sections that a summary has, by their names in the page, with their titles."""
    results, settings = meaning.has_results(summary), or_empty(summary.get("configuration"))
    described = summary.get("base_model") or summary.get("region") or any(settings.values())
    again = results or (settings.get("input") is not None and not circumstances.is_rehearsed(summary))
    titles = {
        "failure": ("What happened", summary["status"] in meaning.FAILED),
        "meaning": ("The verdict and its limits", results),
        "heldout": (f"Loss on held-out {kind.things}", results),
        "outside": ("External test set", results),
        "scale": ("Adapter scale", results and summary.get("scale")),
        "choices": ("Knowledge: multiple-choice accuracy", results),
        "recall": ("Key facts in free answers", results),
        "forgetting": ("Forgetting, on the retention set", results),
        "memorisation": ("Memorisation of the training text", results),
        "training": ("Training", results and summary.get("training")),
        "answers": ("All answers, side by side", summary.get("prompts")),
        "cost": ("Cost and time", True),
        "configuration": ("Configuration", described),
        "reproduce": ("Next steps", again),
        "limits": ("Limits", results),
    }
    return {identifier: title for identifier, (title, shown) in titles.items() if shown}


@cache
def environment() -> jinja2.Environment:
    """jinja2 with what the templates call; every text is escaped, but in the model card, which is Markdown."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=lambda name: name != "card.md",
        finalize=lambda value: printable(value) if isinstance(value, str) else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {name: _of_known(getattr(formatting, name)) for name in FORMATS}
    made.filters |= {
        "beside_error": figures.beside_error,
        "estimate": figures.estimate,
        "kind_name": kind_name,
        "json": lambda value: json.dumps(str(value)),
        "plain": figures.plain,
        "points": figures.points,
        "tidy": lambda value: value if isinstance(value, Markup) else tidy(str(value)),
    }
    made.tests["web_address"] = lambda value: bool(re.fullmatch(r"https://[^\s\"'<>]+", value))
    made.globals |= {
        "advice": advice,
        "charts": charts,
        "circumstances": circumstances,
        "documents_with_all_resamples": DRAW_LIMIT // RESAMPLES,
        "figures": figures,
        "meaning": meaning,
        "notable_words": NOTABLE_WORDS,
        "pieces": pieces,
        "has_figures": has_figures,
    }
    return made


def _of_known(write: Callable[..., str]) -> Callable[..., str]:
    """A filter that takes what a template does not find as unknown."""

    def written(value: Any, *arguments: Any, **options: Any) -> str:
        return write(None if isinstance(value, jinja2.Undefined) else value, *arguments, **options)

    return written


def _text(template: str) -> str:
    return (TEMPLATES / template).read_text("utf-8")


def _figure_on_a_page(identifier: str, caption: str, draw: Draw, *content: Any) -> Markup:
    """A chart for a wide and for a narrow screen, with its caption; nothing where there is nothing to draw."""
    wide, narrow = draw(charts.WIDE, *content), draw(charts.NARROW, *content)
    if wide is None or narrow is None:
        return Markup("")
    both = wide.svg(f"{identifier}-wide", "wide") + narrow.svg(f"{identifier}-narrow", "narrow")
    return Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(both, tidy(caption))


def _figure_on_paper(files: dict[str, bytes]) -> Callable[..., Markup]:
    """The same for the PDF: the chart becomes a file beside the template, in the light colours of the page."""
    colours = dict(re.findall(r"(--[\w-]+): (#\w+);", _text("page.css").partition("@media")[0]))
    rules = re.sub(r"var\((--[\w-]+)\)", lambda match: colours[match[1]], _text("charts.css"))
    style = f'<style>text {{ font-family: "Libertinus Serif"; }} {rules}</style>'

    def figure(identifier: str, caption: str, draw: Draw, *content: Any) -> Markup:
        wide = draw(charts.WIDE, *content)
        if wide is None:
            return Markup("")
        files[f"{identifier}.svg"] = printable(wide.svg(identifier, "", style)).encode()
        shown = Markup('<img src="{}.svg" alt="{}" width="{:.0f}" height="{:.0f}"/>').format(
            identifier, f"{wide.title}. {wide.description}", wide.width, wide.height
        )
        return Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(shown, tidy(caption))

    return figure


def _unescaped(text: str) -> str:
    return re.sub(r"\\u\{(\w+)\}", lambda match: chr(int(match[1], 16)), text).replace('\\"', '"').replace("\\\\", "\\")
