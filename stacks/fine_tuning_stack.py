"""The FineTuning stack: roles, Lambdas, both state machines, the result topic and the dashboard. It holds no data."""

from __future__ import annotations

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from constructs import Construct

from stacks.access import permissions as may
from stacks.access import roles
from stacks.configuration.images import hosting_image, training_image
from stacks.configuration.run_settings import definition_version, fine_tuning_definition, literals
from stacks.configuration.settings import Settings
from stacks.definitions import definition_text
from stacks.functions import Functions, Resources, asset
from stacks.names import FINE_TUNING, TEAR_DOWN, Arns, Keys
from stacks.state_machine import StateMachine
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
        functions = self.functions
        invoked = {
            "TearDownFunctionArn": functions.teardown.function_arn,
            "SettleFunctionArn": functions.settle.function_arn,
            "FinishFunctionArn": functions.finish.function_arn,
        }
        role = self._machine_role(
            "TearDownRole",
            TEAR_DOWN,
            "Captune: removes what bills. Never the FineTuning role, so that a budget's deny cannot block it.",
            [
                may.invoke(*invoked.values()),
                may.allow(["sns:Publish"], self.result_topic.topic_arn),
                # An endpoint that was asked to stay gets a later deadline; one that is gone needs none.
                may.allow(["scheduler:UpdateSchedule", "scheduler:DeleteSchedule"], self._arns.schedules()),
                may.pass_role("scheduler", self._scheduler_role.role_arn),
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
                may.invoke(*self._invoked_by_fine_tuning().values()),
                may.create_training_job(self._arns),
                *may.create_endpoint(self._arns),
                may.look_for_adapter(bucket_arn),
                may.allow(["scheduler:CreateSchedule", "scheduler:UpdateSchedule"], self._arns.schedules()),
                may.pass_role("sagemaker", self._training_role.role_arn, self._hosting_role.role_arn),
                may.pass_role("scheduler", self._scheduler_role.role_arn),
            ],
        )

    def _invoked_by_fine_tuning(self) -> dict[str, str]:
        functions = self.functions
        return {
            "PreflightFunctionArn": functions.preflight.function_arn,
            "ReserveFunctionArn": functions.reserve.function_arn,
            "StageFunctionArn": functions.stage.function_arn,
            "AskFunctionArn": functions.ask.function_arn,
            "ReportFunctionArn": functions.report.function_arn,
        }

    def _add_fine_tuning(self) -> StateMachine:
        settings = self._settings
        available = {
            **self._invoked_by_fine_tuning(),
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

    def _machine_role(self, role_id: str, machine: str, purpose: str, statements: may.Statements) -> iam.Role:
        return roles.service_role(
            self,
            role_id,
            service="states",
            purpose=purpose,
            statements=[*statements, *may.machine_observability()],
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
            "FineTuningRoleName": (self.fine_tuning_role.role_name, "The role that the budget's deny is attached to"),
            "ResultTopicArn": (self.result_topic.topic_arn, "Subscribe to hear of each run's verdict and cost"),
            "DashboardConsole": (
                f"{console}/cloudwatch/home?region={self.region}#dashboards/dashboard/{self.dashboard.dashboard_name}",
                "Dollars, runs and hardware at a glance",
            ),
        }
        for name, (value, description) in outputs.items():
            cdk.CfnOutput(self, name, value=value, description=description)
