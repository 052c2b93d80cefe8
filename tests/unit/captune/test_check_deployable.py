"""`captune dev deployable`: what stops `make deploy` before it begins, and what does not."""

import os
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import NoCredentialsError

from captune.check import command
from captune.check.questions import Project
from stacks.configuration.settings import Settings
from tests.doubles import aws_account as aws
from tests.doubles.aws_account import ACCOUNT, FakeSession, in_order, said
from tests.doubles.lambda_fakes import ServiceQuotas, refusal


def run(monkeypatch: pytest.MonkeyPatch, session: FakeSession, *words: str) -> tuple[int, str, list[Any]]:
    """Exit code, output, and the settings that were synthesized."""
    given: list[Any] = []

    def load(settings: Settings, context: dict[str, str], account: str) -> Project:
        given.append(context)
        return Project(settings, dict.fromkeys(aws.STACKS, {"Resources": {}}), "/version", 6)

    monkeypatch.setattr(command, "clients", lambda region: session.client)
    monkeypatch.setattr(command, "load", load)
    return *said("dev", "deployable", *words), given


def account(**services: Any) -> FakeSession:
    """An account in which a deployment would succeed."""
    who = {"Account": ACCOUNT, "Arn": aws.CALLER}
    return in_order(**{"sts": aws.Answers("sts", get_caller_identity=who), **services})


def test_a_deployment_needs_neither_quotas_nor_a_licence(monkeypatch: pytest.MonkeyPatch) -> None:
    session = account(**{"service-quotas": ServiceQuotas({})})
    code, text, _ = run(monkeypatch, session)
    assert (code, "problem" in text) == (0, False)


def test_without_credentials_it_stops_at_once_and_says_how_to_sign_in(monkeypatch: pytest.MonkeyPatch) -> None:
    session = account()
    session.services["sts"].troubles["get_caller_identity"] = [NoCredentialsError()]
    code, text, synthesized = run(monkeypatch, session)
    assert (code, synthesized) == (2, []) and "aws sso login" in text


def test_a_problem_of_the_account_stops_a_deployment_with_its_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    session = account(ssm=aws.ssm(None))
    session.services["budgets"].troubles["describe_budgets"] = [refusal("AccessDeniedException")]
    code, text, _ = run(monkeypatch, session)
    assert code == 1 and "make bootstrap" in text and "as root" in text
    assert text.splitlines()[-1].startswith("Nothing was deployed. Fix AWS Budgets, cdk bootstrap")


def test_what_deploying_fixes_does_not_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    code, text, _ = run(monkeypatch, account(cloudformation=aws.CloudFormation({"Captune-FineTuning": {}})))
    assert code == 0 and "Captune-Guardrail: is not deployed, and Captune-FineTuning is" in text


def test_it_reads_settings_and_profile_among_words_of_cdk_deploy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("[default]\n[profile work]\n")  # the fakes load botocore's models
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "default")
    words = "--require-approval never -c region=eu-west-1 --context=budget_usd=40 --profile work --revert-drift"
    code, _, (context,) = run(monkeypatch, account(), *words.split())
    assert (code, os.environ["AWS_PROFILE"]) == (0, "work")
    assert context == {"region": "eu-west-1", "budget_usd": "40"}


def test_a_setting_that_is_wrong_is_told_before_aws_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    session = account()
    code, text, _ = run(monkeypatch, session, "-c", "budget_usd=0")
    assert code == 1 and "budget_usd" in text and session.asked == []
