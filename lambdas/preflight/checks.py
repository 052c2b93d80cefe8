"""The checks of Preflight: each is run whatever the others found, so that one attempt shows everything there is to mend."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from common.contracts.fine_tuning import PreflightEvent
from common.environment import RunSettings
from common.errors import (
    CaptuneError,
    EulaNotAccepted,
    ImageNotFound,
    LeftoversFound,
    ServiceUnreachable,
    SpotWithoutCheckpoints,
    WeightsNotFound,
)
from common.ledger.ledger import Ledger
from common.names import run_name
from common.pricing.durations import MINIMUM_DEADLINE_SECONDS, MINIMUM_TRAINING_SECONDS, SPOT_WAIT_SECONDS
from common.pricing.prices import Price, dearest
from common.storage import Storage
from preflight import fits, larger, learnable, money, request, staging
from preflight.account import adapter, images, instances, known_jobs, other_runs, own_weights, quotas, weights
from preflight.model import Model, catalogued
from preflight.prompts import prompt_file
from preflight.records import suitable
from preflight.texts.large_text import Amount

T = TypeVar("T")
# For the quotas, the prompts and a large corpus together, of the 180 seconds that Preflight has: what else is asked of AWS takes some ten,
# and the comparison with held-out text ten more.
READ_SECONDS = 150


@dataclass(frozen=True)
class Services:
    """The AWS services that Preflight asks."""

    storage: Storage
    s3: Any
    sagemaker: Any
    service_quotas: Any
    pricing: Any
    ledger: Ledger
    ecr_in: Callable[[str], Any]  # a client for a region


@dataclass
class Found:
    """What Preflight learned; complete only when `faults` is empty."""

    model: Model
    run: str = ""
    request: request.Request = field(default_factory=request.Request)
    needs: list[quotas.Need] = field(default_factory=list)
    quotas: dict[str, list[quotas.Quota]] = field(default_factory=dict)
    read_seconds: float = 0  # what the quotas have left of READ_SECONDS
    material: Any = None
    spot: bool = False
    input_digest: str = ""
    corpus_bytes: int = 0  # the most of a large corpus that is learnt
    training_prices: list[Price] = field(default_factory=list)
    hosting_prices: list[Price] = field(default_factory=list)
    training_types: list[str] = field(default_factory=list)
    hosting_types: list[str] = field(default_factory=list)
    allowance: Any = None
    now: Any = None
    warnings: list[str] = field(default_factory=list)
    faults: list[CaptuneError] = field(default_factory=list)

    def attempt(self, step: Callable[[], T]) -> T | None:
        """Runs one check and keeps its fault for the end."""
        try:
            return step()
        except ServiceUnreachable:
            # Nothing to mend: the state machine tries again.
            raise
        except CaptuneError as fault:
            self.faults.append(fault)
            return None


def run(event: PreflightEvent, settings: RunSettings, services: Services, cap_cents: int, now: datetime) -> Found:
    """Runs every check. Raises the first fault's class with the messages of all of them."""
    found = Found(
        model=catalogued(settings),
        now=now,
        training_types=settings.training_instance_types,
        hosting_types=settings.hosting_instance_types,
    )
    found.run = found.attempt(lambda: _name(event["executionName"], event["executionArn"], services)) or ""
    found.request = found.attempt(lambda: request.parse(event["input"])) or request.Request()
    found.attempt(lambda: _spot(settings, found))
    found.attempt(lambda: _ledger(services, settings, found))
    found.attempt(lambda: _eula(settings))
    _read_quotas(services, settings, found)
    # Before the texts: how much of them is learnt goes by the model that is there.
    found.model = found.attempt(lambda: _weights(services, settings, found)) or found.model
    found.material = found.attempt(lambda: _material(services, found, settings))
    code = found.attempt(lambda: staging.asset(services.s3, "TRAINING"))
    if found.material and code:
        found.input_digest = staging.digest(staging.files(found.material, code))
    if found.request.adapter_uri:
        found.attempt(lambda: adapter.refuse_unusable(services.storage, found.request.adapter_uri, settings))
    if found.material:
        found.warnings += prompt_file.too_long_for(found.material.prompts, found.model.served_tokens)
        found.warnings += suitable.look(found.material.training, found.model, settings, found.attempt)
    found.attempt(lambda: _fits(settings, found))
    found.attempt(lambda: _images(services, settings, found))
    found.attempt(lambda: _leftovers(services, found))
    # First the quotas: a type that the account may not use must not set the price.
    found.attempt(lambda: _quotas(services, settings, found))
    found.training_prices = found.attempt(lambda: _prices(services, settings, found.training_types, "Training")) or []
    found.hosting_prices = found.attempt(lambda: _prices(services, settings, found.hosting_types, "Hosting")) or []
    if found.training_prices and found.hosting_prices:
        found.allowance = found.attempt(lambda: _allowance(services, settings, found, cap_cents))
        if found.allowance and found.allowance.clamped:
            found.warnings.append(
                f"What is left of the month's cap shortened this run: at most {found.allowance.training_seconds // 60} minutes of training and "
                f"{found.allowance.deadline_seconds // 60} of endpoint. Training that ends early learns less."
            )
    if found.faults:
        raise _together(found.faults)
    return found


def _together(faults: list[CaptuneError]) -> CaptuneError:
    if len(faults) == 1:
        return faults[0]
    text = " ".join(f"({number}) {type(fault).__name__}: {fault}" for number, fault in enumerate(faults, 1))
    return type(faults[0])(f"{len(faults)} things to mend before this run can start. {text}")


def _name(execution_name: str, execution_arn: str, services: Services) -> str:
    run = run_name(execution_name)
    other_runs.refuse_taken_name(services.sagemaker, services.ledger, run, execution_arn)
    return run


def _spot(settings: RunSettings, found: Found) -> None:
    """Notes whether the run trains on spot instances. Raises SpotWithoutCheckpoints."""
    wanted = settings.spot if found.request.spot is None else found.request.spot
    found.spot = wanted and not found.request.adapter_uri
    if found.spot and not settings.checkpoint_minutes:
        raise SpotWithoutCheckpoints(
            "A spot instance may be taken away at any moment, and without checkpoints the job would begin anew each time. Set checkpoint_minutes in "
            'cdk.json to 10 and deploy, or start with {"spot": false}.'
        )


def _ledger(services: Services, settings: RunSettings, found: Found) -> None:
    warning = known_jobs.refuse_lost_ledger(services.sagemaker, services.ledger, found.now, settings.accept_lost_ledger)
    found.warnings += [warning] if warning else []


def _eula(settings: RunSettings) -> None:
    if settings.base_model.requires_eula and not settings.accept_eula:
        raise EulaNotAccepted(
            f"{settings.base_model.name} is licensed by {settings.base_model.licensor}. Read the licence at "
            f"{settings.base_model.eula_uri}, then set accept_eula to true in cdk.json and deploy again."
        )


def _material(services: Services, found: Found, settings: RunSettings) -> staging.Material | None:
    data = staging.asset(services.s3, "DATA")
    found.corpus_bytes = learnable.most_bytes(settings, found.request, found.model)
    amount = Amount(settings.corpus_words, found.corpus_bytes, found.read_seconds)
    material = staging.gather(services.storage, data, found.request, settings.domain, found.attempt, amount)
    found.warnings += material.warnings if material else ()
    return material


def _weights(services: Services, settings: RunSettings, found: Found) -> Model:
    if settings.base_model.own_weights:
        model, warning = own_weights.look(services.s3, settings)
        found.warnings += [warning] if warning else []
        return model
    problem, warning = weights.problem(services.s3, settings.base_model.weights_uri)
    if warning:
        found.warnings.append(warning)
    if problem:
        raise WeightsNotFound(f"The weights of {settings.base_model.name} were not found: {problem}.")
    return found.model


def _fits(settings: RunSettings, found: Found) -> None:
    training = [] if found.request.adapter_uri else settings.training_instance_types
    warning = fits.refuse_what_cannot_fit(found.model, settings, training, settings.hosting_instance_types)
    found.warnings += [warning] if warning else []
    if found.material:
        tokens = learnable.tokens(settings, found.request, found.material.words)
        found.warnings += fits.idle_cards(settings, training, tokens)


def _images(services: Services, settings: RunSettings, found: Found) -> None:
    needed = (
        [settings.hosting_image] if found.request.adapter_uri else [settings.training_image, settings.hosting_image]
    )
    looked = [images.problem(services.ecr_in, address) for address in needed]
    found.warnings += [warning for _, warning in looked if warning]
    problems = [problem for problem, _ in looked if problem]
    if problems:
        raise ImageNotFound(
            f"SageMaker could not pull a container image: {'; '.join(problems)}. Deploy a newer version of this project, or set hosting_image in cdk.json to an "
            "image that exists and deploy."
        )


def _prices(services: Services, settings: RunSettings, types: list[str], use: str) -> list[Price]:
    return [money.find_price(services.pricing, settings.region, one, use) for one in types]


def _read_quotas(services: Services, settings: RunSettings, found: Found) -> None:
    """Notes the quotas before the texts, which may take all the time that there is."""
    begun = time.monotonic()
    found.needs = instances.needed(settings, found.spot, trains=not found.request.adapter_uri)
    found.quotas = quotas.read(services.service_quotas, found.needs)
    found.read_seconds = READ_SECONDS - (time.monotonic() - begun)


def _quotas(services: Services, settings: RunSettings, found: Found) -> None:
    """Leaves the types that the account may use. Raises QuotaTooLow where none is left, RunInFlight where another run has them all."""
    others = other_runs.runs_in_flight(services.ledger, found.run)
    left = instances.usable(found.needs, found.quotas, others, settings.region)
    found.warnings += left.warnings
    found.hosting_types = left.hosting
    if left.training:
        found.training_types = left.training


def _leftovers(services: Services, found: Found) -> None:
    left = other_runs.leftovers(services.sagemaker, services.ledger, found.now)
    if left:
        raise LeftoversFound(
            f"An earlier run left {', '.join(left[:5])}, which may bill. The sweeper removes leftovers every quarter of an hour. To remove them now, delete them in the "
            'SageMaker console, or start the TearDown state machine with {"runName": "captune-…"}.'
        )


def _allowance(services: Services, settings: RunSettings, found: Found, cap_cents: int) -> money.Allowance:
    smoke = found.request.smoke
    training_seconds = MINIMUM_TRAINING_SECONDS if smoke else settings.max_training_seconds

    def reserve(seconds: int) -> money.Allowance:
        return money.allow(
            services.ledger,
            cap_cents,
            dearest(found.training_prices).times(settings.training_instance_count),
            dearest(found.hosting_prices),
            seconds,
            MINIMUM_DEADLINE_SECONDS if smoke else settings.endpoint_deadline_minutes * 60,
            found.request.keep_endpoint_minutes * 60,
            found.now,
            larger.checkpoint_rank(found.model.shape, settings.lora_rank),
            settings.checkpoint_minutes,
            SPOT_WAIT_SECONDS if found.spot else 0,
        )

    return larger.allow(0 if found.request.adapter_uri else training_seconds, found.model.downloaded_bytes, reserve)
