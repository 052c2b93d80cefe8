"""Service quotas: a new account usually has none of the instances that a run needs, and AWS says so only when it is too late."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from common.aws import error_code
from common.environment import RunSettings
from common.errors import QuotaTooLow, RunInFlight
from common.pricing.hardware import ENDPOINT_INSTANCES

TRAINING, SPOT_TRAINING, ENDPOINT = "training job usage", "spot training job usage", "endpoint usage"
# Codes are the same in every account and region. Other instance types are looked up by the quota's name.
_CODES = {
    f"ml.g5.2xlarge for {TRAINING}": "L-2D6DEB3C",
    f"ml.g5.2xlarge for {SPOT_TRAINING}": "L-CAEE7DB7",
    f"ml.g5.2xlarge for {ENDPOINT}": "L-9614C779",
}
PAGE = 100  # the most that AWS puts on a page; SageMaker has some 1,600 quotas
# In which the last question is begun: 0.6 s for each of the 34 pages that both listings may be, where AWS admits ten calls a second of each
# to the account; the rest is for what its other programs have throttled. A corpus of 64 MiB, which takes 51 s of a core, still has its time after it.
ASKING_SECONDS = 20


class _TimeOver(Exception):
    """There is no time left for another question."""


_UNANSWERED = (ClientError, BotoCoreError, _TimeOver)


@dataclass(frozen=True)
class Need:
    """So many instances at once of one of these types, which are in order of preference, for one use."""

    instance_types: Sequence[str]
    use: str
    instances: int


@dataclass(frozen=True)
class Quota:
    """How many instances of a type may run at once for one use; None when it could not be read, and then why."""

    instance_type: str
    use: str
    value: int | None
    code: str = ""
    why_unknown: str = ""

    @property
    def name(self) -> str:
        """The quota's name in the console."""
        return _name(self.instance_type, self.use)

    @property
    def named(self) -> str:
        """The quota's name with the code by which the console finds it, where that is known."""
        return f'"{self.name}"' + (f" (code {self.code})" if self.code else "")

    def shortage(self, needed: int) -> str:
        """Why the quota does not allow so many instances; empty when it does or is not known."""
        if self.value is None or self.value >= needed:
            return ""
        return f"the quota {self.named} is {self.value} and {needed} {'is' if needed == 1 else 'are'} needed"


def console(region: str) -> str:
    """The address of the page on which a person finds every quota of SageMaker, and asks for more."""
    return f"https://{region}.console.aws.amazon.com/servicequotas/home/services/sagemaker/quotas"


def read(
    service_quotas: Any, needs: Sequence[Need], clock: Callable[[], float] = time.monotonic
) -> dict[str, list[Quota]]:
    """The quotas in force of every type, by use. The value of one is None where Service Quotas cannot be asked or knows no such quota.

    What has a code of old is asked for by it; everything else, and what is not told so, is sought in one listing of the applied values and,
    where that lacks it, in one of AWS's defaults. `clock` tells seconds.
    """
    names = [_name(one, need.use) for need in needs for one in need.instance_types]
    asked = _Questions(service_quotas, clock)
    rows: dict[str, dict[str, Any]] = {}
    why: dict[str, str] = {}
    for name in names:
        if name in _CODES:
            try:
                rows[name] = asked.by_code(_CODES[name])
            except _UNANSWERED as error:
                why[name] = _why(error)
    unlisted = "AWS lists no such quota"
    try:
        asked.by_name(set(names), rows)
    except _UNANSWERED as error:
        unlisted = _why(error)

    def quota(instance_type: str, use: str) -> Quota:
        name = _name(instance_type, use)
        row = rows.get(name, {})
        code, value = str(row.get("QuotaCode") or _CODES.get(name, "")), row.get("Value")
        if value is not None:
            return Quota(instance_type, use, int(value), code)
        return Quota(instance_type, use, None, code, "AWS told no value" if row else why.get(name, unlisted))

    return {need.use: [quota(one, need.use) for one in need.instance_types] for need in needs}


class _Questions:
    """The questions of one run, none of which is begun after ASKING_SECONDS."""

    def __init__(self, service_quotas: Any, clock: Callable[[], float]) -> None:
        self._service_quotas, self._clock = service_quotas, clock
        self._until = clock() + ASKING_SECONDS

    def by_code(self, code: str) -> dict[str, Any]:
        """One quota, as AWS tells it."""
        try:
            answer = self._ask(self._service_quotas.get_service_quota, QuotaCode=code)
        except ClientError as error:
            # A quota that was never raised has no applied value, only AWS's default.
            if error_code(error) != "NoSuchResourceException":
                raise
            answer = self._ask(self._service_quotas.get_aws_default_service_quota, QuotaCode=code)
        found: dict[str, Any] = answer["Quota"]
        return found

    def by_name(self, names: set[str], rows: dict[str, dict[str, Any]]) -> None:
        """Puts the quotas of these names into `rows`, as they come. Only where all applied values have been seen does a default count."""
        self._seek(self._service_quotas.list_service_quotas, names, rows)
        self._seek(self._service_quotas.list_aws_default_service_quotas, names, rows)

    def _seek(self, listing: Callable[..., Any], names: set[str], rows: dict[str, dict[str, Any]]) -> None:
        more: dict[str, str] = {}
        while missing := names - rows.keys():
            page = self._ask(listing, MaxResults=PAGE, **more)
            rows.update({row["QuotaName"]: row for row in page["Quotas"] if row["QuotaName"] in missing})
            if not page.get("NextToken"):
                return
            more = {"NextToken": page["NextToken"]}

    def _ask(self, question: Callable[..., Any], **request: Any) -> dict[str, Any]:
        if self._clock() >= self._until:
            raise _TimeOver
        answer: dict[str, Any] = question(ServiceCode="sagemaker", **request)
        return answer


def _name(instance_type: str, use: str) -> str:
    return f"{instance_type} for {use}"


def _why(error: Exception) -> str:
    if isinstance(error, _TimeOver):
        return f"AWS did not tell it within {ASKING_SECONDS} seconds"
    code = error_code(error) if isinstance(error, ClientError) else ""
    return f"AWS answered {code}" if code else f"AWS did not answer ({type(error).__name__})"


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
