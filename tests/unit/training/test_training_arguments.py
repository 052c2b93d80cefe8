"""The training script's settings: what is accepted, and how a refusal reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arguments import (
    CHOICES,
    LIMITS,
    Arguments,
    automatic_learning_rate,
    automatic_sequences_per_step,
    read_arguments,
)
from failure import TrainingFailure


def read(folder: Path, values: object) -> Arguments:
    path = folder / "hyperparameters.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    return read_arguments(path)


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    assert read(tmp_path, {}) == Arguments()


def test_strings_become_numbers(tmp_path: Path) -> None:
    arguments = read(tmp_path, {"epochs": "2", "learning_rate": "2e-4", "lora_dropout": "0.1", "seed": "7"})
    assert (arguments.epochs, arguments.learning_rate, arguments.lora_dropout, arguments.seed) == (2, 2e-4, 0.1, 7)


def test_steps_are_limited_only_where_that_is_asked(tmp_path: Path) -> None:
    assert read(tmp_path, {}).max_steps == 0
    assert read(tmp_path, {"max_steps": "1"}).max_steps == 1


def test_auto_leaves_the_learning_rate_to_the_model(tmp_path: Path) -> None:
    assert read(tmp_path, {"learning_rate": "auto"}).learning_rate is None


@pytest.mark.parametrize(("width", "rate"), [(4096, 2.86e-4), (576, 1.322e-3)])
def test_the_automatic_rate_falls_with_the_models_width(width: int, rate: float) -> None:
    assert automatic_learning_rate(width) == pytest.approx(rate, rel=0.01)


@pytest.mark.parametrize(
    ("rows", "sequences"), [(1, 1), (44, 1), (1023, 1), (1024, 2), (1148, 2), (2048, 4), (10_000, 4)]
)
def test_a_small_corpus_is_learnt_in_small_steps_and_a_larger_one_in_larger(rows: int, sequences: int) -> None:
    assert automatic_sequences_per_step(rows) == sequences


def test_every_setting_has_limits_that_hold_its_default() -> None:
    assert {*LIMITS, *CHOICES} == set(Arguments().settings)
    for key, value in Arguments().settings.items():
        if key in CHOICES:
            assert value in CHOICES[key]
        elif value is not None:
            assert isinstance(value, int | float)
            assert LIMITS[key][0] <= value <= LIMITS[key][1]


def test_what_becomes_of_long_records_is_one_of_two(tmp_path: Path) -> None:
    assert read(tmp_path, {"long_records": "refuse"}).long_records == "refuse"
    with pytest.raises(TrainingFailure, match="long_records is 'cut'") as refusal:
        read(tmp_path, {"long_records": "cut"})
    assert refusal.value.mend == "Set long_records to split or refuse."


def test_the_order_of_documents_is_one_of_two_and_shuffled_without_a_word(tmp_path: Path) -> None:
    assert read(tmp_path, {}).document_order == "shuffled"
    assert read(tmp_path, {"document_order": "written"}).document_order == "written"
    with pytest.raises(TrainingFailure, match="document_order is 'auto'"):
        read(tmp_path, {"document_order": "auto"})


@pytest.mark.parametrize("key", sorted(LIMITS))
@pytest.mark.parametrize("value", ["", "many", "nan", "inf", "-1", "1e99", True, None, [3]])
def test_a_malformed_value_is_refused_by_name(tmp_path: Path, key: str, value: object) -> None:
    with pytest.raises(TrainingFailure, match=key) as refusal:
        read(tmp_path, {key: value})
    assert f"Set {key} to" in refusal.value.mend


def test_a_fraction_is_no_number_of_epochs(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailure, match="epochs is '1.5', which is not a whole number"):
        read(tmp_path, {"epochs": "1.5"})


def test_an_unknown_key_names_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailure, match="'epoch' is unknown. Did you mean epochs?"):
        read(tmp_path, {"epoch": "3"})


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '"epochs"'])
def test_a_file_that_is_no_object_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "hyperparameters.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(TrainingFailure, match=r"hyperparameters\.json"):
        read_arguments(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailure, match=r"hyperparameters\.json is missing"):
        read_arguments(tmp_path / "hyperparameters.json")


@pytest.mark.parametrize(("given", "seeds"), [("", ()), ("8", (8,)), ("8,9, 10,0", (8, 9, 10, 0))])
def test_further_seeds_are_a_list_and_shape_nothing_of_the_first_adapter(
    tmp_path: Path, given: str, seeds: tuple[int, ...]
) -> None:
    arguments = read(tmp_path, {"more_seeds": given})
    assert arguments.more_seeds == seeds
    assert arguments.settings == Arguments().settings


@pytest.mark.parametrize("given", ["8,8", "1,2,3,4,5", "-1", "2147483648", "one", "8,", "1.5", "[8, 9]"])
def test_further_seeds_that_are_none_are_told(tmp_path: Path, given: str) -> None:
    with pytest.raises(TrainingFailure, match="up to 4 different whole numbers from 0 to 2147483647"):
        read(tmp_path, {"more_seeds": given})


def test_a_further_seed_is_not_the_first_again(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailure, match="each seed is trained once"):
        read(tmp_path, {"seed": "8", "more_seeds": "7,8"})
