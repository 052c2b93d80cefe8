"""What the commands on an AWS account share: settings, session, outputs of the stacks, and the errors that end a command."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3

from stacks.configuration.cdk_json import read_context
from stacks.configuration.settings import Settings, SettingsError

PROJECT = Path(__file__).resolve().parent.parent


class Refused(RuntimeError):
    """The command stops. The message says why and what to do."""


class NotDeployed(LookupError):
    """A stack or an output that the command needs is not deployed."""


def context() -> dict[str, Any]:
    """The settings in cdk.json, as they are written there."""
    return read_context(PROJECT)


def given_settings(pairs: Sequence[str] | None, region: str | None) -> dict[str, str]:
    """The settings of the command line. Raises SettingsError for an argument that is not NAME=VALUE."""
    found = {"region": region} if region else {}
    for pair in pairs or ():
        key, separator, value = pair.partition("=")
        if not separator:
            raise SettingsError(f"write a setting as NAME=VALUE, not {pair!r}")
        found[key] = value
    return found


def settings(given: Mapping[str, str] | None = None) -> Settings:
    """The settings of cdk.json with those of the command line. Raises SettingsError."""
    return Settings.from_context({**context(), **(given or {})})


def session(region: str | None) -> boto3.Session:
    """A session of the environment's credentials. Raises BotoCoreError for a profile that does not exist."""
    return boto3.Session(region_name=region or context()["region"])


def output(session: Any, name: str) -> str:
    """The value of a stack output of this project. Raises NotDeployed when no deployed stack has it."""
    pages = session.client("cloudformation").get_paginator("describe_stacks").paginate()
    for stack in (stack for page in pages for stack in page["Stacks"]):
        if not stack["StackName"].startswith("Captune"):
            continue
        for entry in stack.get("Outputs", []):
            if entry["OutputKey"] == name:
                return str(entry["OutputValue"])
    raise NotDeployed(f"no deployed Captune stack has the output {name}")
