"""What a run can cost at most, and what it did cost, in integer cents."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from fractions import Fraction

from common.clock import month_of, next_month_start
from common.pricing.durations import TEAR_DOWN_ALLOWANCE_SECONDS
from common.pricing.prices import Price

# What something is, how much of it is used, US dollars a unit: us-east-1 list prices of 2026, without any free allowance.
Items = tuple[tuple[str, Decimal, Decimal], ...]
S3_GB_MONTH = Decimal("0.023")
LAMBDA_GB_SECOND = Decimal("0.0000133334")
STATE_TRANSITION = Decimal("0.000025")
LOGS_GB = Decimal("0.50")

# How much hardware a run takes, beside its instance types; how many train is a setting. On the disk of training lie 13.5 GB of weights, as
# much again for a checkpoint, and the image. Types with a disk of their own ignore it.
ENDPOINT_INSTANCES, TRAINING_VOLUME_GB = 1, 100

# Everything that a run uses beside its two instances, its checkpoints and its answers. Of Lambda: each function's longest time, and once
# more where it is tried again after that. Of transitions: three for each look of the longest run, and those of its tear-down.
SMALL_ITEMS: Items = (
    ("S3 storage, GB-months of adapter, answers and reports", Decimal(1), S3_GB_MONTH),
    ("S3 and DynamoDB requests, thousands", Decimal(2), Decimal("0.006")),
    ("Lambda, GB-seconds", Decimal(5300), LAMBDA_GB_SECOND),
    ("Step Functions, state transitions", Decimal(2700), STATE_TRANSITION),
    ("CloudWatch Logs, GB", Decimal("0.1"), LOGS_GB),
    ("X-Ray traces, thousands", Decimal(1), Decimal("0.005")),
)

# Of a job: at its last step, and at a signal to stop.
LAST_CHECKPOINTS = 2
# Adapter and both moments of Adam in 32 bits, 12 bytes for each of the 2,498,560 weights that one rank has in the linear layers of
# Llama 2 7B, and a little for the loss curve.
CHECKPOINT_BYTES_PER_RANK = 31_000_000
# A folder is written under a name that marks it as partial and then renamed, so the upload may see both. What training removes,
# SageMaker removes in the bucket, where it stays as an old version for a day; counted is as if everything stayed to the end.
CHECKPOINT_COPIES = 2
# Each uploads eight files under both names and, in its interval, thirty notes of the step (training/checkpoints.py). The small items hold so
# many requests for a job; a checkpoint every minute makes more.
CHECKPOINT_REQUESTS, HELD_REQUESTS, REQUEST = 8 * CHECKPOINT_COPIES + 30, 1000, Decimal("0.000006")
# SageMaker reads a checkpoint only to resume the same job; a week leaves time to look into a failure. An expired one is an old version
# in a versioned bucket, and is billed like a new one. Each of both rules acts at the next midnight.
CHECKPOINT_KEPT_DAYS, OLD_CHECKPOINT_KEPT_DAYS = 7, 1
CHECKPOINT_DAYS = CHECKPOINT_KEPT_DAYS + OLD_CHECKPOINT_KEPT_DAYS + 2

# Ask asks both models at once, 512 MB each, for as long as the endpoint may serve: until its removal begins.
ASK_GB = Decimal(1)
# SageMaker bills a GB to or from an endpoint. A request has a prompt of 4,000 bytes at most, an answer 64 tokens. While Ask goes on it
# saves all answers again and again, and the bucket keeps each old version for a month: so many times the size of the last one.
HOSTING_GB = Decimal("0.016")
REQUEST_BYTES, ANSWER_BYTES, SAVED_COPIES = 4500, 1000, 12

# What the project uses in a month in which no run is made: the sweeper every quarter of an hour (256 MB for ten seconds), what earlier
# runs have left, backups. Not here because CloudWatch's allowance without end holds it: three dashboards of fifty metrics, ten alarms,
# ten metrics of one's own; nor SNS (1,000 e-mails) and the first two budgets with an action.
SWEEPS = 31 * 24 * 4
STANDING_ITEMS: Items = (
    ("S3 storage of earlier runs and their last checkpoints, GB-months", Decimal(10), S3_GB_MONTH),
    ("Lambda, GB-seconds of the sweeper", Decimal(SWEEPS) * Decimal("0.25") * 10, LAMBDA_GB_SECOND),
    ("Lambda requests of the sweeper, millions", Decimal(SWEEPS) / 1_000_000, Decimal("0.20")),
    ("DynamoDB, GB-months of the ledger and its backups", Decimal("0.1"), Decimal("0.45")),
    ("CloudWatch Logs, GB of the sweeper", Decimal("0.05"), LOGS_GB),
    ("X-Ray traces of the sweeper, thousands", Decimal(SWEEPS) / 1000, Decimal("0.005")),
)

# One execution that is looked at and refused: Preflight (1,769 MB) until its time-out, the report of the failure, the tear-down and the
# settlement, which find nothing.
LOOK_ITEMS: Items = (
    ("Lambda, GB-seconds", Decimal(1769) / 1024 * 180 + 30, LAMBDA_GB_SECOND),
    ("Step Functions, state transitions", Decimal(40), STATE_TRANSITION),
    ("S3 and DynamoDB requests, thousands", Decimal("0.05"), Decimal("0.006")),
    ("CloudWatch Logs, GB", Decimal("0.0001"), LOGS_GB),
    ("X-Ray traces, thousands", Decimal("0.01"), Decimal("0.005")),
)
# The part of a cap that is set aside for executions that are looked at and refused.
LOOKS_SHARE = Decimal("0.02")
# The part of a cap for the sweeper's readings of the ledger, which grows with each run and so with the cap: that of three years in
# which each month's cap was spent on runs of $1.20, at 1.1 KB a run and $0.125 for a million readings of 4 KB.
LEDGER_SHARE = Decimal("0.0031")


def _dollars(items: Items) -> Decimal:
    return sum((amount * unit for _, amount, unit in items), Decimal(0))


def _cents(dollars: Decimal) -> int:
    """Rounded up: what is set aside may never be short of a fraction."""
    return int((dollars * 100).to_integral_value(ROUND_CEILING))


def small_items_cents() -> int:
    """Storage, requests, Lambda, Step Functions and logs of one run, rounded up to a cent."""
    return _cents(_dollars(SMALL_ITEMS))


def checkpoint_cents(training_seconds: int, lora_rank: int, minutes: int) -> int:
    """All that one job writes as checkpoints, in a versioned bucket, until none of it is left. Rounded up to a cent.

    `minutes` lie between two checkpoints; 0 for none but the last ones.

    S3 bills bytes for the time they are there; the shortest month makes that the most GB-months.
    """
    if not training_seconds:
        return 0
    written = LAST_CHECKPOINTS + (-(-training_seconds // (60 * minutes)) if minutes else 0)
    gigabytes = Decimal(written * CHECKPOINT_COPIES * CHECKPOINT_BYTES_PER_RANK * lora_rank) / 10**9
    requests = max(0, written * CHECKPOINT_REQUESTS - HELD_REQUESTS)
    return _cents(gigabytes * CHECKPOINT_DAYS / 28 * S3_GB_MONTH + requests * REQUEST)


def asking_cents(endpoint_seconds: int) -> int:
    """What Ask may cost where an endpoint may be there for so long, its removal included. Rounded up to a cent."""
    return _cents(max(0, endpoint_seconds - TEAR_DOWN_ALLOWANCE_SECONDS) * ASK_GB * LAMBDA_GB_SECOND)


def answers_cents(prompts: int, samples: int) -> int:
    """What both models' answers may cost on their way and as old versions in the bucket. Rounded up to a cent."""
    # A starter has one sampled answer at least.
    each = 1 + max(1, samples)
    sent = 2 * prompts * each * Decimal(REQUEST_BYTES + ANSWER_BYTES)
    saved = 2 * prompts * Decimal(REQUEST_BYTES + each * ANSWER_BYTES) * SAVED_COPIES
    return _cents((sent * HOSTING_GB + saved * S3_GB_MONTH) / 10**9)


def looks_bound(cap_cents: int) -> int:
    """How many executions of a month Preflight looks at: as many as their share of the cap pays for, were all of them refused."""
    return int(cap_cents * LOOKS_SHARE / (_dollars(LOOK_ITEMS) * 100))


def standing_cents(cap_cents: int) -> int:
    """What a month costs beside its runs, rounded up to a cent: what is always there, the ledger's readings, refused executions."""
    return _cents(_dollars(STANDING_ITEMS) + cap_cents * (LOOKS_SHARE + LEDGER_SHARE) / 100)


def for_runs(cap_cents: int) -> int:
    """What a cap leaves for the runs of a month, in cents."""
    return max(0, cap_cents - standing_cents(cap_cents))


def cap_for(cents: int) -> int:
    """The smallest cap in whole US dollars that leaves so much for runs."""
    dollars = -(-cents // 100)
    while for_runs(dollars * 100) < cents:
        dollars += 1
    return dollars


@dataclass(frozen=True)
class RunCost:
    """What a run costs in cents, by what it is for, and the seconds of all its instances together."""

    training_seconds: int
    endpoint_seconds: int
    training_cents: int
    endpoint_cents: int
    other_cents: int

    @property
    def cents(self) -> int:
        """All of it."""
        return self.training_cents + self.endpoint_cents + self.other_cents


def worst_case(
    training: Price, hosting: Price, training_seconds: int, endpoint_seconds: int, months: int = 1, kept: int = 0
) -> RunCost:
    """The cost of a run whose training and endpoint both last as long as they are allowed to. `kept` are the cents of its checkpoints
    and its answers.

    A run that may lie in several calendar months is rounded up in each, and has everything beside the instances in each.
    """
    return RunCost(
        training_seconds,
        endpoint_seconds,
        training.cents(training_seconds) + months - 1,
        hosting.cents(endpoint_seconds) + months - 1,
        (small_items_cents() + kept + asking_cents(endpoint_seconds)) * months,
    )


def month_shares(start: datetime, end: datetime) -> dict[str, Fraction]:
    """Which part of an interval lies in each calendar month; exact, and 1 in all. A moment lies in its own month."""
    parts: dict[str, timedelta] = {}
    cursor = start
    while cursor < end:
        stop = min(end, next_month_start(cursor))
        parts[month_of(cursor)] = stop - cursor
        cursor = stop
    microsecond = timedelta(microseconds=1)
    return {month: Fraction(part // microsecond, (end - start) // microsecond) for month, part in parts.items()} or {
        month_of(start): Fraction(1)
    }
