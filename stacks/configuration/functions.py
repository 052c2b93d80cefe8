"""The Lambdas as a table, which the stack, the simulated account and docs/architecture.md read.

Environment and permissions are in stacks/functions.py, because they name what only a synthesis knows.
"""

from dataclasses import dataclass

from stacks.configuration import images
from stacks.names import FINE_TUNING, TEAR_DOWN

# The largest report that Preflight allows, 10,000 prompts with 8 samples each, an emoji in every answer and a corpus of 5 million words, takes
# 1,470 MiB and 301 s of a core to write and 1,379 MiB and 40 s to finish (measured on made-up
# answers, with 200 resamples). A report draws 1,000 resamples of so many prompts, not 200: that adds about half a minute.
REPORT_MEMORY = 2048
# From here on Lambda gives a whole vCPU. A corpus of 64 MiB takes 51 s of one to read and check (measured on made-up articles), and 380 MiB.
WHOLE_CORE_MEMORY = 1769
SAGEMAKER_KINDS = ("training jobs", "models", "endpoint configurations", "endpoints")


@dataclass(frozen=True, kw_only=True)
class Function:
    """One Lambda: `memory` in MB, `timeout` in seconds, and the state machine that calls it (none: `called_by` is empty).

    `caller`, `reads` and `changes` are for the documentation. `wildcards` are those of its permissions, by their names in
    acknowledgements.py, without "everywhere", which the traces of each function need.
    """

    name: str
    memory: int
    timeout: int
    purpose: str
    caller: str
    reads: str
    changes: str
    called_by: str = ""
    wildcards: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """Its folder in lambdas/."""
        return self.name.lower()


_TABLE = (
    Function(
        name="Preflight",
        called_by=FINE_TUNING,
        memory=WHOLE_CORE_MEMORY,
        timeout=180,
        purpose="Makes all free checks and plans the run.",
        caller="FineTuning",
        reads="bucket, deployed assets, weights and hub, image registry, quotas, prices, SageMaker, Guardrail's rules and topic, ledger, executions",
        changes="the count of executions in the ledger",
        wildcards=("corpora", "adapters", "plans", "training jobs", "endpoints", "executions", "keys of weights"),
    ),
    Function(
        name="Reserve",
        called_by=FINE_TUNING,
        memory=256,
        timeout=30,
        purpose="Reserves the worst-case cost of a run in the ledger, or rejects the run.",
        caller="FineTuning",
        reads="ledger",
        changes="ledger",
    ),
    Function(
        name="Stage",
        called_by=FINE_TUNING,
        # It reads and checks what Preflight did, and then writes it.
        memory=WHOLE_CORE_MEMORY,
        timeout=240,
        purpose="Copies the checked files to the run's prefix, once the run owns it.",
        caller="FineTuning",
        reads="bucket, deployed assets",
        changes="the run's input",
        wildcards=("corpora", "plans", "input", "code", "trial adapter"),
    ),
    Function(
        name="Ask",
        called_by=FINE_TUNING,
        memory=images.ASK_MEMORY,
        timeout=900,
        purpose="Sends the prompts to one model of the endpoint and keeps its answers.",
        caller="FineTuning, once per model",
        reads="prompts, the endpoint",
        changes="the run's answers",
        wildcards=("prompts", "answers", "endpoints"),
    ),
    Function(
        name="Report",
        called_by=FINE_TUNING,
        memory=REPORT_MEMORY,
        timeout=900,
        purpose="Writes the before/after report of a run.",
        caller="FineTuning",
        reads="the runs in the bucket",
        changes="its report",
        wildcards=("runs", "report"),
    ),
    Function(
        name="TearDown",
        called_by=TEAR_DOWN,
        memory=256,
        # Several silent services, each given up after half a minute, must leave time for the one that answers.
        timeout=300,
        purpose="Stops and deletes all billable resources of a run.",
        caller="TearDown",
        reads="SageMaker, Step Functions, ledger",
        changes="deletes at SageMaker, stops the execution, notes each endpoint in the ledger",
        wildcards=(*SAGEMAKER_KINDS, "executions"),
    ),
    Function(
        name="Settle",
        called_by=TEAR_DOWN,
        memory=256,
        timeout=120,
        purpose="Replaces a reservation with the actual cost.",
        caller="TearDown",
        reads="SageMaker's billed seconds, the execution's history, ledger",
        changes="ledger",
        wildcards=("training jobs", "executions"),
    ),
    Function(
        name="Finish",
        called_by=TEAR_DOWN,
        memory=REPORT_MEMORY,
        timeout=150,
        purpose="Writes the actual cost into the report of a run.",
        caller="TearDown",
        reads="the run's plan and report",
        changes="its report",
        wildcards=("plans", "report"),
    ),
    Function(
        name="Sweeper",
        memory=256,
        timeout=600,
        purpose="Every quarter of an hour, and as the kill switch of the budget: starts the teardown of leftovers.",
        caller="a rule every quarter of an hour; a topic at 100% of the budget",
        reads="SageMaker, Step Functions, ledger",
        changes="starts TearDown, removes leftovers and notes endpoints in the ledger; as kill switch, stops executions",
        wildcards=(*SAGEMAKER_KINDS, "executions"),
    ),
)
FUNCTIONS = {one.name: one for one in _TABLE}
