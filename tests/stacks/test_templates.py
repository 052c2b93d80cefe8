"""The Storage and FineTuning stacks: data that is encrypted and kept, functions and machines as the code expects them."""

import dataclasses
import json
from typing import Any

import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

from common.pricing import costs
from preflight.account import quotas
from preflight.settings import RunSettings
from preflight.texts import prompts
from stacks.configuration.catalog import BASE_MODELS
from stacks.names import KILL_SWITCH_TOPIC, RUN_ENDED_RULE, SWEEP_RULE
from tests.doubles.machines.stacks_bench import Stacks

pytestmark = pytest.mark.slow

NAMES = ("Storage", "FineTuning", "Guardrail")


# What CloudFormation cannot change of a resource that has a name of its own: it would have to make another of that name first, and
# every deployment of those who have one would fail. So these words stay as they were first deployed.
FROZEN = {
    "captune-one-deployment-per-account": {
        "Description": "Captune: attached to nobody. Its name lets one region of the account have a ledger, and so one cap.",
        "Path": "/",
    },
    "captune-fine-tuning": {"StateMachineType": "STANDARD"},
    "captune-tear-down": {"StateMachineType": "STANDARD"},
}


def test_what_cannot_be_changed_of_a_named_resource_stays_as_it_is(stacks: Stacks) -> None:
    found: dict[str, dict[str, Any]] = {}
    for entry in (entry for name in NAMES for entry in stacks.template(name)["Resources"].values()):
        if entry["Type"].startswith("AWS::"):
            schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", entry["Type"]).schema
            fixed = [one.removeprefix("/properties/") for one in schema.get("createOnlyProperties", [])]
            given = {key: entry["Properties"][key] for key in fixed if key in entry.get("Properties", {})}
            names = [key for key, value in given.items() if key.endswith("Name") and isinstance(value, str)]
            found |= {given[key]: {one: given[one] for one in given if one != key} for key in names}
    assert {name: others for name, others in found.items() if others} == FROZEN
    assert {RUN_ENDED_RULE, SWEEP_RULE, KILL_SWITCH_TOPIC} <= found.keys()


def test_checkpoints_are_kept_a_week_and_reserved_for_as_long(stacks: Stacks) -> None:
    rules = {r["Id"]: r for r in stacks.one("Storage", "AWS::S3::Bucket", "Data")["LifecycleConfiguration"]["Rules"]}
    rule = rules["ForgetCheckpoints"]
    kept, old = rule["ExpirationInDays"], rule["NoncurrentVersionExpiration"]["NoncurrentDays"]
    assert (rule["Prefix"], kept) == ("checkpoints/", 7)
    # Both ends come at the midnight after, which S3 may reach a day late.
    assert kept + old + 2 == costs.CHECKPOINT_DAYS


@pytest.mark.parametrize(("settings", "policy", "kept"), [("stacks", "Retain", True), ("own_weights", "Delete", False)])
def test_retain_data_decides_what_stays(request: pytest.FixtureRequest, settings: str, policy: str, kept: bool) -> None:
    built: Stacks = request.getfixturevalue(settings)
    kinds = ("AWS::S3::Bucket", "AWS::DynamoDB::Table")
    stateful = [entry for kind in kinds for entry in built.resources("Storage", kind).values()]
    assert len(stateful) == 3
    assert {entry[key] for entry in stateful for key in ("DeletionPolicy", "UpdateReplacePolicy")} == {policy}
    assert built.one("Storage", "AWS::DynamoDB::Table").get("DeletionProtectionEnabled", False) is kept
    artifacts = json.loads((built.folder / "manifest.json").read_text("utf-8"))["artifacts"]
    for name in NAMES:
        protected = artifacts[f"Captune-{name}"]["properties"].get("terminationProtection", False)
        assert protected is (kept and name == "Storage")
        # No custom resource stands by with the right to delete data.
        types = {entry["Type"] for entry in built.template(name)["Resources"].values()}
        assert not [t for t in types if t.startswith("Custom::") or t == "AWS::CloudFormation::CustomResource"]


def test_everything_kept_waits_for_the_one_policy_of_an_account(stacks: Stacks, abroad: Stacks) -> None:
    """IAM's names are the account's: a second region fails there, before it has made anything that lasts."""
    for built in (stacks, abroad):
        resources = built.template("Storage")["Resources"]
        (marker,) = [key for key, entry in resources.items() if entry["Type"] == "AWS::IAM::ManagedPolicy"]
        policy = resources[marker]["Properties"]
        assert policy["ManagedPolicyName"] == "captune-one-deployment-per-account"
        assert not {"Roles", "Users", "Groups"} & policy.keys()
        assert {statement["Effect"] for statement in policy["PolicyDocument"]["Statement"]} == {"Deny"}
        kept = [entry for entry in resources.values() if entry.get("DeletionPolicy") == "Retain"]
        assert len(kept) == 3 and all(marker in entry["DependsOn"] for entry in kept)


def test_reading_prompts_and_corpus_leaves_time_for_what_comes_before_and_after(stacks: Stacks) -> None:
    # A corpus of 64 MiB takes 51 s of a core at most, and other calls to AWS ten.
    needed = prompts.PARSE_SECONDS + 51 * 3 // 2 + 10
    assert needed + quotas.ASKING_SECONDS <= stacks.functions()["preflight"]["Timeout"]
    assert needed + 60 <= stacks.functions()["stage"]["Timeout"], "it writes what it has read"


def test_preflight_reads_the_settings_and_the_facts_of_the_base_model(abroad: Stacks) -> None:
    settings = RunSettings.from_json(abroad.functions()["preflight"]["Environment"]["Variables"]["SETTINGS_JSON"])
    told, model = settings.base_model, BASE_MODELS["mistral-7b"]
    assert (told.id, told.parameters, told.requires_eula) == (model.id, model.parameters, False)
    assert told.weights_uri.startswith("s3://jumpstart-cache-prod-eu-west-1/")
    assert dataclasses.asdict(told.shape) == dataclasses.asdict(model.shape)
    assert (settings.training_instance_types, settings.accept_eula) == (["ml.g6.4xlarge"], True)


def test_the_cap_reaches_the_functions_in_cents(own_weights: Stacks) -> None:
    variables = {
        name: f.get("Environment", {"Variables": {}})["Variables"] for name, f in own_weights.functions().items()
    }
    caps = {name: values["CAP_CENTS"] for name, values in variables.items() if "CAP_CENTS" in values}
    assert caps == {"preflight": "4000", "reserve": "4000", "settle": "4000"}


def test_results_go_by_email_only_where_an_address_is_given(stacks: Stacks, own_weights: Stacks) -> None:
    for built, addresses in ((stacks, []), (own_weights, ["owner@example.org"])):
        found = built.resources("FineTuning", "AWS::SNS::Subscription").values()
        assert [entry["Properties"]["Endpoint"] for entry in found] == addresses
