"""training/train.py where the measuring of the trained model goes wrong: its adapter is paid for by then."""

from __future__ import annotations

import pytest
from safetensors.torch import load_file

from tests.doubles.rehearsal.toy_container import Container
from tests.rehearsal.test_training_processes import ALIKE, ended, on_linux, with_two_gpus

ASKED = "            losses = _losses_where_they_fit(network, inputs, labels)\n"
LOST = f'            if tuned:\n                raise RuntimeError("the card is gone")\n{ASKED}'
NO_NUMBERS = ASKED + "            losses *= float('nan') if tuned else 1\n"


def assert_the_adapter_stands(container: Container) -> None:
    assert load_file(container.root / "model" / "adapter_model.safetensors")
    assert not (container.root / "output" / "failure").exists()
    heldout = container.metrics["evaluation"]["heldout"]
    assert heldout["base_loss"] is not None and heldout["tuned_loss"] is None


@pytest.mark.slow
def test_an_error_while_it_is_measured_leaves_the_adapter_and_says_what_lacks(container: Container) -> None:
    container.breaks_where("evaluation.py", ASKED, LOST)
    container.settings(more_seeds="8")
    code, lines = container.run()
    assert code == 0, "\n".join(lines)
    assert_the_adapter_stands(container)
    why = container.metrics["training"]["unmeasured"]
    assert why.startswith("Unexpected RuntimeError at evaluation.py:") and "the card is gone" in why
    assert container.metrics["seeds"]["left_out"] == [
        {"seed": 8, "why": f"the first seed's losses were not measured ({why})"}
    ]
    assert "RuntimeError: the card is gone" in lines  # with the traceback before it


@pytest.mark.slow
def test_an_adapter_whose_losses_are_no_numbers_is_a_failure(container: Container) -> None:
    """It would only be paid for once more, on an endpoint."""
    container.breaks_where("evaluation.py", ASKED, NO_NUMBERS)
    code, _ = container.run()
    assert code == 1
    assert "The tuned model's loss on a document is not a finite number. Lower learning_rate." in container.failure


@on_linux
@pytest.mark.thorough
def test_it_stands_where_one_of_two_processes_meets_the_error(container: Container) -> None:
    container.breaks_where("evaluation.py", ASKED, LOST.replace("if tuned:", "if tuned and group.rank == 1:"))
    with_two_gpus(container).settings(**ALIKE)
    code, lines = container.run()
    assert code == 0, "\n".join(lines)
    assert_the_adapter_stands(container)
    assert "the card is gone" in container.metrics["training"]["unmeasured"]
    assert "RuntimeError: the card is gone" in lines


@on_linux
@pytest.mark.thorough
@pytest.mark.parametrize("rank", [0, 1])
def test_it_stands_where_one_of_two_hosts_meets_the_error(two_hosts: list[Container], rank: int) -> None:
    for container in two_hosts:
        container.breaks_where("evaluation.py", ASKED, LOST.replace("if tuned:", f"if tuned and group.rank == {rank}:"))
        container.settings(**ALIKE)
    ends = ended([container.start() for container in two_hosts])
    assert [code for code, _ in ends] == [0, 0], "\n".join(line for _, lines in ends for line in lines)
    assert_the_adapter_stands(two_hosts[0])
    assert "the card is gone" in two_hosts[0].metrics["training"]["unmeasured"]


@on_linux
@pytest.mark.thorough
def test_losses_that_are_no_numbers_are_a_failure_of_two_hosts_too(two_hosts: list[Container]) -> None:
    for container in two_hosts:
        container.breaks_where("evaluation.py", ASKED, NO_NUMBERS)
        container.settings(**ALIKE)
    assert [code for code, _ in ended([container.start() for container in two_hosts])] == [1, 1]


@on_linux
@pytest.mark.thorough
def test_an_adapter_that_cannot_be_saved_is_a_failure_on_every_host(two_hosts: list[Container]) -> None:
    """The second one has nothing to save, and must not take the job for done."""
    for container in two_hosts:
        container.breaks_where(
            "output.py", "        write(partial)\n", '        raise OSError(28, "No space left on device")\n'
        )
        container.settings(**ALIKE)
    assert [code for code, _ in ended([container.start() for container in two_hosts])] == [1, 1]
    assert "The disk is full" in two_hosts[0].failure
