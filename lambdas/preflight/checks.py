"""The checks of Preflight, in one list. Each is run whatever the others found, so that one attempt shows everything there is to mend."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, Self, TypeVar

from common import errors
from common.contracts.fine_tuning import PreflightEvent
from common.ledger.ledger import Ledger
from common.names import run_name
from common.pricing.costs import answers_cents
from common.pricing.durations import MINIMUM_DEADLINE_SECONDS, MINIMUM_TRAINING_SECONDS, SPOT_WAIT_SECONDS
from common.pricing.prices import Price, dearest
from common.settings import AUTO
from common.storage import Storage
from preflight import large_model_allowance, model, money, request, staging
from preflight.account import guardrail, images, other_runs, quotas, weights
from preflight.request import Request
from preflight.settings import RunSettings
from preflight.texts import prompts, training
from preflight.texts.text_file import Files

T = TypeVar("T")
Clients = Callable[..., Any]  # makes the client of a service, in the account's region or in the one that is named


@dataclass(frozen=True)
class AccountContext:
    """What the checks need that are made before anything is deployed."""

    settings: RunSettings
    now: datetime
    client: Clients
    brisk_client: Clients  # for questions that may stay unanswered


@dataclass(frozen=True)
class Context(AccountContext):
    """What all checks need: an execution's input, and the bucket and the ledger of its account."""

    event: PreflightEvent
    cap_cents: int
    storage: Storage
    ledger: Ledger
    guards: guardrail.Guards


@dataclass
class PreflightResult:
    """What the checks found; complete only when `faults` is empty."""

    model: model.Model
    training_types: list[str]
    hosting_types: list[str]
    run: str = ""
    request: Request = field(default_factory=Request)
    spot: bool = False
    corpus_bytes: int = 0  # the most of a large corpus that is learned
    material: Any = None
    input_versions: dict[str, str] = field(default_factory=dict)  # of the user's files, by key
    input_digest: str = ""
    training_prices: list[Price] = field(default_factory=list)
    hosting_prices: list[Price] = field(default_factory=list)
    allowance: Any = None
    others: list[str] = field(default_factory=list)  # other runs in flight
    warnings: list[str] = field(default_factory=list)
    faults: list[errors.CaptuneError] = field(default_factory=list)

    @classmethod
    def before_checks(cls, settings: RunSettings) -> Self:
        """What is known before anything is checked."""
        return cls(model.catalogued(settings), settings.training_instance_types, settings.hosting_instance_types)

    @property
    def trains(self) -> bool:
        """Whether the run trains an adapter, in place of serving an earlier one."""
        return not self.request.adapter_uri

    def samples(self, settings: RunSettings) -> int:
        """How many sampled answers each prompt gets of each model."""
        wanted = self.request.samples_per_prompt
        return settings.samples_per_prompt if wanted is None else wanted

    def attempt(self, step: Callable[[], T]) -> T | None:
        """Runs one check and keeps its fault for the end."""
        try:
            return step()
        except errors.ServiceUnreachable:
            # Not a fault of the input: the state machine tries again.
            raise
        except errors.CaptuneError as fault:
            self.faults.append(fault)
            return None


def run(context: Context) -> PreflightResult:
    """Runs every check. Raises the first fault's class with the messages of all of them."""
    result = PreflightResult.before_checks(context.settings)
    for check in CHECKS:
        result.attempt(partial(check.look, context, result))
    if len(result.faults) == 1:
        raise result.faults[0]
    if result.faults:
        text = " ".join(f"({number}) {type(fault).__name__}: {fault}" for number, fault in enumerate(result.faults, 1))
        raise type(result.faults[0])(f"Fix {len(result.faults)} problems, then start a new execution. {text}")
    return result


def name_of_run(context: Context, result: PreflightResult) -> None:
    """The run's name. Raises RunNameTaken."""
    result.run = run_name(context.event["executionName"])
    sagemaker, arn = context.client("sagemaker"), context.event["executionArn"]
    other_runs.refuse_taken_name(sagemaker, context.ledger, result.run, arn)


def execution_input(context: Context, result: PreflightResult) -> None:
    """What a person asked for, and whether the run trains on spot instances. Raises InvalidInput and SpotWithoutCheckpoints."""
    settings = context.settings
    result.request = result.attempt(lambda: request.parse(context.event["input"])) or result.request
    result.spot = result.trains and (settings.spot if result.request.spot is None else result.request.spot)
    if result.spot and not settings.checkpoint_minutes:
        raise errors.SpotWithoutCheckpoints(
            "checkpoint_minutes is 0, so a spot job would start from the beginning after each interruption. Set checkpoint_minutes in "
            'cdk.json to 10 and run make deploy, or start an execution with {"spot": false}.'
        )


def guards(context: Context, result: PreflightResult) -> None:
    """Whether what ends a run is deployed and on. Raises GuardrailMissing."""
    if missing := guardrail.missing(context.client("events"), context.client("sns"), context.guards):
        raise errors.GuardrailMissing(
            f"A safeguard of this run is missing: {'; '.join(missing)}. Run make deploy, which creates the stack Captune-Guardrail. If it was changed by hand, run "
            "make deploy ARGS=--revert-drift. If that fails, run captune check."
        )


def whole_ledger(context: Context, result: PreflightResult) -> None:
    """Whether the ledger holds this month's training jobs and runs. Raises LedgerLost."""
    services = context.client("sagemaker"), context.client("stepfunctions"), context.ledger
    arn, accepted = context.event["executionArn"], context.settings.accept_lost_ledger
    result.warnings += other_runs.refuse_lost_ledger(*services, arn, context.now, accepted)


def licence(context: AccountContext, result: PreflightResult) -> str:
    """Whether the licence of the base model was accepted. Raises EulaNotAccepted."""
    base = context.settings.base_model
    if base.requires_eula and not context.settings.accept_eula:
        raise errors.EulaNotAccepted(
            f"You have not accepted the licence of {base.name} by {base.licensor}. Read it at {base.eula_uri}, then set accept_eula to true in cdk.json and run make deploy."
        )
    return f"{base.name}: {'accepted in the settings' if base.requires_eula else 'no acceptance needed'}"


def base_weights(context: AccountContext, result: PreflightResult) -> str:
    """Where the weights lie, and what model they are. Raises WeightsNotFound and WeightsRejected.

    Before the texts: how much of them is learned goes by the model that is there.
    """
    if context.settings.base_model.own_weights:
        result.model, warnings = weights.of_user(context.client("s3"), context.settings)
    else:
        warnings = weights.of_jumpstart(context.client("s3"), context.settings)
    result.warnings += warnings
    return f"{result.model.name} at {context.settings.base_model.weights_uri}"


def jumpstart_hub(context: AccountContext, result: PreflightResult) -> str:
    """What JumpStart's hub says of the model, once its licence is accepted: warnings at most."""
    base = context.settings.base_model
    if base.own_weights or not base.hub_name:
        return "not needed for your own weights"
    if base.requires_eula and not context.settings.accept_eula:
        return "checked once you accept the licence"
    has_template, warnings = weights.in_hub(context.brisk_client("sagemaker"), base)
    result.model = replace(result.model, has_chat_template=has_template)
    result.warnings += warnings
    return f"no objection to {base.name} at {base.weights_uri}"


def texts(context: Context, result: PreflightResult) -> None:
    """Corpus, held-out and outside text, and prompts. Raises DatasetRejected, one of its kinds, or PromptsRejected."""
    settings, data = context.settings, staging.asset(context.client("s3"), "DATA")
    result.corpus_bytes = model.most_bytes_learned(settings, result.request, result.model)
    most = settings.corpus_words, result.corpus_bytes
    measures = settings.adapter_scale == AUTO
    files = Files(context.storage, data, settings.domain, {}, *most, measures, attempt=result.attempt)
    material = staging.read_material(files, result.request)
    code = staging.asset(context.client("s3"), "TRAINING")
    if material:
        result.material = material
        # What was checked is what the run gets.
        result.input_versions = files.versions
        result.input_digest = staging.digest(staging.files(material, code))
        result.warnings += material.warnings + prompts.too_long_for(material.prompts, result.model.served_tokens)
        result.warnings += training.refuse_unlearnable_records(material.training, result.model, settings)


def earlier_adapter(context: Context, result: PreflightResult) -> None:
    """The adapter of an earlier run, where the input names one. Raises AdapterRejected."""
    if result.request.adapter_uri:
        weights.refuse_unusable_adapter(context.storage, result.request.adapter_uri, context.settings)


def memory(context: AccountContext, result: PreflightResult) -> str:
    """Whether the model fits the GPUs; warns about idle ones. Raises ModelDoesNotFit."""
    settings = context.settings
    types = settings.training_instance_types if result.trains else []
    result.warnings += model.refuse_what_cannot_fit(result.model, settings, types, settings.hosting_instance_types)
    if result.material:
        tokens = model.tokens_learned(settings, result.request, result.material.words)
        result.warnings += model.idle_cards(settings, types, tokens)
    return f"{result.model.name} fits its instances"


def container_images(context: AccountContext, result: PreflightResult) -> str:
    """Whether the container images exist. Raises ImageNotFound."""
    settings = context.settings
    needed = [settings.training_image, settings.hosting_image] if result.trains else [settings.hosting_image]
    looked = [images.problem(partial(context.brisk_client, "ecr"), address) for address in needed]
    result.warnings += [warning for _, warning in looked if warning]
    if problems := [problem for problem, _ in looked if problem]:
        raise errors.ImageNotFound(
            f"SageMaker could not pull a container image: {'; '.join(problems)}. Update Captune (git pull), or correct hosting_image in cdk.json, and run "
            "make deploy."
        )
    return " and ".join(address.rpartition("/")[2] for address in needed)


def leftovers(context: Context, result: PreflightResult) -> None:
    """Whether anything bills that no reservation covers, and which runs are in flight. Raises LeftoversFound."""
    result.others = other_runs.runs_in_flight(context.ledger, result.run)
    if left := other_runs.leftovers(context.client("sagemaker"), context.ledger, context.now):
        raise errors.LeftoversFound(
            f"An earlier run left billable resources: {', '.join(left[:5])}. Wait up to half an hour for the sweeper to remove them. Or delete them in the "
            'SageMaker console, or start the TearDown state machine with {"runName": "captune-…"}.'
        )


def instance_quotas(context: AccountContext, result: PreflightResult) -> str:
    """Leaves the instance types that the account may use. Raises QuotaTooLow where none is left, RunInFlight where another run has them all."""
    wanted = quotas.needed(context.settings, result.spot, trains=result.trains)
    read = quotas.read(context.brisk_client("service-quotas"), wanted)
    left, warnings = quotas.within_quotas(read, result.others, context.settings.region)
    result.warnings += warnings
    result.hosting_types = [one.instance_type for one in left if one.use == quotas.ENDPOINT]
    if result.trains:
        result.training_types = [one.instance_type for one in left if one.use != quotas.ENDPOINT]
    return ", ".join(f"{one.value} of {one.name}" for one in read if one.value) or "none could be read"


def money_left(context: Context, result: PreflightResult) -> None:
    """Prices of the types that the quotas leave, and the run's part of the cap. Raises PriceUnknown, BudgetExceeded."""
    settings, asked = context.settings, result.request
    # The Price List has endpoints in a few regions only.
    pricing = context.brisk_client("pricing", "us-east-1")

    def priced(types: list[str], use: str) -> list[Price]:
        return [money.find_price(pricing, settings.region, one, use) for one in types]

    result.training_prices = result.attempt(lambda: priced(result.training_types, "Training")) or []
    result.hosting_prices = priced(result.hosting_types, "Hosting")
    if not (result.training_prices and result.hosting_prices):
        return
    training_seconds = MINIMUM_TRAINING_SECONDS if asked.smoke else settings.max_training_seconds
    short = asked.smoke or asked.serve_only
    wanted = money.Wanted(
        training=dearest(result.training_prices).times(settings.training_instance_count),
        hosting=dearest(result.hosting_prices),
        training_seconds=training_seconds if result.trains else 0,
        deadline_seconds=MINIMUM_DEADLINE_SECONDS if short else settings.endpoint_deadline_minutes * 60,
        keep_seconds=asked.keep_endpoint_minutes * 60,
        lora_rank=result.model.checkpoint_rank(settings.lora_rank),
        checkpoint_minutes=settings.checkpoint_minutes,
        spot_wait_seconds=SPOT_WAIT_SECONDS if result.spot else 0,
        answers_cents=answers_cents(len(result.material.prompts) if result.material else 0, result.samples(settings)),
    )
    result.allowance = allowance = large_model_allowance.allow(
        context.ledger, context.cap_cents, result.model, wanted, context.now
    )
    if allowance.clamped:
        result.warnings.append(
            f"The remaining budget shortens this run to at most {allowance.training_seconds // 60} minutes of training and "
            f"{allowance.deadline_seconds // 60} of endpoint. Training that stops early learns less."
        )


class Check(NamedTuple):
    """A check: its name, and the function that raises what is wrong.

    `right` is the IAM action that a person needs for it before anything is deployed, and then it says in a few words what it found;
    without one it is made by Preflight only.
    """

    name: str
    # Of a Context, or of an AccountContext where nothing has to be deployed.
    look: Callable[[Any, PreflightResult], str | None]
    right: str = ""


CHECKS = (
    Check("name of the run", name_of_run),
    Check("input", execution_input),
    Check("guardrail", guards),
    Check("ledger", whole_ledger),
    Check("licence", licence, "none"),
    Check("weights", base_weights, "s3:ListBucket and s3:GetObject"),
    Check("hub", jumpstart_hub, "sagemaker:DescribeHubContent and CreateHubContentPresignedUrls"),
    Check("texts", texts),
    Check("earlier adapter", earlier_adapter),
    Check("memory", memory, "none"),
    Check("images", container_images, "ecr:BatchGetImage"),
    Check("leftovers", leftovers),
    Check("quotas", instance_quotas, "servicequotas:GetServiceQuota and ListServiceQuotas"),
    Check("money left", money_left),
)
