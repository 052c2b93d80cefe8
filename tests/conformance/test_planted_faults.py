"""Each planted fault is noticed by the check that it is meant for, and by nothing else's silence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from verification.conformance.deploy import templates
from verification.conformance.environments import CannotRun
from verification.conformance.expressions import of_names, reference
from verification.conformance.parts import PARTS
from verification.conformance.plants import MACHINE, PLANTS
from rehearsal.account.assembly import synthesize

pytestmark = pytest.mark.slow


PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "assembly"
    synthesize(PROJECT, folder, {"accept_eula": "true"})
    return folder


@pytest.fixture
def assembly(whole: Path, tmp_path: Path) -> Path:
    for file in whole.glob("*.template.json"):
        shutil.copy(file, tmp_path)
    return tmp_path


def definitions(assembly: Path) -> dict[str, dict[str, Any]]:
    return {
        name: json.loads(resource["Properties"]["DefinitionString"])
        for path in assembly.glob("*.template.json")
        for name, resource in json.loads(path.read_text(encoding="utf-8"))["Resources"].items()
        if resource["Type"] == MACHINE
    }


def test_the_projects_templates_hold(assembly: Path) -> None:
    contract = templates.check(assembly, "us-east-1")

    assert contract.holds, contract.problems
    assert contract.count > 40
    assert int(contract.figures.split()[0]) > 1000


def test_a_property_that_cloudformation_does_not_know_is_noticed(assembly: Path) -> None:
    PLANTS["property"].into(assembly)
    for other in ("FineTuning", "Guardrail"):  # they hold as they are, and take seconds
        (assembly / f"Captune-{other}.template.json").unlink()

    (problem,) = templates.check(assembly, "us-east-1").problems

    assert "'Colour' was unexpected" in problem
    assert problem.startswith("Captune-Storage.template.json: Resources.Ledger")


def test_a_misspelt_function_is_noticed(assembly: Path) -> None:
    try:
        reference.ask([])
    except CannotRun as error:
        pytest.skip(str(error))
    before = of_names(definitions(assembly))
    PLANTS["expression"].into(assembly)

    after = of_names(definitions(assembly))

    assert before.holds, before.problems
    assert before.count == after.count > 100
    assert any("calls $exist," in problem for problem in after.problems)


def test_a_misspelt_field_is_put_in_once(assembly: Path) -> None:
    PLANTS["field"].into(assembly)

    assert json.dumps(definitions(assembly)).count("FailureReson") == 1


def test_a_missing_right_is_missing_everywhere(assembly: Path) -> None:
    before = (assembly / "Captune-FineTuning.template.json").read_text(encoding="utf-8")
    PLANTS["right"].into(assembly)

    assert '"s3:PutObject"' in before
    assert '"s3:PutObject"' not in (assembly / "Captune-FineTuning.template.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PLANTS)
def test_a_fault_that_finds_no_place_says_so(name: str, tmp_path: Path) -> None:
    (tmp_path / "Empty.template.json").write_text(json.dumps({"Resources": {}}), encoding="utf-8")

    with pytest.raises(ValueError, match="planted elsewhere"):
        PLANTS[name].into(tmp_path)


def test_every_fault_belongs_to_a_part() -> None:
    assert {plant.part for plant in PLANTS.values()} <= PARTS.keys()


def test_templates_that_are_not_there_show_nothing(tmp_path: Path) -> None:
    assert not templates.check(tmp_path, "us-east-1").holds


def test_the_route_is_taken_out_of_the_ask_code_that_is_deployed(tmp_path: Path) -> None:
    deployed = tmp_path / "asset.0" / "ask" / "questions.py"
    deployed.parent.mkdir(parents=True)
    shutil.copy(PROJECT / "lambdas" / "ask" / "questions.py", deployed)

    PLANTS["route"].into(tmp_path)

    assert "route=/v1/completions" not in deployed.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="has to be planted elsewhere"):
        PLANTS["route"].into(tmp_path)


def test_every_container_of_the_runs_is_told_of_another_adapter(assembly: Path) -> None:
    before = json.dumps(definitions(assembly))

    PLANTS["adapter"].into(assembly)

    after = json.dumps(definitions(assembly))
    told = after.count("another") - before.count("another")
    assert told == before.count("LORA_MODULES") > 0
    assert 'name\\\\\\":\\\\\\"${Domain}' not in after
