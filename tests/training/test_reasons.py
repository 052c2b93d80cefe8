"""The training script's settings and its failure file: what is refused, and how the reason reads within what SageMaker shows."""

import dataclasses
import errno
import json
import re
from pathlib import Path

import pytest

import failure
from arguments import Arguments, read_arguments
from common.memory import sequences_per_step
from failure import TrainingFailure, explain


def read(folder: Path, values: object) -> Arguments:
    path = folder / "hyperparameters.json"
    if values is not None:
        path.write_text(values if isinstance(values, str) else json.dumps(values), encoding="utf-8")
    return read_arguments(path)


def test_strings_become_settings(tmp_path: Path) -> None:
    given = {"epochs": "2", "learning_rate": "2e-4", "adapter_scale": "auto", "long_records": "refuse"}
    expected = Arguments(epochs=2, learning_rate=2e-4, adapter_scale="auto", long_records="refuse")
    assert read(tmp_path, given) == expected


@pytest.mark.parametrize("key", [one.name for one in dataclasses.fields(Arguments)])
@pytest.mark.parametrize("value", ["", "nan", "-1", "1e99", True, None])
def test_a_malformed_value_is_rejected_by_name(tmp_path: Path, key: str, value: object) -> None:
    with pytest.raises(TrainingFailure, match=key) as refusal:
        read(tmp_path, {key: value})
    assert re.match("Write a|Choose one of ", refusal.value.fix)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"epochs": "1.5"}, "epochs is '1.5'. Write a whole number of epochs from 1 to 50."),
        ({"epoch": "3"}, "'epoch' is unknown. Use one of epochs, "),
        ({"long_records": "cut"}, "long_records is 'cut'. Choose one of split, "),
        ({"more_seeds": "8,9"}, "'more_seeds' is unknown"),
        *((content, "hyperparameters.json") for content in ("{", "[]", None)),
    ],
)
def test_what_cannot_be_read_is_rejected_by_name(tmp_path: Path, content: object, told: str) -> None:
    with pytest.raises(TrainingFailure) as refusal:
        read(tmp_path, content)
    assert told in str(refusal.value)


@pytest.mark.parametrize(("rows", "sequences"), [(1, 1), (1023, 1), (1024, 2), (2048, 4), (10_000, 4)])
def test_a_small_corpus_is_learned_in_small_steps(rows: int, sequences: int) -> None:
    assert sequences_per_step(rows) == sequences


class OutOfMemoryError(RuntimeError):
    """Named as torch names it."""


FULL = OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
TWO = "process 2 of 4"


@pytest.mark.parametrize(
    ("error", "process", "what", "fix"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "adapter.safetensors"), "", "adapter.safetensors", "disk"),
        (RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed"), "", "disk is full", "disk"),
        (FULL, "", "GPU's memory", "Lower sequence_length"),
        (FULL, TWO, "full in process 2 of 4", "GPUs have more"),
        (MemoryError(), TWO, "machine's memory is full in process 2 of 4", "sequence_length"),
        (RuntimeError("CUDA error: no kernel image is available for execution"), "", "NVIDIA driver", "another host"),
        (ImportError("libcudart.so.13: cannot open shared object file"), "", "this image's code", "another host"),
        (RuntimeError("[gloo/pair.cc:547] Connection closed by peer"), TWO, "Another process", "new execution"),
        (RuntimeError("NCCL error: ncclRemoteError: A call failed"), TWO, "Another process", "new execution"),
        (KeyError("boom"), "", "Unexpected KeyError", "log"),
        (ConnectionResetError("Connection reset by peer"), "", "Unexpected ConnectionResetError", "log"),
    ],
)
def test_errors_become_reasons(error: Exception, process: str, what: str, fix: str) -> None:
    reason = explain(error, *filter(None, [process]))
    assert what in reason.what
    assert fix in reason.fix


@pytest.mark.parametrize(("what", "text"), [("It broke.", "It broke. Fix it."), ("x" * 5000, "… Fix it.")])
def test_the_file_keeps_the_way_to_fix_it(tmp_path: Path, what: str, text: str) -> None:
    failure.write(tmp_path, TrainingFailure(what, "Fix it."))
    written = (tmp_path / "output" / "failure").read_text(encoding="utf-8")
    assert written.endswith(text) and len(written) <= 1024
    assert [path.name for path in (tmp_path / "output").iterdir()] == ["failure"]


def test_of_several_processes_the_first_that_fails_gives_the_reason(tmp_path: Path) -> None:
    assert failure.written(tmp_path) == ""
    failure.write_first(tmp_path, failure.shown(TrainingFailure("It broke.", "Fix it.")))
    failure.write_first(tmp_path, "Another one broke.")
    assert failure.written(tmp_path) == "It broke. Fix it."


def test_writing_never_raises(tmp_path: Path) -> None:
    (tmp_path / "output").write_text("a file where the folder should be", encoding="utf-8")
    failure.write(tmp_path, TrainingFailure("It broke.", "Fix it."))
