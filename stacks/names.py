"""Names that more than one stack or role has to agree on, and the ARNs made of them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # names are read where nothing is synthesized, and the CDK takes seconds to load
    import aws_cdk as cdk

PREFIX = "captune"
TAG = {"project": PREFIX}
# The machines have fixed names because CloudFormation cannot deploy a circle of references: FineTuning needs Preflight and,
# through TearDown, Settle and TearDown's Lambda, while the roles of these Lambdas name the executions of FineTuning.
FINE_TUNING = f"{PREFIX}-fine-tuning"
TEAR_DOWN = f"{PREFIX}-tear-down"
METRICS = "Captune"
# What Preflight looks for before a run, in the Guardrail stack, which is deployed after Preflight: hence names that both know.
RUN_ENDED_RULE = f"{PREFIX}-run-ended"
SWEEP_RULE = f"{PREFIX}-sweep"
KILL_SWITCH_TOPIC = f"{PREFIX}-kill-switch"
# An IAM policy that is attached to nobody: IAM's names are per account, so only one region can have it.
ONE_PER_ACCOUNT = f"{PREFIX}-one-deployment-per-account"


class Keys:
    """Patterns of keys in the project's bucket, for any run: the resources of the roles' rights.

    lambdas/common/contracts/run_folder.py spells the keys themselves: where they differ, a rehearsed run is refused a call.
    """

    CORPORA = "corpora/*"
    CHECKPOINTS = "checkpoints/*"
    RUNS = "runs/*"
    PLANS = "runs/*/plan.json"
    INPUT = "runs/*/input/*"
    PROMPTS = "runs/*/input/prompts.jsonl"
    CODE = "runs/*/code/*"
    TRAINING = "runs/*/training/*"
    TRIAL = "runs/*/training/trial/*"
    ANSWERS = "runs/*/answers/*"
    REPORTS = "runs/*/report/*"


class Arns:
    """ARNs of what does not exist yet when the stack is deployed, scoped to this project, account and region."""

    def __init__(self, scope: "cdk.Stack") -> None:
        self._stack = scope

    def _arn(self, service: str, resource: str) -> str:
        stack = self._stack
        return f"arn:{stack.partition}:{service}:{stack.region}:{stack.account}:{resource}"

    def sagemaker(self, kind: str) -> str:
        """All of the project's resources of a kind: training-job, model, endpoint-config, endpoint."""
        return self._arn("sagemaker", f"{kind}/{PREFIX}-*")

    def schedules(self) -> str:
        """The one-time schedules of the project's runs, in the default group."""
        return self._arn("scheduler", f"schedule/default/{PREFIX}-*")

    def machine(self, name: str) -> str:
        """A state machine by name."""
        return self._arn("states", f"stateMachine:{name}")

    def executions(self, name: str) -> str:
        """All executions of a state machine."""
        return self._arn("states", f"execution:{name}:*")

    def rule(self, name: str) -> str:
        """A rule of EventBridge, on the default bus."""
        return self._arn("events", f"rule/{name}")

    def topic(self, name: str) -> str:
        """A topic of SNS by name."""
        return self._arn("sns", name)

    def alarm(self, name: str) -> str:
        """A CloudWatch alarm by name."""
        return self._arn("cloudwatch", f"alarm:{name}")

    def log_group(self, name: str) -> str:
        """A log group and everything in it."""
        return self._arn("logs", f"log-group:{name}:*")

    def hub_model(self, name: str, version: str) -> list[str]:
        """JumpStart's public hub, and a version of a model in it."""
        hub = f"arn:{self._stack.partition}:sagemaker:{self._stack.region}:aws"
        return [f"{hub}:hub/SageMakerPublicHub", f"{hub}:hub-content/SageMakerPublicHub/Model/{name}/{version}"]

    def repository(self, account: str, name: str) -> str:
        """An image repository that another account owns."""
        return f"arn:{self._stack.partition}:ecr:{self._stack.region}:{account}:repository/{name}"

    def keys(self) -> str:
        """Every KMS key in the region, of any account: the key of a user's folder is unknown at synthesis."""
        return f"arn:{self._stack.partition}:kms:{self._stack.region}:*:key/*"

    def bucket(self, name: str) -> str:
        """A bucket by name."""
        return f"arn:{self._stack.partition}:s3:::{name}"
