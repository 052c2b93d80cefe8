"""One name per run, made once from the execution's name and carried by job, model, endpoint, schedule and ledger item."""

from __future__ import annotations

import re

PREFIX = "captune"
# SageMaker names hold 63 characters; "captune-" takes 8 and "-tryN" of a later attempt takes 5.
BODY_LENGTH = 50
_ATTEMPT = re.compile(r"-try[0-9]$")


def run_name(execution_name: str) -> str:
    """The run name of an execution: `captune-` and the execution's name in SageMaker's alphabet, at most 58 characters.

    Raises ValueError when nothing usable is left of the name or it reads like a later attempt of another run.
    """
    body = re.sub(r"[^A-Za-z0-9]+", "-", execution_name).strip("-")[:BODY_LENGTH].strip("-")
    if not body:
        raise ValueError(f"the execution name {execution_name!r} has no letter or digit in it")
    if _ATTEMPT.search(body):
        raise ValueError(f"the execution name {execution_name!r} ends like the retry of another run")
    return f"{PREFIX}-{body}"


def trial_name(run: str) -> str:
    """The name under which a run tries what it needs later; a resource of this name belongs to the run."""
    return f"{run}-try0"


def attempt_of(resource_name: str) -> int:
    """Which attempt of its run a resource is: 1 for the run's own name, N for `-tryN`."""
    found = _ATTEMPT.search(resource_name)
    return int(resource_name[-1]) if found else 1


def belongs_to(resource_name: str, run: str) -> bool:
    """Whether a SageMaker resource is this run's: its exact name, or that name with an attempt suffix."""
    return resource_name == run or _ATTEMPT.sub("", resource_name) == run


def run_of(resource_name: str) -> str:
    """The run that a resource of this project belongs to."""
    return _ATTEMPT.sub("", resource_name)


def run_prefix(run: str) -> str:
    """Where everything of a run lies in the bucket, with the trailing slash."""
    return f"runs/{run}/"
