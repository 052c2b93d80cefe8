"""training/train.py where the measuring of the trained model goes wrong: its adapter is paid for by then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from safetensors.torch import load_file

import evaluation
import job
from arguments import Arguments
from failure import TrainingFailure
from inputs import read_inputs
from progress import Clock
from tests.doubles.rehearsal.toy_container import Container
from tests.training.test_training_processes import ALIKE, ended, on_linux

ASKED = "            losses = _losses_where_they_fit(network, inputs, labels)\n"
LOST = f'            if tuned:\n                raise RuntimeError("the card is gone")\n{ASKED}'


def assert_the_adapter_stands(container: Container) -> None:
    assert load_file(container.root / "model" / "adapter_model.safetensors")
    assert not (container.root / "output" / "failure").exists()
    heldout = container.metrics["evaluation"]["heldout"]
    assert heldout["base_loss"] is not None and heldout["tuned_loss"] is None
    assert "the card is gone" in container.metrics["training"]["unmeasured"]


def trained_here(container: Container, monkeypatch: pytest.MonkeyPatch, wrong: Callable[[Any], Any]) -> None:
    """Run the job in this process; from the saved adapter on, `wrong` gets the losses before anybody else does."""
    usual = evaluation._losses_where_they_fit

    def losses(*given: Any) -> Any:
        found = usual(*given)
        return wrong(found) if (container.root / "model" / "adapter_model.safetensors").exists() else found

    monkeypatch.setattr(evaluation, "_losses_where_they_fit", losses)
    arguments = Arguments(learning_rate=0.01, sequence_length=64, lora_rank=4, max_steps=3)
    job.run(container.root, read_inputs(container.root / "input" / "data", 64), arguments, Clock(600))


def lost(losses: Any) -> Any:
    raise RuntimeError("the card is gone")


@pytest.mark.slow
def test_an_error_in_the_last_measuring_leaves_the_adapter_and_its_reason(
    container: Container, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained_here(container, monkeypatch, lost)
    assert_the_adapter_stands(container)
    assert "RuntimeError: the card is gone" in "".join(capsys.readouterr()), "with the traceback before it"


@pytest.mark.slow
def test_an_adapter_whose_losses_are_no_numbers_is_a_failure(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would only be paid for once more, on an endpoint."""
    with pytest.raises(TrainingFailure, match="not a finite number. Lower learning_rate"):
        trained_here(container, monkeypatch, lambda losses: losses * float("nan"))


@on_linux
@pytest.mark.thorough
@pytest.mark.parametrize("rank", [0, 1])
def test_the_adapter_stands_where_one_of_two_hosts_meets_the_error(two_hosts: list[Container], rank: int) -> None:
    for container in two_hosts:
        container.breaks_where("evaluation.py", ASKED, LOST.replace("if tuned:", f"if tuned and group.rank == {rank}:"))
        container.settings(**ALIKE)
    ends = ended([container.start() for container in two_hosts])
    assert [code for code, _ in ends] == [0, 0], "\n".join(line for _, lines in ends for line in lines)
    assert_the_adapter_stands(two_hosts[0])


@on_linux
@pytest.mark.thorough
def test_an_adapter_that_cannot_be_saved_fails_the_job_on_every_host(two_hosts: list[Container]) -> None:
    """The second host has nothing to save, and must not report the job as done."""
    for container in two_hosts:
        container.breaks_where(
            "output.py", "        (partial / WEIGHTS).write_bytes(weights)\n", '        raise OSError(28, "No space")\n'
        )
        container.settings(**ALIKE)
    assert [code for code, _ in ended([container.start() for container in two_hosts])] == [1, 1]
    assert "The disk is full" in two_hosts[0].failure
