"""The Storage stack: the bucket of corpora and runs, and the spend ledger. It outlives every other stack."""

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from common.pricing.costs import CHECKPOINT_KEPT_DAYS, OLD_CHECKPOINT_KEPT_DAYS
from stacks.access import permissions
from stacks.configuration.settings import Settings
from stacks.names import ONE_PER_ACCOUNT, PREFIX, Keys

# An overwritten corpus or a deleted report can be brought back for a month.
OLD_VERSION_DAYS = 30
ACCESS_LOG_DAYS = 90
# S3 lifecycle rules know prefixes but no wildcards, so checkpoints have a root of their own: checkpoints/<run>/.
CHECKPOINT_PREFIX = Keys.CHECKPOINTS.removesuffix("*")
BUCKET_ARN_EXPORT = f"{PREFIX}-BucketArn"


class StorageStack(cdk.Stack):
    """Bucket and ledger. With retain_data they survive `cdk destroy`; without it the bucket must be emptied first.

    CDK could empty the bucket through a custom resource; `make destroy` does it instead, so that no Lambda with the
    right to delete data stands by in the account.
    """

    def __init__(self, scope: Construct, stack_id: str, *, settings: Settings, env: cdk.Environment) -> None:
        super().__init__(
            scope,
            stack_id,
            env=env,
            description="Captune: the bucket of corpora and runs, and the spend ledger.",
            termination_protection=settings.retain_data,
        )
        marker = self._one_per_account()
        removal = cdk.RemovalPolicy.RETAIN if settings.retain_data else cdk.RemovalPolicy.DESTROY
        self.access_logs = self._bucket("AccessLogs", removal, _rule("ForgetOldAccess", expiration=ACCESS_LOG_DAYS))
        self.bucket = self._bucket(
            "Data",
            removal,
            _rule(
                "ForgetCheckpoints",
                CHECKPOINT_PREFIX,
                expiration=CHECKPOINT_KEPT_DAYS,
                noncurrent_version_expiration=OLD_CHECKPOINT_KEPT_DAYS,
            ),
            _rule("ForgetOldVersions", noncurrent_version_expiration=OLD_VERSION_DAYS),
            versioned=True,
            server_access_logs_bucket=self.access_logs,
            server_access_logs_prefix="data/",
        )
        self.ledger = dynamodb.Table(
            self,
            "Ledger",
            partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            deletion_protection=settings.retain_data,
            removal_policy=removal,
        )
        # So that a second deployment fails before it has made anything that would outlive the failure.
        for kept in (self.access_logs, self.bucket, self.ledger):
            kept.node.add_dependency(marker)
        self.bucket_name = self._export("BucketName", self.bucket.bucket_name, "Corpora in, runs out")
        self.bucket_arn = self._export("BucketArn", self.bucket.bucket_arn, "The bucket, for policies")
        self.ledger_name = self._export("LedgerTable", self.ledger.table_name, "Reserved and spent cents of each month")
        self.ledger_arn = self._export("LedgerArn", self.ledger.table_arn, "The ledger, for policies")

    def _one_per_account(self) -> iam.ManagedPolicy:
        """A policy that is attached to nobody, with a name that IAM allows once in an account, in any region.

        Each deployment has one ledger and so one cap: a second region would have another. The policy is kept and deleted with the ledger.
        """
        return iam.ManagedPolicy(
            self,
            "OnePerAccount",
            managed_policy_name=ONE_PER_ACCOUNT,
            # Never to be reworded: CloudFormation cannot change a policy's description, and cannot replace one that has a name.
            description="Captune: attached to nobody. Its name lets one region of the account have a ledger, and so one cap.",
            statements=[permissions.deny_new_spending()],
        )

    def _export(self, output: str, value: str, description: str) -> str:
        """An output that other stacks import by a name a person can read. They must add this stack as a dependency."""
        name = f"{PREFIX}-{output}"
        cdk.CfnOutput(self, output, value=value, description=description, export_name=name)
        imported: str = cdk.Fn.import_value(name)
        return imported

    def _bucket(self, bucket_id: str, removal: cdk.RemovalPolicy, *rules: s3.LifecycleRule, **more: Any) -> s3.Bucket:
        return s3.Bucket(
            self,
            bucket_id,
            encryption=s3.BucketEncryption.S3_MANAGED,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            # Parts of an upload that was never finished are billed like objects but cannot be seen.
            lifecycle_rules=[*rules, _rule("AbortUploads", abort_incomplete_multipart_upload_after=1)],
            removal_policy=removal,
            **more,
        )


def _rule(rule_id: str, prefix: str | None = None, **days: int) -> s3.LifecycleRule:
    """A rule of an id, with its deadlines in days."""
    return s3.LifecycleRule(
        id=rule_id, prefix=prefix, **{name: cdk.Duration.days(count) for name, count in days.items()}
    )
