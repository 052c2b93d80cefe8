"""Which instance types a run may use: those that the account's quotas allow, with other runs in flight beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from common.environment import RunSettings
from common.errors import QuotaTooLow, RunInFlight
from common.pricing.hardware import ENDPOINT_INSTANCES
from preflight.account.quotas import ENDPOINT, SPOT_TRAINING, TRAINING, Need, Quota, console


@dataclass(frozen=True)
class Usable:
    """The types that are left for training and for hosting, in order of preference, and what a person should know of the others.

    `training` is empty where nothing is trained.
    """

    training: list[str]
    hosting: list[str]
    warnings: list[str] = field(default_factory=list)


def needed(settings: RunSettings, spot: bool, trains: bool) -> list[Need]:
    """The quotas that a run needs: for training, if it trains, and for its endpoint."""
    hosting = Need(settings.hosting_instance_types, ENDPOINT, ENDPOINT_INSTANCES)
    use = SPOT_TRAINING if spot else TRAINING
    training = Need(settings.training_instance_types, use, settings.training_instance_count)
    return [training, hosting] if trains else [hosting]


def usable(needs: Sequence[Need], read: dict[str, list[Quota]], others: Sequence[str], region: str) -> Usable:
    """Leaves the types that the account may use. `others` are the names of runs in flight.

    Raises QuotaTooLow where no type is left for a use, RunInFlight where other runs have them all.
    """
    each = {need.use: need.instances for need in needs}
    warnings = _unknown(read, each, region)
    allowed, shortages = _that_allow(read, each)
    if shortages:
        raise QuotaTooLow(
            f"SageMaker would refuse this run: {'; '.join(shortages)}. Ask for more in the console under Service Quotas > Amazon SageMaker; AWS answers "
            "within hours to days."
        )
    warnings += [
        f"{quota.instance_type} is left out: {quota.shortage(each[use])}."
        for use, of in read.items()
        for quota in of
        if quota.shortage(each[use])
    ]
    # Counted as if the others took as many each: what their items tell is not looked up, for SageMaker refuses what this lets through.
    all_of = {use: count * (len(others) + 1) for use, count in each.items()}
    free, crowded = _that_allow(allowed, all_of)
    if crowded:
        raise RunInFlight(
            f"Another run of this project is in flight ({', '.join(others[:3])}), and there is no instance for two: {'; '.join(crowded)}. "
            "Wait until it has ended and its tear-down is done, or ask for a higher quota."
        )
    if others:
        warnings.append(f"Other runs are in flight and share the quotas and the cap: {', '.join(others[:3])}.")
    types = {use: [quota.instance_type for quota in of] for use, of in free.items()}
    training = next((of for use, of in types.items() if use != ENDPOINT), [])
    return Usable(training, types[ENDPOINT], warnings)


def _that_allow(read: dict[str, list[Quota]], counts: dict[str, int]) -> tuple[dict[str, list[Quota]], list[str]]:
    """The quotas that allow so many instances of their use, and of each use for which none does, why not."""
    enough = {use: [quota for quota in of if not quota.shortage(counts[use])] for use, of in read.items()}
    return enough, [quota.shortage(counts[use]) for use, of in read.items() if not enough[use] for quota in of]


def _unknown(read: dict[str, list[Quota]], each: dict[str, int], region: str) -> list[str]:
    """One warning of every quota that could not be read: the run goes on, and may meet a quota of zero when its training is paid."""
    told = [
        f"{quota.named}: {each[use]} needed, {quota.why_unknown}"
        for use, of in read.items()
        for quota in of
        if quota.value is None
    ]
    if not told:
        return []
    return [
        f"Quotas that could not be read: {'; '.join(told)}. The run goes on without knowing. Look them up now, at {console(region)}: where one is lower than "
        "needed, stop this execution and ask for more, for SageMaker refuses an endpoint only after the training is paid."
    ]
