"""`captune compare A B [C ...]`: runs against one another, on the documents that all of them measured.

Every figure is of the report's own functions (`report.findings`): here documents are only brought together. Each further run
is compared with the first.
"""

import json
import string
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from captune.account import PROJECT, Refused
from captune.flags import AsJson, Region, Results
from captune.runs import (
    HEAD,
    SEED,
    TEXTS,
    Run,
    change_words,
    differing,
    find,
    row,
    setting_words,
    show,
    to_dict,
    without_documents,
)
from report.content.circumstances import MEDICAL, is_of_records
from report.content.figures import loss_cells, points
from report.content.meaning import purpose
from report.findings.intervals import RESAMPLES
from report.findings.recall import CONTROL, by_id, clustered_mean
from report.findings.statistics import compare_losses
from report.findings.verdict import complete, kind_of, side_of_zero
from report.formatting import format_p, number, plural
from report.summary_types import has_figures, or_empty

FACTS = "facts"
FINDINGS = {-1: "lower", 0: "none shown", 1: "higher"}
# Rounding differs between GPUs by some thousandths; texts that are not the same lie tenths apart.
SAME_LOSS = 0.02
NOTES = (
    "Below zero, the run has the lower loss. A difference is shown where its whole 95% interval lies on one side of zero and "
    "the p of its sign-flip test is below 0.05. Of twenty comparisons of equal models, about one shows a difference by chance.",
    "The intervals cover the choice of documents and prompts, not of seed: another seed alone moves a run's loss.",
)
Documents = list[tuple[Mapping[str, Any], ...]]  # each as every run measured it


class DifferentTexts(Refused):
    """The runs were measured on different texts."""


class Shown(NamedTuple):
    """A table of the comparison."""

    title: str
    caption: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]


def command(
    named: Annotated[list[str], typer.Argument(metavar="RUN", help="Runs' names, or `latest`.", show_default=False)],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page (HTML) with a chart.", show_default=False)] = None,
    as_json: AsJson = False,
    results: Results = Path("results"),
    region: Region = None,
) -> None:  # fmt: skip
    """Compares runs on the texts that all of them measured, each with the first."""
    runs = find(named, results, region)
    found = compare(runs)
    if out:
        out.write_bytes(page(runs, found))
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for table in tables(runs, found):
        show(table.caption, table.head, table.rows)
    for note in (*NOTES, *found["not_compared"].values(), *([f"The page is in {out}."] if out else [])):
        print(note)


def compare(runs: Sequence[Run]) -> dict[str, Any]:
    """What `--json` prints: each run against base and the first, and how seeds differ. Raises Refused, DifferentTexts."""
    letters = string.ascii_uppercase
    if not 2 <= len(runs) <= len(letters) or len({run.plan["runName"] for run in runs}) < len(runs):
        raise Refused(f"Name from 2 to {len(letters)} runs, each once.")
    for run in runs:
        if not has_figures(run.summary.get("heldout")):
            raise Refused(f"The run {run.name} measured no held-out loss, so nothing of it can be compared.")
        if run.model != runs[0].model:
            raise Refused(
                f"{runs[0].name} was trained on {runs[0].model}, {run.name} on {run.model}: compare runs of one model."
            )
    texts, not_compared = _texts(runs)
    of_runs: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    for place, run in enumerate(runs):
        one: dict[str, Any] = {"letter": letters[place], **to_dict(run), **dict.fromkeys(TEXTS)}
        pair: dict[str, Any] = {"letters": [letters[place], letters[0]]}
        for text, each in texts.items():
            one[text] = _block(run, each, _losses(each, place, "base"), _losses(each, place))
            if place:
                pair[text] = _block(runs[0], each, _losses(each, 0), _losses(each, place))
        of_runs.append(one)
        if place:
            pairs.append({**pair, FACTS: facts(runs[0], run)})
    seeds = [_between_seeds(runs, of_runs, group, texts) for group in _differ_in_seed(runs)]
    return {"runs": of_runs, "pairs": pairs, "seeds": seeds, "not_compared": not_compared}


def shared(runs: Sequence[Run], text: str) -> Documents:
    """The documents of a text that all runs have measured, in the order of the first. Raises DifferentTexts."""
    measured = [by_id(or_empty(run.summary.get(text)).get("documents") or []) for run in runs]
    together = [tuple(one[key] for one in measured) for key in measured[0] if all(key in one for one in measured)]
    if not together:
        names = ", ".join(run.name for run in runs)
        raise DifferentTexts(f"{TEXTS[text]} is not compared: no document of it was measured by all of {names}.")
    for documents in together:
        for run, document in zip(runs, documents, strict=True):
            both = documents[0], document
            tokens, losses = ([each[key] for each in both] for key in ("tokens", "base_loss"))
            if tokens[0] != tokens[1] or abs(losses[0] - losses[1]) > SAME_LOSS:
                sizes = [
                    f"{plural(one['tokens'], 'token')} with a base loss of {number(one['base_loss'])}" for one in both
                ]
                raise DifferentTexts(
                    f"{TEXTS[text]} is not compared: {runs[0].name} and {run.name} were measured on different texts. "
                    f"{document['id']} has {sizes[0]} in the one, {sizes[1]} in the other. Compare runs of the same texts."
                )
    return together


def facts(first: Run, run: Run) -> dict[str, Any] | None:
    """Recall of a run less that of the first, on the prompts that both answered as often; None where there is none."""
    one, other = (by_id(each.summary.get("prompts") or []) for each in (first, run))
    asked = [key for key in one if key in other and _same_prompt(one[key], other[key])]
    if not asked:
        return None
    change = [other[key]["tuned"]["recall"] - one[key]["tuned"]["recall"] for key in asked]
    clusters = [str(one[key].get("cluster") or f"prompt {key}") for key in asked]
    found = clustered_mean(change, clusters, **_seeded(first))
    return {"prompts": len(asked), "difference": found.pop("mean"), **found}


def tables(runs: Sequence[Run], found: Mapping[str, Any]) -> list[Shown]:
    """The comparison as tables, for the terminal and the page."""
    named = zip(string.ascii_uppercase, runs, differing(runs), strict=False)
    kind = kind_of(runs[0].summary.get("heldout"), is_of_records(runs[0].summary))
    cells = [(letter, *row(run), setting_words(differs)) for letter, run, differs in named]
    count = plural(found["pairs"][0]["heldout"]["documents_count"], f"held-out {kind.cluster}")
    against_base = [
        (one["letter"], name, str(block["documents_count"]), *loss_cells(block)[0][1:])
        for one in found["runs"] for key, name in TEXTS.items() if (block := one[key])
    ]  # fmt: skip
    shown = [
        Shown("The runs", f"Runs of {runs[0].model}; run A was trained on {runs[0].corpus}", ("", *HEAD, "Settings that differ"), cells),
        Shown(
            "Against base", f"Each run against its base model in nats per token, on {count} that all measured",
            ("Run", "Text", "Documents", "Base", "Tuned", "Tuned minus base", "95% interval"), against_base,
        ),
        Shown(
            "Between runs", f"Each run less run A, {runs[0].name}: nats per token, and percentage points of key facts",
            ("Runs", "Of", "Documents", "Difference (95% interval)", "Sign-flip", "Finding"), list(_pair_rows(found)),
        ),
        Shown(
            "Between seeds", "Runs that differ in their seed alone: tuned minus base, nats per token",
            ("Runs", "Text", "Seeds", "Lowest to highest", "Spread", "Mean of the seeds (95% interval)"),
            list(_seed_rows(found)),
        ),
    ]  # fmt: skip
    return [table for table in shown if table.rows]


def page(runs: Sequence[Run], found: Mapping[str, Any]) -> bytes:
    """The comparison as one page in the style of the report, without scripts or requests."""
    from jinja2 import FileSystemLoader

    from report import render

    of_runs = zip(found["runs"], differing(runs), strict=True)
    rows = [(f"{one['letter']}: {setting_words(differs)}", one["heldout"]["difference"]) for one, differs in of_runs]
    rows += [
        (f"{''.join(one['letters'])}: mean of seeds", one["heldout"]["mean"]["difference"]) for one in found["seeds"]
    ]
    shown = tables(runs, found)
    context = {
        "purpose": purpose(MEDICAL if any(run.summary.get("domain") == MEDICAL for run in runs) else None),
        "reason": f"{shown[1].caption}.",
        "tables": shown,
        "notes": [*NOTES, *found["not_compared"].values()],
        "rows": [(name, change, "bad" if (change["low"] or 0) > 0 else "tuned") for name, change in rows],
    }
    made = render.environment().overlay(loader=FileSystemLoader([PROJECT / "captune" / "page", render.TEMPLATES]))
    return made.get_template("compare.html").render({**render.frame(f"{len(runs)} runs compared"), **context}).encode()


def _texts(runs: Sequence[Run]) -> tuple[dict[str, Documents], dict[str, str]]:
    """The documents of each text, and why another than the held-out one is left out. Raises DifferentTexts for that."""
    found, left_out = {"heldout": shared(runs, "heldout")}, {}
    for text in ("outside", "control"):
        try:
            found[text] = shared(runs, text)
        except DifferentTexts as error:
            if any(has_figures(run.summary.get(text)) for run in runs):
                left_out[text] = str(error)
    return found, left_out


def _losses(documents: Documents, place: int, side: str = "tuned") -> list[float]:
    return [each[place][f"{side}_loss"] for each in documents]


def _block(run: Run, documents: Documents, before: list[float], after: list[float]) -> dict[str, Any]:
    """`compare_losses` of two losses of each document, with the seed of a run's own report."""
    sizes = [each[0]["tokens"] for each in documents]
    rows = zip(sizes, before, after, strict=True)
    measured = [{"tokens": size, "base_nll": size * one, "tuned_nll": size * other} for size, one, other in rows]
    return without_documents(compare_losses({"documents": measured}, **_seeded(run))) or {}


def _seeded(run: Run) -> dict[str, Any]:
    return {"seed": run.summary.get("analysis_seed") or 0, "resamples": run.summary.get("resamples") or RESAMPLES}


def _differ_in_seed(runs: Sequence[Run]) -> list[list[int]]:
    groups: dict[str, list[int]] = {}
    for place, run in enumerate(runs):
        others = {key: value for key, value in run.conditions.items() if key != SEED}
        groups.setdefault(json.dumps(others, sort_keys=True), []).append(place)
    return [group for group in groups.values() if len({runs[place].conditions.get(SEED) for place in group}) > 1]


def _between_seeds(
    runs: Sequence[Run], of_runs: Sequence[Mapping[str, Any]], group: Sequence[int], texts: Mapping[str, Documents]
) -> dict[str, Any]:
    """Of each text the lowest and the highest change of some runs, and that of the mean of their losses."""
    seeds = [runs[place].conditions[SEED] for place in group]
    found: dict[str, Any] = {"letters": [of_runs[place]["letter"] for place in group], "seeds": seeds}
    for text, documents in texts.items():
        values = [of_runs[place][text]["difference"]["estimate"] for place in group]
        mean = [sum(each[place]["tuned_loss"] for place in group) / len(group) for each in documents]
        block = _block(runs[group[0]], documents, _losses(documents, group[0], "base"), mean)
        found[text] = {"lowest": min(values), "highest": max(values), "mean": block}
    return found


def _same_prompt(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    first, second = one.get("tuned"), other.get("tuned")
    if one["kind"] == CONTROL or not first or not second or first["recall"] is None or second["recall"] is None:
        return False
    alike = all(one[key] == other[key] for key in ("prompt", "facts"))
    return alike and len(first["samples"]) == len(second["samples"])


def _pair_rows(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for pair in found["pairs"]:
        alone = any(set(pair["letters"]) <= set(group["letters"]) for group in found["seeds"])
        for key, name in {**TEXTS, FACTS: "Key facts"}.items():
            if block := pair.get(key):
                change = complete(block)
                finding = FINDINGS[side_of_zero(change, block["p_value"])] if change else "too few to judge"
                finding = f"{finding}, by seed alone" if alone and finding in (FINDINGS[-1], FINDINGS[1]) else finding
                shown = points(block["difference"]) if key == FACTS else block["difference"]
                count = block["prompts"] if key == FACTS else block["documents_count"]
                letters, p_value = "\u00a0\u2212\u00a0".join(pair["letters"]), format_p(block["p_value"])
                yield letters, name, str(count), change_words(shown), p_value, finding


def _seed_rows(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for group in found["seeds"]:
        for text, name in TEXTS.items():
            if spread := group.get(text):
                low, high = spread["lowest"], spread["highest"]
                between = f"{number(low, signed=True)} to {number(high, signed=True)}"
                seeds, mean = ", ".join(map(str, group["seeds"])), change_words(spread["mean"]["difference"])
                yield "".join(group["letters"]), name, seeds, between, number(high - low), mean
