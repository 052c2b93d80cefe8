"""The settings that you change, read from the CDK context, checked in one place before anything is synthesized.

Each is declared once: in `Settings` if only the stacks read it, in lambdas/common/settings.py if a run does. The table in
docs/configure.md is made from that. cdk.json repeats the defaults, to show what you can change (a test holds that it does);
`-c key=value` overrides both. Every problem is reported at once, each with the setting's name and its fix.
"""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

from common.settings import Check, PreflightSettings, choice, setting, switch, whole
from stacks.configuration import catalog, checks

# Keys that the CDK command line itself puts beside ours; all its others contain a colon or start with @.
_CDK_KEYS = ("acknowledged-issue-numbers", "cdk-migrate", "cli-telemetry")


class SettingsError(ValueError):
    """One or more settings are wrong. The message names each of them and its fix."""


@dataclass(frozen=True, kw_only=True)
class Settings(PreflightSettings):
    """All settings of one deployment, validated. Build it with `from_context`."""

    region: str = setting(
        "us-east-1",
        choice(
            checks.BUDGET_REGIONS,
            "; AWS CloudFormation offers AWS Budgets only there, and Captune does not run without its alarm",
            accepts="where CloudFormation offers AWS Budgets, such as `eu-central-1`",
        ),
        "one region of an account can be deployed ([why](cap.md#when-the-cap-can-be-exceeded))",
    )
    domain: str = setting(
        "medical",
        checks.DOMAIN,
        "the texts and prompts in `data/` that a run uses, and the fine-tuned model's name at the endpoint",
    )
    base_model: str = setting(
        "llama-2-7b",
        choice(
            tuple(catalog.BASE_MODELS),
            "; for any other model choose the closest listed model, and name its folder in weights_uri",
            hints=3,
            accepts=f"one of [{len(catalog.BASE_MODELS)} models](#use-another-model)",
        ),
        "the model to fine-tune",
    )
    weights_uri: str = setting(
        "", checks.WEIGHTS_URI, "[your own weights](#use-weights-of-your-own) instead of JumpStart's"
    )
    training_instance_type: tuple[str, ...] = setting(
        ("ml.g5.2xlarge",),
        checks.INSTANCE_TYPES,
        'in order of preference, such as `["ml.g5.2xlarge", "ml.g6.2xlarge"]`: SageMaker takes the first that is free; the reservation uses the most expensive',
    )
    hosting_instance_type: tuple[str, ...] = setting(
        ("ml.g5.2xlarge",),
        checks.INSTANCE_TYPES,
        "the same for the endpoint; each type needs [its quota](deploy.md#1-ask-for-quotas)",
    )
    hosting_image: str = setting(
        "",
        checks.HOSTING_IMAGE,
        "another serving image, which must route by a request's CustomAttributes, as AWS's `server-sagemaker-cuda` images do",
    )
    budget_usd: int = setting(
        25, whole(1, 1000, "US dollars"), "the cap of a calendar month, and the budget of the alarm"
    )
    alert_email: str = setting("", checks.EMAIL, "receives results, budget warnings and alarms; empty: no e-mail")
    retain_data: bool = setting(
        True,
        switch("false lets cdk destroy delete the bucket and the ledger"),
        "keeps the bucket and the ledger when you destroy the stacks",
    )
    budget_scope: str = setting(
        "account",
        choice(("account", "tag"), "; tag only after activating the cost-allocation tag project"),
        "what the budget alarm counts: the whole account, or what has the cost-allocation tag `project` (activate it first)",
    )

    @property
    def cap_cents(self) -> int:
        """The cap of a calendar month in cents."""
        return self.budget_usd * 100

    @property
    def model(self) -> catalog.BaseModel:
        """The catalog's entry of the base model."""
        return catalog.BASE_MODELS[self.base_model]

    @property
    def weights(self) -> catalog.Weights:
        """Where the weights lie that training and hosting read."""
        return catalog.weights_of(self.model, self.region, self.weights_uri)

    def warnings(self) -> dict[str, str]:
        """What is more often forgotten than meant, by setting: one given with -c holds for that one deployment only."""
        found = {}
        if not self.alert_email:
            found["alert_email"] = (
                "alert_email is empty: you get no e-mail when a run ends or the budget alarm goes off. Set alert_email in cdk.json"
            )
        if self.model.licence.must_be_accepted and not self.weights.own and not self.accept_eula:
            found["accept_eula"] = (
                "accept_eula is false: every run fails with EulaNotAccepted. Read the licence, then set accept_eula to true in cdk.json"
            )
        return found

    @classmethod
    def from_context(cls, context: Mapping[str, object], option: str = "-c") -> Self:
        """Reads and checks the settings in a CDK context; values may be strings, as `option` passes them on the command line.

        Raises SettingsError that lists every unknown key and every bad value.
        """
        problems = []
        values: dict[str, object] = {}
        for key, raw in context.items():
            if key in _CHECKS:
                try:
                    values[key] = _CHECKS[key].read(raw)
                except ValueError as error:
                    problems.append(f"{key} is {raw!r}: {error}")
            # Feature flags (@aws-cdk/…), CLI switches (aws:cdk:…) and cached look-ups (ssm:account=…) are the CDK's.
            elif not (key.startswith("@") or ":" in key or key in _CDK_KEYS):
                nearest = difflib.get_close_matches(key.lower().replace("-", "_"), _CHECKS, n=1, cutoff=0.0)
                problems.append(f"{key} is not a setting: remove it, or rename it, for example to {nearest[0]}")
        if not problems:
            problems = _together(cls(**values))  # type: ignore[arg-type]
        if problems:
            listed = "\n".join(f"  - {problem}" for problem in problems)
            raise SettingsError(f'Fix these in cdk.json under "context", or with {option} key=value:\n{listed}')
        return cls(**values)  # type: ignore[arg-type]


def _together(settings: Settings) -> list[str]:
    """Faults of settings that are valid one by one."""
    problems = []
    if settings.spot and not settings.checkpoint_minutes:
        problems.append(
            "spot is True and checkpoint_minutes 0, so a spot job would start from the beginning after each interruption: set "
            "checkpoint_minutes to 10, or spot to false"
        )
    if len(settings.hosting_instance_type) > 1 and settings.region in checks.REGIONS_WITHOUT_POOLS:
        problems.append(
            f"hosting_instance_type lists {len(settings.hosting_instance_type)} types, but SageMaker has no instance pools in {settings.region}: "
            "set one type, or choose another region"
        )
    try:
        catalog.weights_of(settings.model, settings.region, settings.weights_uri)
    except ValueError as error:
        problems.append(
            f"base_model is {settings.base_model!r}: {error}; copy the model's folder into your own bucket in {settings.region} "
            "and set weights_uri to it"
        )
    return problems


_CHECKS: dict[str, Check[object]] = {one.name: one.metadata["check"] for one in fields(Settings)}


def table() -> str:
    """All settings in Markdown: name, default, what each may be, and what it means."""
    lines = ["| setting | default | may be | what it means |", "|---|---|---|---|"]
    known, shared = fields(Settings), len(fields(PreflightSettings))
    for one in (*known[shared:], *known[:shared]):
        check, means = one.metadata["check"], one.metadata["means"]
        lines.append(f"| `{one.name}` | `{json.dumps(one.default)}` | {check.accepts} | {means} |")
    return "\n".join(lines)
