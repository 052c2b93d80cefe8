"""`cdk synth`: no credentials, no findings, the same templates every time, and errors that a person can act on."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cfnlint.api import ManualArgs, lint

from stacks.configuration.settings import Settings
from tests.doubles.machines.stacks_bench import ACCOUNT, ROOT, Stacks, synthesize

pytestmark = pytest.mark.slow

SNAPSHOTS = Path(__file__).parent / "snapshots"
NAMES = ("Storage", "FineTuning", "Guardrail")
# Of processor time, which other work on the machine does not lengthen as it does the clock's. Two processes share it, so
# that synthesis takes about two thirds of this by the clock.
SECONDS = 25
VARIANTS: tuple[tuple[str, ...], ...] = (
    (),
    ("retain_data=false", "alert_email=owner@example.org", "budget_scope=tag", "weights_uri=s3://mine/models/one/"),
    (
        "region=eu-west-1",
        "training_instance_type=ml.g6.4xlarge",
        "domain=finance",
        "accept_eula=true",
        "base_model=mistral-7b",
    ),
)


def run_app(output: Path, **context: str) -> subprocess.CompletedProcess[str]:
    """Runs app.py as the CDK command line does, without credentials and without a way to find any."""
    kept = {"PATH", "HOME", "LANG", "TMPDIR", "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION"}
    environment = {name: value for name, value in os.environ.items() if name in kept}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "CDK_OUTDIR": str(output),
        "CDK_CONTEXT_JSON": json.dumps(context),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        # Whatever tried to reach a network would find this closed door.
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }
    return subprocess.run(
        [sys.executable, "app.py"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=180
    )


class Synthesized(NamedTuple):
    """What a run of app.py made, the processor seconds it used, and what it said to the person."""

    stacks: Stacks
    seconds: float
    said: str


@pytest.fixture(scope="module")
def from_command_line(tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    """app.py run on its own, with every check on."""
    folder = tmp_path_factory.mktemp("cdk.out")
    before = os.times()
    done = run_app(folder)
    after = os.times()
    assert done.returncode == 0, done.stderr
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return Synthesized(Stacks(folder), used, done.stderr)


def test_app_needs_no_credentials_no_network_and_few_seconds(from_command_line: Synthesized) -> None:
    assert from_command_line.seconds < SECONDS
    for name in NAMES:
        assert from_command_line.stacks.template(name)["Resources"]


def test_synthesis_twice_gives_identical_templates_down_to_the_asset_hashes() -> None:
    first, second = synthesize.__wrapped__(), synthesize.__wrapped__()
    for name in NAMES:
        assert first.template(name) == second.template(name)


def test_app_gives_the_templates_that_the_tests_look_at(from_command_line: Synthesized, stacks: Stacks) -> None:
    for name in NAMES:
        assert mask(from_command_line.stacks.template(name)) == mask(stacks.template(name))


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: " ".join(variant) or "defaults")
def test_every_finding_of_the_checks_is_acknowledged(variant: tuple[str, ...]) -> None:
    assert synthesize(*variant).findings() == []


def test_every_finding_is_acknowledged_with_all_of_cdks_own_checks_on(from_command_line: Synthesized) -> None:
    assert from_command_line.stacks.findings() == []


def test_every_finding_is_acknowledged_when_the_account_is_known() -> None:
    stacks = synthesize(account=ACCOUNT)
    assert stacks.findings() == []
    assert ACCOUNT in json.dumps(stacks.template("FineTuning"))


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: " ".join(variant) or "defaults")
def test_no_template_holds_a_character_that_cloudformation_gives_back_as_a_question_mark(
    variant: tuple[str, ...],
) -> None:
    """`cdk diff` leaves out what differs in such characters only, as if nothing had changed there."""
    for name in NAMES:
        text = json.dumps(synthesize(*variant).template(name), ensure_ascii=False)
        assert re.findall(r".{0,40}[^\x00-\x7f].{0,40}", text) == []


@pytest.mark.parametrize("variant", VARIANTS[:2], ids=lambda variant: " ".join(variant) or "defaults")
def test_cfn_lint_finds_no_error_in_templates_and_definitions(variant: tuple[str, ...]) -> None:
    stacks = synthesize(*variant)
    for name in NAMES:
        assert errors_of((stacks.folder / f"Captune-{name}.template.json").read_text()) == []


def test_cfn_lint_does_look_into_the_state_machine_definitions(stacks: Stacks) -> None:
    template = stacks.template("FineTuning")
    machine = next(r for r in template["Resources"].values() if r["Type"] == "AWS::StepFunctions::StateMachine")
    definition = json.loads(machine["Properties"]["DefinitionString"])
    del definition["States"]
    machine["Properties"]["DefinitionString"] = json.dumps(definition)
    template = {
        "Resources": {
            "Machine": {
                **machine,
                "Properties": {**machine["Properties"], "RoleArn": "arn:aws:iam::111122223333:role/x"},
            }
        }
    }
    assert any(error.startswith("E3601") for error in errors_of(json.dumps(template)))


def errors_of(template: str) -> list[str]:
    """The errors, not the warnings, that cfn-lint finds in a template."""
    found = lint(template, config=ManualArgs(regions=["us-east-1"]))
    return [f"{match.rule.id} {match.message}" for match in found if match.rule.id.startswith("E")]


@pytest.mark.parametrize("name", NAMES)
def test_a_template_changes_only_on_purpose(name: str, stacks: Stacks) -> None:
    """After a change that is meant: UPDATE_SNAPSHOTS=1 python -m pytest tests/stacks -k on_purpose, and read the diff."""
    masked = mask(stacks.template(name))
    file = SNAPSHOTS / f"{name}.json"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(masked, indent=1, sort_keys=True) + "\n")
    assert masked == json.loads(file.read_text())


def mask(template: dict[str, Any]) -> dict[str, Any]:
    """Leaves out what changes with the content of a file: asset hashes. The definitions are shown state by state."""
    for entry in template["Resources"].values():
        if entry["Type"] == "AWS::StepFunctions::StateMachine":
            entry["Properties"]["DefinitionString"] = json.loads(entry["Properties"]["DefinitionString"])
    return dict(json.loads(re.sub(r"[0-9a-f]{64}", "<asset>", json.dumps(template))))


def test_a_wrong_setting_ends_app_with_advice_and_without_a_traceback(tmp_path: Path) -> None:
    done = run_app(tmp_path / "out", buget_usd="40", region="eu-north-1")
    assert done.returncode == 1
    assert "buget_usd is not a setting; the nearest one is budget_usd" in done.stderr
    assert "region is 'eu-north-1'" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_an_address_app_warns_that_nobody_will_be_told(from_command_line: Synthesized) -> None:
    (warning,) = Settings().warnings()
    assert f"captune: warning: {warning}" in from_command_line.said.splitlines()
    assert "set alert_email in cdk.json" in warning


def test_with_an_address_there_is_nothing_to_warn_of() -> None:
    assert Settings(alert_email="owner@example.org").warnings() == []


@pytest.mark.parametrize("folder", ["stacks", "lambdas", "training"])
def test_nothing_that_is_deployed_knows_that_it_can_be_rehearsed_or_tested(folder: str) -> None:
    for path in sorted((ROOT / folder).rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            found = re.findall(r"moto\b|rehears\w*|pytest", path.read_text(encoding="utf-8", errors="ignore"), re.I)
            assert not found, f"{path.relative_to(ROOT)} mentions {found}"


def test_no_lambda_imports_from_the_stacks() -> None:
    for path in (ROOT / "lambdas").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) (stacks|aws_cdk)", path.read_text(), re.M), path
