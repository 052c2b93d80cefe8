"""training/train.py as several processes: on one host with two GPUs, and on two hosts; over gloo, with a tiny model of the real kind."""

from __future__ import annotations

import platform
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from rehearsal.sagemaker.real.container import free_port
from tests.doubles.rehearsal.toy_container import Container, starting

# Processes that end with their parent are Linux's; a rehearsal of several refuses other systems.
on_linux = pytest.mark.skipif(platform.system() != "Linux", reason="several processes need Linux")
pytestmark = [pytest.mark.thorough, on_linux]

# Without dropout, whose masks no two processes share, and at a rate that does not make much of bfloat16's last bits: in float32
# one and two processes are compared closely in test_learning.py. Three sequences do not divide by two.
ALIKE = {"lora_dropout": "0.0", "learning_rate": "0.001", "sequences_per_step": "3", "epochs": "1"}
LONG = ALIKE | {"epochs": "50"}


def with_two_gpus(container: Container) -> Container:
    container.environment |= {"CAPTUNE_PROCESSES": "2", "CAPTUNE_MEETING_POINT": f"127.0.0.1:{free_port()}"}
    return container


def ended(processes: list[subprocess.Popen[str]]) -> list[tuple[int, list[str]]]:
    found = []
    for process in processes:
        output, _ = process.communicate(timeout=240)
        found.append((process.returncode, output.splitlines()))
    return found


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """What torchrun has started, in the order of the ranks."""
    torchrun = psutil.Process(process.pid).children()
    return sorted((child for one in torchrun for child in one.children()), key=lambda child: child.pid)


def await_line(process: subprocess.Popen[str], beginning: str) -> None:
    assert process.stdout is not None
    assert any(line.startswith(beginning) for line in process.stdout), f"no line {beginning}"


def assert_alike(one: Container, other: Container) -> None:
    """The curve of losses, every document's loss, and the adapter, whose last bits are of bfloat16."""
    curves = [each.metrics["training"]["loss_curve"] for each in (one, other)]
    for step, (here, there) in enumerate(zip(*curves, strict=True)):
        assert here["loss"] == pytest.approx(there["loss"], abs=2e-3), step
        assert here["learning_rate"] == there["learning_rate"]
    for name, part in one.metrics["evaluation"].items():
        for here, there in zip(part["documents"], other.metrics["evaluation"][name]["documents"], strict=True):
            assert here["base_nll"] == pytest.approx(there["base_nll"], rel=1e-5)
            assert here["tuned_nll"] == pytest.approx(there["tuned_nll"], rel=1e-3)
    assert one.metrics["training"]["tokens_seen"] == other.metrics["training"]["tokens_seen"]
    here, there = (load_file(each.root / "model" / "adapter_model.safetensors") for each in (one, other))
    for key in here:
        torch.testing.assert_close(here[key], there[key], rtol=0.05, atol=3e-3)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Container:
    """What one process makes of it."""
    container = Container(tmp_path_factory.mktemp("alone") / "ml", tiny_model)
    container.settings(**ALIKE)
    container.completes()
    return container


def test_two_hosts_learn_what_one_does_and_the_first_writes_it(two_hosts: list[Container], alone: Container) -> None:
    for container in two_hosts:
        container.settings(**ALIKE)
    first, second = ended([container.start() for container in two_hosts])
    assert (first[0], second[0]) == (0, 0), "\n".join([*first[1], *second[1]])
    assert_alike(two_hosts[0], alone)
    assert two_hosts[0].metrics["environment"]["processes"] == "2"
    assert starting(first[1], "phase")[-1] == "phase name=evaluate-tuned"
    assert not starting(second[1], "progress")
    assert not [path for path in (two_hosts[1].root / "model").rglob("*") if path.is_file()]


def test_a_stop_signal_to_the_parent_ends_both_in_order_and_the_next_run_goes_on(container: Container) -> None:
    with_two_gpus(container).settings(**LONG)
    code, lines = container.signal_after("progress step=2", signal.SIGTERM)
    assert code == 0, "\n".join(lines)
    training = container.metrics["training"]
    assert training["stopped_early"] == "stop signal"
    (checkpoint,) = (container.root / "checkpoints").glob("checkpoint-*")
    with_two_gpus(container).settings(**LONG)
    code, lines = container.signal_after("progress", signal.SIGTERM)
    assert code == 0, "\n".join(lines)
    step = checkpoint.name.rpartition("-")[2]
    assert starting(lines, "resume") == [f"resume step={step} steps={training['planned_steps']} made_again=0"]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_ends_the_job_with_a_reason_and_no_hang(container: Container, rank: int) -> None:
    with_two_gpus(container).settings(**LONG)
    process = container.start()
    await_line(process, "progress")
    begun = time.monotonic()
    workers(process)[rank].kill()
    ((code, lines),) = ended([process])
    assert code == 1, "\n".join(lines)
    assert time.monotonic() - begun < 120
    assert "Another process of this job ended" in container.failure or "killed" in container.failure
    assert starting(lines, "failure") == [f"failure text={container.failure}"]
    assert not [path for path in (container.root / "model").rglob("*") if path.is_file()]


def test_a_host_that_dies_ends_the_job_on_the_other_one(two_hosts: list[Container]) -> None:
    for container in two_hosts:
        container.settings(**LONG)
    first, second = (container.start() for container in two_hosts)
    await_line(first, "progress")
    second.kill()  # and with it all that it has started
    ((code, lines),) = ended([first])
    second.communicate(timeout=60)
    assert code == 1, "\n".join(lines)
    assert "Another process of this job ended, or its host was lost" in two_hosts[0].failure


def test_the_parents_death_leaves_no_process_behind(container: Container) -> None:
    with_two_gpus(container).settings(**LONG)
    process = container.start()
    await_line(process, "progress")
    left = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate(timeout=60)
    assert not psutil.wait_procs(left, timeout=10)[1]


def test_what_is_wrong_on_one_host_is_the_reason_on_every_host(two_hosts: list[Container]) -> None:
    (two_hosts[1].root / "input" / "data" / "model" / "tokenizer.json").write_text("{")
    ends = ended([container.start() for container in two_hosts])
    assert [code for code, _ in ends] == [1, 1]
    assert ["does not load" in container.failure for container in two_hosts] == [True, True]
