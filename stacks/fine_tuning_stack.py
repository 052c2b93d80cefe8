"""The FineTuning stack: roles, Lambdas, both state machines, the result topic and the dashboard. It holds no data."""

from __future__ import annotations

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from stacks.access import permissions, roles
from stacks.configuration.images import hosting_image, training_image
from stacks.configuration.settings import Settings
from stacks.definitions import definition_text, definition_version, fine_tuning_definition, literals, placeholders
from stacks.functions import Functions, Resources, asset
from stacks.names import FINE_TUNING, TEAR_DOWN, Arns, Keys
from stacks.storage_stack import StorageStack
from stacks.watching.dashboard import add_dashboard

_HERE = Path(__file__).parent


class FineTuningStack(cdk.Stack):
    """Everything of a run except its data and its alarm. `root` is the folder that holds lambdas/, training/ and data/."""

    def __init__(
        self,
        scope: Construct,
        stack_id: str,
        *,
        settings: Settings,
        storage: StorageStack,
        root: Path,
        env: cdk.Environment,
    ) -> None:
        super().__init__(
            scope, stack_id, env=env, description="Captune: fine-tunes, compares, reports, and removes what bills."
        )
        self.add_stack_dependency(storage, "It imports the bucket and the ledger.")
        self._settings = settings
        self._storage = storage
        self._arns = Arns(self)
        self.functions = Functions(
            self,
            "Functions",
            settings=settings,
            resources=Resources(
                bucket_name=storage.bucket_name,
                bucket_arn=storage.bucket_arn,
                ledger_name=storage.ledger_name,
                ledger_arn=storage.ledger_arn,
                data=asset(self, "DataFiles", root / "data"),
                training=asset(self, "TrainingCode", root / "training"),
            ),
            root=root,
        )
        self.result_topic = self._add_result_topic()
        self._scheduler_role = roles.scheduler_role(self, tear_down_arn=self._arns.machine(TEAR_DOWN))
        self.tear_down = self._add_tear_down()
        self.fine_tuning_role = self._add_fine_tuning_role()
        self.fine_tuning = self._add_fine_tuning()
        self.dashboard = add_dashboard(
            self,
            fine_tuning_arn=self.fine_tuning.arn,
            tear_down_arn=self.tear_down.arn,
            cap_cents=settings.cap_cents,
        )
        self._add_outputs()

    def _add_result_topic(self) -> sns.Topic:
        topic = sns.Topic(self, "Results", display_name="Captune results", enforce_ssl=True)
        if self._settings.alert_email:
            sns.CfnSubscription(
                self,
                "ResultsByEmail",
                topic_arn=topic.topic_arn,
                protocol="email",
                endpoint=self._settings.alert_email,
            )
        return topic

    def _add_tear_down(self) -> StateMachine:
        invoked = self.functions.called_by(TEAR_DOWN)
        role = self._machine_role(
            "TearDownRole",
            TEAR_DOWN,
            "Captune: removes what bills. Never the FineTuning role, so that a budget's deny cannot block it.",
            [
                permissions.invoke(*invoked.values()),
                permissions.allow(["sns:Publish"], self.result_topic.topic_arn),
                # An endpoint that was asked to stay gets a later deadline; one that is gone needs none.
                permissions.allow(["scheduler:UpdateSchedule", "scheduler:DeleteSchedule"], self._arns.schedules()),
                permissions.pass_role("scheduler", self._scheduler_role.role_arn),
            ],
        )
        return StateMachine(
            self,
            "TearDown",
            name=TEAR_DOWN,
            definition=definition_text(_HERE / "tear_down.asl.yaml"),
            substitutions={
                **invoked,
                "ResultTopicArn": self.result_topic.topic_arn,
                "SchedulerRoleArn": self._scheduler_role.role_arn,
            },
            role=role,
        )

    def _add_fine_tuning_role(self) -> iam.Role:
        settings, bucket_arn = self._settings, self._storage.bucket_arn
        container_of_training = training_image(settings.region)
        container_of_hosting = hosting_image(settings.region, settings.hosting_image)
        self._training_role = roles.training_role(
            self, bucket_arn=bucket_arn, weights=settings.weights, image=container_of_training
        )
        self._hosting_role = roles.hosting_role(
            self, bucket_arn=bucket_arn, weights=settings.weights, image=container_of_hosting
        )
        return self._machine_role(
            "FineTuningRole",
            FINE_TUNING,
            "Captune: starts training jobs and endpoints. The budget's deny policy is attached to this role.",
            [
                permissions.invoke(*self.functions.called_by(FINE_TUNING).values()),
                permissions.create_training_job(self._arns),
                *permissions.create_endpoint(self._arns),
                permissions.look_for_adapter(bucket_arn),
                permissions.allow(["scheduler:CreateSchedule", "scheduler:UpdateSchedule"], self._arns.schedules()),
                permissions.pass_role("sagemaker", self._training_role.role_arn, self._hosting_role.role_arn),
                permissions.pass_role("scheduler", self._scheduler_role.role_arn),
            ],
        )

    def _add_fine_tuning(self) -> StateMachine:
        settings = self._settings
        available = {
            **self.functions.called_by(FINE_TUNING),
            **literals(settings),
            "DefinitionVersion": definition_version(settings),
            "TrainingRoleArn": self._training_role.role_arn,
            "HostingRoleArn": self._hosting_role.role_arn,
            "TearDownArn": self.tear_down.arn,
            "SchedulerRoleArn": self._scheduler_role.role_arn,
        }
        return StateMachine(
            self,
            "FineTuning",
            name=FINE_TUNING,
            definition=fine_tuning_definition(settings),
            substitutions=available,
            role=self.fine_tuning_role,
        )

    def _machine_role(self, role_id: str, machine: str, purpose: str, statements: permissions.Statements) -> iam.Role:
        return roles.service_role(
            self,
            role_id,
            service="states",
            purpose=purpose,
            statements=[*statements, *permissions.machine_observability()],
            source_arn=self._arns.machine(machine),
        )

    def _add_outputs(self) -> None:
        arn, bucket = self.fine_tuning.arn, self._storage.bucket_name
        console = f"https://{self.region}.console.aws.amazon.com"
        outputs = {
            "StateMachineConsole": (
                f"{console}/states/home?region={self.region}#/statemachines/view/{arn}",
                "Press Start execution here and give it {}",
            ),
            "StartCommand": (
                f"aws stepfunctions start-execution --region {self.region} --state-machine-arn {arn} --input '{{}}'",
                "Or start a run from a terminal",
            ),
            "FineTuningArn": (arn, "The state machine of a run"),
            "TearDownArn": (self.tear_down.arn, "The state machine that removes what bills"),
            "ReportPrefix": (
                f"s3://{bucket}/{Keys.RUNS.removesuffix('*')}",
                "Each run's report lies below its name, in report/",
            ),
            "CapCents": (str(self._settings.cap_cents), "The monthly cap in US cents, as it is deployed"),
            "FineTuningRoleName": (self.fine_tuning_role.role_name, "The role that the budget's deny is attached to"),
            "ResultTopicArn": (self.result_topic.topic_arn, "Subscribe to hear of each run's verdict and cost"),
            "DashboardConsole": (
                f"{console}/cloudwatch/home?region={self.region}#dashboards/dashboard/{self.dashboard.dashboard_name}",
                "Dollars, runs and hardware at a glance",
            ),
        }
        for name, (value, description) in outputs.items():
            cdk.CfnOutput(self, name, value=value, description=description)


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
