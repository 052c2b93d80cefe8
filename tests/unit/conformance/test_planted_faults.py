"""Each planted fault reaches the synthesized project, and is noticed where that needs no other program."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.machines.stacks_bench import synthesize
from verification.conformance.__main__ import PARTS
from verification.conformance.deploy import templates
from verification.conformance.expressions import of_names
from verification.conformance.expressions.evaluations import ask_reference
from verification.conformance.plants import PLANTS
from verification.conformance.programs import PROJECT, CannotRun

pytestmark = pytest.mark.slow
FINE_TUNING = "Captune-FineTuning.template.json"


@pytest.fixture
def assembly(tmp_path: Path) -> Path:
    for file in synthesize().folder.glob("*.template.json"):
        shutil.copy(file, tmp_path)
    return tmp_path


def definitions(assembly: Path) -> dict[str, dict[str, Any]]:
    return {
        name: json.loads(resource["Properties"]["DefinitionString"])
        for path in assembly.glob("*.template.json")
        for name, resource in json.loads(path.read_text(encoding="utf-8"))["Resources"].items()
        if resource["Type"] == "AWS::StepFunctions::StateMachine"
    }


def test_a_property_that_cloudformation_lacks_is_noticed(assembly: Path) -> None:
    for other in (FINE_TUNING, "Captune-Guardrail.template.json"):  # checking them takes seconds
        (assembly / other).unlink()
    before = templates(assembly)
    PLANTS["property"].into(assembly)

    (problem,) = templates(assembly).problems

    assert before.holds
    assert "Resources.Ledger" in problem
    assert "'Colour'" in problem


def test_a_misspelt_function_is_noticed(assembly: Path) -> None:
    try:
        ask_reference([])
    except CannotRun as error:
        pytest.skip(str(error))
    before = of_names(definitions(assembly))
    PLANTS["expression"].into(assembly)

    after = of_names(definitions(assembly))

    assert before.holds, before.problems
    assert before.count == after.count > 100
    assert any("calls $exist," in problem for problem in after.problems)


@pytest.mark.parametrize(
    ("name", "lost", "found", "places"),
    [
        ("field", ".FailureReason", ".FailureReson", "one"),
        ("right", "s3:PutObject", "s3:GetObjectTagging", "s3:PutObject"),
        ("adapter", "${Domain}", "another", "LORA_MODULES"),
    ],
)
def test_a_fault_reaches_every_place_meant(assembly: Path, name: str, lost: str, found: str, places: str) -> None:
    before = (assembly / FINE_TUNING).read_text(encoding="utf-8")
    PLANTS[name].into(assembly)

    after = (assembly / FINE_TUNING).read_text(encoding="utf-8")

    planted = after.count(found) - before.count(found)
    assert planted == before.count(lost) - after.count(lost) == (1 if places == "one" else before.count(places)) > 0
    assert definitions(assembly)  # each is still JSON


def test_the_route_is_taken_out_of_the_deployed_ask_code(tmp_path: Path) -> None:
    deployed = tmp_path / "asset.0" / "ask" / "questions.py"
    deployed.parent.mkdir(parents=True)
    shutil.copy(PROJECT / "lambdas" / "ask" / "questions.py", deployed)

    PLANTS["route"].into(tmp_path)

    assert "route=/v1/completions" not in deployed.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PLANTS)
def test_a_fault_that_finds_no_place_is_an_error(name: str, tmp_path: Path) -> None:
    assert PLANTS[name].part in PARTS
    for file in ("Captune-Storage.template.json", FINE_TUNING):
        (tmp_path / file).write_text(json.dumps({"Resources": {}}), encoding="utf-8")

    with pytest.raises(ValueError, match="planted elsewhere"):
        PLANTS[name].into(tmp_path)
