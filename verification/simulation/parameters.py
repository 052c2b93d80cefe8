"""What is deployed for a run, what its input asks for, and how its training job and its endpoint turn out."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from fractions import Fraction
from functools import cache
from typing import Any

from stacks.configuration.settings import Settings
from stacks.definitions import literals, run_settings
from verification.simulation.definitions import PROJECT, machine
from verification.simulation.services.sagemaker import Endpoint, Job
from verification.simulation.world import World

# What AWS may add: SageMaker sends a job a stop signal two minutes before it kills it (its own documentation), and what it
# uploads then took five minutes at the most in public logs.
STOP_SECONDS = 420

Priced = Callable[[str, str], Fraction]  # run and instance type: US dollars an hour


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
        return hashlib.sha256(f"{self} {_digest(id(machine('fine_tuning')))}".encode()).hexdigest()[:16]

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
    context = json.loads((PROJECT / "cdk.json").read_text("utf-8"))["context"]
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


@cache
def _digest(_: int) -> str:
    """Of the definition as it is read now, made once for each."""
    return hashlib.sha256(json.dumps(machine("fine_tuning"), sort_keys=True).encode()).hexdigest()


def job(world: World, given: RunParameters, hourly_usd: Priced, name: str, run: str, asked: dict[str, Any]) -> Job:
    """A training job by chance: it may wait as long as SageMaker lets it for its instance, and may never get one."""
    now, dice = world.now, world.random
    made, longest, patience = _job(world, given, hourly_usd, name, run, asked)
    if made.spot:
        return _by_chance_on_spot(made, given, dice, longest, patience)
    pending = dice.choice([60, 60, 120, patience, patience]) * dice.random()
    made.end = now + timedelta(seconds=pending)
    if dice.random() < 0.1:
        if dice.random() < 0.5:
            made.final, made.end, made.detail = "Stopped", now + timedelta(seconds=patience), "MaxWaitTimeExceeded"
        return made
    made.start, made.reason = made.end, ""
    if dice.random() < given.extreme:
        made.final, length, made.detail = "Stopped", float(longest + STOP_SECONDS), "MaxRuntimeExceeded"
    elif dice.random() < 0.5 * given.failing:
        made.final, length, made.reason = "Failed", dice.uniform(1, longest), "AlgorithmError"
    else:
        made.final, length = "Completed", dice.uniform(600, longest)
    # The image is pulled before MaxRuntimeInSeconds begins to count, and billed all the same.
    made.pull = given.pull_seconds
    made.end = made.start + timedelta(seconds=length + made.pull)
    return made


def _job(
    world: World, given: RunParameters, hourly_usd: Priced, name: str, run: str, asked: dict[str, Any]
) -> tuple[Job, int, int]:
    """A job that gets no instance; the longest that it may run, and the longest that it may wait, or run and wait on spot (seconds)."""
    stopping, resources = asked["StoppingCondition"], asked["ResourceConfig"]
    kind, count = resources["InstanceType"], int(resources["InstanceCount"])
    spot = bool(asked.get("EnableManagedSpotTraining"))
    longest = int(stopping["MaxRuntimeInSeconds"])
    patience = int(stopping["MaxWaitTimeInSeconds" if spot else "MaxPendingTimeInSeconds"])
    stop = STOP_SECONDS if world.random.random() < given.extreme else world.random.uniform(1, STOP_SECONDS)
    usd, now = hourly_usd(run, kind) * count, world.now
    made = Job(name, run, usd, now, None, now, "Failed", "CapacityError", stop, kind, count, spot=spot)
    return made, longest, patience


def _by_chance_on_spot(made: Job, given: RunParameters, dice: random.Random, longest: int, most: int) -> Job:
    """A job on spot. At its dearest it is interrupted so often that each second of its clock bills as one on demand does.

    Nothing says that MaxRuntimeInSeconds counts over all restarts: here it does not, and the clock of MaxWaitTimeInSeconds alone ends it.
    """
    made.final, made.reason, made.detail = "Stopped", "", "MaxWaitTimeExceeded"
    made.end = made.created + timedelta(seconds=most)
    if dice.random() < 0.1:
        return made  # no instance ever came
    waited = dice.uniform(0, most - longest)
    if dice.random() < given.extreme:
        made.start, made.end = made.created, made.created + timedelta(seconds=most + STOP_SECONDS)
        return made
    made.start, made.billed_share = made.created + timedelta(seconds=waited), dice.uniform(0.1, 1)
    if dice.random() < 0.5 * given.failing:
        return made  # interrupted, and never back
    made.final, made.detail = "Completed", ""
    made.end = made.start + timedelta(seconds=dice.uniform(600, most - waited))
    return made


def planned_job(
    world: World, given: RunParameters, hourly_usd: Priced, name: str, run: str, asked: dict[str, Any], plan: str
) -> Job:
    """A training job as a row of the table wants it: completed, failed, cut, hangs, capacity, waits, interrupted or taken."""
    made, longest, patience = _job(world, given, hourly_usd, name, run, asked)
    if plan == "capacity":
        made.end = made.created + timedelta(seconds=60)
        return made
    if plan == "waits":
        made.final, made.reason, made.detail = "Stopped", "", "Stopped"
        made.end = made.created + timedelta(seconds=patience)
        return made
    made.reason, made.start = "", made.created + timedelta(seconds=60)
    seconds: float = 1200
    made.final = "Completed"
    if plan == "failed":
        made.final, made.reason = (
            "Failed",
            "AlgorithmError: Another process of this job ended, or its host was lost., exit code: 1",
        )
    elif plan in {"cut", "hangs"}:
        made.final, made.detail, seconds = "Stopped", "MaxRuntimeExceeded", longest
    elif plan == "interrupted":
        made.interruptions, made.billed_share, seconds = 2, 0.3, 4000
    elif plan == "taken":
        made.final, made.detail, made.interruptions = "Stopped", "MaxWaitTimeExceeded", 1
        made.billed_share, seconds = 1200 / (patience - 60), patience - 60
    elif plan != "completed":
        raise ValueError(f"no job turns out as {plan}")
    made.end = made.start + timedelta(seconds=seconds)
    return made


def endpoint(
    world: World,
    given: RunParameters,
    hourly_usd: Priced,
    name: str,
    run: str,
    configuration: dict[str, Any],
    plan: str = "",
) -> Endpoint:
    """An endpoint that comes up, fails, or finds no instance, which alone bills nothing: by chance, or as a plan says."""
    now, dice = world.now, world.random
    (variant,) = configuration["ProductionVariants"]
    # The configuration's own limits of download and health check end what never comes up.
    longest = variant["ModelDataDownloadTimeoutInSeconds"] + variant["ContainerStartupHealthCheckTimeoutInSeconds"]
    if plan:
        creating, works, capacity = 600.0, plan == "in service", plan == "capacity"
    else:
        creating = longest if dice.random() < given.extreme else dice.uniform(60, 900)
        works, capacity = dice.random() >= 0.3 * given.failing, dice.random() < 0.1
    reason = "CapacityError" if capacity else "The container did not pass its health check"
    kind, count = variant["InstanceType"], int(variant["InitialInstanceCount"])
    ready = now + timedelta(seconds=creating + given.pull_seconds)
    made = Endpoint(name, run, hourly_usd(run, kind) * count, now, ready, works and not capacity, not capacity, reason)
    made.instances = count
    return made
