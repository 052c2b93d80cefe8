"""Synthesizes the app in this process and reads what came out: templates, roles, and the findings of the checks."""

import atexit
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

# The checks of app.py run with everything on (test_synthesis.py); here CDK's own slow one is left out, cdk-nag is not.
os.environ["CDK_VALIDATION"] = "false"

import aws_cdk as cdk  # noqa: E402

from stacks.application import add_stacks  # noqa: E402
from stacks.configuration.settings import Settings  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]
ACCOUNT = "111122223333"
NO_BUNDLING: dict[str, Any] = {"aws:cdk:bundling-stacks": []}  # as for a rehearsal: no package is fetched
Statement = dict[str, Any]


@dataclass(frozen=True)
class Stacks:
    """The synthesized stacks."""

    folder: Path

    def template(self, name: str) -> dict[str, Any]:
        """The template of Storage, FineTuning or Guardrail."""
        return dict(json.loads((self.folder / f"Captune-{name}.template.json").read_text("utf-8")))

    def resources(self, name: str, resource_type: str) -> dict[str, dict[str, Any]]:
        """The resources of one type in a stack, by logical id."""
        found = self.template(name)["Resources"].items()
        return {logical_id: entry for logical_id, entry in found if entry["Type"] == resource_type}

    def one(self, name: str, resource_type: str, part: str = "") -> dict[str, Any]:
        """The only resource of a type whose logical id contains a text: its properties."""
        found = [entry for key, entry in self.resources(name, resource_type).items() if part in key]
        assert len(found) == 1, f"{len(found)} {resource_type} with {part!r} in {name}"
        return dict(found[0].get("Properties", {}))

    def machine(self, name: str) -> dict[str, Any]:
        """The properties of the state machine FineTuning or TearDown."""
        return self.one("FineTuning", "AWS::StepFunctions::StateMachine", name)

    def functions(self) -> dict[str, dict[str, Any]]:
        """The properties of each Lambda, by its folder."""
        found = self.resources("FineTuning", "AWS::Lambda::Function").values()
        return {entry["Properties"]["Handler"].split(".")[0]: entry["Properties"] for entry in found}

    def statements(self, role: str, stack: str = "FineTuning") -> list[Statement]:
        """The statements of a role's inline policies."""
        policies = self.one(stack, "AWS::IAM::Role", role)["Policies"]
        return [statement for policy in policies for statement in policy["PolicyDocument"]["Statement"]]

    def all_statements(self) -> list[tuple[str, Statement]]:
        """Every statement of every role and policy of the app, with the logical id of its owner."""
        found = []
        for name in ("Storage", "FineTuning", "Guardrail"):
            for key, entry in self.template(name)["Resources"].items():
                properties = entry.get("Properties", {})
                documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
                documents += [properties["PolicyDocument"]] if "PolicyDocument" in properties else []
                found += [(key, statement) for document in documents for statement in document["Statement"]]
        return found

    def findings(self) -> list[str]:
        """What the checks complain about and nobody acknowledged."""
        report = json.loads((self.folder / "validation-report.json").read_text("utf-8"))
        return [violation["ruleName"] for plugin in report["pluginReports"] for violation in plugin["violations"]]


def as_list(value: Any) -> list[Any]:
    """IAM writes one action as a text and several as a list."""
    return value if isinstance(value, list) else [value]


def actions(statements: list[Statement]) -> set[str]:
    """All actions of statements."""
    return {action for statement in statements for action in as_list(statement["Action"])}


@cache
def synthesize(*overrides: str, account: str | None = None, with_packages: bool = False) -> Stacks:
    """The stacks with the settings of cdk.json and `key=value` overrides, as `cdk synth -c key=value` makes them."""
    folder = Path(tempfile.mkdtemp(prefix="captune-stacks-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    context: dict[str, Any] = {**json.loads((ROOT / "cdk.json").read_text("utf-8"))["context"]}
    context |= {} if with_packages else NO_BUNDLING
    context |= dict(override.split("=", 1) for override in overrides)
    app = cdk.App(context=context, outdir=str(folder), analytics_reporting=False)
    add_stacks(app, Settings.from_context(app.node.get_all_context()), root=ROOT, account=account)
    app.synth()
    return Stacks(folder)
