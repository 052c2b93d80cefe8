"""WriteReport: which files it reads and rejects, and which facts of the event reach the report."""

import copy
import json
from functools import partial
from typing import Any

import pytest

from common.errors import AdapterNotServed, ReportIncomplete
from report import analysis, handler
from tests.doubles.lambda_fakes import S3
from verification.experiments.made_up_runs import CORPUS, answers, metrics, prompts

PREFIX = "runs/captune-large/"
PLAN: dict[str, Any] = {
    "runName": "captune-large", "domain": "medical", "region": "us-east-1", "prefix": PREFIX,
    "executionArn": "arn:aws:states:us-east-1:111122223333:execution:captune-fine-tuning:large",
    "baseModel": {"name": "Llama 2 7B", "parameters": 6_738_415_616, "weightsUri": "s3://weights/"},
    "startedAt": "2026-11-25T10:00:00+00:00", "input": {}, "seed": 42, "corpus": {"words": 9}, "warnings": [],
    "training": {"instanceType": "ml.g5.2xlarge", "maxRuntimeSeconds": 7200}, "hosting": {"instanceType": "ml.g5.2xlarge"},
    "budget": {"trainingHourlyUsd": "1.515", "hostingHourlyUsd": "1.515", "priceSource": "list", "months": ["2026-11"]},
    "answers": {
        "promptsKey": f"{PREFIX}input/prompts.jsonl", "preTrainedKey": f"{PREFIX}answers/base.jsonl",
        "fineTunedKey": f"{PREFIX}answers/tuned.jsonl",
    },
    "report": {"prefix": f"{PREFIX}report/", "uri": f"s3://bucket/{PREFIX}report/"},
}  # fmt: skip
ADAPTER = f"{PREFIX}training/captune-large/output/model/"
EARLIER = "runs/captune-first/training/captune-first/output/model/"
TYPES = ["ml.g5.2xlarge", "ml.g6.2xlarge"]
BASE = answers(prompts(), "base", skill=0.1)


class RunFiles:
    """The bucket of one run and the event that WriteReport gets."""

    def __init__(self) -> None:
        self.s3 = S3()
        self.plan = copy.deepcopy(PLAN)
        self.event: Any = {
            "plan": self.plan,
            "reservation": {"reservedCents": 558, "capCents": 2500},
            "adapterUri": f"s3://bucket/{ADAPTER}",
        }
        self.put(f"{ADAPTER}metrics.json", metrics())
        self.lines(f"{PREFIX}input/prompts.jsonl", prompts())
        self.lines(f"{PREFIX}answers/base.jsonl", BASE)
        self.lines(f"{PREFIX}answers/tuned.jsonl", answers(prompts(), "medical", skill=0.35, seed=4))
        self.s3.objects["bucket", f"{PREFIX}input/corpus/corpus.txt"] = CORPUS.encode()

    def put(self, key: str, value: Any) -> None:
        self.s3.objects["bucket", key] = json.dumps(value).encode()

    def lines(self, key: str, values: list[dict[str, Any]]) -> None:
        self.s3.objects["bucket", key] = "\n".join(json.dumps(value) for value in values).encode()

    def serve_earlier(self, measured: dict[str, Any], its_plan: dict[str, Any] | None = None) -> None:
        """Makes this a run that serves the adapter of an earlier one, with its losses and its plan."""
        self.plan["adapterUri"] = self.event["adapterUri"] = f"s3://bucket/{EARLIER}"
        self.put(f"{EARLIER}metrics.json", measured)
        if its_plan is not None:
            self.put("runs/captune-first/plan.json", its_plan)

    def report(self) -> dict[str, Any]:
        handler.handle(self.event, None)
        return dict(json.loads(self.s3.objects["bucket", f"{PREFIX}report/summary.json"]))

    @property
    def page(self) -> str:
        return self.s3.objects["bucket", f"{PREFIX}report/report.html"].decode()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> RunFiles:
    made = RunFiles()
    monkeypatch.setattr(handler, "client", lambda service: made.s3)
    # What is tested here does not hang on the resamples, which take most of the time.
    monkeypatch.setattr(analysis, "analyse", partial(analysis.analyse, resamples=300))
    monkeypatch.setenv("BUCKET_NAME", "bucket")
    return made


def test_a_report_gives_verdict_circumstances_and_the_adapters_address(site: RunFiles) -> None:
    site.plan["baseModel"]["parameters"] = metrics()["base_model"]["parameters"]
    site.plan["training"]["spot"] = True
    site.put(f"{ADAPTER}metrics.json", metrics() | {"settings": {"learning_rate": 0.0002937459974151566}})
    site.event |= {"trainingCut": True, "trainingInstanceType": TYPES[1], "hostingInstanceType": TYPES[0]}
    site.event["trainingJob"] = {"interruptions": 2, "trainingSeconds": 4000, "billedSeconds": 1500}
    document = site.report()
    told = document["configuration"]
    assert (document["verdict"], told["training_cut"]) == ("improved", True)
    assert (told["training_instance_type"], told["hosting_instance_type"]) == (TYPES[1], TYPES[0])
    assert (told["spot"]["interruptions"], told["spot"]["billed_seconds"]) == (2, 1500)
    assert (told["trained_adapter_uri"], told["adapter_uri"]) == (f"s3://bucket/{ADAPTER}", None)
    assert f"s3://bucket/{ADAPTER}" in site.page
    card = site.s3.objects["bucket", f"{PREFIX}report/MODEL_CARD.md"].decode()
    assert f"aws s3 cp --recursive s3://bucket/{ADAPTER} adapter/" in card
    assert "| learning rate | 0.000293746 |" in card, "as many digits as anybody reads"


def test_an_earlier_adapter_has_its_own_losses_and_corpus(site: RunFiles) -> None:
    site.serve_earlier(metrics(effect=0.12))
    del site.s3.objects["bucket", f"{ADAPTER}metrics.json"]
    site.s3.objects["bucket", "runs/captune-first/input/corpus/corpus.txt"] = b"A text that shares nothing."
    document = site.report()
    assert (document["verdict"], document["configuration"]["adapter_run"]) == ("worse", "captune-first")
    assert document["memorisation"]["copies"]["tuned"]["notable_answers"] == 0
    assert document["configuration"]["training_instance_type"] is None


def test_a_report_on_an_earlier_adapter_is_about_the_texts_it_was_trained_on(site: RunFiles) -> None:
    site.plan["warnings"] = ["The deadline is short."]
    earlier = {
        "corpus": {"records": 400, "documents": 120, "heldOutRecords": 40, "conversations": True},
        "warnings": ["The deadline is short.", "Passages of one document are alike."],
        "evaluation": {"outsideText": "The external test set others.jsonl has 8 documents"},
        "input": {"heldOutside": "corpora/others.jsonl"},
    }
    site.serve_earlier(metrics(), earlier)
    document = site.report()
    told = document["configuration"]
    assert "400 records (conversations) of 120 groups" in told["records"]
    own, *others = told["warnings"]
    assert own == "The deadline is short."
    assert [one.partition(": ")[2] for one in others] == earlier["warnings"]
    assert told["outside_text"].startswith("The external test set others.jsonl")
    assert document["headline"] == "Nothing can be shown: the external test set was not measured"
    assert document["outside"] == {"documents_count": 0, "unusable_documents": 0}, "it was given, and no loss came back"


def test_the_adapter_of_a_smoke_run_shows_no_more_than_the_smoke_run_did(site: RunFiles) -> None:
    site.serve_earlier(metrics(), {"smoke": True})
    document = site.report()
    assert (document["verdict"], document["configuration"]["smoke"]) == ("not shown", True)
    assert "The adapter of a smoke run" in site.page


def test_base_answers_in_the_adapters_name_are_rejected_and_write_no_report(site: RunFiles) -> None:
    site.lines(f"{PREFIX}answers/tuned.jsonl", [{**row, "model": "medical"} for row in BASE])
    with pytest.raises(AdapterNotServed, match=r"48 prompts.* 0\.\d{3} nats per token"):
        handler.handle(site.event, None)
    assert not [key for _, key in site.s3.objects if key.startswith(f"{PREFIX}report/")]


def test_a_missing_or_damaged_file_is_rejected_by_name(site: RunFiles) -> None:
    site.lines(f"{PREFIX}answers/tuned.jsonl", BASE[:3])
    with pytest.raises(ReportIncomplete, match="48 prompts have 48 answers of the base model and 3 of the fine-tuned"):
        handler.handle(site.event, None)
    site.s3.objects["bucket", f"{ADAPTER}metrics.json"] = b"{"
    with pytest.raises(ReportIncomplete, match="is damaged"):
        handler.handle(site.event, None)
    del site.s3.objects["bucket", f"{ADAPTER}metrics.json"]
    with pytest.raises(ReportIncomplete, match=r"left no metrics\.json"):
        handler.handle(site.event, None)


MILL = "the old mill stood by the river for a hundred years"
TALK = [{"role": "user", "content": "And then?"}, {"role": "assistant", "content": "Nothing."}]
RECORDS: list[dict[str, Any]] = [
    {"id": "a", "group": "a", "prompt": "Why?", "completion": f" {MILL.capitalize()}."},
    {"id": "b", "group": "b", "messages": TALK},
]


def test_a_report_on_records_names_groups_and_copies_and_rejects_a_damaged_record(site: RunFiles) -> None:
    del site.s3.objects["bucket", f"{PREFIX}input/corpus/corpus.txt"]
    site.lines(f"{PREFIX}input/corpus/corpus.jsonl", RECORDS)
    site.plan["corpus"] = {"words": 9, "documents": 30, "records": 90, "heldOutRecords": 30, "conversations": False}
    asked = [{**row, "kind": "record", "facts": [], "reference": f"Answer {n} <b>"} for n, row in enumerate(prompts())]
    site.lines(f"{PREFIX}input/prompts.jsonl", asked)
    tuned = answers(prompts(), "medical", skill=0.35, seed=4)
    told = [{**row, "greedy": f"So {MILL}, they say."} for row in tuned]
    site.lines(f"{PREFIX}answers/tuned.jsonl", told)
    document = site.report()
    assert document["headline"] == "Improved on held-out records of the same corpus"
    assert "record groups" in document["verdict_reason"], "groups are what counts once"
    assert "of 30 groups, and held 30 out" in document["configuration"]["records"].replace("\u00a0", " ")
    assert document["memorisation"]["copies"]["tuned"]["longest_words"] == 11
    assert document["prompts"][3]["reference"] == "Answer 3 <b>"
    assert "<bdi>Answer 3 &lt;b&gt;</bdi>" in site.page
    site.lines(f"{PREFIX}input/corpus/corpus.jsonl", [{"id": "a"}])
    with pytest.raises(ReportIncomplete, match="a record of input/corpus/corpus.jsonl has no 'prompt'"):
        handler.handle(site.event, None)
