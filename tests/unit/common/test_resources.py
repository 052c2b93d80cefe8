"""What SageMaker holds of the project: every page of every kind is read, and another's tags are believed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from botocore.exceptions import EndpointConnectionError

from common.resources import (
    ENDPOINT,
    ENDPOINT_CONFIGURATION,
    LONGEST_TRAINING_JOB,
    MODEL,
    TRAINING_JOB,
    Kind,
    Resource,
    Tags,
    find_all,
    find_present,
)
from tests.doubles.lambda_fakes import NOW, SageMaker, refusal, resource_arn

MINE = Resource(MODEL, "captune-a", resource_arn("model", "captune-a"), "", NOW)
OTHER = Resource(MODEL, "captune-b", resource_arn("model", "captune-b"), "", NOW)


@pytest.mark.parametrize(
    ("kind", "words", "arn_kind", "status"),
    [
        (TRAINING_JOB, "training job", "training-job", "InProgress"),
        (ENDPOINT, "endpoint", "endpoint", "InService"),
        (ENDPOINT_CONFIGURATION, "endpoint configuration", "endpoint-config", ""),
        (MODEL, "model", "model", ""),
    ],
)
def test_every_resource_of_a_kind_is_found_with_what_there_is_to_know(
    kind: Kind, words: str, arn_kind: str, status: str
) -> None:
    names = ["captune-a", "captune-b", "captune-a-try2"]
    sagemaker = SageMaker(
        jobs=dict.fromkeys(names, "InProgress"),
        endpoints=dict.fromkeys(names, "InService"),
        configurations=names,
        models=names,
    )
    found = find_all(sagemaker, kind, "captune-a")
    assert found == [
        Resource(kind, name, resource_arn(arn_kind, name), status, sagemaker.created)
        for name in ("captune-a", "captune-a-try2")
    ]
    assert str(found[0]) == f"{words} captune-a{': ' + status if status else ''}"


def test_only_the_status_that_is_asked_for_is_found() -> None:
    sagemaker = SageMaker(jobs={"captune-a": "Completed", "captune-b": "InProgress"})
    assert [job.name for job in find_all(sagemaker, TRAINING_JOB, "captune-", "InProgress")] == ["captune-b"]


def test_pages_are_as_large_as_they_may_be_and_one_without_any_of_ours_does_not_end_the_list() -> None:
    sagemaker = SageMaker(models=["others-1", "captune-a", "others-2", "captune-b"])
    assert [model.name for model in find_all(sagemaker, MODEL, "captune-")] == ["captune-a", "captune-b"]
    assert [asked["MaxResults"] for asked in sagemaker.called("list_models")] == [100] * 4


def test_of_what_sagemaker_remembers_for_ever_only_what_is_young_enough_is_read() -> None:
    sagemaker = SageMaker(jobs={"captune-old": "InProgress", "captune-new": "InProgress"})
    sagemaker.created_at["captune-old"] = NOW - timedelta(days=57)
    found = find_all(sagemaker, TRAINING_JOB, "captune-", created_after=NOW - LONGEST_TRAINING_JOB)
    assert [job.name for job in found] == ["captune-new"]


def test_of_what_may_still_be_there_jobs_alone_have_an_age() -> None:
    names = ["captune-a"]
    sagemaker = SageMaker(jobs=dict.fromkeys(names, "InProgress"), models=names)
    for kind in (TRAINING_JOB, MODEL):
        assert [one.name for one in find_present(sagemaker, kind, "captune-", NOW)] == names
    (jobs,), (models,) = sagemaker.called("list_training_jobs"), sagemaker.called("list_models")
    assert jobs["CreationTimeAfter"] == NOW - LONGEST_TRAINING_JOB
    assert "CreationTimeAfter" not in models
    assert find_present(sagemaker, TRAINING_JOB, "captune-", NOW, "Stopping") == []


def test_a_list_that_cannot_be_read_is_an_error_and_no_empty_list() -> None:
    sagemaker = SageMaker()
    sagemaker.troubles["list_models"] = [refusal("ThrottlingException")]
    with pytest.raises(type(refusal("x"))):
        find_all(sagemaker, MODEL, "captune-")


@pytest.mark.parametrize(
    ("tags", "foreign"),
    [
        ({"project": "captune"}, False),
        ({"owner": "me", "run": "captune-a", "project": "captune"}, False),
        ({"project": "another"}, True),
        ({"owner": "me", "value": "captune"}, True),
        ({}, True),
    ],
)
def test_a_resource_is_foreign_when_its_tags_say_so(tags: dict[str, str], foreign: bool) -> None:
    sagemaker = SageMaker()
    sagemaker.tags["captune-a"] = tags
    assert Tags(sagemaker).disown(MINE) is foreign


@pytest.mark.parametrize("code", ["ThrottlingException", "AccessDeniedException", "ResourceNotFound"])
def test_where_sagemaker_does_not_tell_the_name_counts(code: str) -> None:
    sagemaker = SageMaker()
    sagemaker.tags = {"captune-a": {}, "captune-b": {}}
    sagemaker.troubles["list_tags"] = [refusal(code)]
    tags = Tags(sagemaker)
    assert not tags.disown(MINE)
    assert tags.disown(OTHER), "a refusal of one resource says nothing about the next"


def test_after_a_silence_nothing_more_is_asked() -> None:
    sagemaker = SageMaker()
    sagemaker.tags = {"captune-a": {}, "captune-b": {}}
    sagemaker.troubles["list_tags"] = [EndpointConnectionError(endpoint_url="sagemaker")]
    tags = Tags(sagemaker)
    assert not tags.disown(MINE)
    assert not tags.disown(OTHER)
    assert len(sagemaker.called("list_tags")) == 1
