"""Three stacks from one set of settings, and the checks that run on every synthesis."""

from pathlib import Path

import aws_cdk as cdk
import cdk_nag

from stacks.access.acknowledgements import acknowledge_findings
from stacks.configuration.settings import Settings
from stacks.fine_tuning_stack import FineTuningStack
from stacks.guardrail_stack import GuardrailStack
from stacks.names import TAG
from stacks.storage_stack import StorageStack


def add_stacks(app: cdk.App, settings: Settings, *, root: Path, account: str | None = None) -> None:
    """Adds Storage, FineTuning and Guardrail to the app. `account` None keeps the templates free of an account.

    Raises SettingsError where AWS has no container image for the region.
    """
    env = cdk.Environment(account=account, region=settings.region)
    storage = StorageStack(app, "Captune-Storage", settings=settings, env=env)
    runs = FineTuningStack(app, "Captune-FineTuning", settings=settings, storage=storage, root=root, env=env)
    guardrail = GuardrailStack(app, "Captune-Guardrail", settings=settings, runs=runs, env=env)
    for key, value in TAG.items():
        cdk.Tags.of(app).add(key, value)
        for stack in (storage, runs, guardrail):
            stack.add_stack_tag(key, value)
    acknowledge_findings(storage, runs, guardrail, settings)
    cdk.Validations.of(app).add_plugins(cdk_nag.AwsSolutionsChecks(app), cdk_nag.ServerlessChecks(app))
