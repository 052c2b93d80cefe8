"""training/train.py with further seeds: the first one's result as ever, the others' losses beside it, and what is left when it is disturbed."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import job
from arguments import Arguments
from inputs import read_inputs
from model import network
from progress import Clock
from seeds import further
from tests.doubles.rehearsal.toy_container import Container, starting
from tests.doubles.rehearsal.toy_prose import prose
from tests.rehearsal.test_training_processes import await_line, ended, on_linux, with_two_gpus, workers

pytestmark = pytest.mark.thorough
SETS = ["heldout", "outside", "control"]


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


def of_another_instance(container: Container) -> Container:
    """A job's next start has nothing of the last one but its checkpoints."""
    for name in ("model", "output"):
        shutil.rmtree(container.root / name)
    (container.root / "model").mkdir()
    return container


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> tuple[Container, list[str]]:
    """An undisturbed run with two further seeds."""
    container = Container(tmp_path_factory.mktemp("three") / "ml", tiny_model)
    container.settings(more_seeds="8,9")
    code, lines = container.run()
    assert code == 0, "\n".join(lines)
    return container, lines


def test_the_first_seeds_adapter_and_losses_are_those_of_a_run_without_others(
    three: tuple[Container, list[str]], finished: tuple[Container, list[str]]
) -> None:
    container, lines = three
    assert same_adapter(container, finished[0])
    assert container.metrics["evaluation"] == finished[0].metrics["evaluation"]
    assert container.metrics["settings"] == finished[0].metrics["settings"]
    assert "seeds" not in finished[0].metrics
    phases = ["load", "evaluate-base", "train", "save", "evaluate-tuned", "further-seeds"]
    assert starting(lines, "phase") == [f"phase name={name}" for name in phases]
    steps = container.metrics["training"]["steps"]
    assert starting(lines, "progress")[-1].startswith(f"progress step={steps} "), "the curve is the first seed's alone"
    assert len(starting(lines, "heldout")) == 2
    assert not [line for line in lines if "multiple adapters" in line], "the first one's adapter is gone"


def test_every_further_seed_has_its_losses_on_each_text_that_does_not_hang_on_the_seed(
    three: tuple[Container, list[str]],
) -> None:
    container, lines = three
    metrics = container.metrics
    assert (metrics["seeds"]["first"], list(losses(container)), left_out(container)) == (3, [8, 9], {})
    for one in metrics["seeds"]["further"]:
        assert list(one["evaluation"]) == SETS
        assert one["steps"] == metrics["training"]["steps"]
        for name, part in one["evaluation"].items():
            assert part["base_loss"] == metrics["evaluation"][name]["base_loss"]
            assert part["tuned_loss"] < part["base_loss"] - 0.1
    assert len({each["heldout"] for each in losses(container).values()}) == 2
    told = starting(lines, "further-seed")
    assert told[0].startswith(f"further-seed seed=8 steps={metrics['training']['steps']} heldout=")
    assert json.loads((container.root / "output" / "data" / "metrics.json").read_text()) == metrics


def in_float32(root: Path, channels: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> dict[str, Any]:
    """The job in this process, in the precision in which nothing but the order of sums may differ."""
    monkeypatch.setattr(network, "bfloat16_is_faster", lambda: False)
    arguments = Arguments(
        **{"learning_rate": 0.01, "sequence_length": 64, "lora_rank": 4, "lora_dropout": 0.1, "seed": 3, **settings}
    )
    job.run(root, read_inputs(channels, 64), arguments, Clock(600))
    metrics: dict[str, Any] = json.loads((root / "model" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["environment"]["precision"] == "float32"
    return metrics


@pytest.fixture
def channels(container: Container) -> Path:
    return container.root / "input" / "data"


def records(channels: Path) -> None:
    (channels / "corpus" / "corpus.txt").unlink()
    lines = [
        {"id": f"r{n}", "group": f"g{n}", "prompt": prose(n, 8 + n % 9), "completion": prose(n + 30, 20 + n % 7)}
        for n in range(40)
    ]
    (channels / "corpus" / "corpus.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")


@pytest.mark.parametrize("of_records", [False, True], ids=["text", "records"])
def test_a_further_seed_gives_what_a_run_with_that_seed_alone_gives(
    tmp_path: Path, channels: Path, monkeypatch: pytest.MonkeyPatch, of_records: bool
) -> None:
    if of_records:
        records(channels)
    many = in_float32(tmp_path / "many", channels, monkeypatch, more_seeds=(8, 9))
    for one in many["seeds"]["further"]:
        alone = in_float32(tmp_path / str(one["seed"]), channels, monkeypatch, seed=one["seed"])
        for name, part in one["evaluation"].items():
            for here, there in zip(part["documents"], alone["evaluation"][name]["documents"], strict=True):
                assert here["base_nll"] == pytest.approx(there["base_nll"], abs=1e-5)
                assert here["tuned_nll"] == pytest.approx(there["tuned_nll"], abs=1e-5)


def test_seeds_for_which_the_time_is_too_short_are_left_out_with_the_reason(
    tmp_path: Path, channels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(further, "MARGIN", 1e6)
    metrics = in_float32(tmp_path / "ml", channels, monkeypatch, more_seeds=(8, 9))
    assert metrics["evaluation"]["heldout"]["tuned_loss"] is not None
    assert metrics["seeds"]["further"] == []
    whys = [one["why"] for one in metrics["seeds"]["left_out"]]
    assert [one["seed"] for one in metrics["seeds"]["left_out"]] == [8, 9]
    assert all(why.startswith("it needs about ") and why.endswith(" s were left") for why in whys)


class EndingClock(Clock):
    """A clock whose time is over as soon as the further seeds have made a few steps."""

    def __init__(self, root: Path) -> None:
        super().__init__(600)
        self._root, self._asked = root, 0

    @property
    def remaining(self) -> float:
        begun = "the job ended while" in _text(self._root / "model" / "metrics.json")
        self._asked += begun
        return 0.0 if self._asked > 4 else 600.0


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def test_a_seed_that_the_time_overtakes_is_left_out_and_ends_at_once(tmp_path: Path, channels: Path) -> None:
    arguments = Arguments(learning_rate=0.01, sequence_length=64, sequences_per_step=1, seed=3, more_seeds=(8, 9))
    job.run(tmp_path, read_inputs(channels, 64), arguments, EndingClock(tmp_path))
    seeds = json.loads(_text(tmp_path / "model" / "metrics.json"))["seeds"]
    (eight, nine) = (one["why"] for one in seeds["left_out"])
    assert eight.startswith("the time was over after ") and " steps" in eight
    assert nine.startswith("it needs about ")


def test_a_seed_that_fails_takes_nothing_from_the_others(
    tmp_path: Path, channels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = further.make_trainer

    def failing(*given: Any, **more: Any) -> Any:
        if given[2].seed == 8:
            raise MemoryError("no room")
        return made(*given, **more)

    monkeypatch.setattr(further, "make_trainer", failing)
    metrics = in_float32(tmp_path / "ml", channels, monkeypatch, more_seeds=(8, 9))
    assert [one["seed"] for one in metrics["seeds"]["further"]] == [9]
    ((seed, why),) = ((one["seed"], one["why"]) for one in metrics["seeds"]["left_out"])
    assert (seed, "it failed: The machine's memory is full" in why) == (8, True)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_job_that_ends_in_a_further_seed_has_its_result_and_does_not_train_the_first_again(
    container: Container, three: tuple[Container, list[str]], end: signal.Signals
) -> None:
    container.settings(more_seeds="8,9")
    code, lines = container.signal_after("further seed=9", end)
    assert code == (0 if end == signal.SIGTERM else -end), "\n".join(lines)
    assert same_adapter(container, three[0])
    assert container.metrics["evaluation"] == three[0].metrics["evaluation"]
    assert losses(container) == {8: losses(three[0])[8]}
    told = "the job was stopped after " if end == signal.SIGTERM else "the job ended while it was trained"
    assert left_out(container)[9].startswith(told)
    assert not list((container.root / "checkpoints").glob("checkpoint-*")), "no checkpoint of a further seed"

    code, lines = of_another_instance(container).run()
    assert code == 0, "\n".join(lines)
    assert starting(lines, "phase") == ["phase name=load", "phase name=further-seeds"]
    assert [line.split()[1] for line in starting(lines, "further-seed")] == ["seed=9"], "the finished one is kept"
    assert same_adapter(container, three[0])
    assert container.metrics["training"]["starts"] == 2
    assert (losses(container), left_out(container)) == (losses(three[0]), {})


def test_what_was_kept_is_told_whole_and_not_used_where_it_has_changed(container: Container) -> None:
    container.settings(more_seeds="8", epochs="1")
    assert container.run()[0] == 0
    found = losses(container)
    code, lines = of_another_instance(container).run()
    assert code == 0, "\n".join(lines)
    assert (losses(container), left_out(container), starting(lines, "further-seed")) == (found, {}, [])
    kept = container.root / "checkpoints" / "first-seed" / "metrics.json"
    kept.write_text(kept.read_text().replace('"schema": 1', '"schema": 2'))
    code, lines = of_another_instance(container).run()
    assert code == 0, "\n".join(lines)
    assert "phase name=train" in lines
    assert container.metrics["schema"] == 1


def test_a_first_seed_that_is_stopped_leaves_the_others_out_and_goes_on_at_the_next_start(container: Container) -> None:
    container.settings(more_seeds="8", epochs="20", learning_rate="0.001")
    code, lines = container.signal_after("progress", signal.SIGTERM)
    assert code == 0, "\n".join(lines)
    assert left_out(container) == {8: "the first seed's own training ended early (stop signal)"}
    assert not (container.root / "checkpoints" / "first-seed").exists()
    code, lines = of_another_instance(container).run()
    assert code == 0, "\n".join(lines)
    assert starting(lines, "resume")
    assert (list(losses(container)), left_out(container)) == ([8], {})


ALIKE = {"lora_dropout": "0.0", "learning_rate": "0.001", "sequences_per_step": "3", "epochs": "2", "more_seeds": "8,9"}


@on_linux
def test_two_processes_find_the_losses_that_one_finds(container: Container, tmp_path: Path, tiny_model: Path) -> None:
    with_two_gpus(container).settings(**ALIKE)
    alone = Container(tmp_path / "alone", tiny_model)
    alone.settings(**ALIKE)
    for each in (container, alone):
        code, lines = each.run()
        assert code == 0, "\n".join(lines)
    assert left_out(container) == {}
    for seed, found in losses(alone).items():
        assert losses(container)[seed] == pytest.approx(found, rel=1e-3)


@on_linux
def test_a_process_that_is_killed_in_a_further_seed_ends_the_job_with_the_first_seeds_result(
    container: Container,
) -> None:
    with_two_gpus(container).settings(**ALIKE | {"epochs": "20"})
    process = container.start()
    await_line(process, "further seed=8")
    workers(process)[1].kill()
    ((code, lines),) = ended([process])
    assert code == 0, "\n".join(lines)
    assert load_file(container.root / "model" / "adapter_model.safetensors")
    assert container.metrics["evaluation"]["heldout"]["tuned_loss"] is not None
    assert list(left_out(container)) == [8, 9]
    assert not (container.root / "output" / "failure").exists()
    assert "an error ended the job after its adapter was saved" in lines[-1]


def test_a_failure_before_the_first_seeds_result_is_a_failure_as_ever(container: Container) -> None:
    container.settings(more_seeds="8", time_budget_seconds="10")
    assert container.run()[0] == 1
    assert "time budget of 10 s" in container.failure


def test_the_arguments_of_a_further_seed_are_those_of_the_first_but_for_the_seed() -> None:
    arguments = Arguments(seed=3, more_seeds=(8,))
    assert dataclasses.replace(arguments, seed=8, more_seeds=()).settings == arguments.settings | {"seed": 8}
