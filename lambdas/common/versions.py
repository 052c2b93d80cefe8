"""Whether the definition that an execution runs and this function were deployed together."""

from __future__ import annotations

from typing import Any

from common.environment import MisconfiguredFunction, required
from common.errors import DeployInProgress


def refuse_another_deployment(version: Any) -> None:
    """Raises DeployInProgress unless the version of the caller's definition is that of this function.

    A deployment replaces functions and definition one after the other, and an execution goes on with the definition that it
    began with, also when it is redriven weeks later. What it would start is then not what this function reserves for.
    """
    try:
        own = required("DEFINITION_VERSION")
    except MisconfiguredFunction:
        own = ""  # A function's code is replaced before its variables are.
    if not own or version != own:
        raise DeployInProgress(
            "This execution began with the definition of another deployment than the one that answers now, so what it would start is not what is "
            "checked and reserved here. Nothing was started that bills. Wait until the deployment has ended, a minute or two, and start a new execution."
        )
