"""WriteReport: which files it reads, what it refuses, and which facts of the event reach the report."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from common.errors import AdapterNotServed, ReportIncomplete
from report import handler
from report.findings import analysis
from tests.doubles.lambda_fakes import S3
from verification.experiments.reports.made_up import CORPUS, answers, metrics, prompts

PREFIX = "runs/captune-abc/"
ADAPTER = f"{PREFIX}training/captune-abc/output/model/"
EARLIER = "runs/captune-first/training/captune-first/output/model/"
TYPES = ["ml.g5.2xlarge", "ml.g6.2xlarge"]
BASE = answers(prompts(), "base", skill=0.1)


class Site:
    """The bucket of one run and the event that WriteReport gets."""

    def __init__(self) -> None:
        self.s3 = S3()
        self.plan: dict[str, Any] = {
            "runName": "captune-abc", "domain": "medical", "executionArn": "arn:aws:states:us-east-1:1:execution:m:abc",
            "baseModel": {"name": "Llama 2 7B", "parameters": 6_738_415_616, "weightsUri": "s3://weights/"},
            "region": "us-east-1", "prefix": PREFIX, "startedAt": "2026-11-25T10:00:00+00:00", "input": {}, "seed": 42,
            "smoke": False, "adapterUri": "", "corpus": {"words": 9}, "warnings": [],
            "training": {"instanceType": TYPES[0], "instanceTypes": TYPES, "maxRuntimeSeconds": 7200},
            "hosting": {"instanceType": TYPES[0], "instanceTypes": TYPES},
            "budget": {
                "trainingHourlyUsd": "1.515", "hostingHourlyUsd": "1.515", "priceSource": "list", "months": ["2026-11"],
                "clamped": False,
            },
            "answers": {
                "promptsKey": f"{PREFIX}input/prompts.jsonl", "preTrainedKey": f"{PREFIX}answers/pre-trained.jsonl",
                "fineTunedKey": f"{PREFIX}answers/fine-tuned.jsonl",
            },
            "report": {"prefix": f"{PREFIX}report/", "uri": f"s3://bucket/{PREFIX}report/"},
        }  # fmt: skip
        self.event: Any = {
            "plan": self.plan,
            "reservation": {"reservedCents": 558, "capCents": 2500},
            "adapterUri": f"s3://bucket/{ADAPTER}",
        }
        self.put(f"{ADAPTER}metrics.json", metrics())
        self.lines(f"{PREFIX}input/prompts.jsonl", prompts())
        self.lines(f"{PREFIX}answers/pre-trained.jsonl", BASE)
        self.lines(f"{PREFIX}answers/fine-tuned.jsonl", answers(prompts(), "medical", skill=0.35, seed=4))
        self.s3.objects["bucket", f"{PREFIX}input/corpus/corpus.txt"] = CORPUS.encode()

    def put(self, key: str, value: Any) -> None:
        """A JSON file."""
        self.s3.objects["bucket", key] = json.dumps(value).encode()

    def lines(self, key: str, values: list[dict[str, Any]]) -> None:
        """A JSON Lines file."""
        self.s3.objects["bucket", key] = "\n".join(json.dumps(value) for value in values).encode()

    def report(self) -> dict[str, Any]:
        """What WriteReport writes into summary.json."""
        handler.handle(self.event, None)
        return dict(json.loads(self.s3.objects["bucket", f"{PREFIX}report/summary.json"]))

    @property
    def page(self) -> str:
        """The page that it wrote last."""
        return self.s3.objects["bucket", f"{PREFIX}report/report.html"].decode()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    made = Site()
    monkeypatch.setattr(handler, "client", lambda service: made.s3)
    # What is tested here does not hang on the resamples, which take most of the time.
    monkeypatch.setattr(analysis, "analyse", partial(analysis.analyse, resamples=300))
    monkeypatch.setenv("BUCKET_NAME", "bucket")
    return made


def test_an_event_of_an_older_state_machine_still_makes_a_report(site: Site) -> None:
    for key in ("smoke", "adapterUri"):
        del site.plan[key]
    document = site.report()
    assert (document["verdict"], document["configuration"]["training_cut"]) == ("improved", False)
    assert document["configuration"]["spot"] is None


def test_what_became_of_the_run_reaches_the_report(site: Site) -> None:
    site.plan["training"]["spot"] = True
    site.event |= {"trainingCut": True, "trainingInstanceType": TYPES[1], "hostingInstanceType": TYPES[0]}
    site.event["trainingJob"] = {"interruptions": 2, "trainingSeconds": 4000, "billedSeconds": 1500}
    told = site.report()["configuration"]
    assert (told["training_cut"], told["training_instance_type"], told["hosting_instance_type"]) == (True, *TYPES[::-1])
    assert (told["spot"]["interruptions"], told["spot"]["billed_seconds"]) == (2, 1500)


def test_an_earlier_adapter_has_its_own_losses_and_corpus(site: Site) -> None:
    site.plan["adapterUri"] = site.event["adapterUri"] = f"s3://bucket/{EARLIER}"
    site.put(f"{EARLIER}metrics.json", metrics(effect=0.12))
    del site.s3.objects["bucket", f"{ADAPTER}metrics.json"]
    site.s3.objects["bucket", "runs/captune-first/input/corpus/corpus.txt"] = b"A text that shares nothing."
    document = site.report()
    assert (document["verdict"], document["configuration"]["adapter_run"]) == ("worse", "captune-first")
    assert document["memorisation"]["copies"]["tuned"]["notable_answers"] == 0
    assert document["configuration"]["training_instance_type"] is None


def test_a_report_on_an_earlier_adapter_is_about_the_texts_it_was_trained_on(site: Site) -> None:
    site.plan["adapterUri"] = site.event["adapterUri"] = f"s3://bucket/{EARLIER}"
    site.plan["warnings"] = ["The deadline is short."]
    earlier = {
        "corpus": {"records": 400, "documents": 120, "heldOutRecords": 40, "conversations": True},
        "warnings": ["The deadline is short.", "Passages of one document are alike."],
        "evaluation": {"outsideText": "The outside text others.jsonl has 8 documents"},
        "input": {"heldOutside": "corpora/others.jsonl"},
    }
    site.put("runs/captune-first/plan.json", earlier)
    site.put(f"{EARLIER}metrics.json", metrics())
    document = site.report()
    told = document["configuration"]
    assert "400 records (conversations) of 120 groups" in told["records"]
    own, *others = told["warnings"]
    assert own == "The deadline is short."
    assert [one.partition(": ")[2] for one in others] == earlier["warnings"]
    assert told["outside_text"].startswith("The outside text others.jsonl")
    assert document["headline"] == "Nothing can be shown: text by others was given but not measured"
    assert document["outside"] == {"documents_count": 0, "unusable_documents": 0}, "it was given, and no loss came back"


def test_the_adapter_of_a_smoke_run_shows_no_more_than_the_smoke_run_did(site: Site) -> None:
    site.plan["adapterUri"] = site.event["adapterUri"] = f"s3://bucket/{EARLIER}"
    site.put("runs/captune-first/plan.json", {"smoke": True})
    site.put(f"{EARLIER}metrics.json", metrics())
    document = site.report()
    assert (document["verdict"], document["configuration"]["smoke"]) == ("not shown", True)
    assert "The adapter of a smoke run" in site.page


def test_page_and_card_give_the_address_to_serve_the_adapter_again(site: Site) -> None:
    site.plan["baseModel"]["parameters"] = metrics()["base_model"]["parameters"]
    told = site.report()["configuration"]
    assert (told["trained_adapter_uri"], told["adapter_uri"]) == (f"s3://bucket/{ADAPTER}", None)
    assert f"s3://bucket/{ADAPTER}" in site.page
    card = site.s3.objects["bucket", f"{PREFIX}report/MODEL_CARD.md"].decode()
    assert f"aws s3 cp --recursive s3://bucket/{ADAPTER} adapter/" in card


def test_base_answers_in_the_adapters_name_are_refused_and_nothing_is_written(site: Site) -> None:
    site.lines(f"{PREFIX}answers/fine-tuned.jsonl", [{**row, "model": "medical"} for row in BASE])
    with pytest.raises(AdapterNotServed, match="did not apply the adapter"):
        handler.handle(site.event, None)
    assert not [key for _, key in site.s3.objects if key.startswith(f"{PREFIX}report/")]


def test_what_is_missing_or_damaged_is_refused_by_name(site: Site) -> None:
    site.lines(f"{PREFIX}answers/fine-tuned.jsonl", BASE[:3])
    with pytest.raises(ReportIncomplete, match="48 prompts have 48 answers of the base model and 3 of the fine-tuned"):
        handler.handle(site.event, None)
    site.s3.objects["bucket", f"{ADAPTER}metrics.json"] = b"{"
    with pytest.raises(ReportIncomplete, match="is damaged"):
        handler.handle(site.event, None)
    del site.s3.objects["bucket", f"{ADAPTER}metrics.json"]
    with pytest.raises(ReportIncomplete, match=r"left no metrics\.json"):
        handler.handle(site.event, None)


RECORDS: list[dict[str, Any]] = [
    {"id": "a", "group": "a", "prompt": "Why?", "completion": " The old mill stood by the river for a hundred years."},
    {
        "id": "b",
        "group": "b",
        "messages": [{"role": "user", "content": "And then?"}, {"role": "assistant", "content": "Nothing."}],
    },
]


def of_records(site: Site) -> None:
    """The same run, but trained on records, with two of them among its prompts."""
    del site.s3.objects["bucket", f"{PREFIX}input/corpus/corpus.txt"]
    site.lines(f"{PREFIX}input/corpus/corpus.jsonl", RECORDS)
    site.plan["corpus"] = {"words": 9, "documents": 30, "records": 90, "heldOutRecords": 30, "conversations": False}


def test_a_report_on_records_names_records_groups_and_copies(site: Site) -> None:
    of_records(site)
    measured = metrics()
    measured["corpus"] = {**measured["corpus"], "split_records": 4}
    site.put(f"{ADAPTER}metrics.json", measured)
    copied = "So the old mill stood by the river for a hundred years, they say."
    tuned = answers(prompts(), "medical", skill=0.35, seed=4)
    site.lines(f"{PREFIX}answers/fine-tuned.jsonl", [{**row, "greedy": copied} for row in tuned])
    document = site.report()
    assert document["headline"] == "Improved on held-out records of the same corpus"
    assert "record groups" in document["verdict_reason"], "groups are what counts once"
    assert "90 records (prompts with completions) of 30 groups, and held 30 out" in document["configuration"][
        "records"
    ].replace("\u00a0", " ")
    assert "Records, not running text" in site.page and "4 of them were longer than a training sequence" in site.page
    assert document["memorisation"]["copies"]["tuned"]["longest_words"] == 11


def test_a_held_out_record_is_shown_with_its_answer_and_a_damaged_one_refused(site: Site) -> None:
    of_records(site)
    rows = [
        {**row, "kind": "record", "facts": [], "reference": f"Own answer {n} <b>"} for n, row in enumerate(prompts())
    ]
    site.lines(f"{PREFIX}input/prompts.jsonl", rows)
    assert site.report()["prompts"][3]["reference"] == "Own answer 3 <b>"
    assert "<bdi>Own answer 3 &lt;b&gt;</bdi>" in site.page
    site.lines(f"{PREFIX}input/corpus/corpus.jsonl", [{"id": "a"}])
    with pytest.raises(ReportIncomplete, match="a record of input/corpus/corpus.jsonl has no 'prompt'"):
        handler.handle(site.event, None)
