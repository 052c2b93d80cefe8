"""The run's settings, read from SageMaker's hyperparameters.json, where every value is a string."""

import dataclasses
import json
from pathlib import Path

from common.settings import TrainingSettings, number, setting, whole
from failure import TrainingFailure

LAST_RATE_SHARE = 0.1  # of the peak rate, at the last step: the last documents count too


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments(TrainingSettings):
    """Every number that shapes a run: the settings of cdk.json, and those that are hyperparameters only, with the reason for each default."""

    max_steps: int = setting(0, whole(0, 1_000_000), "optimizer steps at most, 0 for no limit; a smoke run makes one")
    sequences_per_step: int = setting(
        0, whole(0, 1024), "0: by the corpus's size, see `sequences_per_step` in common/memory.py"
    )
    lora_alpha: float = setting(32.0, number(0.1, 1024), "twice the rank: the updates' scale")
    lora_dropout: float = setting(
        0.0, number(0.0, 0.9), "none: few epochs need none, and on a CPU it costs a third of the speed"
    )
    warmup_ratio: float = setting(0.05, number(0.0, 0.9), "share of the steps during which the learning rate rises")
    weight_decay: float = setting(0.0, number(0.0, 1.0), "a low-rank update is restraint enough")
    max_gradient_norm: float = setting(1.0, number(0.01, 1000.0), "of a step")
    time_budget_seconds: int = setting(
        7200,
        whole(10, 28 * 24 * 3600),  # 28 days is SageMaker's own limit
        "of this process; it stops early so that evaluation and saving still fit",
    )

    @property
    def settings(self) -> dict[str, int | float | str]:
        """All that shapes the adapter, as a dictionary."""
        return dataclasses.asdict(self)


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
        fix = f"Check --root: SageMaker writes the file to {path.parent}."
        raise TrainingFailure(f"The settings file {path.name} cannot be read: {error}.", fix) from None
    if not isinstance(values, dict):
        raise TrainingFailure(f"The settings file {path.name} is not a JSON object.", 'Write it as {"epochs": "3"}.')
    known = {field.name: field.metadata["check"] for field in dataclasses.fields(Arguments)}
    parsed: dict[str, object] = {}
    for key, value in values.items():
        if key not in known:
            raise TrainingFailure(f"The hyperparameter {key!r} is unknown.", f"Use one of {', '.join(known)}.")
        try:
            parsed[key] = known[key].read(value)
        except ValueError as error:
            fix = str(error)
            raise TrainingFailure(
                f"The hyperparameter {key} is {str(value)[:80]!r}.", f"{fix[0].upper()}{fix[1:]}."
            ) from None
    return Arguments(**parsed)  # type: ignore[arg-type]
