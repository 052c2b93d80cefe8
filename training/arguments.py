"""The run's settings, read from SageMaker's hyperparameters.json, where every value is a string."""

import dataclasses
import json
import math
from pathlib import Path

from common.hyperparameters import CHOICES, LIMITS
from failure import TrainingFailure

AUTO = "auto"
LAST_RATE_SHARE = 0.1  # of the peak rate, at the last step: the last documents count too


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Every number that shapes a run, with the reason for its default."""

    epochs: int = 1  # passes over the corpus: what a second one adds is often its manner of writing
    max_steps: int = 0  # optimizer steps at most, 0 for no limit; a smoke run makes one
    learning_rate: float | None = None  # None ("auto"): from the model's width, see `automatic_learning_rate`
    sequence_length: int = 512  # tokens; a paragraph or five of context, and memory grows with it
    sequences_per_step: int = 0  # 0: by the corpus's size, see `sequences_per_step` in common/memory.py
    lora_rank: int = 16  # as good as 256 on corpora of this size, at a sixteenth of the memory
    lora_alpha: float = 32.0  # twice the rank: the updates' scale
    adapter_strength: float | None = None  # share of what was learned that is kept; None ("auto"): see strength.py
    lora_dropout: float = 0.0  # none: few passes over a corpus, and on a CPU it costs a third of the speed
    warmup_ratio: float = 0.05  # share of the steps during which the rate rises
    weight_decay: float = 0.0  # a low-rank update is restraint enough
    max_gradient_norm: float = 1.0
    seed: int = 42
    time_budget_seconds: int = 7200  # of this process; it stops early so that evaluation and saving still fit
    checkpoint_minutes: float = 10.0  # what an interruption may cost at most; 0 writes none but at a stop signal
    long_records: str = "split"  # what becomes of a record that is longer than a sequence; "refuse" ends the job
    document_order: str = "shuffled"  # of running text; "written": as in the file, but for neighbors

    @property
    def settings(self) -> dict[str, int | float | str | None]:
        """All that shapes the adapter, as a dictionary; None for what is automatic."""
        return dataclasses.asdict(self)


AUTOMATIC = ("learning_rate", "adapter_strength")  # may be "auto"
WHOLE_NUMBERS = {field.name for field in dataclasses.fields(Arguments) if field.type is int}


def automatic_learning_rate(hidden_size: int) -> float:
    """The learning rate for LoRA on a Llama of this width: 2.9e-4 for 7B (4096), 1.3e-3 for 135M (576).

    The fit of "LoRA Without Regret" (Schulman, 2025): ten times the best rate of full fine-tuning, which falls
    with the width to the power 0.781.
    """
    return 5e-5 * 10 * (2000 / hidden_size) ** 0.781


def read_arguments(path: Path) -> Arguments:
    """Reads hyperparameters.json.

    Raises TrainingFailure naming the key for what is unknown, malformed or out of range.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        mend = f"SageMaker writes it to {path.parent}; check --root."
        raise TrainingFailure(f"The settings file {path.name} cannot be read: {error}.", mend) from None
    if not isinstance(values, dict):
        raise TrainingFailure(f"The settings file {path.name} is not a JSON object.", 'Write it as {"epochs": "3"}.')
    parsed: dict[str, object] = {}
    for key, value in values.items():
        if key not in (known := [*LIMITS, *CHOICES]):
            raise TrainingFailure(f"The hyperparameter {key!r} is unknown.", f"Known are {', '.join(known)}.")
        parsed[key] = _parse(key, value)
    return Arguments(**parsed)  # type: ignore[arg-type]


def _parse(key: str, value: object) -> int | float | str | None:
    """One value, checked; raises TrainingFailure naming the key and the range."""
    text = str(value).strip()
    if key in CHOICES:
        if text not in CHOICES[key]:
            mend = f"Set {key} to {' or '.join(CHOICES[key])}."
            raise TrainingFailure(f"The hyperparameter {key} is {text[:80]!r}.", mend)
        return text
    if key in AUTOMATIC and text == AUTO:
        return None
    low, high = LIMITS[key]
    kind = "a whole number" if key in WHOLE_NUMBERS else "a number"
    also = ' or "auto"' if key in AUTOMATIC else ""
    mend = f"Set {key} to {kind} from {low:g} to {high:.10g}{also}."
    try:
        number = int(text) if key in WHOLE_NUMBERS else float(text)
    except ValueError:
        raise TrainingFailure(f"The hyperparameter {key} is {text[:80]!r}, which is not {kind}.", mend) from None
    if isinstance(value, bool) or not math.isfinite(number) or not low <= number <= high:
        raise TrainingFailure(f"The hyperparameter {key} is {text[:80]}, which is out of range.", mend)
    return number
