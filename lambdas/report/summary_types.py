"""The form of summary.json, as types: what WriteReport builds, and what every form of the report reads."""

# Without deferred annotations: a TypedDict would not see in a text which keys need not be there.
from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict

Verdict = Literal["improved", "not shown", "worse", "worse outside", "none better"]
KnowledgeVerdict = Literal["improved", "not shown", "worse"]
# UNKNOWN is an execution that Step Functions has forgotten.
Status = Literal["RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED", "UNKNOWN"]
Method = Literal["exact", "sampled", "none"]

Count = int  # 0 or more
Counted = int  # 1 or more
Share = float | None  # from 0 to 1


class Estimate(TypedDict):
    """A figure with its standard error and its 95 % interval; null for what could not be worked out."""

    estimate: float | None
    standard_error: float | None
    low: float | None
    high: float | None


class MeasuredDocument(TypedDict):
    """One text, and its loss before and after."""

    id: str
    title: str
    tokens: Counted
    base_loss: float
    tuned_loss: float
    difference: float


class Losses(TypedDict):
    """Base against tuned on one set of texts; of a set without usable documents, the two counts alone."""

    documents_count: Count
    unusable_documents: Count
    tokens: NotRequired[int]
    base_loss: NotRequired[float]
    base_loss_standard_error: NotRequired[float | None]
    tuned_loss: NotRequired[float]
    tuned_loss_standard_error: NotRequired[float | None]
    difference: NotRequired[Estimate]
    p_value: NotRequired[Share]
    p_method: NotRequired[Method]
    base_perplexity: NotRequired[Estimate]
    tuned_perplexity: NotRequired[Estimate]
    perplexity_ratio: NotRequired[Estimate]
    bits_per_byte: NotRequired[dict[str, Estimate] | None]
    lower_documents: NotRequired[Count]
    documents: NotRequired[list[MeasuredDocument]]


class LossesOfKind(Losses):
    """The same for the control text of one kind, without its documents."""

    kind: str


class ControlLosses(Losses):
    """Base against tuned on control text."""

    by_kind: NotRequired[list[LossesOfKind]]  # where every title names a kind, as in `Dialogue: At the shop`


class Gains(TypedDict):
    """The loss difference on held-out text less that on control text."""

    heldout_documents: Counted
    control_documents: Counted
    unusable_documents: Count  # of either text; with any, nothing is shown
    difference: Estimate
    p_value: Share
    p_method: Literal["sampled"]


class Paired(TypedDict):
    """Recall of both models on the same prompts, and how many prompts got better and worse."""

    prompts: Counted
    clusters: NotRequired[Counted]  # prompts that ask the same fact are one cluster; the interval resamples clusters
    base: Estimate
    tuned: Estimate
    difference: Estimate
    p_value: Share
    p_method: Method
    better: int
    worse: int


class Measures(TypedDict):
    """Recall by the greedy answer, by the sampled ones, and by all of them."""

    all: Paired | None
    greedy: Paired | None
    sampled: Paired | None


class MeasuresOfKind(Measures):
    """The same for the prompts of one kind."""

    kind: str


class Recall(TypedDict):
    """How many of the key facts the answers state."""

    missing_prompts: list[str]
    facts_given_away: Count
    knowledge: Measures
    mismatched: NotRequired[Paired | None]  # the same answers against the facts of other prompts
    control: Measures
    by_kind: list[MeasuresOfKind]


class ChoicesOfKind(TypedDict):
    """The controlled choices of the items of one kind."""

    kind: str
    controlled: Paired | None


class ChosenItem(TypedDict):
    """One item: [base, tuned] of whether the right end was chosen with the control, and of its margin."""

    id: str
    cluster: str
    controlled: list[float]
    margin: list[float]


class Choices(TypedDict):
    """How often the right end was chosen among near misses, and by how much, in nats a token, it was ahead of them."""

    source: str
    items: Counted
    missing: Count
    chance: Share
    smallest_visible: Share  # a change of this size is seen in four of five runs
    controlled: Paired | None  # by what the prompt adds to each end
    plain: Paired | None  # by the log-probability after the prompt: partly taste
    other_prompts: Paired | None  # by the same after other items' prompts: taste alone
    margin: Paired | None
    by_kind: list[ChoicesOfKind]
    scored: list[ChosenItem]


class Copying(TypedDict):
    """The longest runs of words that one model copied from the corpus."""

    answers: int
    longest_words: int
    median_words: int
    notable_answers: int
    mean_longest: Estimate


class Copies(TypedDict):
    """Copied runs of both models."""

    notable_words: int
    prompts: int
    base: Copying
    tuned: Copying
    difference: Estimate
    p_value: Share
    p_method: NotRequired[Method]


class Memorisation(TypedDict):
    """What the model can say by heart."""

    training_text: Losses | None
    copies: Copies | None


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
    recall: Share
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


class CurvePoint(TypedDict):
    """One point of the training's loss."""

    step: int
    loss: float
    learning_rate: NotRequired[float | None]


class Training(TypedDict):
    """How the training went: what metrics.json says of it, and its curve."""

    loss_curve: list[CurvePoint]
    steps: NotRequired[int | None]
    planned_steps: NotRequired[int | None]
    epochs: NotRequired[float | None]
    tokens_seen: NotRequired[int | None]
    seconds: NotRequired[float | None]
    tokens_per_second: NotRequired[float | None]
    peak_memory_bytes: NotRequired[int | None]
    stopped_early: NotRequired[str | None]
    unmeasured: NotRequired[str | None]  # why losses of the tuned model lack; null where none do
    starts: NotRequired[int | None]
    steps_again: NotRequired[int | None]


class StrengthPoint(TypedDict):
    """The loss at one strength of the adapter; 0 is the base model, from which the difference is counted."""

    strength: float
    loss: float
    difference: float
    standard_error: float


class Strength(TypedDict):
    """How much of the adapter is kept, and what chose it."""

    strength: float
    how: Literal["set", "measured", "not measured"]
    why: str  # why it was not measured; empty otherwise
    by: NotRequired[
        Literal["", "text by others", "control text"]
    ]  # an earlier version measured it on text by others alone
    documents: list[str]  # the ids of the text that it was measured on, and nothing else
    tokens: int
    seconds: float
    curve: list[StrengthPoint]


class Cost(TypedDict):
    """What was reserved and what it did cost, in US cents."""

    reserved_cents: int | None
    actual_cents: int | None  # null until the run is settled
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
    input: dict[str, Any] | None
    max_training_seconds: int | None
    training_cut: bool | None  # Training was stopped at max_training_seconds, with an adapter
    spot: Spot | None  # null: the run trained on demand, or not at all
    smoke: bool | None  # The run was to show only that every step works: nothing is judged
    adapter_uri: str | None  # The adapter of an earlier run, served in place of training one
    adapter_run: str | None  # The run that trained it: losses, corpus and training are its own
    trained_adapter_uri: str | None  # Where the adapter lies that this run trained, for `adapterUri` of a later one
    outside_text: str | None  # Which outside text the run that trained was given, or that it had none
    records: str | None  # What the run was trained on in place of running text
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
    heldout: Losses | None
    # Text of the field by others; null where none was given, without documents where none was measured.
    outside: Losses | None
    strength: Strength | None  # null in summaries of earlier versions
    beyond_control: Gains | None
    control: ControlLosses | None
    memorisation: Memorisation | None
    choices: NotRequired[Choices | None]  # what the model knows, by choice; null where no prompt has choices
    recall: Recall | None
    training: Training | None
    corpus: dict[str, Any] | None
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
