"""Service quotas: a new account usually has none of the instances that a run needs, and AWS says so only when it is too late."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from common.aws import error_code, unless
from common.errors import QuotaTooLow, RunInFlight
from common.pricing.costs import ENDPOINT_INSTANCES
from preflight.settings import RunSettings

TRAINING, SPOT_TRAINING, ENDPOINT = "training job usage", "spot training job usage", "endpoint usage"
# Codes are the same in every account and region. Other instance types are looked up by the quota's name.
_CODES = {
    f"ml.g5.2xlarge for {TRAINING}": "L-2D6DEB3C",
    f"ml.g5.2xlarge for {SPOT_TRAINING}": "L-CAEE7DB7",
    f"ml.g5.2xlarge for {ENDPOINT}": "L-9614C779",
}
PAGE = 100  # the most that AWS puts on a page; SageMaker has some 1,600 quotas
# No call begins later: 0.6 s for each of the 34 pages of both listings, of which AWS admits ten a second to an account; the rest is for
# throttling by its other programs. A corpus of 64 MiB, which takes 51 s of a core, still has its time after it.
ASKING_SECONDS = 20


class _TimeOver(Exception):
    """There is no time left for another question."""


@dataclass(frozen=True)
class Quota:
    """How many instances of a type a run needs for one use, and how many the account may have; None when it could not be read, and then why."""

    instance_type: str
    use: str
    needed: int
    value: int | None = None
    code: str = ""
    why_unknown: str = ""

    @property
    def name(self) -> str:
        """The quota's name in the console."""
        return f"{self.instance_type} for {self.use}"

    @property
    def named(self) -> str:
        """The quota's name with the code by which the console finds it, where that is known."""
        return f'"{self.name}"' + (f" (code {self.code})" if self.code else "")

    def shortage(self, runs: int = 1) -> str:
        """Why the quota does not allow `runs` at once; empty where it does or is unknown."""
        needed = self.needed * runs
        if self.value is None or self.value >= needed:
            return ""
        return f"the quota {self.named} is {self.value}, and {needed} {'is' if needed == 1 else 'are'} needed"


def needed(settings: RunSettings, spot: bool, trains: bool) -> list[Quota]:
    """The quotas that a run needs, not read yet: for training, if it trains, and for its endpoint, each in order of preference."""
    use = SPOT_TRAINING if spot else TRAINING
    training = [Quota(one, use, settings.training_instance_count) for one in settings.training_instance_types]
    hosting = [Quota(one, ENDPOINT, ENDPOINT_INSTANCES) for one in settings.hosting_instance_types]
    return [*training, *hosting] if trains else hosting


def read(service_quotas: Any, wanted: Sequence[Quota], clock: Callable[[], float] = time.monotonic) -> list[Quota]:
    """The quotas with the values in force; None where Service Quotas cannot be asked or knows no such quota.

    A known code is asked for directly. Every other quota, and what no code answers, is looked for in one listing of the applied values
    and then in one of AWS's defaults. `clock` gives seconds.
    """
    until = clock() + ASKING_SECONDS
    rows: dict[str, dict[str, Any]] = {}
    why: dict[str, str] = {}

    def ask(question: Callable[..., Any], **request: Any) -> Any:
        if clock() >= until:
            raise _TimeOver
        return question(ServiceCode="sagemaker", **request)

    def by_code(code: str) -> dict[str, Any]:
        # A quota that was never raised has no applied value, only AWS's default.
        applied = unless("NoSuchResourceException", partial(ask, service_quotas.get_service_quota), QuotaCode=code)
        found: dict[str, Any] = applied or ask(service_quotas.get_aws_default_service_quota, QuotaCode=code)
        row: dict[str, Any] = found["Quota"]
        return row

    def by_name(listing: Callable[..., Any]) -> None:
        more: dict[str, str] = {}
        while missing := {one.name for one in wanted} - rows.keys():
            page = ask(listing, MaxResults=PAGE, **more)
            rows.update({row["QuotaName"]: row for row in page["Quotas"] if row["QuotaName"] in missing})
            if not page.get("NextToken"):
                return
            more = {"NextToken": page["NextToken"]}

    unlisted = "AWS lists no such quota"
    for name in dict.fromkeys(one.name for one in wanted if one.name in _CODES):
        try:
            rows[name] = by_code(_CODES[name])
        except (ClientError, BotoCoreError, _TimeOver) as error:
            why[name] = _why(error)
    try:
        # Only where all applied values have been seen does a default count.
        by_name(service_quotas.list_service_quotas)
        by_name(service_quotas.list_aws_default_service_quotas)
    except (ClientError, BotoCoreError, _TimeOver) as error:
        unlisted = _why(error)

    def answered(quota: Quota) -> Quota:
        row = rows.get(quota.name, {})
        code, value = str(row.get("QuotaCode") or _CODES.get(quota.name, "")), row.get("Value")
        if value is not None:
            return replace(quota, value=int(value), code=code)
        return replace(quota, code=code, why_unknown="AWS gave no value" if row else why.get(quota.name, unlisted))

    return [answered(quota) for quota in wanted]


def _why(error: Exception) -> str:
    if isinstance(error, _TimeOver):
        return f"AWS did not answer within {ASKING_SECONDS} seconds"
    code = error_code(error) if isinstance(error, ClientError) else ""
    return f"AWS answered {code}" if code else f"AWS did not answer ({type(error).__name__})"


def within_quotas(read: Sequence[Quota], others: Sequence[str], region: str) -> tuple[list[Quota], list[str]]:
    """The quotas that the account and the other runs in flight, `others`, leave to a run, and what a person should know of the rest.

    Raises QuotaTooLow where no type is left for a use, RunInFlight where other runs have them all.
    """
    allowed, shortages = _that_allow(read, 1)
    if shortages:
        raise QuotaTooLow(
            f"SageMaker would reject this run: {'; '.join(shortages)}. Request an increase in the console under Service Quotas > Amazon SageMaker, which "
            "takes hours to days. Then start a new execution."
        )
    # Each other run counts as if it took as many instances; SageMaker refuses where it takes more.
    free, crowded = _that_allow(allowed, len(others) + 1)
    if crowded:
        raise RunInFlight(
            f"Another run is in flight ({', '.join(others[:3])}), and your quotas do not allow both: {'; '.join(crowded)}. "
            "Wait until its teardown ends, or request a higher quota in the console under Service Quotas > Amazon SageMaker."
        )
    free, unsafe = _without_unknown(free)
    warnings = [
        f"{one.instance_type} is left out: its quota {one.named} is unknown ({one.why_unknown}), and SageMaker checks the quota of each type in a list."
        for one in unsafe
    ]
    if unread := [f"{one.named}: {one.needed} needed, {one.why_unknown}" for one in free if one.value is None]:
        warnings.append(
            f"Unknown quotas: {'; '.join(unread)}. The run continues. Check them now at "
            f"https://{region}.console.aws.amazon.com/servicequotas/home/services/sagemaker/quotas. If one is too low, stop this execution "
            "and request an increase: SageMaker rejects an endpoint only after you have paid for the training."
        )
    warnings += [f"{one.instance_type} is left out: {why}." for one in read if (why := one.shortage())]
    if others:
        warnings.append(f"Other runs in flight share the quotas and the cap: {', '.join(others[:3])}.")
    return free, warnings


def _without_unknown(quotas: Sequence[Quota]) -> tuple[list[Quota], list[Quota]]:
    """The quotas without those that could not be read, where their use has others, and those that are left out.

    SageMaker refuses a whole list for one type, and an endpoint's only after the training is paid. Where none could be read, the first stays.
    """
    kept: list[Quota] = []
    for use in dict.fromkeys(quota.use for quota in quotas):
        of_use = [quota for quota in quotas if quota.use == use]
        kept += [quota for quota in of_use if quota.value is not None] or of_use[:1]
    return kept, [quota for quota in quotas if quota not in kept]


def _that_allow(quotas: Sequence[Quota], runs: int) -> tuple[list[Quota], list[str]]:
    """The quotas that allow `runs`, and the shortages of each use for which none does."""
    enough = [quota for quota in quotas if not quota.shortage(runs)]
    uses = {quota.use for quota in enough}
    return enough, [quota.shortage(runs) for quota in quotas if quota.use not in uses]
