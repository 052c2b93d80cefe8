"""The checks of Preflight: each is run whatever the others found, so that one attempt shows everything there is to mend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from common.environment import RunSettings
from common.errors import (
    CaptuneError,
    EulaNotAccepted,
    InvalidInput,
    LeftoversFound,
    QuotaTooLow,
    RunInFlight,
    ServiceUnreachable,
    WeightsNotFound,
)
from common.ledger import Ledger
from common.names import run_name
from common.prices import Price
from common.storage import Storage
from preflight import money, quotas, request, staging, surroundings

T = TypeVar("T")


@dataclass(frozen=True)
class Services:
    """The AWS services that Preflight asks."""

    storage: Storage
    s3: Any
    sagemaker: Any
    service_quotas: Any
    pricing: Any
    ledger: Ledger


@dataclass
class Found:
    """What Preflight learned; complete only when `faults` is empty."""

    run: str = ""
    request: request.Request = field(default_factory=request.Request)
    material: Any = None
    training_price: Any = None
    hosting_price: Any = None
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


def run(event: dict[str, Any], settings: RunSettings, services: Services, cap_cents: int, now: datetime) -> Found:
    """Runs every check. Raises the first fault's class with the messages of all of them."""
    found = Found(now=now)
    found.run = found.attempt(lambda: _name(event["executionName"], event["executionArn"], services)) or ""
    found.request = found.attempt(lambda: request.parse(event["input"])) or request.Request()
    found.attempt(lambda: _eula(settings))
    found.material = _material(services, found, settings)
    found.attempt(lambda: _weights(services, settings, found))
    found.attempt(lambda: _leftovers(services))
    training = found.attempt(
        lambda: money.find_price(services.pricing, settings.region, settings.training_instance_type, "Training")
    )
    hosting = found.attempt(
        lambda: money.find_price(services.pricing, settings.region, settings.hosting_instance_type, "Hosting")
    )
    if training and hosting:
        found.training_price, found.hosting_price = training, hosting
        found.allowance = found.attempt(lambda: _allowance(services, settings, found, training, hosting, cap_cents))
        if found.allowance and found.allowance.clamped:
            found.warnings.append(
                f"What is left of the month's cap shortened this run: at most {found.allowance.training_seconds // 60} minutes of training and "
                f"{found.allowance.deadline_seconds // 60} of endpoint. Training that ends early learns less."
            )
    found.attempt(lambda: _quotas(services, settings, found))
    if found.faults:
        raise _together(found.faults)
    return found


def _together(faults: list[CaptuneError]) -> CaptuneError:
    if len(faults) == 1:
        return faults[0]
    text = " ".join(f"({number}) {type(fault).__name__}: {fault}" for number, fault in enumerate(faults, 1))
    return type(faults[0])(f"{len(faults)} things to mend before this run can start. {text}")


def _name(execution_name: str, execution_arn: str, services: Services) -> str:
    try:
        run = run_name(execution_name)
    except ValueError as error:
        raise InvalidInput(
            f"{error}; start a new execution with another name, or leave the name to the console."
        ) from None
    surroundings.refuse_taken_name(services.sagemaker, services.ledger, run, execution_arn)
    return run


def _eula(settings: RunSettings) -> None:
    if settings.base_model.requires_eula and not settings.accept_eula:
        raise EulaNotAccepted(
            f"{settings.base_model.name} is licensed by Meta. Read the licence at "
            f"s3://jumpstart-cache-prod-{settings.region}/fmhMetadata/eula/llamaEula.txt, then set accept_eula to true in cdk.json and deploy again."
        )


def _material(services: Services, found: Found, settings: RunSettings) -> staging.Material | None:
    data = staging.asset(services.s3, "DATA")
    material = staging.gather(
        services.storage, data, found.request, settings.domain, found.attempt, settings.corpus_words
    )
    found.warnings += material.warnings if material else ()
    return material


def _weights(services: Services, settings: RunSettings, found: Found) -> None:
    problem, warning = surroundings.weights_problem(services.s3, settings.base_model.weights_uri)
    if warning:
        found.warnings.append(warning)
    if problem:
        raise WeightsNotFound(f"The weights of {settings.base_model.name} were not found: {problem}.")


def _quotas(services: Services, settings: RunSettings, found: Found) -> None:
    needed = [(settings.training_instance_type, quotas.TRAINING), (settings.hosting_instance_type, quotas.ENDPOINT)]
    read = [quotas.read(services.service_quotas, instance_type, use) for instance_type, use in needed]
    found.warnings += [f"The quota {quota.name} could not be read." for quota in read if quota.value is None]
    shortages = [shortage for quota in read if (shortage := quota.shortage(1))]
    if shortages:
        raise QuotaTooLow(
            f"SageMaker would refuse this run: {'; '.join(shortages)}. Ask for more in the console under Service Quotas > Amazon SageMaker; AWS answers "
            "within hours to days."
        )
    others = surroundings.runs_in_flight(services.ledger, found.run)
    crowded = [shortage for quota in read if (shortage := quota.shortage(len(others) + 1))]
    if crowded:
        raise RunInFlight(
            f"Another run of this project is in flight ({', '.join(others[:3])}), and there is no instance for two: {'; '.join(crowded)}. "
            "Wait until it has ended and its tear-down is done, or ask for a higher quota."
        )
    if others:
        found.warnings.append(f"Other runs are in flight and share the quotas and the cap: {', '.join(others[:3])}.")


def _leftovers(services: Services) -> None:
    left = surroundings.leftovers(services.sagemaker, services.ledger)
    if left:
        raise LeftoversFound(
            f"An earlier run left {', '.join(left[:5])}, which may bill. The sweeper removes leftovers every quarter of an hour. To remove them now, delete them in the "
            'SageMaker console, or start the TearDown state machine with {"executionName": "…"}, the run\'s name without captune-.'
        )


def _allowance(
    services: Services, settings: RunSettings, found: Found, training: Price, hosting: Price, cap_cents: int
) -> money.Allowance:
    return money.allow(
        services.ledger,
        cap_cents,
        training,
        hosting,
        settings.max_training_seconds,
        settings.endpoint_deadline_minutes * 60,
        found.request.keep_endpoint_minutes * 60,
        found.now,
    )
