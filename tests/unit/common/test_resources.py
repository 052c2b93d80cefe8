"""What SageMaker holds of the project: every page of every kind is read, and only the project's own counts."""

from __future__ import annotations

from datetime import timedelta

import pytest
from botocore.exceptions import EndpointConnectionError

from common.resources import (
    LONGEST_TRAINING_JOB,
    MODEL,
    TRAINING_JOB,
    Resource,
    Tags,
    find_all,
    find_present,
)
from tests.doubles.lambda_fakes import NOW, SageMaker, refusal, resource_arn

MINE = Resource(MODEL, "captune-a", resource_arn("model", "captune-a"), "", NOW)
OTHER = Resource(MODEL, "captune-b", resource_arn("model", "captune-b"), "", NOW)


def test_jobs_alone_are_found_by_status_and_age() -> None:
    jobs = {"captune-old": "InProgress", "captune-new": "InProgress", "captune-done": "Completed"}
    sagemaker = SageMaker(jobs=jobs, models=["captune-a"])
    sagemaker.created_at["captune-old"] = NOW - timedelta(days=57)
    assert [job.name for job in find_all(sagemaker, TRAINING_JOB, "captune-", "Completed")] == ["captune-done"]
    present = find_present(sagemaker, TRAINING_JOB, "captune-", NOW, "InProgress")
    assert [job.name for job in present] == ["captune-new"]
    assert sagemaker.called("list_training_jobs")[-1]["CreationTimeAfter"] == NOW - LONGEST_TRAINING_JOB
    assert [one.name for one in find_present(sagemaker, MODEL, "captune-", NOW)] == ["captune-a"]
    assert "CreationTimeAfter" not in sagemaker.called("list_models")[-1]


@pytest.mark.parametrize(
    ("trouble", "calls"),
    [
        (refusal("AccessDeniedException"), 2),
        # After a silence nothing more is asked.
        (EndpointConnectionError(endpoint_url="sagemaker"), 1),
    ],
)
def test_name_counts_where_the_tags_are_unknown(trouble: Exception, calls: int) -> None:
    sagemaker = SageMaker()
    sagemaker.tags = {"captune-a": {}, "captune-b": {}}
    sagemaker.troubles["list_tags"] = [trouble]
    tags = Tags(sagemaker)
    assert [tags.why_foreign(MINE), tags.why_foreign(OTHER)] == ["", "it has no tag project" if calls == 2 else ""]
    assert len(sagemaker.called("list_tags")) == calls
