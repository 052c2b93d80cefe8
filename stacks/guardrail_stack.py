"""The Guardrail stack: the budget and its alarms, the kill switch, the event that starts every tear-down, the sweeper's clock."""

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from stacks.access import permissions
from stacks.access.roles import service_role
from stacks.configuration.settings import Settings
from stacks.fine_tuning_stack import FineTuningStack
from stacks.functions import dead_letters
from stacks.names import RUN_ENDED_RULE, SWEEP_RULE
from stacks.watching.alarms import SWEEP_MINUTES, Alarms
from stacks.watching.budget import Budget

TERMINAL = ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"]
# EventBridge's maximum: a tear-down that could not start for a day is still worth starting.
RETRY_HOURS = 24
RETRIES = 185


class GuardrailStack(cdk.Stack):
    """What stops spending when a run does not end as it should."""

    def __init__(
        self, scope: Construct, stack_id: str, *, settings: Settings, runs: FineTuningStack, env: cdk.Environment
    ) -> None:
        super().__init__(
            scope,
            stack_id,
            env=env,
            description="Captune: the budget, its kill switch, and the start of every teardown.",
        )
        self._runs = runs
        self.budget = Budget(self, "Alarm", settings=settings, spender=runs.fine_tuning_role)
        self.undelivered = dead_letters(self, "Undelivered")
        self._add_kill_switch(self.budget.kill_switch)
        self._add_tear_down_rule()
        self._add_sweep()
        # In this stack, like their topic: FineTuning must not depend on it.
        Alarms(
            self,
            "Alarms",
            tear_down_arn=runs.tear_down.arn,
            functions=runs.functions,
            undelivered=self.undelivered,
            deadline_minutes=settings.endpoint_deadline_minutes,
            topic=self.budget.warnings,
        )
        # AWS Budgets may refuse a role for up to two minutes after IAM has made it. So the action is made last of all: a queue alone takes
        # CloudFormation more than one.
        for one in self.node.children:
            if one is not self.budget:
                self.budget.action.node.add_dependency(one)
        cdk.CfnOutput(
            self,
            "UndeliveredEvents",
            value=self.undelivered.queue_url,
            description="The queue of undelivered teardown events. It must be empty",
        )

    def _add_kill_switch(self, topic: sns.Topic) -> None:
        """Subscribes the sweeper to the 100% notification. In this stack, because the two stacks must not depend on each other."""
        sweeper = self._runs.functions.sweeper
        sns.CfnSubscription(
            self,
            "KillSwitch",
            topic_arn=topic.topic_arn,
            protocol="lambda",
            endpoint=sweeper.function_arn,
            redrive_policy={"deadLetterTargetArn": self.undelivered.queue_arn},
        )
        self.undelivered.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("sns.amazonaws.com")],
                actions=["sqs:SendMessage"],
                resources=[self.undelivered.queue_arn],
                conditions={"ArnEquals": {"aws:SourceArn": topic.topic_arn}},
            )
        )
        lambda_.CfnPermission(
            self,
            "KillSwitchMayCallSweeper",
            action="lambda:InvokeFunction",
            function_name=sweeper.function_arn,
            principal="sns.amazonaws.com",
            source_arn=topic.topic_arn,
        )

    def _add_tear_down_rule(self) -> None:
        """Starts TearDown however a run ends, so that FineTuning needs no cleanup."""
        tear_down_arn = self._runs.tear_down.arn
        role = service_role(
            self,
            "TearDownStarter",
            service="events",
            purpose="Captune: EventBridge starts the teardown of a run that has ended.",
            statements=[permissions.start_execution(tear_down_arn)],
        )
        events.Rule(
            self,
            "RunEnded",
            rule_name=RUN_ENDED_RULE,
            description="Starts TearDown when a FineTuning execution ends for any reason.",
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={"stateMachineArn": [self._runs.fine_tuning.arn], "status": TERMINAL},
            ),
            targets=[
                targets.SfnStateMachine(
                    sfn.StateMachine.from_state_machine_arn(self, "TearDown", tear_down_arn),
                    input=events.RuleTargetInput.from_object(
                        {
                            "executionArn": events.EventField.from_path("$.detail.executionArn"),
                            "executionName": events.EventField.from_path("$.detail.name"),
                            "status": events.EventField.from_path("$.detail.status"),
                            "reason": "event",
                        }
                    ),
                    role=role.without_policy_updates(),
                    dead_letter_queue=self.undelivered,
                    max_event_age=cdk.Duration.hours(RETRY_HOURS),
                    retry_attempts=RETRIES,
                )
            ],
        )

    def _add_sweep(self) -> None:
        """Runs the sweeper, which finds what the other lines of defence missed."""
        events.Rule(
            self,
            "Sweep",
            rule_name=SWEEP_RULE,
            description="Starts the sweeper, which removes leftovers of runs.",
            schedule=events.Schedule.rate(cdk.Duration.minutes(SWEEP_MINUTES)),
            targets=[
                targets.LambdaFunction(
                    self._runs.functions.sweeper,
                    event=events.RuleTargetInput.from_object({"reason": "sweep"}),
                    dead_letter_queue=self.undelivered,
                    # The next sweep is as good as a late one.
                    max_event_age=cdk.Duration.minutes(SWEEP_MINUTES),
                    retry_attempts=3,
                )
            ],
        )
