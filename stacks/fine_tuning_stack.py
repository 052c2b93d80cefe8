"""The FineTuning stack: roles, Lambdas, both state machines, the result topic and the dashboard. It holds no data."""

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from stacks.access import permissions, roles
from stacks.configuration.images import hosting_image, training_image
from stacks.configuration.settings import Settings
from stacks.definitions import definition_version, fine_tuning_definition, literals, placeholders, tear_down_definition
from stacks.functions import Functions
from stacks.names import FINE_TUNING, TEAR_DOWN, Arns, Keys
from stacks.storage_stack import StorageStack
from stacks.watching.dashboard import add_dashboard


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
        super().__init__(scope, stack_id, env=env, description="Captune: fine-tunes, compares, reports, and cleans up.")
        self.add_stack_dependency(storage, "It imports the bucket and the ledger.")
        self._settings = settings
        self._storage = storage
        self._arns = Arns(self)
        self.functions = Functions(self, "Functions", settings=settings, storage=storage, root=root)
        self.result_topic = self._add_result_topic()
        self._scheduler_role = roles.service_role(
            self,
            "SchedulerRole",
            service="scheduler",
            purpose="Captune: EventBridge Scheduler starts the teardown of a run at its deadline.",
            statements=[permissions.start_execution(self._arns.machine(TEAR_DOWN))],
        )
        self.tear_down = self._add_tear_down()
        self.fine_tuning = self._add_fine_tuning()
        self.fine_tuning_role = self.fine_tuning.role
        self.dashboard = add_dashboard(
            self,
            fine_tuning_arn=self.fine_tuning.arn,
            tear_down_arn=self.tear_down.arn,
            cap_cents=settings.cap_cents,
        )
        self._add_outputs()

    def _add_result_topic(self) -> sns.Topic:
        topic = sns.Topic(self, "Results", display_name="Captune results", enforce_ssl=True)
        if email := self._settings.alert_email:
            sns.CfnSubscription(self, "ResultsByEmail", topic_arn=topic.topic_arn, protocol="email", endpoint=email)
        return topic

    def _add_tear_down(self) -> "StateMachine":
        invoked = self.functions.called_by(TEAR_DOWN)
        return StateMachine(
            self,
            "TearDown",
            name=TEAR_DOWN,
            purpose="Captune: removes what bills. Never the FineTuning role, so that a budget's deny cannot block it.",
            statements=[
                permissions.allow(["lambda:InvokeFunction"], *invoked.values()),
                permissions.allow(["sns:Publish"], self.result_topic.topic_arn),
                # A kept endpoint gets a later deadline; a deleted one needs none.
                permissions.allow(["scheduler:UpdateSchedule", "scheduler:DeleteSchedule"], self._arns.schedules()),
                permissions.pass_role("scheduler", self._scheduler_role.role_arn),
            ],
            definition=tear_down_definition(),
            substitutions={
                **invoked,
                "ResultTopicArn": self.result_topic.topic_arn,
                "SchedulerRoleArn": self._scheduler_role.role_arn,
            },
        )

    def _add_fine_tuning(self) -> "StateMachine":
        settings, bucket_arn = self._settings, self._storage.bucket_arn
        invoked = self.functions.called_by(FINE_TUNING)
        image, server = training_image(settings.region), hosting_image(settings.region, settings.hosting_image)
        training_role = roles.training_role(self, bucket_arn, settings.weights, image)
        hosting_role = roles.hosting_role(self, bucket_arn, settings.weights, server)
        return StateMachine(
            self,
            "FineTuning",
            name=FINE_TUNING,
            purpose="Captune: starts training jobs and endpoints. The budget's deny policy is attached to this role.",
            statements=[
                permissions.allow(["lambda:InvokeFunction"], *invoked.values()),
                *permissions.create_resources(self._arns, settings),
                # Whether a job that was cut has left its adapter.
                permissions.allow(["s3:ListBucket"], bucket_arn, StringLike={"s3:prefix": Keys.TRAINING}),
                permissions.allow(["scheduler:CreateSchedule", "scheduler:UpdateSchedule"], self._arns.schedules()),
                permissions.pass_role("sagemaker", training_role.role_arn, hosting_role.role_arn),
                permissions.pass_role("scheduler", self._scheduler_role.role_arn),
            ],
            definition=fine_tuning_definition(settings),
            substitutions={
                **invoked,
                **literals(settings),
                "DefinitionVersion": definition_version(settings),
                "TrainingRoleArn": training_role.role_arn,
                "HostingRoleArn": hosting_role.role_arn,
                "TearDownArn": self.tear_down.arn,
                "SchedulerRoleArn": self._scheduler_role.role_arn,
            },
        )

    def _add_outputs(self) -> None:
        arn, bucket = self.fine_tuning.arn, self._storage.bucket_name
        console = f"https://{self.region}.console.aws.amazon.com"
        outputs = {
            "StateMachineConsole": (
                f"{console}/states/home?region={self.region}#/statemachines/view/{arn}",
                "Open this page and choose Start execution, with {} as input",
            ),
            "StartCommand": (
                f"aws stepfunctions start-execution --region {self.region} --state-machine-arn {arn} --input '{{}}'",
                "Start a run from a terminal",
            ),
            "FineTuningArn": (arn, "The state machine of a run"),
            "TearDownArn": (self.tear_down.arn, "The state machine that removes all billable resources"),
            "ReportPrefix": (
                f"s3://{bucket}/{Keys.RUNS.removesuffix('*')}",
                "Find each run's report here, in RUN/report/",
            ),
            "CapCents": (str(self._settings.cap_cents), "The deployed monthly cap in US cents"),
            "FineTuningRoleName": (self.fine_tuning_role.role_name, "The role that the budget action denies"),
            "ResultTopicArn": (self.result_topic.topic_arn, "Subscribe to get each run's verdict and cost"),
            "DashboardConsole": (
                f"{console}/cloudwatch/home?region={self.region}#dashboards/dashboard/{self.dashboard.dashboard_name}",
                "The dashboard of cost, runs and hardware",
            ),
        }
        for name, (value, description) in outputs.items():
            cdk.CfnOutput(self, name, value=value, description=description)


class StateMachine(Construct):
    """A Standard state machine, and beside it its role. The definition stays a plain string, so that it can be linted as it is.

    Raises ValueError when a placeholder of the definition gets no value, or a value has no placeholder.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        purpose: str,
        statements: permissions.Statements,
        definition: str,
        substitutions: dict[str, str],
    ) -> None:
        super().__init__(scope, construct_id)
        if placeholders(definition) != set(substitutions):
            differing = ", ".join(sorted(placeholders(definition) ^ set(substitutions)))
            raise ValueError(f"The definition of {name} and its substitutions differ in: {differing}")
        self.role = roles.service_role(
            scope,
            f"{construct_id}Role",
            service="states",
            purpose=purpose,
            # Its log and its traces, as AWS documents it.
            statements=[
                *statements,
                *(permissions.everywhere(*permissions.beginning(one)) for one in ("logs:", "xray:")),
            ],
            source_arn=Arns(cdk.Stack.of(self)).machine(name),
        )
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
            role_arn=self.role.role_arn,
            logging_configuration={
                "level": "ALL",
                "includeExecutionData": True,
                "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": log_group.log_group_arn}}],
            },
            tracing_configuration={"enabled": True},
        )
        # `Ref` of a state machine is its ARN.
        self.arn = machine.ref
