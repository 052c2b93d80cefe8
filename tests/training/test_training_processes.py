"""training/train.py as several processes: on one host with two GPUs, and on two hosts; over gloo, with a tiny model of the real kind."""

import platform
import signal
import subprocess

import psutil
import pytest

from rehearsal.sagemaker.real.container import free_port
from tests.doubles import PATIENCE_SECONDS
from tests.doubles.rehearsal.toy_container import Container, starting

# Processes that end with their parent are Linux's; a rehearsal of several refuses other systems.
pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(platform.system() != "Linux", reason="several processes need Linux"),
]

# Without dropout, whose masks no two processes share. That two learn what one learns is in test_learning.py. Three sequences do not
# divide by two.
ALIKE = {"lora_dropout": "0.0", "learning_rate": "0.001", "sequences_per_step": "3", "epochs": "1"}
LONG = ALIKE | {"epochs": "50"}


def with_two_gpus(container: Container) -> Container:
    container.environment |= {"CAPTUNE_PROCESSES": "2", "CAPTUNE_MEETING_POINT": f"127.0.0.1:{free_port()}"}
    return container


def ended(processes: list[subprocess.Popen[str]]) -> list[tuple[int, list[str]]]:
    found = []
    for process in processes:
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        found.append((process.returncode, output.splitlines()))
    return found


def await_line(process: subprocess.Popen[str], beginning: str) -> None:
    assert process.stdout is not None
    assert any(line.startswith(beginning) for line in process.stdout), f"no line {beginning}"


def test_two_hosts_learn_together_and_the_first_writes_it(two_hosts: list[Container]) -> None:
    for container in two_hosts:
        container.settings(**ALIKE)
        container.set_aside(7)
    first, second = ended([container.start() for container in two_hosts])
    assert (first[0], second[0]) == (0, 0), "\n".join([*first[1], *second[1]])
    metrics = two_hosts[0].metrics
    assert (metrics["environment"]["processes"], metrics["scale"]["how"]) == ("2", "measured")
    kept = next(one for one in metrics["scale"]["curve"] if one["scale"] == metrics["scale"]["scale"])
    assert kept["loss"] == min(one["loss"] for one in metrics["scale"]["curve"]), "both score, and both keep the same"
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
    (torchrun,) = psutil.Process(process.pid).children()
    sorted(torchrun.children(), key=lambda child: child.pid)[rank].kill()
    ((code, lines),) = ended([process])
    assert code == 1, "\n".join(lines)
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
    second.communicate(timeout=PATIENCE_SECONDS)
    assert code == 1, "\n".join(lines)
    assert "Another process of this job ended, or its host was lost" in two_hosts[0].failure


def test_the_parents_death_leaves_no_process_behind(container: Container) -> None:
    with_two_gpus(container).settings(**LONG)
    process = container.start()
    await_line(process, "progress")
    left = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate(timeout=PATIENCE_SECONDS)
    assert not psutil.wait_procs(left, timeout=PATIENCE_SECONDS)[1]


def test_what_is_wrong_on_one_host_is_the_reason_on_every_host(two_hosts: list[Container]) -> None:
    (two_hosts[1].root / "input" / "data" / "model" / "tokenizer.json").write_text("{")
    ends = ended([container.start() for container in two_hosts])
    assert [code for code, _ in ends] == [1, 1]
    assert ["does not load" in container.failure for container in two_hosts] == [True, True]


def test_an_adapter_that_cannot_be_saved_fails_the_job_on_every_host(two_hosts: list[Container]) -> None:
    """The second host has nothing to save, and must not report the job as done."""
    for container in two_hosts:
        container.settings(**ALIKE)
    (two_hosts[0].root / "model" / ".partial").write_text("in the way")
    assert [code for code, _ in ended([container.start() for container in two_hosts])] == [1, 1]
    assert "FileExistsError" in two_hosts[0].failure
