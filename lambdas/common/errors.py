"""The errors a run can end with. The class name is the error name that Step Functions shows; the message says what happened.

A new kind of failure is one class here: its docstring says what it means and `advice` what to do next. The report and the e-mail
print the advice, and the tables of docs/troubleshoot.md are made from both (`captune readme`).
"""

from typing import ClassVar

REFUSED, RUNNING, REMOVED = "refused before anything is paid", "while it trains and serves", "after the run"


class CaptuneError(Exception):
    """Base of every error with a message that a person can act on."""

    advice: ClassVar[str] = (
        "Open the execution in the Step Functions console, read the state that failed, and start a new execution."
    )
    when: ClassVar[str] = REFUSED


class StateError(CaptuneError):
    """Base of the errors that a state machine or the sweeper names: no function raises them."""

    when = RUNNING


class InvalidInput(CaptuneError):
    """The execution input has an unknown key or a value out of range, or the execution's name cannot be used."""

    advice = "Correct what the cause names. {} is always a valid input. TearDown, started by hand, needs a runName or an executionName."


class DeployInProgress(CaptuneError):
    """The execution's definition and its Lambda functions come from different deployments."""

    advice = "Wait until the deployment has ended, then start a new execution. A redrive keeps the old definition."


class GuardrailMissing(CaptuneError):
    """What ends every run (event rule, sweeper's rule, kill switch) does not exist or is disabled."""

    advice = "Run captune check, then make deploy; where somebody changed it by hand, make deploy ARGS=--revert-drift."


class PlanExpired(CaptuneError):
    """Step Functions waited so long between plan and reservation that the run would last into another month."""

    advice = "Start a new execution."


class EulaNotAccepted(CaptuneError):
    """The licence of the base model was not accepted in the settings."""

    advice = "Read the licence of the base model, set accept_eula to true in cdk.json and deploy again."


class DatasetRejected(CaptuneError):
    """The corpus or the held-out text cannot be learned from or measured on."""

    advice = "Correct the line that the cause names, upload the file again and start a new execution."


class PatientDataSuspected(DatasetRejected):
    """The corpus holds what looks like data of patients."""

    advice = (
        "Remove what looks like patient data from the file that the cause names. This stack is not made for such data."
    )


class ChatTemplateMissing(DatasetRejected):
    """The corpus holds conversations, and the base model has no chat template to write them by."""

    advice = "Set base_model to a chat model and deploy, or give records with prompt and completion."


class HeldOutLeaks(DatasetRejected):
    """The held-out text shares sentences with the training text."""

    advice = "Do what the cause says of the lines or documents that it names, upload the file again and start a new execution."


class PromptsRejected(CaptuneError):
    """The prompts file is malformed."""

    advice = "Correct the prompts file at the line that the cause names."


class DatasetChanged(CaptuneError):
    """A file of the run changed between Preflight's check and its copy."""

    advice = "Start a new execution, and leave the files alone until it trains."


class LedgerLost(CaptuneError):
    """SageMaker lists training jobs of this month, or Step Functions runs, that the ledger does not know: it was deleted, or restored from an older backup."""

    advice = (
        "Restore the table under another name (DynamoDB keeps a deleted table's backup for 35 days) and copy its RUN# items. Or wait "
        "for the next month, or set accept_lost_ledger to this month, such as 2026-11, and deploy: it gets its whole cap once more."
    )


class QuotaTooLow(CaptuneError):
    """A SageMaker quota does not allow the instances of the run."""

    advice = (
        "Ask for the quota that the cause names in the Service Quotas console, then start a new execution, with adapterUri where the "
        "cause names an adapter."
    )


class PriceUnknown(CaptuneError):
    """An instance type has no known price in the region. Unknown is not free."""

    advice = "Run captune prices --instance-type TYPE --price-region REGION and deploy again, or choose another type."


class BudgetExceeded(CaptuneError):
    """What is left of the cap does not cover the worst case of the run."""

    advice = "Wait for the next month, lower max_training_seconds or endpoint_deadline_minutes, or raise budget_usd, and deploy."


class RunNameTaken(CaptuneError):
    """Another execution has already used this run name."""

    advice = "Start the execution under another name, or leave the name to the console."


class RunInFlight(CaptuneError):
    """Another run of this project uses the instances that the quotas allow."""

    advice = "Wait until the other run and its tear-down are done, or ask for a higher quota."


class LeftoversFound(CaptuneError):
    """Resources of an earlier run still exist and may bill."""

    advice = "Wait for the sweeper, which removes them within half an hour, or start TearDown for that run. Then start again."


class WeightsNotFound(CaptuneError):
    """The weights of the base model are not where the catalogue or weights_uri says, or may not be read."""

    advice = "Correct weights_uri, or without it choose another region or base_model, and deploy."


class WeightsRejected(CaptuneError):
    """The base model's folder holds nothing that can be trained and served."""

    advice = "Correct the files that the cause names, or change weights_uri or base_model, and deploy."


class ModelDoesNotFit(CaptuneError):
    """The base model needs more memory than the GPU of an instance type has."""

    advice = "Set an instance type that the cause names, or a smaller base_model, and deploy."


class ImageNotFound(CaptuneError):
    """A container image of the run does not exist in its registry."""

    advice = "Deploy a newer version of this project, or name another image in hosting_image."


class AdapterRejected(CaptuneError):
    """The adapter that the input names is missing, damaged, or of another base model."""

    advice = (
        "Name the folder that an earlier run's report gives as its adapter, or leave adapterUri out to train again."
    )


class SpotWithoutCheckpoints(CaptuneError):
    """Spot training without checkpoints: an interrupted job would begin anew each time."""

    advice = 'Set checkpoint_minutes to 10 in cdk.json and deploy, or start with {"spot": false}.'


class AssetUnreadable(CaptuneError):
    """A file that was deployed with the stacks cannot be read: by its key's policy, or because it was deleted."""

    advice = (
        "Allow kms:Decrypt through S3 in the policy of the bootstrap's key, or deploy again where the file was deleted."
    )


class LedgerDamaged(CaptuneError):
    """The seal of a ledger item does not fit: something else changed it. It counts as the whole cap until a person accepts it."""

    advice = "Run captune ledger, then captune ledger --accept KEY, with --set NAME=VALUE where an attribute is wrong."


class TooManyStarts(CaptuneError):
    """More executions were started this month than the cap sets money aside for."""

    advice = "Stop what starts executions in a loop. The count begins anew next month, or when the item that the cause names is deleted."


class HostingRefused(StateError):
    """SageMaker refused the trial model or endpoint configuration, which are created before training."""

    when = REFUSED
    advice = "Where the cause speaks of an explicit deny, undo and reset the budget action; else correct the setting that the cause names, and deploy."


class TearDownNotScheduled(StateError):
    """EventBridge Scheduler refused the schedule that ends the run, so no endpoint was started."""

    advice = "Check the FineTuning role and the quota of EventBridge Scheduler, then start a new execution."


class TrainingNotStarted(StateError):
    """SageMaker refused the training job."""

    advice = (
        "Where the cause speaks of an explicit deny, look at the bill, then undo and reset the budget action. If SageMaker rejects gated weights "
        "for training, run captune copy-weights and deploy. Your organisation may also deny gated models (sagemaker:DirectGatedModelAccess)."
    )


class WeightsUnusable(StateError):
    """Training could not download the base model, or found none in its folder."""

    advice = "Run captune copy-weights, which copies the model into your bucket and sets weights_uri, and deploy; if weights_uri is set already, correct that folder."


class NoCapacity(StateError):
    """AWS had no free instance for as long as the run may wait for one."""

    advice = (
        'Start again later, or on demand with {"spot": false}, or list further types in cdk.json and deploy; with adapterUri where the '
        "cause names an adapter."
    )


class SpotOutOfTime(StateError):
    """The spot job was interrupted, and got too little time on an instance before its longest wait ended."""

    advice = 'Start again later, or on demand with the input {"spot": false}.'


class TrainingOutOfTime(StateError):
    """Training was stopped at its longest time before it had written an adapter."""

    advice = "Raise max_training_seconds in cdk.json and deploy, or train on less text or for fewer epochs."


class TrainingFailed(StateError):
    """The training job failed, or somebody stopped it. The cause repeats SageMaker's reason."""

    advice = "Read the log of the training job, then start a new execution, which trains from the beginning, or with adapterUri where the cause names an adapter."


class EndpointFailed(StateError):
    """The endpoint did not come into service. The cause repeats SageMaker's reason."""

    advice = "Read the log of the endpoint, then start again with the adapterUri that the cause names."


class ExtensionRefused(CaptuneError):
    """The endpoint of a run cannot be kept for longer: it is not kept now, or as long as any may be."""

    when = RUNNING
    advice = "Let it end, and start another one with captune serve RUN."


class AdapterNotServed(CaptuneError):
    """The answer came from another model than the one requested, or the fine-tuned model answered as the base model does."""

    when = RUNNING
    advice = "Leave hosting_image empty or set it to an image that routes requests, deploy, and serve the adapter with adapterUri."


class EndpointAnsweredBadly(CaptuneError):
    """The endpoint answered with an error or in an unexpected form."""

    when = RUNNING
    advice = "Read the log of the endpoint, then start a new execution."


class ReportIncomplete(CaptuneError):
    """What the report is made from is missing or damaged."""

    when = RUNNING
    advice = (
        "Look for the missing file under the run's prefix in the bucket, or correct the pattern that the cause names."
    )


class ServiceUnreachable(CaptuneError):
    """An AWS service did not answer after many attempts."""

    when = RUNNING
    advice = "Start the execution again later. Nothing of this run goes on billing."


class BudgetAlarm(StateError):
    """The account's spending reached the budget, so the kill switch stopped every run (the execution is aborted)."""

    advice = "Look at the bill, undo and reset the budget action, and start a new execution."


class DeadlineReached(StateError):
    """The run reached its deadline, or its tear-down was started by hand (the execution is aborted)."""

    advice = (
        "See in the console where the time went; raise endpoint_deadline_minutes if the endpoint was slow. adapterUri serves what lies "
        "under training/ of the run."
    )


class ReportDamaged(CaptuneError):
    """A file that the last report is made from is damaged. The cost is settled all the same."""

    when = REMOVED
    advice = "The answers lie under answers/ of the run, and the bucket keeps earlier versions of the file that the cause names."


# What Step Functions itself says, with a cause that names no fix.
OF_STATUSES = {
    "States.Runtime": "Step Functions could not run a state. If the cause names InstancePreferences or InstancePools, which a list of instance types needs, "
    "name one type in training_instance_type and hosting_instance_type (cdk.json) and deploy. Otherwise read the state in the console.",
    "States.Timeout": "A state took longer than it may. See which one in the console, then start a new execution.",
    "TIMED_OUT": "The execution took longer than it may. See in the console where the time went.",
    "UNKNOWN": "Step Functions keeps an execution for 90 days and has none of this name any more. The cost is settled; start a new execution.",
    "ABORTED": "The execution was stopped on purpose. Start a new one when you are ready.",
}


def kinds() -> dict[str, type[CaptuneError]]:
    """Every error by its name, in the order of this file."""
    known = [value for value in globals().values() if isinstance(value, type) and issubclass(value, CaptuneError)]
    return {kind.__name__: kind for kind in known if kind not in (CaptuneError, StateError)}


def advice(error: str | None) -> str:
    """The next step for an error name, or for an execution's status where there is no name."""
    kind = kinds().get(error or "", CaptuneError)
    return OF_STATUSES.get(error or "", kind.advice)
