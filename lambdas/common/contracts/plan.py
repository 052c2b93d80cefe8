"""The plan of a run: the small document that Preflight makes, that every later state works from, and that lies in the run's folder.

An execution keeps the plan that it began with, a later deployment replaces the functions of a run in flight, and a run's folder is read
long after: an old plan may lack the newer keys (`plan.get`).
"""

from typing import Any, NotRequired, TypedDict

from common.ledger.rows import RunItem


class PlannedModel(TypedDict):
    """The base model that is to be trained and served."""

    name: str
    parameters: int
    weightsUri: str


class PlannedTraining(TypedDict):
    """What the training job is started with. `instanceTypes` are in order of preference; `maxWaitSeconds` are 0 without `spot`.

    `resources` are its ResourceConfig: with one type, fields that Step Functions has known for years.
    """

    instanceType: str
    instanceTypes: list[str]
    instanceCount: int
    resources: dict[str, Any]
    maxRuntimeSeconds: int
    maxPendingSeconds: int
    spot: bool
    maxWaitSeconds: int
    hyperparameters: dict[str, str]
    corpusUri: str
    evaluationUri: str
    codeUri: str
    outputUri: str
    checkpointUri: str


class PlannedHosting(TypedDict):
    """What the endpoint, and the trial before it, are started with. `instances` is the part of its variant with the instance types.

    Where AWS has none of them free, the run tries again after `pauseSeconds`, if `tryAgainSeconds` of the deadline are left then.
    """

    instanceType: str
    instanceTypes: list[str]
    instances: dict[str, Any]
    instanceCount: int
    downloadSeconds: int
    startSeconds: int
    maxModelTokens: int
    deadlineSeconds: int
    pauseSeconds: int
    tryAgainSeconds: int
    trialName: str
    trialAdapterUri: str


class PlannedAnswers(TypedDict):
    """The keys of the prompts and of both models' answers."""

    promptsKey: str
    preTrainedKey: str
    fineTunedKey: str


class PlannedReport(TypedDict):
    """Where the report goes, as a key and as an address."""

    prefix: str
    uri: str


class PlannedCorpus(TypedDict):
    """How much is learned from and asked. Of records, `documents` are their groups."""

    words: int
    documents: int
    prompts: int
    records: NotRequired[int]
    heldOutRecords: NotRequired[int]
    conversations: NotRequired[bool]
    note: NotRequired[str]


class PlannedEvaluation(TypedDict):
    """What is measured before and after, and what is said of the text by others."""

    heldOutDocuments: int
    outsideDocuments: int
    controlDocuments: int
    outsideText: str
    scaleDocuments: int  # they choose the adapter scale, and are not among those above
    scaleWords: int


class PlannedBudget(TypedDict):
    """The money: what is reserved, in which months, at which prices, and what the ledger keeps of it."""

    worstCaseCents: int
    months: list[str]
    reserveBy: NotRequired[str]
    clamped: bool
    trainingHourlyUsd: str
    hostingHourlyUsd: str
    priceSource: str
    ledgerDetails: RunItem


class PlannedEstimate(TypedDict):
    """What the run is expected to take. None where no speed of the card is known."""

    tokens: int
    trainingSeconds: int | None
    endpointSeconds: int | None
    expectedCents: int | None
    phases: list[dict[str, Any]]
    memory: dict[str, Any]


class Plan(TypedDict):
    """All of it. `input` is what a person gave the execution, `adapterUri` is empty where the run trains its own.

    A run with `serveOnly` keeps the endpoint of that adapter for a while and asks nothing.
    """

    runName: str
    executionName: str
    executionArn: str
    definitionVersion: str
    input: dict[str, Any]
    domain: str
    corpusWords: int
    corpusBytes: int
    # What was checked is what the run gets: S3's ids of the versions of the user's files by key, and a hash of every file that StageInput
    # is to write.
    inputVersions: dict[str, str]
    inputDigest: str
    region: str
    bucket: str
    prefix: str
    smoke: bool
    adapterUri: str
    serveOnly: bool
    startedAt: str
    acceptEula: bool
    seed: int
    samplesPerPrompt: int
    baseModel: PlannedModel
    training: PlannedTraining
    hosting: PlannedHosting
    answers: PlannedAnswers
    report: PlannedReport
    tearDownAt: str
    corpus: PlannedCorpus
    evaluation: PlannedEvaluation
    budget: PlannedBudget
    estimate: PlannedEstimate
    warnings: list[str]
