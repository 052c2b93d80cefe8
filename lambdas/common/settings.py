"""The settings that a run depends on, each declared once: name, type, default, accepted values and reason.

cdk.json is checked against them, Preflight plans with them, the input of an execution has their ranges, and the training script, with
which this module is staged, reads those of `TrainingSettings`. It needs nothing but Python.
"""

import difflib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Generic, Literal, TypeVar

Value = TypeVar("Value")
Auto = Literal["auto"]
AUTO: Auto = "auto"
_MONTH = re.compile(r"20\d\d-(0[1-9]|1[0-2])", re.ASCII)
REFUSE, SHUFFLED, WRITTEN = "refuse", "shuffled", "written"


@dataclass(frozen=True)
class Check(Generic[Value]):
    """How a setting is read from what you wrote, and its accepted values in a few words, for the table of docs/configure.md.

    `read` raises ValueError with the fix; whoever calls it puts the setting's name before it. Only a number has `limits`.
    """

    read: Callable[[object], Value]
    accepts: str
    limits: tuple[float, float] = (-math.inf, math.inf)


def whole(low: int, high: int, unit: str = "") -> Check[int]:
    """A whole number from `low` to `high`; the unit is shown in the error only."""
    advice = f"write a whole number{unit and f' of {unit}'} from {low} to {high}"

    def read(raw: object) -> int:
        text = str(int(raw)) if isinstance(raw, float) and raw.is_integer() else str(raw).strip()
        if isinstance(raw, bool) or not re.fullmatch(r"-?\d{1,12}", text, re.ASCII) or not low <= int(text) <= high:
            raise ValueError(advice)
        return int(text)

    return Check(read, f"{low} to {high}", (low, high))


def number(low: float, high: float) -> Check[float]:
    """A number from `low` to `high`."""
    limits = f"{low:g} to {high:g}".replace("e-0", "e-")

    def read(raw: object) -> float:
        try:
            value = float(str(raw))
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise ValueError(f"write a number from {limits}")
        return value

    return Check(read, limits, (low, high))


def auto_or_number(low: float, high: float, example: str) -> Check[float | Auto]:
    """The word auto, or a number from `low` to `high`."""
    numbers = number(low, high)

    def read(raw: object) -> float | Auto:
        if str(raw).strip().lower() == AUTO:
            return AUTO
        try:
            return numbers.read(raw)
        except ValueError:
            raise ValueError(f"write auto, or a number from {numbers.accepts} such as {example}") from None

    return Check(read, numbers.accepts, numbers.limits)


def switch(meaning: str) -> Check[bool]:
    """True or false; `meaning` says what the one that is not the default does."""

    def read(raw: object) -> bool:
        text = str(raw).strip().lower()
        if text not in ("true", "false"):
            raise ValueError(f"write true or false ({meaning})")
        return text == "true"

    return Check(read, "`true` or `false`")


def text_of(raw: object) -> str:
    """A text without the white space around it."""
    if not isinstance(raw, str):
        raise ValueError("write it as text")
    return raw.strip()


def choice(options: tuple[str, ...], advice: str = "", *, hints: int = 1, accepts: str = "") -> Check[str]:
    """One of some words; the error lists them, the `hints` nearest ones, and the advice."""

    def read(raw: object) -> str:
        text = str(raw).strip()
        if text not in options:
            nearest = difflib.get_close_matches(text.lower(), options, n=hints)
            hint = f" (nearest: {', '.join(nearest)})" if nearest else ""
            raise ValueError(f"choose one of {', '.join(options)}{hint}{advice}")
        return text

    return Check(read, accepts or " or ".join(f'`"{option}"`' for option in options))


def empty_or(pattern: re.Pattern[str], advice: str, accepts: str) -> Check[str]:
    """An empty text, or one of a form; the advice names both."""

    def read(raw: object) -> str:
        text = text_of(raw)
        if text and not pattern.fullmatch(text):
            raise ValueError(advice)
        return text

    return Check(read, accepts)


def setting(default: Value, check: Check[Value], means: str) -> Value:
    """A field of the settings, with all that there is to know of it; `means` is what docs/configure.md says."""
    return field(default=default, metadata={"check": check, "means": means})


def check_of(settings: type, name: str) -> Check[Any]:
    """The check of a setting, by its name."""
    check: Check[Any] = next(one for one in fields(settings) if one.name == name).metadata["check"]
    return check


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Those that the training script reads too. Each is a hyperparameter of the training job, under the same name."""

    epochs: int = setting(
        1,  # what a second one adds is often the corpus's manner of writing
        whole(1, 50, "epochs"),
        "epochs of training; three made the model [far worse on the external test set](verdict.md#the-rule)",
    )
    seed: int = setting(42, whole(0, 2**31 - 1), "of training and sampling")
    sequence_length: int = setting(
        512,  # a paragraph or five of context, and memory grows with it
        whole(64, 4096, "tokens"),
        "tokens of a training sequence",
    )
    learning_rate: float | Auto = setting(
        AUTO, auto_or_number(1e-7, 1.0, "0.0003"), "peak learning rate; `auto` computes it from the model's width"
    )
    lora_rank: int = setting(
        16,  # as good as 256 on corpora of this size, at a sixteenth of the memory
        whole(1, 64),  # 64 fits a GPU of 24 GB beside 7 billion parameters
        "rank of the adapter",
    )
    adapter_scale: float | Auto = setting(
        AUTO,
        auto_or_number(0.05, 1.0, "0.6"),
        "factor of the trained adapter; `auto` measures the best one ([how](recipe.md#adapter-scale))",
    )
    checkpoint_minutes: int = setting(
        10,
        whole(0, 60, "minutes"),
        "minutes between checkpoints, the most that an interruption loses; 0 writes one only at a stop signal",
    )
    long_records: str = setting(
        "split",
        choice(("split", REFUSE)),
        "[records](your-own-data.md#records-questions-with-answers-tables-conversations) longer than `sequence_length` are split, or the run stops with an error",
    )
    document_order: str = setting(
        AUTO,  # the script shuffles then, for only Preflight knows whose text it is
        choice((AUTO, SHUFFLED, WRITTEN)),
        "`written` is the order of the file; `auto` is that for the project's own texts and `shuffled` for yours ([why](recipe.md#facts))",
    )

    @property
    def hyperparameters(self) -> dict[str, str]:
        """These settings as SageMaker hands them to the training script."""
        return {one.name: str(getattr(self, one.name)) for one in fields(TrainingSettings)}


@dataclass(frozen=True, kw_only=True)
class PreflightSettings(TrainingSettings):
    """Those that Preflight reads. What later functions need of them goes into the plan of the run."""

    training_instance_count: int = setting(
        1,
        whole(1, 4, "instances"),  # a step learns from four sequences at most, so that more would only wait
        "[instances that train together](#train-on-several-gpus): less time, the same result, and a multiple of the cost",
    )
    max_training_seconds: int = setting(
        7200,
        whole(1800, 21600, "seconds"),  # the least of lambdas/common/pricing/durations.py
        "time limit of the training job, including pulling its image and loading",
    )
    spot: bool = setting(
        False,
        switch("true trains on spot instances"),
        "trains on [spot instances](#train-on-spot-instances), which cost less and may be interrupted",
    )
    endpoint_deadline_minutes: int = setting(
        60,
        whole(35, 240, "minutes"),  # the least of lambdas/common/pricing/durations.py
        "time limit of the endpoint, including 10 to 15 minutes of loading and the wait for an instance",
    )
    accept_eula: bool = setting(
        False,
        switch("true means that you have read and accept the licence of the base model"),
        "you have read and accept the base model's licence",
    )
    samples_per_prompt: int = setting(
        2,
        whole(0, 8, "sampled answers"),
        "sampled answers of each model to each prompt, in addition to the greedy one (temperature 0)",
    )
    corpus_words: int = setting(
        0,
        whole(0, 10_000_000, "words"),
        "0 trains on the whole corpus; a number trains on a sample of whole documents with about this many words, and measures half as many held-out words",
    )
    accept_lost_ledger: str = setting(
        "",
        empty_or(_MONTH, "write one month such as 2026-11, or leave it empty", "a month such as `2026-11`"),
        "gives that month its full cap again although its ledger was lost (`LedgerLost`)",
    )
