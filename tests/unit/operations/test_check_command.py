"""The command behind `make check-aws`: what is printed, and the exit code that a script can go by."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from operations.__main__ import main
from operations.check import command
from operations.check.findings import Finding, later, ok, problem, warning
from operations.check.run import Project
from operations.check.templates import Templates, Unresolved
from stacks.configuration.settings import Settings

GOOD = ok("quota", "1 of ml.g5.2xlarge")
BAD = problem("licence", "is not accepted", "set accept_eula to true")
DOUBT = warning("e-mail", "has not confirmed", "follow the link")


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command as it is typed, with these findings in place of AWS's answers."""

    def run(found: list[Finding], *arguments: str) -> int:
        project = Project(Settings(), {}, "/version", 6)
        monkeypatch.setattr(command, "identify", lambda sts: ("123456789012", "arn:owner"))
        monkeypatch.setattr(command, "load", lambda settings, given, account: project)
        monkeypatch.setattr(command, "findings", lambda aws, account, project: iter(found))
        return main(["check", *arguments])

    return run


def test_a_problem_is_exit_code_1_and_anything_less_is_0(check: Any) -> None:
    assert check([GOOD, BAD]) == 1
    assert check([GOOD, DOUBT, later("budget", "is not deployed")]) == 0


def test_each_finding_is_a_line_with_its_fix_below(check: Any, capsys: pytest.CaptureFixture[str]) -> None:
    check([GOOD, BAD])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ok       credentials: account 123456789012 in us-east-1, as arn:owner")
    assert lines[1:4] == [
        "ok       quota: 1 of ml.g5.2xlarge",
        "problem  licence: is not accepted",
        "         set accept_eula to true",
    ]
    assert lines[4].startswith("1 problems, 0 warnings, 2 in order.")


def test_machines_get_a_list(check: Any, capsys: pytest.CaptureFixture[str]) -> None:
    check([BAD], "--json")
    credentials, found = json.loads(capsys.readouterr().out)
    assert credentials["level"] == "ok"
    assert found == {
        "level": "problem",
        "subject": "licence",
        "text": "is not accepted",
        "fix": "set accept_eula to true",
    }


def test_without_credentials_there_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    assert main(["check"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert "No usable AWS credentials" in said.err


def test_a_profile_that_does_not_exist_is_no_crash(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert main(["check"]) == 2
    assert "nobody" in capsys.readouterr().err


@pytest.mark.parametrize(("argument", "part"), [("epochz=3", "nearest one is epochs"), ("epochs", "KEY=VALUE")])
def test_a_wrong_setting_is_refused_before_anybody_is_asked(
    check: Any, capsys: pytest.CaptureFixture[str], argument: str, part: str
) -> None:
    assert check([GOOD], "-c", argument) == 1
    assert part in capsys.readouterr().err


def test_the_settings_of_the_command_line_are_the_ones_that_are_checked(
    check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Settings] = []
    original = command.Settings.from_context

    def from_context(context: dict[str, Any]) -> Settings:
        seen.append(original(context))
        return seen[-1]

    monkeypatch.setattr(command.Settings, "from_context", from_context)
    check([GOOD], "-c", "region=eu-west-1", "-c", "budget_usd=40")
    assert (seen[0].region, seen[0].budget_usd) == ("eu-west-1", 40)


def test_the_workflow_deploys_what_the_check_complains_of_and_only_then_takes_it_for_a_failure() -> None:
    workflow = yaml.safe_load((command.ROOT / ".github" / "workflows" / "deploy.yaml").read_text("utf-8"))
    steps = [step for step in workflow["jobs"]["deploy"]["steps"] if "run" in step]
    assert [(step["run"].split()[:2], step.get("continue-on-error", False)) for step in steps if "id" not in step] == [
        (["make", "synth"], False),
        (["make", "check-aws"], True),
        (["make", "deploy"], False),
        (["make", "check-aws"], False),
    ]


@pytest.mark.parametrize(("variable", "region"), [("eu-west-1", "eu-west-1"), ("", "eu-north-1")])
def test_the_workflow_deploys_into_the_region_of_the_settings_unless_a_variable_names_another(
    tmp_path: Path, variable: str, region: str
) -> None:
    workflow = yaml.safe_load((command.ROOT / ".github" / "workflows" / "deploy.yaml").read_text("utf-8"))
    (step,) = (step for step in workflow["jobs"]["deploy"]["steps"] if step.get("id") == "where")
    (tmp_path / "cdk.json").write_text('{"context": {"region": "eu-north-1"}}', "utf-8")
    jq = tmp_path / "jq"  # which GitHub's machines have
    jq.write_text(
        f"#!{sys.executable}\nimport json, sys\nassert sys.argv[1:3] == ['-r', '.context.region']\n"
        "print(json.load(open(sys.argv[3]))['context']['region'])\n",
        "utf-8",
    )
    jq.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "CAPTUNE_REGION": variable,
    }
    subprocess.run(["bash", "-ec", step["run"]], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "output").read_text("utf-8") == f"region={region}\n"


TEMPLATE = {
    "Resources": {
        "Queue": {"Type": "AWS::SQS::Queue"},
        "Topic": {"Type": "AWS::SNS::Topic"},
        "Bucket": {"Type": "AWS::S3::Bucket"},
        "Log": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "/aws/x"}},
        "Odd": {"Type": "AWS::Odd::Thing"},
    },
    "Outputs": {"Out": {"Value": {"Ref": "Bucket"}, "Export": {"Name": "exported"}}},
}


@pytest.mark.parametrize(
    ("value", "deployed", "expected"),
    [
        ({"Ref": "AWS::AccountId"}, {}, "1"),
        ({"Ref": "Bucket"}, {}, "not-deployed-bucket"),
        ({"Ref": "Bucket"}, {"Bucket": "real"}, "real"),
        ({"Fn::GetAtt": ["Bucket", "Arn"]}, {"Bucket": "real"}, "arn:aws:s3:::real"),
        ({"Ref": "Topic"}, {}, "arn:aws:sns:r:1:not-deployed-topic"),
        ({"Ref": "Topic"}, {"Topic": "arn:aws:sns:r:1:real"}, "arn:aws:sns:r:1:real"),
        ({"Fn::GetAtt": ["Queue", "Arn"]}, {"Queue": "https://sqs/1/real"}, "arn:aws:sqs:r:1:real"),
        ({"Fn::GetAtt": ["Log", "Arn"]}, {}, "arn:aws:logs:r:1:log-group:/aws/x:*"),
        ({"Fn::ImportValue": "exported"}, {}, "not-deployed-bucket"),
        ({"Fn::Join": ["-", ["a", {"Ref": "AWS::Region"}]]}, {}, "a-r"),
        ({"Fn::Sub": "x-${AWS::AccountId}"}, {}, "x-1"),
        ([{"a": {"Ref": "AWS::Partition"}}], {}, [{"a": "aws"}]),
        ({"Ref": "AWS::Region", "Beside": 1}, {}, {"Ref": "AWS::Region", "Beside": 1}),
    ],
)
def test_a_reference_becomes_what_is_deployed_or_a_name_of_the_right_form(
    value: Any, deployed: dict[str, str], expected: Any
) -> None:
    ids = {("S", key): name for key, name in deployed.items()}
    assert Templates("1", "r", {"S": TEMPLATE}, ids).resolve("S", value) == expected


@pytest.mark.parametrize(
    "value",
    [
        {"Ref": "Nothing"},
        {"Fn::GetAtt": ["Odd", "Arn"]},
        {"Fn::GetAtt": ["Bucket", "Color"]},
        {"Fn::ImportValue": "?"},
        {"Fn::Base64": "x"},
    ],
)
def test_a_reference_that_cannot_be_filled_in_is_an_error_and_no_guess(value: Any) -> None:
    with pytest.raises(Unresolved):
        Templates("1", "r", {"S": TEMPLATE}).resolve("S", value)
