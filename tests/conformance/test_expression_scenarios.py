"""The recorded runs follow from the definitions: every way out of a state is taken."""

from __future__ import annotations

from typing import Any

from verification.conformance.expressions.scenarios import of_state
from proof.matrix.states import TaskState


def state(resource: str, **body: Any) -> TaskState:
    return TaskState("machine", "Ask", {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", **body}, {})


def names(found: TaskState) -> list[str]:
    return [scenario.name for scenario in of_state(found)]


def test_each_error_that_a_catch_names_has_a_run_and_one_that_none_names() -> None:
    catches = [
        {"ErrorEquals": ["SageMaker.ResourceInUseException"], "Next": "A"},
        {"ErrorEquals": ["SageMaker.ResourceLimitExceededException"], "Next": "B"},
        {"ErrorEquals": ["States.ALL"], "Next": "C"},
    ]

    found = names(state("aws-sdk:sagemaker:createTrainingJob", Catch=catches))

    assert found == [
        "Ask is answered AccessDeniedException",
        "Ask is answered ResourceInUse",
        "Ask is answered ResourceLimitExceeded",
        "the answer to Ask is lost",
    ]


def test_another_services_errors_keep_their_ending() -> None:
    catches = [{"ErrorEquals": ["Scheduler.ConflictException", "Lambda.Unknown"], "Next": "A"}]

    assert "Ask is answered ConflictException" in names(state("aws-sdk:scheduler:createSchedule", Catch=catches))


def test_an_answer_that_is_read_is_also_empty_once() -> None:
    reading = state("lambda:invoke", Output="{% $states.result.Payload.remaining %}")

    assert names(reading) == ["Ask is answered AccessDeniedException", "the answer to Ask is empty"]
