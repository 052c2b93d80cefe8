"""The training script's settings: what is accepted, and how a refusal reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arguments import LIMITS, Arguments, automatic_learning_rate, automatic_sequences_per_step, read_arguments
from failure import TrainingFailure


def read(folder: Path, values: object) -> Arguments:
    path = folder / "hyperparameters.json"
    if values is not None:
        path.write_text(values if isinstance(values, str) else json.dumps(values), encoding="utf-8")
    return read_arguments(path)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {}),
        ({"epochs": "2", "learning_rate": "2e-4", "seed": "7"}, {"epochs": 2, "learning_rate": 2e-4, "seed": 7}),
        ({"learning_rate": "auto"}, {"learning_rate": None}),
        ({"long_records": "refuse"}, {"long_records": "refuse"}),
    ],
)
def test_strings_become_settings_beside_the_defaults(
    tmp_path: Path, given: dict[str, str], expected: dict[str, object]
) -> None:
    assert read(tmp_path, given) == Arguments(**expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", sorted(LIMITS))
@pytest.mark.parametrize("value", ["", "nan", "-1", "1e99", True, None])
def test_a_malformed_value_is_refused_by_name(tmp_path: Path, key: str, value: object) -> None:
    with pytest.raises(TrainingFailure, match=key) as refusal:
        read(tmp_path, {key: value})
    assert f"Set {key} to" in refusal.value.mend


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"epochs": "1.5"}, "epochs is '1.5', which is not a whole number"),
        ({"epoch": "3"}, "'epoch' is unknown. Did you mean epochs?"),
        ({"long_records": "cut"}, "long_records is 'cut'. Set long_records to split or refuse"),
        ({"more_seeds": "8,9"}, "'more_seeds' is unknown"),
        *((content, "hyperparameters.json") for content in ("{", "[]", None)),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path, content: object, told: str) -> None:
    with pytest.raises(TrainingFailure) as refusal:
        read(tmp_path, content)
    assert told in str(refusal.value)


@pytest.mark.parametrize(("width", "rate"), [(4096, 2.86e-4), (576, 1.322e-3)])
def test_the_automatic_rate_falls_with_the_models_width(width: int, rate: float) -> None:
    assert automatic_learning_rate(width) == pytest.approx(rate, rel=0.01)


@pytest.mark.parametrize(("rows", "sequences"), [(1, 1), (1023, 1), (1024, 2), (2048, 4), (10_000, 4)])
def test_a_small_corpus_is_learned_in_small_steps(rows: int, sequences: int) -> None:
    assert automatic_sequences_per_step(rows) == sequences
