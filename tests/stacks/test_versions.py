"""The version of a definition: the same in all that is deployed together, and another for whatever a run would be started or priced by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stacks.configuration import run_settings
from stacks.configuration.run_settings import definition_version, literals
from stacks.configuration.settings import Settings
from tests.doubles.machines.stacks_bench import Stacks, synthesize

pytestmark = pytest.mark.slow  # templates of settings of their own

BARE = Settings()


def substitutions(stacks: Stacks) -> dict[str, Any]:
    return dict(stacks.one("FineTuning", "AWS::StepFunctions::StateMachine", "FineTuning")["DefinitionSubstitutions"])


def versions(stacks: Stacks) -> dict[str, Any]:
    """The version in the definition, and in the variables of each function that has one."""
    found = {"definition": substitutions(stacks)["DefinitionVersion"]}
    for entry in stacks.resources("FineTuning", "AWS::Lambda::Function").values():
        variables = entry["Properties"]["Environment"]["Variables"]
        if "DEFINITION_VERSION" in variables:
            found[entry["Properties"]["Handler"].split(".")[0]] = variables["DEFINITION_VERSION"]
    return found


def test_definition_preflight_and_reserve_have_one_version_which_is_a_plain_text(stacks: Stacks) -> None:
    found = versions(stacks)
    assert set(found) == {"definition", "preflight", "reserve"}
    assert len(set(found.values())) == 1
    assert isinstance(found["definition"], str) and len(found["definition"]) == 64


def test_preflight_is_given_the_version_of_the_definition(stacks: Stacks) -> None:
    assert (
        '"definitionVersion":"${DefinitionVersion}"'
        in (stacks.one("FineTuning", "AWS::StepFunctions::StateMachine", "FineTuning")["DefinitionString"])
    )


def test_it_is_the_same_for_the_same_settings() -> None:
    assert definition_version(Settings()) == definition_version(Settings())


@pytest.mark.parametrize(
    "setting",
    ["training_instance_type=ml.p4d.24xlarge", "hosting_instance_type=ml.g6.2xlarge", "max_training_seconds=3600",
     "endpoint_deadline_minutes=30", "base_model=llama-2-7b-chat", "weights_uri=s3://mine/models/one/", "domain=finance", "lora_rank=32", "epochs=5",
     "hosting_image=763104351884.dkr.ecr.us-east-1.amazonaws.com/vllm:other", "region=eu-west-1"],
)  # fmt: skip
def test_it_is_another_for_every_setting_that_a_run_is_started_or_priced_by(setting: str) -> None:
    assert definition_version(Settings.from_context(dict([setting.split("=", 1)]))) != definition_version(BARE)


def test_it_is_another_for_another_definition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = definition_version(BARE)
    other = tmp_path / "fine_tuning.asl.yaml"
    other.write_text(
        run_settings.FINE_TUNING_DEFINITION.read_text("utf-8").replace("$trainingAttempt < 3", "$trainingAttempt < 4")
    )
    monkeypatch.setattr(run_settings, "FINE_TUNING_DEFINITION", other)
    assert definition_version(BARE) != before


def test_it_covers_every_value_in_the_definition_that_is_known_before_anything_is_deployed() -> None:
    written = {key: value for key, value in substitutions(synthesize()).items() if isinstance(value, str)}
    machines = {"DefinitionVersion"}
    assert {key: value for key, value in written.items() if key not in machines} == literals(
        Settings.from_context({"accept_eula": "false"})
    )
