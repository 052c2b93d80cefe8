"""A state machine from its .asl.yaml file, its log and its settings; the file is the only place its states are written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import yaml
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

_PLACEHOLDER = re.compile(r"\$\{([A-Za-z0-9]+)\}")


def load_definition(path: Path) -> dict[str, Any]:
    """The Amazon States Language definition in a YAML file, anchors resolved."""
    definition = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(definition, dict):
        raise ValueError(f"{path.name} holds no state machine")
    return definition


def as_text(definition: Mapping[str, Any]) -> str:
    """A definition as Step Functions gets it."""
    return json.dumps(definition, separators=(",", ":"), ensure_ascii=False)


def definition_text(path: Path) -> str:
    """The definition in a YAML file as Step Functions gets it."""
    return as_text(load_definition(path))


def placeholders(text: str) -> set[str]:
    """The ${Names} that a definition expects from DefinitionSubstitutions."""
    return set(_PLACEHOLDER.findall(text))


class StateMachine(Construct):
    """A Standard state machine. The definition stays a plain string, so that it can be linted as it is.

    Raises ValueError when a placeholder of the definition gets no value, or a value has no placeholder.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        definition: str,
        substitutions: dict[str, str],
        role: iam.Role,
    ) -> None:
        super().__init__(scope, construct_id)
        if placeholders(definition) != set(substitutions):
            differing = ", ".join(sorted(placeholders(definition) ^ set(substitutions)))
            raise ValueError(f"The definition of {name} and its substitutions differ in: {differing}")
        # Vended log groups of this path need no resource policy of their own, which has a limit of 5,120 characters.
        log_group = logs.LogGroup(
            self,
            "Log",
            log_group_name=f"/aws/vendedlogs/states/{name}",
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        machine = sfn.CfnStateMachine(
            self,
            "Machine",
            state_machine_name=name,
            state_machine_type="STANDARD",
            definition_string=definition,
            definition_substitutions=substitutions,
            role_arn=role.role_arn,
            logging_configuration=sfn.CfnStateMachine.LoggingConfigurationProperty(
                level="ALL",
                include_execution_data=True,
                destinations=[
                    sfn.CfnStateMachine.LogDestinationProperty(
                        cloud_watch_logs_log_group=sfn.CfnStateMachine.CloudWatchLogsLogGroupProperty(
                            log_group_arn=log_group.log_group_arn
                        )
                    )
                ],
            ),
            tracing_configuration=sfn.CfnStateMachine.TracingConfigurationProperty(enabled=True),
        )
        # `Ref` of a state machine is its ARN.
        self.arn = machine.ref
