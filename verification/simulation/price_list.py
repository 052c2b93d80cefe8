"""What AWS takes, written down apart from the product's own tables: the audit counts with these figures and no others.

Read from the public pages of SageMaker AI, S3, DynamoDB, Lambda, Step Functions, CloudWatch and X-Ray pricing for us-east-1.
Where a figure and the product's disagree, the months of the proof show which runs were reserved too little.
"""

from dataclasses import dataclass
from fractions import Fraction

# US dollars an hour, training and hosting alike. The last one is nobody's setting: it stands for what must never be started
# on the reservation of another type.
HOURLY_USD = {
    "ml.g5.2xlarge": "1.515",
    "ml.g6.2xlarge": "1.222",
    "ml.g5.12xlarge": "7.09",
    "ml.g6e.2xlarge": "2.80",
    "ml.p4d.24xlarge": "37.688",
}
_GB = 10**9
_MONTH_DAYS = 30
_S3_GB_MONTH = Fraction("0.023")

# Rank 16 on the seven linear layers of each of the 32 blocks of Llama 2 7B (four of 4096 x 4096, three of 4096 x 11008).
_RANK, _WIDTH, _INNER, _BLOCKS = 16, 4096, 11008, 32
ADAPTER_PARAMETERS = _BLOCKS * _RANK * (4 * (_WIDTH + _WIDTH) + 3 * (_WIDTH + _INNER))


def adapter_bytes() -> int:
    """The adapter in 32 bits, which is the larger of the forms that training writes."""
    return 4 * ADAPTER_PARAMETERS


def checkpoint_bytes() -> int:
    """An adapter and Adam's two moments, each in 32 bits."""
    return 3 * adapter_bytes()


def storage_cents(size: int, days: float) -> Fraction:
    """So many bytes in S3 Standard for so many days."""
    return Fraction(size, _GB) * _S3_GB_MONTH * 100 * Fraction(str(days)) / _MONTH_DAYS


def hourly_cents(instance_type: str) -> Fraction:
    """An instance of a type for an hour. Raises KeyError for a type without a figure: nothing is free."""
    return Fraction(HOURLY_USD[instance_type]) * 100


# Everything beside the instances, us-east-1.
_LAMBDA_GB_SECOND = Fraction("0.0000133334")  # arm64
_TRANSITION = Fraction("0.000025")
_S3_PUT = Fraction("0.000005")
_LOG_GB = Fraction("0.50")
# A run's log lines: the machines log every event with its data (about 400 events of 6 kB), SageMaker's logs are a tenth of it.
_LOG_BYTES = 50 * 10**6
# The last step and a stop signal write one each; and SageMaker may upload a folder under its partial name and again under its own.
_LAST_CHECKPOINTS, _COPIES = 2, 2
# Puts of answers, report, checkpoints, and the ledger's writes, each counted as the dearest of them.
_REQUESTS = 2000


@dataclass(frozen=True)
class Use:
    """What one run used beside its instances: GB-seconds of Lambda, state transitions, and seconds of training."""

    gb_seconds: float = 0.0
    transitions: int = 0
    training_seconds: float = 0.0


def small_cents(use: Use, checkpoint_seconds: float, kept_days: float) -> Fraction:
    """Lambda, Step Functions, requests, logs and storage of one run, in cents.

    Training writes a checkpoint of a new name every `checkpoint_seconds`; each is paid for `kept_days`, as a current and then as
    an old version. The adapter and the report stay for the month.
    """
    checkpoints = int(use.training_seconds // checkpoint_seconds) + _LAST_CHECKPOINTS if use.training_seconds else 0
    dollars = (
        Fraction(str(round(use.gb_seconds, 3))) * _LAMBDA_GB_SECOND
        + use.transitions * _TRANSITION
        + _REQUESTS * _S3_PUT
        + Fraction(_LOG_BYTES, _GB) * _LOG_GB
    )
    stored = checkpoints * _COPIES * storage_cents(checkpoint_bytes(), kept_days) + storage_cents(
        2 * adapter_bytes(), _MONTH_DAYS
    )
    return dollars * 100 + stored
