"""A rehearsal whose spot instance is taken away: the real training process is killed, and the run succeeds all the same."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from rehearsal.conductor.conductor import Conductor
from rehearsal.conductor.display import Display
from rehearsal.conductor.options import parse
from rehearsal.models.weights import Substitute
from tests.doubles.rehearsal.toy_families import FAMILIES

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]


@pytest.mark.thorough
def test_a_job_that_lost_its_instance_goes_on_and_the_report_tells_of_it(tmp_path: Path) -> None:
    def toy(cache: Path) -> Path:
        FAMILIES["Llama 2"].make(tmp_path / "toy")
        return tmp_path / "toy"

    results = tmp_path / "results"
    asked = ["--quick", "--plain", "--epochs", "2", "--interrupt-at", "1", "--results", str(results), "--as", "spot"]
    options = dataclasses.replace(parse(asked), project=PROJECT)
    said = io.StringIO()
    display = Display(console=Console(file=said, width=160, highlight=False, soft_wrap=True))
    model = Substitute("Toy Llama", 50_000, toy)

    code = Conductor(options, display, model=model).run()

    assert code == 0, said.getvalue()
    summary = json.loads((results / "spot" / "summary.json").read_text("utf-8"))
    spot, training = summary["configuration"]["spot"], summary["training"]
    assert (summary["status"], spot["interruptions"], training["starts"]) == ("SUCCEEDED", 1, 2)
    assert training["steps"] == training["planned_steps"] > 1
    assert 0 < spot["billed_seconds"] < spot["training_seconds"]
    # Settled by what was billed, at the price of the report.
    cost = summary["cost"]
    assert cost["training_seconds"] == spot["billed_seconds"]
    assert cost["training_cents"] == -(-spot["billed_seconds"] * 1515 // 36000)
    assert "1 interruption, " in (results / "spot" / "report.html").read_text("utf-8")
    print(spot, {key: training[key] for key in ("steps", "starts", "steps_again")}, cost)
