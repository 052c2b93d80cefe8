"""The environment variables of the Lambdas. The stack sets for each function only what it needs."""

from typing import Any

from common.errors import DeployInProgress
from common.outside import outside


class MisconfiguredFunction(RuntimeError):
    """A variable that the deployment should have set is missing."""


def required(name: str) -> str:
    """The value of an environment variable. Raises MisconfiguredFunction when it is missing or empty."""
    value = outside().variables().get(name, "")
    if not value:
        raise MisconfiguredFunction(f"The environment variable {name} of this function is not set. Run make deploy.")
    return value


def refuse_another_deployment(version: Any) -> None:
    """Raises DeployInProgress unless the version of the caller's definition is that of this function.

    A deployment replaces functions and definition one after the other, and an execution keeps the definition that it began with, also
    when it is redriven weeks later. What it would start is then not what this function reserves for.
    """
    # Empty at times: a function's code is replaced before its variables.
    own = outside().variables().get("DEFINITION_VERSION", "")
    if not own or version != own:
        raise DeployInProgress(
            "A deployment replaced this function after the execution started, so its definition and its functions do not match. It has started nothing "
            "billable. Wait a minute or two until the deployment ends, and start a new execution."
        )
