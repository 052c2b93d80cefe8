"""Invented runs of every kind, to look at the report without running anything. Every figure is made up from a seed.

python -m verification.experiments.report_examples FOLDER      # writes <kind>.html, .pdf, .json and .md for each kind
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from report import analysis, render, summary
from report.summary_types import Summary
from verification.experiments.made_up_runs import CORPUS, COST, SECONDS, answers, metrics, prompts, run


def finished(
    *,
    skill: float = 0.35,
    facts: Mapping[str, Any] | None = None,
    quantization: str = "none",
    outside_given: bool = False,
    records: bool = False,
    **options: Any,
) -> Summary:
    """The summary of a run whose answers are in and whose cost is not settled; `facts` are those of a run that went otherwise."""
    measured, asked, told_of_run = metrics(**options), prompts(), {**run(), **(facts or {})}
    if facts:
        measured["base_model"] |= {"quantization": quantization, "dtype": "bfloat16"}
    base, tuned = answers(asked, "base", skill=0.1), answers(asked, "medical", skill=skill, seed=4)
    told: dict[str, Any] = {"outside_given": outside_given, "records": records, "domain": told_of_run["domain"]}
    told["smoke"] = bool(told_of_run.get("smoke"))
    findings = analysis.analyse(measured, asked, base, tuned, corpus=CORPUS, resamples=500, **told)
    return summary.build(told_of_run, measured, asked, base, tuned, findings)


def settled(made: Summary, **configuration: Any) -> Summary:
    """The same run after TearDown, with further entries of its configuration."""
    done = summary.settle(made, status="SUCCEEDED", cost=COST, seconds_by_state=SECONDS)
    done["configuration"].update(configuration)  # type: ignore[typeddict-item]
    return done


def with_outside_text(outside: float, **options: Any) -> Summary:
    """A settled run that was given text by others, on which the loss changed by `outside`."""
    told = "The external test set corpora/heldoutside-others.jsonl has 40 documents; 12,000 words are measured."
    return settled(finished(outside=outside, **options), outside_text=told)


def without_control() -> Summary:
    """A run on a corpus of one's own: no control text, prompts without key facts, four held-out documents."""
    measured = metrics(count=4)
    del measured["evaluation"]["control"]
    asked = [{**row, "facts": []} for row in prompts(8)]
    base, tuned = answers(asked, "base", skill=0), answers(asked, "custom", skill=0)
    found = analysis.analyse(measured, asked, base, tuned, resamples=500)
    return settled(summary.build({**run(), "domain": None}, measured, asked, base, tuned, found))


def failed() -> Summary:
    """A run that Preflight refused."""
    cause = (
        'The quota "ml.g5.2xlarge for training job usage" is 0 in us-east-1, but the run needs 1. Ask for it at '
        "https://console.aws.amazon.com/servicequotas/ and start again when it is granted."
    )
    made = summary.failure(run(), "FAILED", "QuotaTooLow", cause)
    cost = {
        **dict.fromkeys(COST, 0),
        "reserved_cents": 558,
        "actual_cents": 3,
        "other_cents": 3,
        "remaining_cents": 2497,
    }
    return summary.settle(made, status="FAILED", cost=cost, seconds_by_state={"Preflight": 4.2})


def hostile() -> Summary:
    """A run whose every text tries to break out of the page: markup, long words, other scripts, control characters."""
    bad = (
        "<script>alert(1)</script>\"'&amp;{sections}"
        + "W" * 300
        + " \u03b1\u2265\u2192\u4e2d\U0001f9ec\x00\x07\u202e --> ]]>"
    )
    measured = metrics()
    measured["base_model"]["name"] = bad
    for row in measured["evaluation"]["heldout"]["documents"]:
        row["title"] = bad
    asked = [{**row, "prompt": bad, "facts": [{"name": bad, "pattern": "a"}]} for row in prompts(10)]
    base, tuned = answers(asked, "base", skill=0.2), answers(asked, "medical", skill=0.2)
    for row in [*base, *tuned]:
        row["greedy"] = bad
    found = analysis.analyse(measured, asked, base, tuned, corpus=CORPUS, resamples=500)
    facts = {**run(), "run": bad, "domain": bad, "region": bad, "input": {"corpus": bad}}
    made = summary.build(facts, measured, asked, base, tuned, found)
    return summary.settle(
        made, status="FAILED", cost=COST, seconds_by_state={bad: 3.0}, error=bad, cause=bad + "\n" + bad
    )


# What a run tells of itself that trained nothing and served an earlier adapter, and of one that did not go as it was planned.
EARLIER_ADAPTER = {
    **dict.fromkeys(
        ("training_instance_type", "training_instance_count", "training_hourly_cents", "max_training_seconds")
    ),
    "adapter_uri": "s3://bucket/runs/captune-first/training/captune-first/output/model/",
    "adapter_run": "captune-first",
}
SECOND_CHOICE = {
    "training_cut": True,
    "max_training_seconds": 7200,
    "hosting_instance_type": "ml.g6.2xlarge",
    "hosting_instance_types": ["ml.g5.2xlarge", "ml.g6.2xlarge"],
}
RECORDS = "The run was trained on 400 records (conversations) of 120 groups, and held 40 out."
KINDS_OF_CONTROL = {"Essay": (7, -0.1), "Code": (7, 0.15), "Arithmetic": (5, 0.15)}
KINDS = {
    "improved": lambda: settled(finished()),
    "scale-by-control": lambda: settled(finished(best=0.3)),
    "not-shown": lambda: settled(finished(effect=-0.01, skill=0.12)),
    "worse": lambda: settled(finished(effect=0.12, skill=0.02)),
    "improved-outside": lambda: with_outside_text(-0.08, best=0.45, sources=True),
    "none-better": lambda: with_outside_text(0.0, effect=0.0, spread=0.0, best=0.0),
    "not-shown-outside": lambda: with_outside_text(0.0),
    "worse-outside": lambda: with_outside_text(0.1),
    "control-as-much": lambda: settled(finished(effect=-0.2, control=-0.2)),
    "code-forgotten": lambda: settled(finished(kinds=KINDS_OF_CONTROL)),
    "outside-not-measured": lambda: settled(finished(outside_given=True)),
    "too-few": lambda: settled(finished(effect=-0.3, count=5)),
    "records": lambda: settled(finished(records=True), records=RECORDS),
    "running": finished,
    "without-control": without_control,
    "support": lambda: settled(finished(facts={"domain": "support"})),
    "smoke": lambda: settled(finished(facts={"smoke": True})),
    "earlier-adapter": lambda: settled(finished(facts=EARLIER_ADAPTER)),
    "not-as-planned": lambda: settled(finished(facts=SECOND_CHOICE, quantization="nf4")),
    "failed": failed,
    "aborted-early": lambda: summary.failure({"run": "captune-stopped"}, "ABORTED", None, None),
    "hostile": hostile,
}


def main(arguments: list[str]) -> int:
    """Write every kind of report into a folder."""
    if len(arguments) != 1:
        print(__doc__)
        return 2
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in KINDS.items():
        made = make()
        (folder / f"{name}.json").write_text(json.dumps(made, indent=1, allow_nan=False), encoding="utf-8")
        (folder / f"{name}.html").write_bytes(render.page(made))
        (folder / f"{name}.pdf").write_bytes(render.pdf(made))
        (folder / f"{name}.md").write_text(render.card(made), encoding="utf-8")
        print(f"{name}: {made['verdict']}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
