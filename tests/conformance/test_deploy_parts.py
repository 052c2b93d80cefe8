"""The pieces of the deploy check: commands that end, processes that are ended, and what is left in an account."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from verification.conformance import environments
from verification.conformance.deploy import account, cdk, inventory
from verification.conformance.deploy.emulator.error_names import error_name
from verification.conformance.deploy.emulator.watched import Watched
from verification.conformance.deploy.expected import calls_of
from verification.conformance.deploy.journey import differences
from verification.conformance.environments import PROJECT, CannotRun
from rehearsal.account import assembly
from rehearsal.sagemaker import Call
from rehearsal.step_functions.error_names import aws_error_name

PYTHON = sys.executable


def test_the_cdk_is_pinned_by_its_hash_and_a_rehearsal_synthesizes_as_for_that_version() -> None:
    asked = json.loads((PROJECT / "package.json").read_text(encoding="utf-8"))["devDependencies"]
    packages = json.loads((PROJECT / "package-lock.json").read_text(encoding="utf-8"))["packages"]

    assert asked == {"aws-cdk": cdk.version()}
    assert set(packages) == {"", "node_modules/aws-cdk"}
    assert packages["node_modules/aws-cdk"]["integrity"].startswith("sha512-")
    assert f'"CDK_CLI_VERSION": "{cdk.version()}"' in inspect.getsource(assembly)


def test_every_package_of_the_emulator_is_pinned_by_hash() -> None:
    text = account.REQUIREMENTS.read_text(encoding="utf-8")
    pinned = re.findall(r"^[a-z0-9-]+==\S+ \\\n    --hash=sha256:[0-9a-f]{64}", text, re.MULTILINE)

    assert len(pinned) == text.count("==") > 10
    assert account.version().startswith("ministack 1.")


class TestACommand:
    def test_its_words_are_returned_and_kept(self, tmp_path: Path) -> None:
        said = cdk.Commands({"GREETING": "hello"}, tmp_path).run(
            "greet", [PYTHON, "-c", "import os; print(os.environ['GREETING'])"]
        )

        assert said == "hello\n" == (tmp_path / "greet.log").read_text(encoding="utf-8")

    def test_its_failure_is_told_with_its_last_words_and_its_log(self, tmp_path: Path) -> None:
        with pytest.raises(cdk.CommandFailed, match=r"try ended with code 3: no access .*try\.log"):
            cdk.Commands({}, tmp_path).run("try", [PYTHON, "-c", "import sys; print('no access'); sys.exit(3)"])

    def test_one_that_does_not_end_is_ended(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cdk, "_PATIENCE_SECONDS", 0.5)

        with pytest.raises(cdk.CommandFailed, match="did not end"):
            cdk.Commands({}, tmp_path).run("wait", [PYTHON, "-c", "import time; time.sleep(600)"])


def test_a_process_is_ended_with_the_children_that_it_leaves_behind(tmp_path: Path) -> None:
    # The child holds the pipe open: it ends when both are gone.
    child = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    parent = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(600)"
    process = subprocess.Popen([PYTHON, "-c", parent], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"

    account.end(process)

    assert process.stdout.read() == b""


def test_a_process_that_has_ended_may_be_ended_again() -> None:
    process = subprocess.Popen([PYTHON, "-c", ""], start_new_session=True)
    process.wait(30)

    account.end(process)
    account.end(process)


def test_what_an_account_lacks_is_not_what_the_emulator_starts_without(tmp_path: Path) -> None:
    made = account.Account(tmp_path / "account", tmp_path / "logs")

    with pytest.raises(account.AccountFailed, match="emulator.log"):
        made.check()
    assert made.url.startswith("http://127.0.0.1:")


class TestTheSameWay:
    def test_has_no_differences(self) -> None:
        assert differences(frozenset("ab"), frozenset("ab")) == []

    def test_a_state_too_few_or_too_many_is_named(self) -> None:
        missed, more = differences(frozenset("ab"), frozenset("bc"))

        assert missed.endswith(": c")
        assert more.endswith(": a")

    def test_calls_are_counted_but_for_those_that_only_look(self) -> None:
        names = ("CreateModel", "DescribeEndpoint", "InvokeEndpoint", "InvokeEndpoint", "ListEndpoints", "GetProducts")
        calls = [Call(datetime.now(UTC), "role", "sagemaker", name, {}) for name in names]

        assert calls_of(calls) == {"CreateModel": 1, "InvokeEndpoint": 2}


class _Lists:
    """A service whose lists are empty but for one."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self._answers = answers

    def __getattr__(self, operation: str) -> Any:
        return lambda **parameters: self._answers.get(operation, {})

    def get_paginator(self, operation: str) -> Any:
        class Pages:
            def paginate(_, **parameters: Any) -> list[Any]:
                return [self._answers.get(operation, {})]

        return Pages()


def test_an_inventory_names_what_there_is_and_leaves_out_deleted_stacks() -> None:
    services = {
        "dynamodb": _Lists({"list_tables": {"TableNames": ["ledger"]}}),
        "iam": _Lists({"list_roles": {"Roles": [{"RoleName": "spender"}]}}),
        "cloudformation": _Lists(
            {
                "list_stacks": {
                    "StackSummaries": [
                        {"StackName": "here", "StackStatus": "CREATE_COMPLETE"},
                        {"StackName": "gone", "StackStatus": "DELETE_COMPLETE"},
                    ]
                }
            }
        ),
    }

    found = inventory.take(lambda service: services.get(service, _Lists({})))

    assert found == {
        ("dynamodb TableNames", "ledger"),
        ("iam Roles", "spender"),
        ("cloudformation StackSummaries", "here"),
    }
    assert inventory.words(found).startswith("cloudformation StackSummaries here, ")


@pytest.mark.parametrize(
    ("service", "code"),
    [("sagemaker", "ResourceInUse"), ("sagemaker", "ValidationException"), ("scheduler", "ConflictException")],
)
def test_the_emulator_names_an_error_as_the_rehearsal_does(service: str, code: str) -> None:
    shape = None if code == "ValidationException" else code
    modelled = {} if shape is None else {code: shape}

    assert error_name(service, code, modelled) == aws_error_name(service, code, shape)


class TestAWatchedDictionary:
    @pytest.mark.parametrize("look", [lambda d: d["a"], lambda d: d.get("a"), lambda d: "a" in d, lambda d: d.pop("a")])
    def test_knows_the_one_that_was_looked_at(self, look: Any) -> None:
        watched = Watched({"a": 1, "b": 2})
        look(watched)

        assert watched.read == {"a"}

    @pytest.mark.parametrize("look", [dict, list, lambda d: {**d}, lambda d: d.copy(), lambda d: list(d.values())])
    def test_whoever_takes_all_has_looked_at_all(self, look: Any) -> None:
        watched = Watched({"a": 1, "b": 2})
        look(watched)

        assert watched.read == {"a", "b"}

    def test_nobody_has_looked_at_first(self) -> None:
        assert Watched({"a": 1}).read == set()


def test_packages_that_cannot_be_installed_are_a_reason_not_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "FOREIGN", tmp_path / "foreign")
    (tmp_path / "package.json").write_text("{}", encoding="utf-8")
    (tmp_path / "package-lock.json").write_text("not JSON", encoding="utf-8")

    with pytest.raises(CannotRun, match="package-lock.json could not be installed"):
        environments.node_packages(tmp_path, "packages")


def test_packages_are_installed_again_only_when_their_list_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "FOREIGN", tmp_path / "foreign")
    (tmp_path / "package.json").write_text('{"name": "none"}', encoding="utf-8")
    lock = tmp_path / "package-lock.json"
    lock.write_text('{"name": "none", "lockfileVersion": 3, "packages": {"": {"name": "none"}}}', encoding="utf-8")

    marker = environments.node_packages(tmp_path, "packages") / "marker"
    marker.touch()
    environments.node_packages(tmp_path, "packages")
    assert marker.exists()

    lock.write_text(lock.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    environments.node_packages(tmp_path, "packages")
    assert not marker.exists()
