"""The settings a person changes, read from the CDK context, checked in one place before anything is synthesized.

Each is declared once, in `Settings`: type, default, check and meaning, from which the table in docs/configure.md is made. cdk.json
repeats the defaults so that a person sees what there is to change (a test holds that it does); `-c key=value` overrides both. Every
problem is reported at once, each with the setting's name and the way to mend it.
"""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Self

from common.hyperparameters import CHOICES
from stacks.configuration import catalog, checks
from stacks.configuration.checks import Check, Value

# Keys that the CDK command line itself puts beside ours; all its others contain a colon or start with @.
_CDK_KEYS = ("acknowledged-issue-numbers", "cdk-migrate", "cli-telemetry")


class SettingsError(ValueError):
    """One or more settings are wrong. The message names each of them and how to mend it."""


def _setting(default: Value, check: Check[Value], means: str, *, for_training: bool = False) -> Value:
    """A field of `Settings`, with all that there is to know of it; `means` is what docs/configure.md says.

    `for_training`: the training script gets it as a hyperparameter of the same name, and no Lambda reads it.
    """
    return field(default=default, metadata={"check": check, "means": means, "for_training": for_training})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of one deployment, validated. Build it with `from_context`."""

    region: str = _setting(
        "us-east-1",
        checks.choice(
            checks.BUDGET_REGIONS,
            "; AWS CloudFormation offers AWS Budgets only there, and Captune does not run without its alarm",
            accepts="where CloudFormation offers AWS Budgets",
        ),
        "one region of an account can be deployed ([why](cap.md#what-cannot-be-held))",
    )
    domain: str = _setting(
        "medical",
        checks.DOMAIN,
        "the texts and prompts in `data/` that a run uses, and the fine-tuned model's name at the endpoint",
    )
    base_model: str = _setting(
        "llama-2-7b",
        checks.choice(
            tuple(catalog.BASE_MODELS),
            "; for any other model choose the closest listed model, and name its folder in weights_uri",
            hints=3,
            accepts=f"one of [{len(catalog.BASE_MODELS)} models](#use-another-model)",
        ),
        "what is fine-tuned",
    )
    weights_uri: str = _setting(
        "", checks.WEIGHTS_URI, "[weights of your own](#use-weights-of-your-own) in place of JumpStart's"
    )
    training_instance_type: tuple[str, ...] = _setting(
        ("ml.g5.2xlarge",),
        checks.INSTANCE_TYPES,
        'in order of preference, such as `["ml.g5.2xlarge", "ml.g6.2xlarge"]`: SageMaker takes the first that is free; the dearest is reserved',
    )
    training_instance_count: int = _setting(
        1,
        checks.whole(1, checks.MOST_TRAINING_INSTANCES, "instances"),
        "[instances that train together](#train-on-several-gpus): less time, the same result; reservation and bill are multiplied by it",
    )
    hosting_instance_type: tuple[str, ...] = _setting(
        ("ml.g5.2xlarge",), checks.INSTANCE_TYPES, "the same for the endpoint"
    )
    hosting_image: str = _setting(
        "",
        checks.HOSTING_IMAGE,
        "another serving image; it must choose the route by a request's CustomAttributes, as AWS's `server-sagemaker-cuda` images do",
    )
    budget_usd: int = _setting(
        25, checks.whole(1, 1000, "US dollars"), "the cap of a calendar month, and the budget of the alarm"
    )
    alert_email: str = _setting("", checks.EMAIL, "receives results, budget warnings and alarms; empty: nobody does")
    epochs: int = _setting(
        1,
        checks.hyperparameter("epochs", "passes over the corpus"),
        "passes over the corpus; three made the model [far worse on text by others](verdict.md#the-rule)",
    )
    max_training_seconds: int = _setting(
        7200,
        checks.whole(1800, 21600, "seconds"),  # the least of lambdas/common/pricing/durations.py
        "the longest training job, including pulling its image and loading",
    )
    spot: bool = _setting(
        False,
        checks.switch("true trains on spot instances"),
        "trains on [spot instances](#train-on-spot-instances), which cost less and may be taken away",
    )
    checkpoint_minutes: int = _setting(
        10,
        checks.hyperparameter("checkpoint_minutes", "minutes"),
        "between two checkpoints: what an interruption may cost at most; 0 writes one at a stop signal only",
    )
    endpoint_deadline_minutes: int = _setting(
        60,
        checks.whole(35, 240, "minutes"),  # the least of lambdas/common/pricing/durations.py
        "the longest life of the endpoint, including 10 to 15 minutes of loading and the wait for an instance",
    )
    accept_eula: bool = _setting(
        False,
        checks.switch("true says that you have read and accept the licence of the base model"),
        "you have read and accept the base model's licence",
    )
    retain_data: bool = _setting(
        True,
        checks.switch("false lets cdk destroy delete the bucket and the ledger"),
        "keeps and protects bucket and ledger when the stacks are destroyed",
    )
    budget_scope: str = _setting(
        "account",
        checks.choice(("account", "tag"), "; tag only after activating the cost-allocation tag project"),
        "what the budget alarm counts: the whole account, or what has the cost-allocation tag `project` (activate it first)",
    )
    samples_per_prompt: int = _setting(
        2,
        checks.whole(0, 8, "sampled answers"),
        "sampled answers of each model to each prompt, in addition to the greedy one (temperature 0)",
    )
    seed: int = _setting(42, checks.hyperparameter("seed", "any kind"), "of training and sampling")
    sequence_length: int = _setting(
        512, checks.hyperparameter("sequence_length", "tokens"), "tokens of a training sequence"
    )
    learning_rate: str = _setting(
        "auto", checks.LEARNING_RATE, "peak learning rate; `auto` takes it from the model's width", for_training=True
    )
    lora_rank: int = _setting(
        16,
        checks.hyperparameter("lora_rank", "any kind"),
        "rank of the adapter",
    )
    adapter_strength: str = _setting(
        "auto",
        checks.ADAPTER_STRENGTH,
        "factor that the trained adapter is multiplied by; `auto` measures which is best ([how](recipe.md#adapter-strength))",
        for_training=True,
    )
    corpus_words: int = _setting(
        0,
        checks.whole(0, 10_000_000, "words"),
        "0 trains on the whole corpus; otherwise on whole documents from all over it, about this many words, and measures half as many of the domain's held-out text",
    )
    long_records: str = _setting(
        "split",
        checks.choice(CHOICES["long_records"]),
        "[records](your-own-data.md#records-questions-with-answers-tables-conversations) longer than `sequence_length` are split, or the run is refused",
    )
    document_order: str = _setting(
        "auto",
        checks.choice(("auto", *CHOICES["document_order"])),
        "`written` is the order of the file; `auto` is that for the project's own texts and `shuffled` for yours ([why](recipe.md#facts))",
    )
    accept_lost_ledger: str = _setting(
        "", checks.MONTH, "gives that month its whole cap again although its ledger was lost (`LedgerLost`)"
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

    @property
    def hyperparameters(self) -> dict[str, str]:
        """The settings that the training script alone reads, as SageMaker hands them over."""
        return {one.name: str(getattr(self, one.name)) for one in fields(self) if one.metadata["for_training"]}

    def warnings(self) -> dict[str, str]:
        """What is more often forgotten than meant, by setting: one given with -c holds for that one deployment only."""
        found = {}
        if not self.alert_email:
            found["alert_email"] = (
                "no alert_email: nobody is notified when the budget alarm goes off or a run ends; set alert_email in cdk.json"
            )
        if self.model.licence.must_be_accepted and not self.weights.own and not self.accept_eula:
            found["accept_eula"] = (
                "accept_eula is false: every run ends as EulaNotAccepted; read the licence, then set accept_eula to true in cdk.json"
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
                problems.append(f"{key} is not a setting; the nearest one is {nearest[0]}")
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
            "spot is True and checkpoint_minutes 0: a spot job that was interrupted would begin anew each time; set checkpoint_minutes "
            "to 10, or spot to false"
        )
    if len(settings.hosting_instance_type) > 1 and settings.region in checks.REGIONS_WITHOUT_POOLS:
        problems.append(
            f"hosting_instance_type lists {len(settings.hosting_instance_type)} types: SageMaker has no instance pools in {settings.region}; "
            "name one type, or choose another region"
        )
    try:
        catalog.weights_of(settings.model, settings.region, settings.weights_uri)
    except ValueError as error:
        problems.append(
            f"base_model is {settings.base_model!r}: {error}; copy the model's folder into a bucket of yours in {settings.region} "
            "and name it in weights_uri"
        )
    return problems


_CHECKS: dict[str, Check[object]] = {one.name: one.metadata["check"] for one in fields(Settings)}


def table() -> str:
    """All settings in Markdown: name, default, what each may be, and what it means."""
    lines = ["| setting | default | may be | what it means |", "|---|---|---|---|"]
    for one in fields(Settings):
        check, means = one.metadata["check"], one.metadata["means"]
        lines.append(f"| `{one.name}` | `{json.dumps(one.default)}` | {check.accepts} | {means} |")
    return "\n".join(lines)
