"""training/train.py with further seeds: the first one's result is unchanged, the others' losses stand beside it."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

import job
from arguments import Arguments
from inputs import read_inputs
from model import network
from progress import Clock
from tests.doubles.rehearsal.toy_container import Container, starting

pytestmark = pytest.mark.thorough


def losses(container: Container) -> dict[int, dict[str, float]]:
    """The tuned losses of each further seed that came to its end."""
    return {
        one["seed"]: {name: part["tuned_loss"] for name, part in one["evaluation"].items()}
        for one in container.metrics["seeds"]["further"]
    }


def left_out(container: Container) -> dict[int, str]:
    return {one["seed"]: one["why"] for one in container.metrics["seeds"]["left_out"]}


def same_adapter(one: Container, other: Container) -> bool:
    files = [(each.root / "model" / "adapter_model.safetensors").read_bytes() for each in (one, other)]
    return files[0] == files[1]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> tuple[Container, list[str]]:
    """An undisturbed run with two further seeds."""
    container = Container(tmp_path_factory.mktemp("three") / "ml", tiny_model)
    container.settings(more_seeds="8,9")
    return container, container.completes()


def test_the_first_seeds_result_is_that_of_a_run_without_others(
    three: tuple[Container, list[str]], finished: tuple[Container, list[str]]
) -> None:
    container, lines = three
    assert same_adapter(container, finished[0])
    assert container.metrics["evaluation"] == finished[0].metrics["evaluation"]
    assert container.metrics["settings"] == finished[0].metrics["settings"]
    assert "seeds" not in finished[0].metrics
    assert starting(lines, "phase")[-1] == "phase name=further-seeds"
    assert len(starting(lines, "heldout")) == 2
    assert (list(losses(container)), left_out(container)) == ([8, 9], {})


def in_float32(root: Path, channels: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> dict[str, Any]:
    """The job in this process, in the precision in which nothing but the order of sums may differ."""
    monkeypatch.setattr(network, "bfloat16_is_faster", lambda: False)
    usual = {"learning_rate": 0.01, "sequence_length": 64, "lora_rank": 4, "lora_dropout": 0.1, "seed": 3}
    job.run(root, read_inputs(channels, 64), Arguments(**{**usual, **settings}), Clock(600))
    metrics: dict[str, Any] = json.loads((root / "model" / "metrics.json").read_text(encoding="utf-8"))
    return metrics


def test_a_further_seed_gives_what_a_run_with_that_seed_alone_gives(
    tmp_path: Path, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = container.root / "input" / "data"
    many = in_float32(tmp_path / "many", channels, monkeypatch, more_seeds=(8,))
    alone = in_float32(tmp_path / "alone", channels, monkeypatch, seed=8)
    for name, part in many["seeds"]["further"][0]["evaluation"].items():
        for here, there in zip(part["documents"], alone["evaluation"][name]["documents"], strict=True):
            assert here["tuned_nll"] == pytest.approx(there["tuned_nll"], abs=1e-5)


def test_a_job_that_dies_in_a_further_seed_does_not_train_the_first_again(
    container: Container, three: tuple[Container, list[str]]
) -> None:
    container.settings(more_seeds="8,9")
    code, lines = container.signal_after("further seed=9", signal.SIGKILL)
    assert code == -signal.SIGKILL, "\n".join(lines)
    assert same_adapter(container, three[0])
    assert losses(container) == {8: losses(three[0])[8]}
    assert left_out(container)[9].startswith("the job ended while it was trained")
    for name in ("model", "output"):  # a job's next start has nothing of the last one but its checkpoints
        shutil.rmtree(container.root / name)
    (container.root / "model").mkdir()
    lines = container.completes()
    assert starting(lines, "phase") == ["phase name=load", "phase name=further-seeds"]
    assert [line.split()[1] for line in starting(lines, "further-seed")] == ["seed=9"], "the finished one is kept"
    assert same_adapter(container, three[0])
    assert (losses(container), left_out(container)) == (losses(three[0]), {})
