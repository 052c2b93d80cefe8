"""A state machine with its log and its settings; stacks/definitions.py reads its states."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from stacks.definitions import placeholders


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
