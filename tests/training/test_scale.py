"""How much of the adapter is kept: by what, on which documents, and what becomes of a job in which nothing could be measured."""

from collections.abc import Callable
from typing import Any

import pytest
from safetensors.torch import load_file

import evaluation
import job
import scale
from arguments import Arguments
from common import estimate
from failure import TrainingFailure
from inputs import read_inputs
from progress import Clock
from tests.doubles.rehearsal.toy_container import Container
from text import Document

LOSS = 3.0
SIZES = (10, 20, 30, 40, 50, 60)
DOCUMENTS = [Document(f"d{number}", "", "x", tuple(range(size))) for number, size in enumerate(SIZES)]
BASE = [LOSS * size for size in SIZES]


def choice(change: Callable[[float], float], spread: float = 0.0, *, by_control: bool = False) -> scale.Choice:
    """The choice where each scale changes the loss by so much, and every second document by `spread` more or less than that."""

    def losses_at(one: float) -> list[float]:
        return [(LOSS + change(one) + (-1) ** place * spread * one) * size for place, size in enumerate(SIZES)]

    return scale.measured(DOCUMENTS, BASE, losses_at, by_control=by_control)


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        (lambda one: one * one - 0.4 * one, 0.2),
        (lambda one: -0.1 * one, 1.0),
        (lambda one: one * one - 0.2 * one, 0.1),
        (lambda one: 0.1 * one, 0.0),
        (lambda one: 0.0, 0.0),
    ],
)
def test_the_scale_with_the_lowest_loss_is_kept_or_none(change: Callable[[float], float], kept: float) -> None:
    found = choice(change)
    assert (found.scale, found.how) == (kept, scale.MEASURED)
    assert [one.scale for one in found.curve] == [0.0, *scale.SCALES]
    assert len(scale.SCALES) == estimate.SCALES, "so many are planned for"


def test_a_gain_that_may_be_chance_keeps_nothing() -> None:
    assert choice(lambda one: -0.1 * one, spread=0.01).scale == 1.0
    assert choice(lambda one: -0.1 * one, spread=0.5).scale == 0.0


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        (lambda one: -0.1 * one, 0.45),
        (lambda one: one * one - 0.6 * one, 0.3),  # 0.2 has 89 % of the gain
        (lambda one: one * one - 0.58 * one, 0.2),  # and here 90.4 %
        (lambda one: one * one - 0.2 * one, 0.2),
        (lambda one: 0.1 * one, 0.2),
    ],
)
def test_retention_text_chooses_a_small_good_scale_in_bounds(change: Callable[[float], float], kept: float) -> None:
    found = choice(change, by_control=True)
    assert (found.scale, found.how, found.by) == (kept, scale.MEASURED, scale.BY_CONTROL)


def test_the_standard_error_is_over_documents_and_not_over_tokens() -> None:
    one, two = (Document("a", "", "x", (1,) * 100), Document("b", "", "x", (1,) * 100))
    found = scale.point([one, two], [300.0, 300.0], [290.0, 310.0], 0.5)
    assert (found.loss, found.difference) == (3.0, 0.0)
    assert found.standard_error == pytest.approx(0.1)
    assert scale.best([scale.point([one, two], [300.0, 300.0], [300.0, 300.0], 0.0), found]) == 0.0


def test_too_few_documents_are_told_by_their_number() -> None:
    assert scale.why_not([]) == "no text was set aside for it"
    assert scale.why_not(DOCUMENTS[:5]).startswith("only 5 documents")
    assert scale.why_not(DOCUMENTS) == scale.why_not(DOCUMENTS[:4], by_control=True) == ""
    assert scale.why_not(DOCUMENTS[:3], by_control=True).startswith("only 3 documents")


# In a job.


def trained(container: Container, clock: Clock | None = None, **settings: Any) -> dict[str, Any]:
    arguments = Arguments(learning_rate=0.01, sequence_length=64, lora_rank=4, seed=3, **{"max_steps": 6, **settings})
    inputs = read_inputs(container.root / "input" / "data", 64)
    job.run(container.root, inputs, arguments, clock or Clock(600))
    return container.metrics


def weights(container: Container) -> Any:
    return load_file(container.root / "model" / "adapter_model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("by", [scale.BY_OTHERS, scale.BY_CONTROL])
def test_the_scale_is_measured_on_documents_set_aside_and_kept(container: Container, by: str) -> None:
    container.set_aside(7, {scale.BY_OTHERS: "scale", scale.BY_CONTROL: "scale_control"}[by])
    metrics = trained(container, max_steps=40)
    told = metrics["scale"]
    assert (told["how"], told["by"], told["documents"]) == (scale.MEASURED, by, [f"s{n}" for n in range(7)])
    assert told["scale"] == metrics["settings"]["adapter_scale"]
    lowest = min(told["curve"], key=lambda one: one["loss"])
    curve = [scale.Point(**point) for point in told["curve"]]
    expected = lowest["scale"] if by == scale.BY_OTHERS else scale.best_by_control(curve)
    assert told["scale"] == expected > 0, "the toy model learns something"
    assert len({one["loss"] for one in told["curve"]}) == len(told["curve"]), "each of another adapter"
    judging = {row["id"] for part in metrics["evaluation"].values() for row in part["documents"]}
    assert not judging & set(told["documents"])
    kept = weights(container)
    trained(container, max_steps=40, adapter_scale=1.0)
    whole = weights(container)
    for name, value in whole.items():
        share = told["scale"] if "lora_B" in name else 1.0
        assert (kept[name].float() - share * value.float()).norm() <= 0.01 * value.float().norm(), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "settings", "expected"),
    [
        (0, {}, (scale.UNMEASURED_SCALE, scale.UNMEASURED, "no text was set aside for it")),
        (7, {"adapter_scale": 0.7}, (0.7, scale.SET, "")),
    ],
)
def test_without_enough_documents_or_with_a_number_nothing_is_measured(
    container: Container, count: int, settings: dict[str, Any], expected: tuple[float, str, str]
) -> None:
    container.set_aside(count)
    told = trained(container, **settings)["scale"]
    assert (told["scale"], told["how"], told["why"].partition(" were")[0]) == expected
    assert told["curve"] == [] and told["documents"] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (None, "the job was told to stop"),
        (job.OutOfTime(), "the time was over"),
        (RuntimeError("the GPU is gone"), "the GPU is gone"),
    ],
)
def test_where_scales_cannot_be_tried_the_default_is_kept(
    container: Container, monkeypatch: pytest.MonkeyPatch, wrong: Exception | None, why: str
) -> None:
    container.set_aside(7)

    class Stopped(Clock):
        """Told to stop once the first step is made."""

        @property
        def stop_requested(self) -> bool:
            return (container.root / "model" / "adapter_model.safetensors").exists()

    def fails(*_: Any, **__: Any) -> scale.Choice:
        raise wrong or AssertionError("nothing is tried")

    monkeypatch.setattr(job, "measured", fails)
    metrics = trained(container, Clock(600) if wrong else Stopped(600))
    told = metrics["scale"]
    assert why in told["why"] and (told["scale"], told["how"]) == (scale.UNMEASURED_SCALE, scale.UNMEASURED)
    assert metrics["evaluation"]["heldout"]["tuned_loss"] is not None, "the adapter is measured all the same"


@pytest.mark.slow
def test_the_time_to_measure_the_adapter_is_kept_back(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured of the adapter counts for more: scales are tried only in the time beyond it."""
    container.set_aside(7)
    asked: list[float] = []
    usual = evaluation.score

    def score(*given: Any, keep_seconds: float, name: str, tuned: bool, **more: Any) -> list[float]:
        if name == "scale" and tuned:
            asked.append(keep_seconds)
        return usual(*given, keep_seconds=keep_seconds, name=name, tuned=tuned, **more)

    monkeypatch.setattr(job, "score", score)
    trained(container)
    assert len(asked) == len(scale.SCALES) and min(asked) > job.SAVE_SECONDS


@pytest.mark.slow
def test_a_start_with_other_text_to_choose_by_is_another_job(container: Container) -> None:
    """A checkpoint brings the base model's losses on that text along."""
    container.set_aside(7)
    assert [trained(container)["training"]["starts"] for _ in range(2)] == [1, 2]
    container.set_aside(8)
    assert trained(container)["training"]["starts"] == 1


@pytest.mark.parametrize("name", ["scale.jsonl", "scale_control.jsonl"])
def test_a_document_that_chooses_may_not_judge(container: Container, name: str) -> None:
    held_out = container.root / "input" / "data" / "evaluation" / "heldout.jsonl"
    path = held_out.with_name(name)
    path.write_text(held_out.read_text("utf-8"), encoding="utf-8")
    with pytest.raises(TrainingFailure, match="in both the set that chooses the adapter scale and a test set"):
        read_inputs(container.root / "input" / "data", 64)
