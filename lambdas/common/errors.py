"""The errors a run can end with. The class name is the error name that Step Functions shows; the message says how to mend it."""

from __future__ import annotations


class CaptuneError(Exception):
    """Base of every error with a message that a person can act on."""


class InvalidInput(CaptuneError):
    """The execution input has an unknown key or a value out of range."""


class DeployInProgress(CaptuneError):
    """The execution runs a definition of another deployment than the functions that it calls."""


class EulaNotAccepted(CaptuneError):
    """The licence of the base model was not accepted in the settings."""


class DatasetRejected(CaptuneError):
    """The corpus or the held-out text cannot be learned from or measured on."""


class PatientDataSuspected(DatasetRejected):
    """The corpus holds what looks like data of patients."""


class ChatTemplateMissing(DatasetRejected):
    """The corpus holds conversations, and the base model has no chat template to write them by."""


class HeldOutLeaks(DatasetRejected):
    """The held-out text shares sentences with the training text."""


class PromptsRejected(CaptuneError):
    """The prompts file is malformed."""


class DatasetChanged(CaptuneError):
    """A file of the run is another one than Preflight has checked."""


class LedgerLost(CaptuneError):
    """SageMaker remembers training jobs of this month that the ledger does not know."""


class QuotaTooLow(CaptuneError):
    """A SageMaker quota does not allow the instances of the run."""


class PriceUnknown(CaptuneError):
    """An instance type has no known price in the region. Unknown is not free."""


class BudgetExceeded(CaptuneError):
    """What is left of the cap does not cover the worst case of the run."""


class RunNameTaken(CaptuneError):
    """Another execution has already used this run name."""


class RunInFlight(CaptuneError):
    """Another run of this project uses the instances that the quotas allow."""


class LeftoversFound(CaptuneError):
    """Resources of an earlier run still exist and may bill."""


class WeightsNotFound(CaptuneError):
    """The weights of the base model are not where the catalog says."""


class WeightsRejected(CaptuneError):
    """The folder of weights that the settings name holds no model that can be trained and served."""


class ModelDoesNotFit(CaptuneError):
    """The base model needs more memory than the GPU of an instance type has."""


class ImageNotFound(CaptuneError):
    """A container image of the run does not exist in its registry."""


class AdapterRejected(CaptuneError):
    """The adapter that the input names is missing, damaged, or of another base model."""


class SpotWithoutCheckpoints(CaptuneError):
    """The run was to train on spot instances and keeps no checkpoint from which an interrupted job could go on."""


class AssetUnreadable(CaptuneError):
    """A file that was deployed with the stacks cannot be read: by its key's policy, or because it was deleted."""


class ServiceUnreachable(CaptuneError):
    """An AWS service did not answer after many attempts; the state machine tries again."""


class EndpointAnsweredBadly(CaptuneError):
    """The endpoint answered with an error or in an unexpected form."""


class AdapterNotServed(CaptuneError):
    """The endpoint answered as another model than the one asked, or the fine-tuned model answered as the base model does."""


class ReportIncomplete(CaptuneError):
    """What the report is made from is missing or damaged."""


class LedgerDamaged(CaptuneError):
    """An item of the ledger holds something that cannot be read. It counts as the dearest case until a person mends it."""


class TooManyStarts(CaptuneError):
    """More executions were started this month than the cap sets money aside for."""


class ReportDamaged(CaptuneError):
    """A file that the last report is made from is damaged. The cost is settled all the same."""
