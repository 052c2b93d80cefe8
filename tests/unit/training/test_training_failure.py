"""The failure file: what SageMaker will show of it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

import failure
from failure import TrainingFailure, explain


class OutOfMemoryError(RuntimeError):
    """Named as torch names it."""


def test_the_file_says_what_and_how_to_mend_it(tmp_path: Path) -> None:
    failure.write(tmp_path, TrainingFailure("It broke.", "Mend it."))
    assert (tmp_path / "output" / "failure").read_text(encoding="utf-8") == "It broke. Mend it."
    assert [path.name for path in (tmp_path / "output").iterdir()] == ["failure"]


def test_a_long_reason_keeps_the_way_to_mend_it(tmp_path: Path) -> None:
    failure.write(tmp_path, TrainingFailure("x" * 5000, "Mend it."))
    text = (tmp_path / "output" / "failure").read_text(encoding="utf-8")
    assert len(text) == 1024
    assert text.endswith("… Mend it.")


def test_of_several_processes_the_first_that_fails_gives_the_reason(tmp_path: Path) -> None:
    assert failure.written(tmp_path) == ""
    failure.write_first(tmp_path, failure.shown(TrainingFailure("It broke.", "Mend it.")))
    failure.write_first(tmp_path, "Another one broke.")
    assert failure.written(tmp_path) == "It broke. Mend it."


def test_writing_never_raises(tmp_path: Path) -> None:
    (tmp_path / "output").write_text("a file where the folder should be", encoding="utf-8")
    failure.write(tmp_path, TrainingFailure("It broke.", "Mend it."))


@pytest.mark.parametrize(
    ("error", "what", "mend"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "adapter.safetensors"), "adapter.safetensors", "disk"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk is full", "disk"),
        (RuntimeError("[enforce fail at inline_container.cc:778] . unexpected pos 704 vs 598"), "disk is full", "disk"),
        (RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed"), "disk is full", "disk"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "disk is full", "disk"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "GPU's memory", "Lower sequence_length"),
        (MemoryError(), "machine's memory", "sequence_length"),
        (RuntimeError("nvrtc: error: invalid value for --gpu-architecture (-arch)"), "NVIDIA driver", "another host"),
        (
            ImportError("libcudart.so.13: cannot open shared object file"),
            "cannot run this image's code",
            "another host",
        ),
        (KeyError("boom"), "Unexpected KeyError", "log"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "Unexpected BrokenPipeError", "log"),
        (ConnectionResetError("Connection reset by peer"), "Unexpected ConnectionResetError", "log"),
    ],
)
def test_errors_become_reasons(error: Exception, what: str, mend: str) -> None:
    reason = explain(error)
    assert what in reason.what
    assert mend in reason.mend


@pytest.mark.parametrize(
    ("error", "what", "mend"),
    [
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "full in process 2 of 4", "GPUs have more"),
        (MemoryError(), "machine's memory is full in process 2 of 4", "sequence_length"),
        (RuntimeError("[gloo/pair.cc:547] Connection closed by peer [127.0.0.1]:3"), "Another process", "start again"),
        (RuntimeError("NCCL error: ncclRemoteError: A call failed"), "Another process", "start again"),
        (KeyError("boom"), "Unexpected KeyError", "log"),
    ],
)
def test_errors_of_one_of_several_processes_become_reasons(error: Exception, what: str, mend: str) -> None:
    reason = explain(error, "process 2 of 4")
    assert what in reason.what
    assert mend in reason.mend
    assert "even with one sequence" not in reason.what


def test_an_unexpected_error_names_its_place() -> None:
    try:
        raise ValueError("surprise")
    except ValueError as error:
        assert "test_training_failure.py:" in explain(error).what
