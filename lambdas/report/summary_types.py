"""The form of summary.json, as types: what WriteReport builds, what every form of the report reads, and the source of its schema.

`python -m verification.experiments.summary_schema` makes summary.schema.json of this module. What stands beside a type in `Annotated` goes into
the schema: a text is its description, a mapping holds keywords of JSON Schema. `NOT_HELD` is told and not held: summaries of
earlier versions are read as well, and the schema has never looked at it.
"""

# Without deferred annotations: a TypedDict would not see in a text which keys need not be there.
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired, TypedDict

TITLE = "summary.json of a Captune run"
NOT_HELD = None

Verdict = Literal["improved", "not shown", "worse", "worse outside", "none better"]
RecallVerdict = Literal["improved", "not shown", "worse"]
# UNKNOWN is an execution that Step Functions has forgotten.
Status = Literal["RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED", "UNKNOWN"]
Method = Literal["exact", "sampled", "none"]

Count = Annotated[int, {"minimum": 0}]
Counted = Annotated[int, {"minimum": 1}]
Share = Annotated[float | None, {"minimum": 0, "maximum": 1}]


class Estimate(TypedDict):
    """A figure with its standard error and its 95 % interval; null for what could not be worked out."""

    estimate: float | None
    standard_error: Annotated[float | None, {"minimum": 0}]
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
    bits_per_byte: NotRequired[Annotated[dict[str, Estimate] | None, {"required": ["base", "tuned", "difference"]}]]
    lower_documents: NotRequired[Count]
    documents: NotRequired[list[MeasuredDocument]]


class LossesOfKind(Losses):
    """The same for the control text of one kind, without its documents."""

    kind: str


class ControlLosses(Losses):
    """Base against tuned on control text."""

    by_kind: NotRequired[
        Annotated[list[LossesOfKind], "Where every title names a kind, as in `Dialogue: At the shop`."]
    ]


class Gains(TypedDict):
    """The loss difference on held-out text less that on control text."""

    heldout_documents: Counted
    control_documents: Counted
    unusable_documents: Annotated[Count, "of either text; with any, nothing is shown"]
    difference: Estimate
    p_value: Share
    p_method: Literal["sampled"]


class Paired(TypedDict):
    """Recall of both models on the same prompts, and how many prompts got better and worse."""

    prompts: Counted
    clusters: NotRequired[
        Annotated[Counted, "Prompts that ask the same fact are one cluster; the interval resamples clusters"]
    ]
    base: Estimate
    tuned: Estimate
    difference: Estimate
    p_value: Share
    p_method: Annotated[Method, NOT_HELD]
    better: Annotated[int, NOT_HELD]
    worse: Annotated[int, NOT_HELD]


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
    control: Measures
    by_kind: list[MeasuresOfKind]


class Copying(TypedDict):
    """The longest runs of words that one model copied from the corpus."""

    answers: Annotated[int, NOT_HELD]
    longest_words: Annotated[int, NOT_HELD]
    median_words: Annotated[int, NOT_HELD]
    notable_answers: Annotated[int, NOT_HELD]
    mean_longest: Estimate


class Copies(TypedDict):
    """Copied runs of both models."""

    notable_words: Annotated[int, NOT_HELD]
    prompts: Annotated[int, NOT_HELD]
    base: Copying
    tuned: Copying
    difference: Estimate
    p_value: Share
    p_method: NotRequired[Annotated[Method, NOT_HELD]]


class Memorisation(TypedDict):
    """What the model can say by heart."""

    training_text: Losses | None
    copies: Copies | None


class Copied(TypedDict):
    """The longest copied run of one text, and its character places."""

    words: Annotated[int, NOT_HELD]
    start: Annotated[int, NOT_HELD]
    end: Annotated[int, NOT_HELD]


class Marked(TypedDict):
    """A text with the character places of its key facts and of the longest run copied from the corpus."""

    text: str
    marks: list[Annotated[list[int], {"minItems": 2, "maxItems": 2}]]
    found: list[str]
    missing: list[str]
    copied: Copied | None


class Answer(TypedDict):
    """What one model answered to one prompt."""

    greedy: Marked
    samples: list[Marked]
    seeds: Annotated[list[int], NOT_HELD]
    recall: Share
    seconds: NotRequired[Annotated[float | None, NOT_HELD]]


class PromptRow(TypedDict):
    """One prompt with the answers of both models."""

    id: str
    kind: str
    prompt: str
    facts: list[str]
    cluster: NotRequired[str]
    reference: NotRequired[Annotated[str, "What a held-out record itself answers."]]
    base: Answer | None
    tuned: Answer | None


class BaseModel(TypedDict):
    """The model that was trained and the one that was planned."""

    name: Annotated[str, "The weights' own name where they are not those of the plan."]
    parameters: int | None
    matches_plan: Annotated[bool | None, "null: the run ended before the weights were read."]
    planned_name: str | None
    planned_parameters: int | None
    architecture: NotRequired[Annotated[str | None, NOT_HELD]]
    trainable_parameters: NotRequired[Annotated[int | None, NOT_HELD]]
    quantization: NotRequired[Annotated[str | None, NOT_HELD]]
    dtype: NotRequired[Annotated[str | None, NOT_HELD]]


class CurvePoint(TypedDict):
    """One point of the training's loss."""

    step: int
    loss: float
    learning_rate: NotRequired[float | None]


class Training(TypedDict):
    """How the training went: what metrics.json says of it, and its curve."""

    loss_curve: list[CurvePoint]
    steps: NotRequired[Annotated[int | None, NOT_HELD]]
    planned_steps: NotRequired[Annotated[int | None, NOT_HELD]]
    epochs: NotRequired[Annotated[float | None, NOT_HELD]]
    tokens_seen: NotRequired[Annotated[int | None, NOT_HELD]]
    seconds: NotRequired[Annotated[float | None, NOT_HELD]]
    tokens_per_second: NotRequired[Annotated[float | None, NOT_HELD]]
    peak_memory_bytes: NotRequired[Annotated[int | None, NOT_HELD]]
    stopped_early: NotRequired[Annotated[str | None, NOT_HELD]]
    unmeasured: NotRequired[Annotated[str | None, "why losses of the tuned model lack; null where none do"]]
    starts: NotRequired[Annotated[int | None, NOT_HELD]]
    steps_again: NotRequired[Annotated[int | None, NOT_HELD]]


class StrengthPoint(TypedDict):
    """The loss at one strength of the adapter; 0 is the base model, from which the difference is counted."""

    strength: Annotated[float, {"minimum": 0, "maximum": 1}]
    loss: float
    difference: float
    standard_error: float


class Strength(TypedDict):
    """How much of the adapter is kept, and what chose it."""

    strength: Annotated[float, {"minimum": 0, "maximum": 1}]
    how: Literal["set", "measured", "not measured"]
    why: Annotated[str, "Why it was not measured; empty otherwise."]
    documents: Annotated[list[str], "The ids of the text by others that it was measured on, and nothing else."]
    tokens: int
    seconds: float
    curve: list[StrengthPoint]


class Cost(TypedDict):
    """What was reserved and what it did cost, in US cents."""

    reserved_cents: int | None
    actual_cents: Annotated[int | None, "null until the run is settled"]
    training_cents: int | None
    endpoint_cents: int | None
    other_cents: int | None
    remaining_cents: int | None
    cap_cents: int | None
    month: str | None
    training_seconds: NotRequired[Annotated[int, NOT_HELD]]
    endpoint_seconds: NotRequired[Annotated[int, NOT_HELD]]


class Expected(TypedDict):
    """What the plan expected; null for what nobody knew."""

    cents: int | None
    tokens: Annotated[int | None, {"minimum": 0}]
    learning_seconds: Annotated[int | None, {"minimum": 0}]


class Spot(TypedDict):
    """A training job on spot instances; null for what nobody told."""

    interruptions: Annotated[int | None, {"minimum": 0}]
    training_seconds: Annotated[int | None, {"minimum": 0}]
    billed_seconds: Annotated[int | None, {"minimum": 0}]
    saved_cents: Annotated[int | None, {"minimum": 0}]


class RunConfiguration(TypedDict, total=False):
    """With what the run was made, as its plan and WriteReport's event tell."""

    training_instance_type: Annotated[str | None, "The one that trained; null where nothing was trained."]
    training_instance_types: Annotated[list[str] | None, "in order of preference"]
    training_instance_count: Annotated[
        int | None, "How many of them trained together; null where nothing was trained.", {"minimum": 1}
    ]
    hosting_instance_type: Annotated[str | None, "The one that served."]
    hosting_instance_types: Annotated[list[str] | None, "in order of preference"]
    training_hourly_cents: Annotated[float | None, "of one instance", {"minimum": 0}]
    hosting_hourly_cents: Annotated[float | None, "of one instance", {"minimum": 0}]
    price_source: Annotated[str | None, NOT_HELD]
    base_model_source: Annotated[str | None, NOT_HELD]
    input: Annotated[dict[str, Any] | None, NOT_HELD]
    max_training_seconds: Annotated[int | None, {"minimum": 1}]
    training_cut: Annotated[bool | None, "Training was stopped at max_training_seconds, with an adapter."]
    spot: Annotated[Spot | None, "null: the run trained on demand, or not at all."]
    smoke: Annotated[bool | None, "The run was to show only that every step works: nothing is judged."]
    adapter_uri: Annotated[str | None, "The adapter of an earlier run, served in place of training one."]
    adapter_run: Annotated[str | None, "The run that trained it: losses, corpus and training are its own."]
    trained_adapter_uri: Annotated[
        str | None, "Where the adapter lies that this run trained, for `adapterUri` of a later one."
    ]
    outside_text: Annotated[str | None, "Which outside text the run that trained was given, or that it had none."]
    records: Annotated[str | None, "What the run was trained on in place of running text."]
    corpus_note: Annotated[str | None, "What the corpus says of itself in its first line."]
    expected: Expected | None
    warnings: Annotated[list[str] | None, NOT_HELD]


class Configuration(RunConfiguration, total=False):
    """With what the run was made, so that it can be made again: the run's facts and those of its training and asking."""

    settings: Annotated[dict[str, Any], NOT_HELD]
    environment: Annotated[dict[str, Any], NOT_HELD]
    decoding: Annotated[dict[str, Any], NOT_HELD]


class Summary(TypedDict):
    """Everything a report shows. Losses in nats per token, differences tuned minus base, money in integer US cents, time in seconds."""

    schema: Literal[1]
    run: Annotated[str, {"minLength": 1}]
    status: Status
    verdict: Verdict
    verdict_reason: str
    headline: Annotated[str, "The verdict as a reader in a hurry takes it away; empty where nothing was compared."]
    recall_verdict: RecallVerdict
    recall_reason: str
    says: Annotated[str, "The verdict in a sentence without statistics."]
    does_not_say: Annotated[list[str], {"minItems": 1}]
    rule: str
    recall_rule: str
    resamples: Annotated[int | None, {"minimum": 1}]
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
    outside: Annotated[
        Losses | None,
        "Text of the field by others; null where none was given, without documents where none was measured.",
    ]
    strength: Annotated[Strength | None, "null where an earlier version told nothing of it"]
    beyond_control: Gains | None
    control: ControlLosses | None
    memorisation: Memorisation | None
    recall: Recall | None
    training: Training | None
    corpus: dict[str, Any] | None
    prompts: list[PromptRow]
    cost: Cost
    seconds_by_state: dict[str, Annotated[float, {"minimum": 0}]]
    configuration: Configuration


# Those that hold no other key. The others may get further ones, as what the training measures does.
CLOSED = (Summary, Estimate, Gains, Expected, Spot)


def known(block: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """A part of a summary; empty where it was not measured, or where an earlier version told nothing of it."""
    return block or {}


def usable(block: Mapping[str, Any] | None) -> bool:
    """Whether a block of losses has figures."""
    return bool(block and block.get("documents_count"))
