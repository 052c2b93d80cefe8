"""`cdk synth`: no credentials, no findings, the same templates every time, a version for what a run is priced by, packages by hash."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import ManualArgs, lint

from stacks import definitions, lambda_code
from stacks.configuration.settings import Settings
from stacks.definitions import definition_version, literals
from tests.doubles import PATIENCE_SECONDS
from tests.doubles.lambda_fakes import NOW
from tests.doubles.machines.stacks_bench import ACCOUNT, NO_BUNDLING, ROOT, Stacks, synthesize
from tests.surroundings import at

pytestmark = pytest.mark.slow

SNAPSHOTS = Path(__file__).parent / "snapshots"
NAMES = ("Storage", "FineTuning", "Guardrail")


@pytest.fixture(scope="module")
def known_account() -> Stacks:
    return synthesize(account=ACCOUNT)


def run_app(output: Path, **context: str) -> subprocess.CompletedProcess[str]:
    """Runs app.py as the CDK command line does, without credentials and without a way to find any."""
    kept = {"PATH", "HOME", "LANG", "TMPDIR", "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION"}
    environment = {name: value for name, value in os.environ.items() if name in kept}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "CDK_OUTDIR": str(output),
        "CDK_CONTEXT_JSON": json.dumps({**context, **NO_BUNDLING}),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        # Whatever tried to reach a network would find this closed door.
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }
    return subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )


def test_app_synthesizes_the_same_without_credentials_or_a_network(stacks: Stacks, tmp_path: Path) -> None:
    done = run_app(tmp_path)
    assert done.returncode == 0, done.stderr
    built = Stacks(tmp_path)
    assert built.findings() == [], "with all of CDK's own checks on"
    for name in NAMES:
        assert built.template(name) == stacks.template(name), "down to the hashes of its assets"
    warnings = Settings().warnings()
    assert set(warnings) == {"alert_email", "accept_eula"}, "what the defaults lack"
    assert {f"captune: warning: {one}" for one in warnings.values()} <= set(done.stderr.splitlines())
    assert Settings(alert_email="owner@example.org", accept_eula=True).warnings() == {}


def test_a_wrong_setting_ends_app_with_advice_and_without_a_traceback(tmp_path: Path) -> None:
    done = run_app(tmp_path / "out", buget_usd="40", region="eu-north-1")
    assert done.returncode == 1
    assert "buget_usd is not a setting" in done.stderr and "region is 'eu-north-1'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "settings",
    [
        "stacks",
        *(
            pytest.param(one, marks=pytest.mark.thorough)
            for one in ("own_weights", "abroad", "own_image", "known_account")
        ),
    ],
)
def test_every_finding_is_acknowledged_and_cfn_lint_has_no_error(settings: str, request: pytest.FixtureRequest) -> None:
    built: Stacks = request.getfixturevalue(settings)
    assert built.findings() == []
    for name in NAMES:
        text = (built.folder / f"Captune-{name}.template.json").read_text("utf-8")
        with at(NOW):  # by another clock the linter finds runtimes that are no longer made
            errors = lint(text, config=ManualArgs(regions=["us-east-1"]))
        assert [match.message for match in errors if match.rule.id.startswith("E")] == []
        # CloudFormation gives other characters back as "?", and `cdk diff` leaves out what differs in them alone.
        assert re.findall(r".{0,40}[^\x00-\x7f].{0,40}", json.dumps(json.loads(text), ensure_ascii=False)) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_template_changes_only_on_purpose(name: str, stacks: Stacks) -> None:
    """After a change on purpose: UPDATE_SNAPSHOTS=1 python -m pytest tests/stacks -k on_purpose, and read the diff."""
    masked = mask(stacks.template(name))
    file = SNAPSHOTS / f"{name}.json"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(masked, indent=1, sort_keys=True) + "\n")
    assert masked == json.loads(file.read_text("utf-8"))


def mask(template: dict[str, Any]) -> dict[str, Any]:
    """Leaves out what changes with a file: asset hashes, and the settings. The definitions are shown state by state."""
    for entry in template["Resources"].values():
        variables = entry["Properties"].get("Environment", {}).get("Variables", {}) if "Properties" in entry else {}
        if "SETTINGS_JSON" in variables:
            variables["SETTINGS_JSON"] = "<settings>"
        if entry["Type"] == "AWS::StepFunctions::StateMachine":
            entry["Properties"]["DefinitionString"] = json.loads(entry["Properties"]["DefinitionString"])
    return dict(json.loads(re.sub(r"[0-9a-f]{64}", "<asset>", json.dumps(template))))


def test_definition_preflight_and_reserve_have_one_version(stacks: Stacks) -> None:
    machine = stacks.machine("FineTuning")
    assert '"definitionVersion":"${DefinitionVersion}"' in machine["DefinitionString"]
    found = {"definition": machine["DefinitionSubstitutions"]["DefinitionVersion"]}
    for name, function in stacks.functions().items():
        if version := function.get("Environment", {"Variables": {}})["Variables"].get("DEFINITION_VERSION"):
            found[name] = version
    assert set(found) == {"definition", "preflight", "reserve"}
    assert set(found.values()) == {definition_version(Settings())}
    known = {key: value for key, value in machine["DefinitionSubstitutions"].items() if isinstance(value, str)}
    assert {key: value for key, value in known.items() if key != "DefinitionVersion"} == literals(Settings())


@pytest.mark.parametrize(
    "setting",
    ["training_instance_type=ml.p4d.24xlarge", "hosting_instance_type=ml.g6.2xlarge", "max_training_seconds=3600",
     "endpoint_deadline_minutes=45", "base_model=llama-2-7b-chat", "weights_uri=s3://mine/models/one/",
     "domain=finance", "lora_rank=32", "epochs=5",
     "hosting_image=763104351884.dkr.ecr.us-east-1.amazonaws.com/vllm:other", "region=eu-west-1"],
)  # fmt: skip
def test_the_version_changes_with_every_setting_that_a_run_is_priced_by(setting: str) -> None:
    other = Settings.from_context(dict([setting.split("=", 1)]))
    assert definition_version(other) != definition_version(Settings())


def test_the_version_changes_with_the_definition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = definition_version(Settings())
    other = tmp_path / "fine_tuning.asl.yaml"
    text = definitions.FINE_TUNING_DEFINITION.read_text("utf-8")
    other.write_text(text.replace("secondsLeft < 120", "secondsLeft < 121"))
    monkeypatch.setattr(definitions, "FINE_TUNING_DEFINITION", other)
    assert definition_version(Settings()) != before


# Packages of the functions that render ---------------------------------------------------------------------------------

BUNDLE = ROOT / "requirements" / "bundle.txt"


def test_a_package_is_fetched_by_its_hash_at_the_version_that_is_tested_here() -> None:
    pinned = re.findall(r"^(\S+==\S+) \\\n {4}--hash=sha256:", BUNDLE.read_text("utf-8"), re.M)
    assert [name.partition("==")[0] for name in pinned] == ["jinja2", "markupsafe", "typst"]
    tested = (ROOT / "requirements" / "constraints.txt").read_text("utf-8").casefold().split()
    assert set(pinned) <= set(tested)
    command = lambda_code.pip_command("target", BUNDLE)
    assert {"--require-hashes", "--only-binary=:all:", "--platform=manylinux2014_aarch64"} <= set(command)
    assert command[command.index("--python-version") + 1] == "3.14"


def test_templates_do_not_depend_on_fetched_packages(stacks: Stacks, monkeypatch: pytest.MonkeyPatch) -> None:
    """`captune check` fetches no package, and calls a deployed template stale where it differs."""
    fetched: list[list[str]] = []

    def pip(command: list[str], **_: Any) -> Any:
        fetched.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    deployed = synthesize(with_packages=True)
    assert len(fetched) == 1, "Report and Finish share one asset"
    for name in NAMES:
        assert deployed.template(name) == stacks.template(name)


def test_the_code_stands_beside_its_packages_without_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "code" / "__pycache__").mkdir(parents=True)
    (tmp_path / "code" / "handler.py").write_text("")
    ended = {"returncode": 0}

    def pip(command: list[str], **_: Any) -> Any:
        return subprocess.CompletedProcess(command, ended["returncode"], "", "no such host")

    monkeypatch.setattr(subprocess, "run", pip)
    packages = lambda_code.Packages(tmp_path / "code", BUNDLE)
    assert packages.try_bundle(str(tmp_path / "out"), None)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["handler.py"]
    ended["returncode"] = 1
    with pytest.raises(
        SystemExit, match=r"requirements/bundle\.txt.*could not be fetched.*run the same command again.*no such host"
    ):
        packages.try_bundle(str(tmp_path / "out"), None)
