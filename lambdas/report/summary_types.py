"""The form of summary.json, as types. `Summary` names the function whose keys a block of figures has."""

from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict

Verdict = Literal["improved", "vocabulary only", "not shown", "worse", "worse outside", "none better"]
KnowledgeVerdict = Literal["improved", "not shown", "worse"]
# UNKNOWN is an execution that Step Functions has forgotten.
Status = Literal["RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED", "UNKNOWN"]
Block = dict[str, Any]


class Estimate(TypedDict):
    """A figure with its standard error and its 95% interval; null for what could not be worked out."""

    estimate: float | None
    standard_error: float | None
    low: float | None
    high: float | None


class Copied(TypedDict):
    """The longest copied run of one text, and its character places."""

    words: int
    start: int
    end: int


class Marked(TypedDict):
    """A text with the character places of its key facts and of the longest run copied from the corpus."""

    text: str
    marks: list[list[int]]
    found: list[str]
    missing: list[str]
    copied: Copied | None


class Answer(TypedDict):
    """What one model answered to one prompt."""

    greedy: Marked
    samples: list[Marked]
    seeds: list[int]
    recall: float | None  # from 0 to 1
    seconds: NotRequired[float | None]


class PromptRow(TypedDict):
    """One prompt with the answers of both models."""

    id: str
    kind: str
    prompt: str
    facts: list[str]
    cluster: NotRequired[str]
    reference: NotRequired[str]  # What a held-out record itself answers
    base: Answer | None
    tuned: Answer | None


class BaseModel(TypedDict):
    """The model that was trained and the one that was planned."""

    name: str  # The weights' own name where they are not those of the plan
    parameters: int | None
    matches_plan: bool | None  # null: the run ended before the weights were read
    planned_name: str | None
    planned_parameters: int | None
    architecture: NotRequired[str | None]
    trainable_parameters: NotRequired[int | None]
    quantization: NotRequired[str | None]
    dtype: NotRequired[str | None]


class Cost(TypedDict):
    """What was reserved and what it did cost, in US cents."""

    reserved_cents: int | None
    actual_cents: int | None  # null until the actual cost is recorded
    training_cents: int | None
    endpoint_cents: int | None
    other_cents: int | None
    remaining_cents: int | None
    cap_cents: int | None
    month: str | None
    training_seconds: NotRequired[int]
    endpoint_seconds: NotRequired[int]


class Expected(TypedDict):
    """What the plan expected; null where unknown."""

    cents: int | None
    tokens: int | None
    learning_seconds: int | None


class Spot(TypedDict):
    """A training job on spot instances; null where SageMaker reported nothing."""

    interruptions: int | None
    training_seconds: int | None
    billed_seconds: int | None
    saved_cents: int | None


class RunConfiguration(TypedDict, total=False):
    """What the run was made with, from its plan and WriteReport's event."""

    training_instance_type: str | None  # The one that trained; null where nothing was trained
    training_instance_types: list[str] | None  # in order of preference
    training_instance_count: int | None  # How many of them trained together; null where nothing was trained
    hosting_instance_type: str | None  # The one that served
    hosting_instance_types: list[str] | None  # in order of preference
    training_hourly_cents: float | None  # of one instance
    hosting_hourly_cents: float | None  # of one instance
    price_source: str | None
    base_model_source: str | None
    data_digest: str | None  # SHA-256 of the files staged for the run that trained
    input: dict[str, Any] | None
    max_training_seconds: int | None
    training_cut: bool | None  # Training was stopped at max_training_seconds, with an adapter
    spot: Spot | None  # null: the run trained on demand, or not at all
    smoke: bool | None  # The run was to show only that every step works: nothing is judged
    adapter_uri: str | None  # The adapter of an earlier run, served instead of training one
    adapter_run: str | None  # The run that trained it: losses, corpus and training are its own
    trained_adapter_uri: str | None  # Where the adapter lies that this run trained, for `adapterUri` of a later one
    outside_text: str | None  # The external test set of the run that trained, or that it had none
    records: str | None  # The training records, if it was not running text
    corpus_note: str | None  # What the corpus says of itself in its first line
    expected: Expected | None
    warnings: list[str] | None


class Configuration(RunConfiguration, total=False):
    """What the run was made with, so that it can be repeated: the run's facts and those of its training and asking."""

    settings: dict[str, Any]
    environment: dict[str, Any]
    decoding: dict[str, Any]


class Summary(TypedDict):
    """Everything a report shows. Losses in nats per token, differences tuned minus base, money in integer US cents, time in seconds."""

    schema: Literal[1]
    run: str
    status: Status
    verdict: Verdict
    verdict_reason: str
    headline: str  # The verdict as a reader in a hurry takes it away; empty where nothing was compared
    knowledge_verdict: KnowledgeVerdict
    knowledge_reason: str
    says: str  # The verdict in a sentence without statistics
    does_not_say: list[str]
    rule: str
    knowledge_rule: str
    resamples: int | None
    analysis_seed: int | None
    domain: str | None
    execution_arn: str | None
    console_url: str | None
    report_uri: str | None
    region: str | None
    started_at: str | None
    error: str | None
    cause: str | None
    base_model: BaseModel | None
    heldout: Block | None  # compare_losses, as `outside` and `control`
    # The external test set; null if none was given, without documents if none was measured.
    outside: Block | None
    scale: Block | None  # the adapter scale and how it was chosen: of metrics.json
    beyond_control: Block | None  # compare_gains: the change on held-out text minus that on the retention set
    # word_order_block: what the order of words adds to the gain; null where it was not asked about.
    word_order: NotRequired[Block | None]
    control: Block | None  # with `by_kind` where every title names a kind, as in `Dialogue: At the shop`
    memorisation: Block | None  # compare_losses of the training text, and compare_copies
    choices: NotRequired[Block | None]  # compare_choices: what the model knows; null where no prompt has choices
    recall: Block | None  # compare_recall: how many of the key facts the answers state
    training: Block | None  # of metrics.json, with its curve
    corpus: Block | None  # of metrics.json
    prompts: list[PromptRow]
    cost: Cost
    seconds_by_state: dict[str, float]
    configuration: Configuration


def or_empty(block: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """A part of a summary, or an empty one where it was not measured or an earlier version did not write it."""
    return block or {}


def has_figures(block: Mapping[str, Any] | None) -> bool:
    """Whether a block of losses has figures."""
    return bool(block and block.get("documents_count"))
