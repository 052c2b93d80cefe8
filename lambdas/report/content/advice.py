"""What a person can do about an error that ended a run. The Cause says what happened; this says what to do next."""

from __future__ import annotations

ADVICE = {
    "InvalidInput": "Correct the execution input. {} is always a valid input.",
    "DeployInProgress": "Wait a minute or two until the deployment has ended, then start a new execution; a redrive keeps the old definition.",
    "EulaNotAccepted": "Read the licence of the base model, set accept_eula to true in cdk.json and deploy again.",
    "DatasetRejected": "Mend the file at the line that the cause names, upload it again and start a new execution.",
    "PatientDataSuspected": "Remove what looks like patient data from the file that the cause names. This stack is not made for such data.",
    "ChatTemplateMissing": "Set base_model to a chat model and deploy, or give records with prompt and completion.",
    "HeldOutLeaks": "Take the overlapping passages out of the training text, or hold out other documents.",
    "PromptsRejected": "Mend the prompts file at the line that the cause names.",
    "DatasetChanged": "Start a new execution, and leave the files alone until it trains. Nothing was paid.",
    "QuotaTooLow": "Ask for the quota named in the cause in the Service Quotas console, then start a new execution.",
    "PriceUnknown": "Choose an instance type with a known price. Unknown is not free, so the run was refused.",
    "BudgetExceeded": "Wait for the next month, lower max_training_seconds or endpoint_deadline_minutes, or raise budget_usd.",
    "LedgerDamaged": "See with captune ledger which item it is, put right what it names, or restore the table to a moment before.",
    "TooManyStarts": "Find what starts executions in a loop and stop it. The next month counts anew.",
    "LedgerLost": "Bring the items of the deleted ledger back, wait for the next month, or set accept_lost_ledger to this month and deploy.",
    "RunInFlight": "Wait until the other run and its tear-down are done, or ask for a quota of two instances.",
    "RunNameTaken": "Start the execution under another name.",
    "LeftoversFound": "Let the TearDown state machine finish (start it by hand if need be), then start a new execution.",
    "WeightsNotFound": "With weights_uri, mend what the cause names; without it, choose another region or base_model. Deploy, and start again.",
    "WeightsRejected": "Mend what the cause names in the folder of weights_uri, or leave weights_uri empty and deploy, and start again.",
    "ModelDoesNotFit": "Set an instance type that the cause names, or choose a smaller base_model, deploy, and start again. Nothing was paid.",
    "AssetUnreadable": "Let the policy of the bootstrap's key allow kms:Decrypt through S3, or deploy again where the file was deleted.",
    "ImageNotFound": "Deploy a newer version of this project, or name another image in hosting_image, and start again.",
    "AdapterRejected": "Name the folder that an earlier run's report gives as its adapter, or leave adapterUri out to train again.",
    "HostingRefused": "Nothing was paid. Where the cause speaks of an explicit deny, captune release; else mend the setting that the cause names, and deploy.",
    "NoCapacity": 'Start again later, on demand with the input {"spot": false} if it was to be on spot, or list further instance types in cdk.json and deploy. An adapter that is trained already is named in the cause.',
    "TrainingOutOfTime": "Raise max_training_seconds in cdk.json and deploy, or train on less text or for fewer epochs.",
    "SpotOutOfTime": 'Start again later, or on demand with the input {"spot": false}.',
    "SpotWithoutCheckpoints": 'Set checkpoint_minutes to 10 in cdk.json and deploy, or start with {"spot": false}. Nothing was paid.',
    "ServiceUnreachable": "Start the execution again later. Nothing of this run goes on billing.",
    "TrainingFailed": "Read the cause and the log of the training job, then start a new execution.",
    "EndpointFailed": "Read the cause and the log of the endpoint. Missing capacity passes: start again later.",
    "EndpointAnsweredBadly": "Read the log of the endpoint, then start a new execution.",
    "AdapterNotServed": "Leave hosting_image empty or set it to an image that routes requests, deploy again, and serve the adapter of this run with adapterUri.",
    "ReportIncomplete": "Look for the missing file under the run's prefix in the bucket, or mend the pattern that the cause names.",
    "ReportDamaged": "The cost is settled. The answers lie under answers/ of the run, and the bucket keeps earlier versions of the report.",
    "TrainingNotStarted": "Where the cause speaks of an explicit deny, the budget alarm went off: look at the bill, then captune release. Else read the cause.",
    "TearDownNotScheduled": "Check the FineTuning role and the quota of EventBridge Scheduler, then start a new execution.",
    "BudgetAlarm": "Look at the bill, then captune release, and start a new execution.",
    "DeadlineReached": "See in the console where the time went; raise endpoint_deadline_minutes if the endpoint was slow.",
    "States.Timeout": "A state took longer than it may. See which one in the console, then start a new execution.",
    "TIMED_OUT": "The execution took longer than it may. See in the console where the time went.",
    "UNKNOWN": "Step Functions keeps an execution for 90 days and has none of this name any more. The cost is settled; start a new execution.",
    "ABORTED": "The execution was stopped on purpose. Start a new one when you are ready.",
}
DEFAULT = "Open the execution in the Step Functions console, read the state that failed, and start a new execution."


def advice(error: str | None) -> str:
    """The next step for an error name, or for the status where there is no name."""
    return ADVICE.get(error or "", DEFAULT)
