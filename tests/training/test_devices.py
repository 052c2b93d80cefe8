"""Where the model is computed, and by which processes: no GPU where one was paid for ends the job."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

import driver
from driver import libraries_for_older_driver, restart_with
from failure import TrainingFailure
from launching import read_layout
from model.network import choose_device

CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.57.02  Tue Jul 13 16:14:05 UTC 2021\n"
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (root@builder)\n"
PLAYED = {"CAPTUNE_ACCELERATOR": "cpu"}


def configured(root: Path, **content: Any) -> Path:
    folder = root / "input" / "config"
    folder.mkdir(parents=True)
    (folder / "resourceconfig.json").write_text(json.dumps(content), encoding="utf-8")
    return root


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize("kind", ["ml.g5.2xlarge", "ml.p4d.24xlarge"])
def test_a_gpu_that_is_not_found_ends_the_job(tmp_path: Path, kind: str) -> None:
    with pytest.raises(TrainingFailure, match=f"no GPU on this {kind}") as refusal:
        choose_device(configured(tmp_path, current_instance_type=kind), {})
    for told in (f"torch {torch.__version__} for CUDA", "NVIDIA driver"):
        assert told in refusal.value.what
    assert "training_instance_type" in refusal.value.fix


@pytest.mark.parametrize(("kind", "environment"), [("ml.c5.xlarge", {}), (None, {}), ("ml.g5.2xlarge", PLAYED)])
def test_without_a_gpu_the_cpu_is_used(tmp_path: Path, kind: object, environment: dict[str, str]) -> None:
    assert choose_device(configured(tmp_path, current_instance_type=kind), environment).type == "cpu"
    assert choose_device(tmp_path / "outside SageMaker", {}).type == "cpu"


def test_a_gpu_without_bfloat16_is_rejected_on_aws_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "GTX 1660")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    root = configured(tmp_path, current_instance_type="ml.g5.2xlarge")
    assert choose_device(root, PLAYED).type == "cpu"
    with pytest.raises(TrainingFailure, match="The GPU GTX 1660 has no bfloat16"):
        choose_device(root, {})
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert choose_device(root, PLAYED).type == "cuda"


@pytest.mark.parametrize(
    ("driver", "made_with", "older"),
    [
        (CLOSED, "580.82.07", True),
        (CLOSED, "470.9.1", False),
        (OPEN, "580.100", True),
        (OPEN, "580.95.05", False),
        ("NVRM version: none", "580.82.07", False),
        (None, "580.82.07", False),
    ],
)
def test_the_images_own_libraries_are_for_hosts_with_an_older_driver(
    tmp_path: Path, driver: str | None, made_with: str, older: bool
) -> None:
    place, file = tmp_path / "compat", tmp_path / "version"
    if driver:
        file.write_text(driver, encoding="utf-8")
    assert libraries_for_older_driver(place, file) is None
    place.mkdir()
    (place / f"libcuda.so.{made_with}").write_bytes(b"")
    (place / "libcuda.so.1").symlink_to(f"libcuda.so.{made_with}")
    assert libraries_for_older_driver(place, file) == (place if older else None)


def test_the_command_starts_again_once_with_the_libraries_first(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(driver.os, "execve", lambda program, words, new: started.append(new["LD_LIBRARY_PATH"]))
    environment = {"LD_LIBRARY_PATH": f"/usr{os.sep}lib"}
    for libraries in (None, Path("/compat"), Path("/compat")):  # the last as the new process would call it
        restart_with(libraries, environment)
    assert started == ["/compat:/usr/lib"]


HOSTS = ["algo-2", "algo-1", "algo-3"]


@pytest.mark.parametrize(
    ("gpus", "content", "environment", "expected"),
    [
        # Every GPU of every host has a process; all meet at the same host, whatever the order in their files.
        (4, {"hosts": HOSTS, "current_host": "algo-2"}, {}, (12, 1, "algo-1:29500")),
        (4, {"hosts": []}, {}, (4, 0, "127.0.0.1:29500")),
        (0, {}, {}, (1, 0, "127.0.0.1:29500")),  # a CPU is one process
        (4, {}, {"CAPTUNE_PROCESSES": "1", "CAPTUNE_MEETING_POINT": "127.0.0.1:4711"}, (1, 0, "127.0.0.1:4711")),
    ],
)
def test_the_layout_follows_hosts_and_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: int, content: Any, environment: Any, expected: Any
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    layout = read_layout(configured(tmp_path, **content), environment)
    assert (layout.processes, layout.host_rank, layout.meeting_point) == expected
