"""The errors a run can end with. The class name is the error name that Step Functions shows; the message names the cause.

A new kind of failure is one class here: its docstring says what it means and `advice` what to do next. The report and the e-mail
print the advice, and the tables of docs/troubleshoot.md are made from both (`captune dev pages`).
"""

from typing import ClassVar

REFUSED, RUNNING, REMOVED = "rejected before anything is billed", "while it trains and serves", "after the run"


class CaptuneError(Exception):
    """Base of every error with a message that you can act on."""

    advice: ClassVar[str] = (
        "Open the execution in the Step Functions console, correct the state that failed, and start a new execution."
    )
    when: ClassVar[str] = REFUSED


class StateError(CaptuneError):
    """Base of the errors that a state machine or the sweeper names: no function raises them."""

    when = RUNNING


class InvalidInput(CaptuneError):
    """The execution input has an unknown key or a value out of range, or the execution's name cannot be used."""

    advice = "Correct the keys that the cause names, and start a new execution; {} is always a valid input. To start TearDown by hand, pass a runName or an executionName."


class DeployInProgress(CaptuneError):
    """The execution's definition and its Lambda functions come from different deployments."""

    advice = "Wait until the deployment has ended, then start a new execution. A redrive keeps the old definition."


class GuardrailMissing(CaptuneError):
    """A safeguard that ends every run (event rule, sweeper's rule or kill switch) is missing or disabled."""

    advice = "Run captune check, then make deploy. If the safeguard was changed by hand, run make deploy ARGS=--revert-drift."


class PlanExpired(CaptuneError):
    """Step Functions paused between plan and reservation, so the run would last into another month."""

    advice = "Start a new execution."


class EulaNotAccepted(CaptuneError):
    """The settings do not accept the base model's licence."""

    advice = "Read the licence of the base model, set accept_eula to true in cdk.json, and run make deploy."


class DatasetRejected(CaptuneError):
    """The corpus or the held-out text is unsuitable for training or measurement."""

    advice = "Correct the lines that the cause names, upload the file again, and start a new execution."


class PatientDataSuspected(DatasetRejected):
    """An uploaded file appears to contain patient data."""

    advice = "Remove the patient data from the file that the cause names, and upload it again. Captune is not built for such data."


class ChatTemplateMissing(DatasetRejected):
    """The corpus contains conversations, but the base model has no chat template."""

    advice = (
        "Set base_model to a chat model in cdk.json and run make deploy, or upload records with prompt and completion."
    )


class HeldOutLeaks(DatasetRejected):
    """The held-out text shares sentences with the training text."""

    advice = "Remove or rewrite the lines or documents that the cause names, upload the file again, and start a new execution."


class PromptsRejected(CaptuneError):
    """The prompts are malformed, or do not fit the limits of a run."""

    advice = "Correct the prompts file as the cause describes, upload it again, and start a new execution."


class DatasetChanged(CaptuneError):
    """A file of the run changed between Preflight's check and its copy."""

    advice = "Start a new execution, and do not change the files until training starts."


class LedgerLost(CaptuneError):
    """The ledger lacks runs of this month that SageMaker or Step Functions lists: the table was deleted, or restored from an older backup."""

    advice = (
        "Restore the table under another name (DynamoDB keeps a deleted table's backup for 35 days) and copy its RUN# items. Or wait for "
        "the next month. Or set accept_lost_ledger to this month, such as 2026-11, and run make deploy: this month then gets its full cap again."
    )


class QuotaTooLow(CaptuneError):
    """A SageMaker quota is too low for the run's instances."""

    advice = "Request the quota that the cause names in the Service Quotas console, then start a new execution. If the cause names an adapter, pass it as adapterUri."


class PriceUnknown(CaptuneError):
    """Captune has no valid price for an instance type in the region, so it cannot compute the worst-case cost."""

    advice = "Run captune dev prices --instance-type TYPE --price-region REGION and make deploy, or choose another instance type in cdk.json."


class BudgetExceeded(CaptuneError):
    """The run's worst-case cost exceeds the remaining budget."""

    advice = "Captune tried the shortest run. Wait until a running run ends or until next month, or raise budget_usd in cdk.json and run make deploy."


class RunNameTaken(CaptuneError):
    """Another execution has already used this run name."""

    advice = "Start a new execution under another name, or keep the name that the console generates."


class RunInFlight(CaptuneError):
    """Another run uses all instances that your quotas allow."""

    advice = "Wait until the other run and its teardown end, or request a higher quota in the Service Quotas console."


class LeftoversFound(CaptuneError):
    """Resources of an earlier run still exist and may bill."""

    advice = (
        "Wait up to half an hour for the sweeper to remove them, or start captune-tear-down in the Step Functions console "
        'with {"runName": "captune-…"}. Then start a new execution.'
    )


class WeightsNotFound(CaptuneError):
    """The base model's weights are missing at the address of the catalogue or of weights_uri, or are not readable."""

    advice = "Correct weights_uri in cdk.json, or set another region or base_model if it is empty, and run make deploy."


class WeightsRejected(CaptuneError):
    """The folder of weights_uri is not a model that Captune can train and serve."""

    advice = "Correct the files that the cause names and start a new execution, or change weights_uri or base_model in cdk.json and run make deploy."


class ModelDoesNotFit(CaptuneError):
    """The base model needs more memory than the GPU of an instance type has."""

    advice = "Set training_instance_type and hosting_instance_type to a type that the cause names, or choose a smaller base_model, and run make deploy."


class ImageNotFound(CaptuneError):
    """A container image of the run does not exist in its registry."""

    advice = "Update Captune (git pull) or correct hosting_image in cdk.json, and run make deploy."


class AdapterRejected(CaptuneError):
    """The adapter of adapterUri is missing, damaged, or trained on another base model."""

    advice = "Pass the adapter's address from an earlier run's report as adapterUri, or omit adapterUri to train again."


class SpotWithoutCheckpoints(CaptuneError):
    """Spot training without checkpoints: after each interruption, training would start from the beginning."""

    advice = 'Set checkpoint_minutes to 10 in cdk.json and run make deploy, or start an execution with {"spot": false}.'


class AssetUnreadable(CaptuneError):
    """A deployed file is not readable: it was deleted, or the policy of its KMS key denies access."""

    advice = "If the file was deleted, run make deploy. Otherwise allow kms:Decrypt through S3 in the policy of the bootstrap's KMS key."


class LedgerDamaged(CaptuneError):
    """The seal of a ledger item is invalid: the item was changed by hand or damaged. It counts as the whole cap until you accept it."""

    advice = "Run captune ledger, then captune ledger --accept KEY. If an attribute is wrong, add --change NAME=VALUE."


class TooManyStarts(CaptuneError):
    """Executions started this month exceed the number that the cap reserves money for."""

    advice = "Stop the program that starts executions in a loop. Then wait for the next month, or delete the ledger item that the cause names to reset the count."


class HostingRefused(StateError):
    """SageMaker rejected the trial model or endpoint configuration, which Captune creates before training."""

    when = REFUSED
    advice = "If the cause mentions an explicit deny, undo and reset the budget action in the Budgets console. Otherwise correct the setting that the cause names, and run make deploy."


class TearDownNotScheduled(StateError):
    """EventBridge Scheduler rejected the schedule that ends the run, so Captune started no endpoint."""

    advice = "If the cause mentions access, run make deploy ARGS=--revert-drift, which restores the role. Otherwise check EventBridge Scheduler's quotas. Then start a new execution."


class TrainingNotStarted(StateError):
    """SageMaker rejected the training job."""

    advice = (
        "If the cause mentions an explicit deny, check the bill, then undo and reset the budget action in the Budgets console; or ask your organisation "
        "to allow gated models (sagemaker:DirectGatedModelAccess). If SageMaker rejects gated weights, run captune copy-weights and make deploy."
    )


class WeightsUnusable(StateError):
    """Training could not download the base model, or its folder contains no model."""

    advice = "Run captune copy-weights, which copies the model into your bucket and sets weights_uri, then make deploy. If weights_uri is set, correct that folder instead."


class NoCapacity(StateError):
    """AWS had no free instance during the run's longest wait."""

    advice = (
        'Start a new execution later, or with {"spot": false}. Or list more instance types in cdk.json and run make deploy. If the cause names '
        "an adapter, pass it as adapterUri."
    )


class SpotOutOfTime(StateError):
    """The spot job was interrupted, and had too little time on an instance within its longest wait."""

    advice = 'Start a new execution later, or on demand with {"spot": false}.'


class TrainingOutOfTime(StateError):
    """Training reached its time limit before it wrote an adapter."""

    advice = "Raise max_training_seconds in cdk.json and run make deploy, or train on less text or for fewer epochs."


class TrainingFailed(StateError):
    """The training job failed or was stopped. The cause repeats SageMaker's reason."""

    advice = "Correct the problem that the cause or the training job's log names, then start a new execution. If the cause names an adapter, pass it as adapterUri; otherwise training starts from the beginning."


class EndpointFailed(StateError):
    """The endpoint did not reach the status InService. The cause repeats SageMaker's reason."""

    advice = "Correct the problem that the cause or the endpoint's log names, then start a new execution with the adapterUri from the cause."


class ExtensionRefused(CaptuneError):
    """The run's endpoint cannot be extended: it is not kept now, or has reached the longest time."""

    when = RUNNING
    advice = "Wait until it ends, then start another endpoint with captune serve RUN."


class AdapterNotServed(CaptuneError):
    """The endpoint answered with another model than requested, or the fine-tuned answers equal the base model's."""

    when = RUNNING
    advice = "Empty hosting_image in cdk.json, or set it to an image that routes requests. Run make deploy, then start a new execution with the adapter as adapterUri."


class EndpointAnsweredBadly(CaptuneError):
    """The endpoint answered with an error, or in an unexpected format."""

    when = RUNNING
    advice = "Correct the problem that the cause or the endpoint's log names, then start a new execution with the adapter as adapterUri."


class ReportIncomplete(CaptuneError):
    """A file that the report needs is missing or damaged."""

    when = RUNNING
    advice = "Restore the file under the run's prefix in the bucket, or correct the pattern that the cause names. Then start a new execution."


class ServiceUnreachable(CaptuneError):
    """An AWS service did not answer after several attempts."""

    when = RUNNING
    advice = "Start a new execution later. This run leaves no billable resources."


class BudgetAlarm(StateError):
    """The account's spending reached the budget, so the kill switch stopped every run (the execution is aborted)."""

    advice = "Check the bill. Raise budget_usd and run make deploy, undo and reset the budget action in the Budgets console, and start a new execution."


class DeadlineReached(StateError):
    """The run reached its deadline, or its teardown was started by hand (the execution is aborted)."""

    advice = (
        "Find the slow state in the Step Functions console. If it is the endpoint, raise endpoint_deadline_minutes in cdk.json and run make deploy. "
        "To use an adapter under the run's training/ folder, pass it as adapterUri."
    )


class ReportDamaged(CaptuneError):
    """A file that the final report needs is damaged. The actual cost is recorded in the ledger."""

    when = REMOVED
    advice = "Restore an earlier version of the file that the cause names in the S3 console. The answers are in the run's answers/ folder."


# Step Functions' own errors and statuses, whose causes name no fix.
OF_STATUSES = {
    "States.Runtime": "Step Functions could not run a state. If the cause names InstancePreferences or InstancePools, which a list of instance types needs, set "
    "one type in training_instance_type and hosting_instance_type in cdk.json, and run make deploy. Otherwise read the state in the console.",
    "States.Timeout": "A state exceeded its time limit. Find it in the Step Functions console, then start a new execution.",
    "TIMED_OUT": "The execution exceeded its time limit. Find the slow state in the Step Functions console, then start a new execution.",
    "UNKNOWN": "Step Functions keeps an execution for 90 days, and no longer lists this one. Its actual cost is recorded; start a new execution.",
    "ABORTED": "The execution was stopped by hand. Start a new one when you are ready.",
}


def kinds() -> dict[str, type[CaptuneError]]:
    """Every error by its name, in the order of this file."""
    known = [value for value in globals().values() if isinstance(value, type) and issubclass(value, CaptuneError)]
    return {kind.__name__: kind for kind in known if kind not in (CaptuneError, StateError)}


def advice(error: str | None) -> str:
    """The next step for an error name, or for an execution's status where there is no name."""
    kind = kinds().get(error or "", CaptuneError)
    return OF_STATUSES.get(error or "", kind.advice)
