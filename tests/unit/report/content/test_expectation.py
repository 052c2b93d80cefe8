"""What the plan expected of a run stands in its report beside what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from verification.experiments.reports.examples import KINDS
from verification.experiments.reports.made_up import run
from report import files, summary
from report.content.blocks import Table
from report.content.run import cost
from report.formatting import duration, whole
from report.summary_types import Summary

SCHEMA = json.loads((Path(summary.__file__).parent / "summary.schema.json").read_text(encoding="utf-8"))
ESTIMATE: dict[str, Any] = {
    "tokens": 156_186, "expectedCents": 110,
    "phases": [{"name": "image", "seconds": 450, "source": "logs"}, {"name": "learn", "seconds": 131, "source": "logs"}],
}  # fmt: skip


def facts(**plan: Any) -> dict[str, Any]:
    whole: Any = {"executionArn": "arn", **plan}
    return files.run_facts(whole, {"reservedCents": 639, "capCents": 2500})


def table(document: Summary) -> Table | None:
    tables = [block for block in cost(document).blocks if isinstance(block, Table)]
    return next((one for one in tables if one.caption.startswith("Expected before the run")), None)


def settled(expected: dict[str, Any] | None) -> Any:
    document: Any = KINDS["improved"]()
    document["configuration"]["expected"] = expected
    document["cost"]["actual_cents"] = 97
    document["training"] |= {"tokens_seen": 150_000, "seconds": 140.0}
    return document


def test_the_plans_estimate_reaches_the_summary() -> None:
    assert facts(estimate=ESTIMATE)["expected"] == {"cents": 110, "tokens": 156_186, "learning_seconds": 131}
    assert facts(estimate=ESTIMATE | {"phases": [], "expectedCents": None})["expected"] == {
        "cents": None, "tokens": 156_186, "learning_seconds": None,
    }  # fmt: skip


def test_a_plan_of_an_earlier_deployment_expects_nothing() -> None:
    assert facts()["expected"] is None
    assert table(settled(None)) is None


@pytest.mark.parametrize("expected", [None, {"cents": 110, "tokens": 5, "learning_seconds": None}])
def test_the_schema_describes_it(expected: dict[str, Any] | None) -> None:
    failed = summary.failure({**run(), "expected": expected}, "FAILED", "TrainingFailed", "why")
    assert failed["configuration"]["expected"] == expected
    jsonschema.validate(failed, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**failed, "configuration": {"expected": {"cents": 1.5}}}, SCHEMA)


def test_each_figure_stands_beside_what_was_measured() -> None:
    found = table(settled({"cents": 110, "tokens": 156_186, "learning_seconds": 131}))
    assert found is not None
    assert [[str(cell) for cell in row] for row in found.rows] == [
        ["Cost, all together", "$1.10", "$0.97"],
        ["Tokens learned", whole(156_186), whole(150_000)],
        ["Learning", duration(131), duration(140)],
    ]


def test_of_a_run_that_trained_nothing_no_learning_was_expected() -> None:
    served = settled({"cents": 110, "tokens": 0, "learning_seconds": 0})
    served["configuration"]["adapter_uri"] = "s3://bucket/runs/captune-first/training/captune-first/output/model/"
    found = table(served)
    assert found is not None and [str(row[0]) for row in found.rows] == ["Cost, all together"]


def test_what_nobody_knew_is_said_so() -> None:
    found = table(settled({"cents": None, "tokens": 156_186, "learning_seconds": None}))
    assert found is not None
    assert [str(row[1]) for row in found.rows] == ["not known", whole(156_186), "not known"]
