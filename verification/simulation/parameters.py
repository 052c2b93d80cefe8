"""What is deployed for a run, what its input asks for, and how its training job and its endpoint turn out."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from fractions import Fraction
from functools import cache
from typing import Any

from common.pricing.durations import ENDPOINT_CAPACITY_SECONDS
from stacks.configuration.cdk_json import read_context
from stacks.configuration.settings import Settings
from stacks.definitions import literals, run_settings
from verification.simulation.definitions import PROJECT, machine
from verification.simulation.services.sagemaker import EndpointCourse, JobCourse
from verification.simulation.world import World

# What AWS may add: SageMaker sends a job a stop signal two minutes before it kills it (its own documentation), and what it
# uploads then took five minutes at the most in public logs.
STOP_SECONDS = 420
NO_WEIGHTS = "AlgorithmError: The channel 'model' holds no model: the model channel has no config.json., exit code: 1"
LOST_HOST = "AlgorithmError: Another process of this job ended, or its host was lost., exit code: 1"


@dataclass(frozen=True)
class RunParameters:
    """The deployed settings of a run, its input, and how unlucky it is (shares from 0 to 1)."""

    training_seconds: int = 7200
    deadline_seconds: int = 3600
    keep_seconds: int = 0
    instance_types: tuple[str, ...] = ("ml.g5.2xlarge",)  # in order of preference
    failing: float = 0.0
    hanging: float = 0.0
    extreme: float = 0.0
    spot: bool = False
    serves: bool = False  # an earlier adapter, and asks nothing
    training_instances: int = 1
    pull_seconds: float = 0.0  # how long an image takes, before MaxRuntimeInSeconds counts
    # How jobs and endpoints turn out in their order, the last one for all further ones; without plans, by chance.
    jobs: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()

    def settings_json(self) -> str:
        """The settings as the stacks give them to Preflight."""
        return _settings_json(
            self.training_seconds, self.deadline_seconds, self.instance_types, self.spot, self.training_instances
        )

    def version(self) -> str:
        """The version that definition and functions of one deployment share."""
        definition = json.dumps(machine("fine_tuning"), sort_keys=True)
        return hashlib.sha256(f"{self} {definition}".encode()).hexdigest()[:16]

    def substitutions(self) -> dict[str, str]:
        """What the deployment of these settings puts into the definition of FineTuning."""
        return {
            **_literals(),
            "DefinitionVersion": self.version(),
            "TrainingInstanceType": self.instance_types[0],
            "HostingInstanceType": self.instance_types[0],
        }


@cache
def _deployed() -> Settings:
    """The delivered settings, of somebody who has accepted the licence."""
    context = read_context(PROJECT)
    return Settings.from_context({**context, "accept_eula": "true"})


@cache
def _literals() -> dict[str, str]:
    return literals(_deployed())


@cache
def _settings_json(training: int, deadline: int, types: tuple[str, ...], spot: bool, instances: int) -> str:
    changed = {
        "max_training_seconds": training,
        "endpoint_deadline_minutes": deadline // 60,
        "training_instance_types": list(types),
        "hosting_instance_types": list(types),
        "spot": spot,
        "training_instance_count": instances,
    }
    return json.dumps({**asdict(run_settings(_deployed())), **changed})


@dataclass(frozen=True)
class Fate:
    """How a run's jobs and endpoints turn out: by chance, or as the rows of the table plan it."""

    world: World
    given: RunParameters
    hourly_usd: Callable[[str], Fraction]  # of an instance type

    def job(self, run: str, asked: Mapping[str, Any], plan: str) -> JobCourse:
        """How a training job goes that SageMaker starts for a request."""
        stopping, resources = asked["StoppingCondition"], asked["ResourceConfig"]
        choice = float(plan == "last") if plan else self.world.random.random()
        kind, now = _chosen(resources, "InstancePreferences", choice), self.world.now
        spot = bool(asked.get("EnableManagedSpotTraining"))
        longest = int(stopping["MaxRuntimeInSeconds"])
        # The longest that it may wait, or on spot wait and run.
        patience = int(stopping["MaxWaitTimeInSeconds" if spot else "MaxPendingTimeInSeconds"])
        unlucky = self.world.random.random() < self.given.extreme
        stop = STOP_SECONDS if unlucky else self.world.random.uniform(1, STOP_SECONDS)
        usd = self.hourly_usd(kind) * int(resources["InstanceCount"])
        # Until something better becomes of it, it finds no instance.
        made = JobCourse(run=run, instance_type=kind, hourly_usd=usd, end=now, seconds_to_stop=stop)
        if plan:
            _planned(made, plan, longest, patience)
        elif spot:
            self._by_chance_on_spot(made, longest, patience)
        else:
            self._by_chance(made, longest, patience)
        return made

    def _by_chance(self, made: JobCourse, longest: int, patience: int) -> None:
        """It may wait as long as SageMaker lets it for its instance, and may never get one."""
        given, dice = self.given, self.world.random
        pending = dice.choice([60, 60, 120, patience, patience]) * dice.random()
        made.end = self.world.now + timedelta(seconds=pending)
        if dice.random() < 0.1:
            if dice.random() < 0.5:
                made.final, made.detail = "Stopped", "MaxWaitTimeExceeded"
                made.end = self.world.now + timedelta(seconds=patience)
            return
        made.start = made.end
        if dice.random() < given.extreme:
            made.final, length, made.detail = "Stopped", float(longest + STOP_SECONDS), "MaxRuntimeExceeded"
        elif dice.random() < 0.5 * given.failing:
            made.final, length, made.reason = "Failed", dice.uniform(1, longest), "AlgorithmError"
        else:
            made.final, length = "Completed", dice.uniform(600, longest)
        # The image is pulled before MaxRuntimeInSeconds begins to count, and billed all the same.
        made.pull = given.pull_seconds
        made.end = made.start + timedelta(seconds=length + made.pull)

    def _by_chance_on_spot(self, made: JobCourse, longest: int, most: int) -> None:
        """At its dearest it is interrupted so often that each second of its clock bills as one on demand does.

        Nothing says that MaxRuntimeInSeconds counts over all restarts: here it does not, and the clock of MaxWaitTimeInSeconds alone ends it.
        """
        given, dice, now = self.given, self.world.random, self.world.now
        made.final, made.detail = "Stopped", "MaxWaitTimeExceeded"
        made.end = now + timedelta(seconds=most)
        if dice.random() < 0.1:
            return  # no instance ever came
        waited = dice.uniform(0, most - longest)
        if dice.random() < given.extreme:
            made.start, made.end = now, now + timedelta(seconds=most + STOP_SECONDS)
            return
        made.start, made.billed_share = now + timedelta(seconds=waited), dice.uniform(0.1, 1)
        if dice.random() < 0.5 * given.failing:
            return  # interrupted, and never back
        made.final, made.detail = "Completed", ""
        made.end = made.start + timedelta(seconds=dice.uniform(600, most - waited))

    def endpoint(self, run: str, variant: Mapping[str, Any], plan: str) -> EndpointCourse:
        """How an endpoint goes: it comes up, fails, or finds no instance, which alone bills nothing.

        With a list of types it waits for an instance, by chance up to its time-out.
        """
        given, dice, now = self.given, self.world.random, self.world.now
        waits, choice = 0.0, float(plan == "last")
        if "InstancePools" in variant and not plan:
            waits, choice = dice.random() * variant["VariantInstanceProvisionTimeoutInSeconds"], dice.random()
        # The configuration's own limits of download and health check end what never comes up.
        longest = variant["ModelDataDownloadTimeoutInSeconds"] + variant["ContainerStartupHealthCheckTimeoutInSeconds"]
        if plan:
            creating, works, capacity = 600.0, plan in {"in service", "last", "slow"}, plan == "capacity"
            creating *= 100 if plan == "slow" else 1  # longer than any deadline
        else:
            creating = longest if dice.random() < given.extreme else dice.uniform(60, 900)
            works, capacity = dice.random() >= 0.3 * given.failing, dice.random() < 0.1
            # Every second one is looked for as long as SageMaker does, the others fail some minutes after their creation.
            creating = float(ENDPOINT_CAPACITY_SECONDS) if capacity and creating > 480 else creating
        reason = "CapacityError" if capacity else "The container did not pass its health check"
        kind, waited = _chosen(variant, "InstancePools", choice), now + timedelta(seconds=waits)
        return EndpointCourse(
            run=run,
            instance_type=kind,
            hourly_usd=self.hourly_usd(kind) * int(variant["InitialInstanceCount"]),
            billed_from=None if capacity else waited,
            ready=waited + timedelta(seconds=creating + given.pull_seconds),
            final="InService" if works and not capacity else "Failed",
            reason=reason,
        )


def _chosen(given: Mapping[str, Any], name: str, choice: float) -> str:
    """The one type, or the type of a list that lies at `choice`, from 0 to 1."""
    kinds = [one["InstanceType"] for one in given.get(name, [given])]
    return str(kinds[min(int(choice * len(kinds)), len(kinds) - 1)])


def _planned(made: JobCourse, plan: str, longest: int, patience: int) -> None:
    """A training job as a row of the table wants it: completed (on the last type of a list: last), failed, no weights, cut, hangs,
    capacity, waits, interrupted or taken."""
    if plan == "capacity":
        made.end += timedelta(seconds=60)
        return
    if plan == "waits":
        made.final = "Stopped"
        made.end += timedelta(seconds=patience)
        return
    made.start = made.end + timedelta(seconds=60)
    seconds: float = 1200
    made.final = "Completed"
    if plan == "failed":
        made.final, made.reason = "Failed", LOST_HOST
    elif plan == "no weights":
        made.final, made.reason, seconds = "Failed", NO_WEIGHTS, 130
    elif plan in {"cut", "hangs"}:
        made.final, made.detail, seconds = "Stopped", "MaxRuntimeExceeded", longest
    elif plan == "interrupted":
        made.interruptions, made.billed_share, seconds = 2, 0.3, 4000
    elif plan == "taken":
        made.final, made.detail, made.interruptions = "Stopped", "MaxWaitTimeExceeded", 1
        made.billed_share, seconds = 1200 / (patience - 60), patience - 60
    elif plan not in {"completed", "last"}:
        raise ValueError(f"no job turns out as {plan}")
    made.end = made.start + timedelta(seconds=seconds)
