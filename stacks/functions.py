"""The Lambdas: one shared asset, and for each function of the table its environment and its permissions."""

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3_assets as assets
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from common.architecture import READ_BY_PREFLIGHT
from common.ledger import keys
from stacks.access import permissions
from stacks.access.roles import service_role
from stacks.configuration import images
from stacks.configuration.catalog import Weights
from stacks.configuration.functions import FUNCTIONS, Function
from stacks.configuration.images import hosting_image, training_image
from stacks.configuration.settings import Settings
from stacks.definitions import definition_version, settings_json
from stacks.lambda_code import ASSET_OPTIONS, PYTHON, code_with_packages, plain_code
from stacks.names import FINE_TUNING, KILL_SWITCH_TOPIC, RUN_ENDED_RULE, SWEEP_RULE, TEAR_DOWN, Arns, Keys
from stacks.storage_stack import StorageStack

LOG_RETENTION = logs.RetentionDays.ONE_MONTH


def dead_letters(scope: Construct, queue_id: str) -> sqs.Queue:
    """A queue for events that failed, which a person can read for two weeks."""
    return sqs.Queue(
        scope,
        queue_id,
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=cdk.Duration.days(14),
    )


class Functions(Construct):
    """Every Lambda of the project. A new one is a row of the table `stacks/configuration/functions.py` and a call of `_function` here."""

    def __init__(
        self, scope: cdk.Stack, construct_id: str, *, settings: Settings, storage: StorageStack, root: Path
    ) -> None:
        super().__init__(scope, construct_id)
        self.all: dict[str, lambda_.Function] = {}
        self._code = plain_code(root / "lambdas")
        code_that_renders = code_with_packages(root / "lambdas", root / "requirements" / "bundle.txt")
        arns = Arns(scope)
        bucket, ledger = storage.bucket_arn, storage.ledger_arn
        data = assets.Asset(scope, "DataFiles", path=str(root / "data"), **ASSET_OPTIONS)
        training = assets.Asset(scope, "TrainingCode", path=str(root / "training"), **ASSET_OPTIONS)
        fine_tuning, tear_down = arns.machine(FINE_TUNING), arns.machine(TEAR_DOWN)
        with_bucket = {"BUCKET_NAME": storage.bucket_name}
        with_ledger = {"LEDGER_TABLE": storage.ledger_name}
        # Items that functions write: a change of a run's money changes its months too.
        runs, money = [keys.of_run("*")], [keys.of_run("*"), keys.of_month("*")]
        with_cap = {**with_ledger, "CAP_CENTS": str(settings.cap_cents)}
        with_assets = {
            "DATA_ASSET_BUCKET": data.s3_bucket_name,
            "DATA_ASSET_KEY": data.s3_object_key,
            "TRAINING_ASSET_BUCKET": training.s3_bucket_name,
            "TRAINING_ASSET_KEY": training.s3_object_key,
        }
        with_version = {"DEFINITION_VERSION": definition_version(settings)}
        used = training_image(settings.region), hosting_image(settings.region, settings.hosting_image)
        # These two objects, and not the whole bucket of the assets.
        objects = (f"{arns.bucket(one.s3_bucket_name)}/{one.s3_object_key}" for one in (data, training))
        read_assets = permissions.allow(["s3:GetObject"], *objects)

        preflight = self._function(
            FUNCTIONS["Preflight"],
            environment={
                **with_bucket,
                **with_cap,
                **with_assets,
                **with_version,
                "SETTINGS_JSON": settings_json(settings),
                "RUN_ENDED_RULE": RUN_ENDED_RULE,
                "TEAR_DOWN_ARN": tear_down,
                "SWEEP_RULE": SWEEP_RULE,
                "KILL_SWITCH_TOPIC": arns.topic(KILL_SWITCH_TOPIC),
            },
            statements=[
                # Adapter, metrics and plan of an earlier run, where the input names its adapter. Nothing may be written: the run
                # may yet be refused, and its prefix may be another run's.
                permissions.objects(bucket, "GetObject", Keys.CORPORA, Keys.TRAINING, Keys.PLANS),
                *look_at_weights(arns, settings.weights, bucket),
                *ask_hub(arns, settings),
                read_assets,
                # It reads texts by others, so of the ledger it writes the count of executions only.
                *permissions.ledger(ledger, "GetItem", "Scan", writes=[keys.of_starts("*")]),
                # The registries are AWS's own and let every account read.
                permissions.allow(
                    ["ecr:BatchGetImage"], *(arns.repository(one.registry_account, one.repository) for one in used)
                ),
                permissions.everywhere(
                    "servicequotas:GetServiceQuota",
                    "servicequotas:ListServiceQuotas",
                    "servicequotas:GetAWSDefaultServiceQuota",
                    "servicequotas:ListAWSDefaultServiceQuotas",
                    "pricing:GetProducts",
                    "sagemaker:ListTrainingJobs",
                    "sagemaker:ListEndpoints",
                ),
                # Whether the run's name was used before, and whether what bills belongs to the project.
                permissions.allow(
                    ["sagemaker:DescribeTrainingJob", "sagemaker:ListTags"], arns.sagemaker("training-job")
                ),
                permissions.allow(["sagemaker:ListTags"], arns.sagemaker("endpoint")),
                # What ends a run: the rule for its end, the sweeper's rule, and the subscriptions of the kill switch.
                permissions.allow(
                    ["events:DescribeRule", "events:ListTargetsByRule"], *map(arns.rule, (RUN_ENDED_RULE, SWEEP_RULE))
                ),
                permissions.allow(["sns:ListSubscriptionsByTopic"], arns.topic(KILL_SWITCH_TOPIC)),
                # Whether the ledger still knows every run of this month.
                permissions.allow(["states:ListExecutions"], fine_tuning),
                permissions.allow(["states:GetExecutionHistory"], arns.executions(FINE_TUNING)),
            ],
        )
        self._function(
            FUNCTIONS["Reserve"],
            environment={**with_cap, **with_version},
            statements=permissions.ledger(ledger, "GetItem", "Scan", writes=money),
        )
        self._function(
            FUNCTIONS["Stage"],
            environment={**with_bucket, **with_assets},
            statements=[
                permissions.objects(bucket, "GetObject", Keys.CORPORA, Keys.PLANS),
                # The versions that Preflight has checked, whatever has taken their place since.
                permissions.objects(bucket, "GetObjectVersion", Keys.CORPORA),
                permissions.objects(bucket, "PutObject", Keys.INPUT, Keys.CODE, Keys.TRIAL, Keys.PLANS),
                permissions.list_bucket(bucket),
                read_assets,
            ],
        )
        self._function(
            FUNCTIONS["Ask"],
            environment={**with_bucket, "REQUESTS_AT_ONCE": str(images.REQUESTS_AT_ONCE)},
            statements=[
                permissions.objects(bucket, "GetObject", Keys.PROMPTS, Keys.ANSWERS),
                permissions.objects(bucket, "PutObject", Keys.ANSWERS),
                permissions.list_bucket(bucket),
                permissions.allow(["sagemaker:InvokeEndpoint"], arns.sagemaker("endpoint")),
            ],
        )
        self._function(
            FUNCTIONS["Report"],
            code=code_that_renders,
            environment=with_bucket,
            statements=[
                permissions.objects(bucket, "GetObject", Keys.RUNS),
                permissions.objects(bucket, "PutObject", Keys.REPORTS),
                permissions.list_bucket(bucket),
            ],
        )
        self._function(
            FUNCTIONS["TearDown"],
            environment={**with_ledger, "FINE_TUNING_ARN": fine_tuning},
            statements=[
                *permissions.remove_resources(arns),
                permissions.stop_execution(arns.executions(FINE_TUNING)),
                *permissions.ledger(ledger, "GetItem", writes=runs),
            ],
        )
        self._function(
            FUNCTIONS["Settle"],
            environment={**with_cap, "FINE_TUNING_ARN": fine_tuning},
            statements=[
                *permissions.ledger(ledger, "GetItem", "Scan", writes=money),
                permissions.everywhere("sagemaker:ListTrainingJobs"),
                permissions.allow(["sagemaker:DescribeTrainingJob"], arns.sagemaker("training-job")),
                permissions.allow(
                    ["states:DescribeExecution", "states:GetExecutionHistory"], arns.executions(FINE_TUNING)
                ),
            ],
        )
        self._function(
            FUNCTIONS["Finish"],
            code=code_that_renders,
            environment=with_bucket,
            statements=[
                permissions.objects(bucket, "GetObject", Keys.PLANS, Keys.REPORTS),
                permissions.objects(bucket, "PutObject", Keys.REPORTS),
                permissions.list_bucket(bucket),
            ],
        )
        self.failed_sweeps = dead_letters(self, "FailedSweeps")
        self.sweeper = self._function(
            FUNCTIONS["Sweeper"],
            environment={**with_ledger, "TEAR_DOWN_ARN": tear_down, "FINE_TUNING_ARN": fine_tuning},
            statements=[
                # Where no TearDown can be started it removes by itself.
                *permissions.remove_resources(arns),
                *permissions.ledger(ledger, "GetItem", "Scan", writes=runs),
                permissions.allow(["states:ListExecutions"], fine_tuning, tear_down),
                permissions.stop_execution(arns.executions(FINE_TUNING)),
                permissions.start_execution(tear_down),
                permissions.allow(["sqs:SendMessage"], self.failed_sweeps.queue_arn),
            ],
            # The only function that is called asynchronously: no caller sees its failures.
            failures=self.failed_sweeps,
        )
        preflight.add_environment("SWEEPER_ARN", self.sweeper.function_arn)

    def _function(
        self,
        declared: Function,
        *,
        environment: dict[str, str] | None = None,
        statements: permissions.Statements | None = None,
        failures: sqs.IQueue | None = None,
        code: lambda_.Code | None = None,
    ) -> lambda_.Function:
        name = declared.name
        log_group = logs.LogGroup(self, f"{name}Log", retention=LOG_RETENTION, removal_policy=cdk.RemovalPolicy.DESTROY)
        role: iam.Role = service_role(
            self,
            f"{name}Role",
            service="lambda",
            purpose=f"Captune: {declared.purpose}",
            statements=[
                *(statements or []),
                permissions.allow(["logs:CreateLogStream", "logs:PutLogEvents"], log_group.log_group_arn),
                permissions.everywhere("xray:PutTraceSegments", "xray:PutTelemetryRecords"),
            ],
        )
        function = lambda_.Function(
            self,
            name,
            description=declared.purpose,
            handler=f"{declared.module}.handler.handle",
            code=code or self._code,
            runtime=PYTHON,
            architecture=lambda_.Architecture.ARM_64,
            memory_size=declared.memory,
            timeout=cdk.Duration.seconds(declared.timeout),
            environment=environment,
            # Rights are written above, once and completely: CDK must not add its own.
            role=role.without_policy_updates(),
            logging_format=lambda_.LoggingFormat.JSON,
            log_group=log_group,
            tracing=lambda_.Tracing.ACTIVE,
            dead_letter_queue=failures,
        )
        self.all[name] = function
        return function

    def called_by(self, machine: str) -> dict[str, str]:
        """The ARNs of the functions that a state machine calls, by their placeholders in its definition."""
        return {
            f"{name}FunctionArn": one.function_arn
            for name, one in self.all.items()
            if FUNCTIONS[name].called_by == machine
        }


def look_at_weights(arns: Arns, weights: Weights, bucket_arn: str) -> permissions.Statements:
    """Preflight lists the project's bucket and the weights; of a folder of the user's it reads what describes the model."""
    if not weights.own:
        return [permissions.list_bucket(bucket_arn, arns.bucket(weights.bucket))]
    own = arns.bucket(weights.bucket)
    return [
        permissions.list_bucket(bucket_arn),
        permissions.list_folder(own, weights.prefix),
        permissions.objects(own, "GetObject", *(f"{weights.prefix}{name}" for name in READ_BY_PREFLIGHT)),
        permissions.decrypt_objects(arns, weights.region, own, weights.prefix),
    ]


def ask_hub(arns: Arns, settings: Settings) -> permissions.Statements:
    """Preflight asks JumpStart's hub about the base model, where it comes from there."""
    hosted = settings.model.jumpstart
    if settings.weights.own or hosted is None:
        return []
    actions = ["sagemaker:DescribeHubContent", "sagemaker:CreateHubContentPresignedUrls"]
    return [permissions.allow(actions, *arns.hub_model(hosted.id, hosted.last_version))]
