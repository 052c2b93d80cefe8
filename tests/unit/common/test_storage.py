"""What the Lambdas read: objects of the bucket and their keys, what SageMaker holds of the project, errors of AWS, and environment variables."""

import json
from datetime import timedelta

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from common.aws import is_missing, reaching
from common.environment import MisconfiguredFunction
from common.errors import ServiceUnreachable
from common.resources import LONGEST_TRAINING_JOB, MODEL, TRAINING_JOB, Resource, Tags, find_all, find_present
from common.storage import Fetched, Storage
from preflight.settings import RunSettings
from tests.doubles.lambda_fakes import NOW, S3, SageMaker, refusal, resource_arn
from tests.doubles.preflight_site import SETTINGS


class TestBucket:
    @pytest.fixture
    def s3(self) -> S3:
        return S3()

    @pytest.fixture
    def storage(self, s3: S3) -> Storage:
        return Storage(s3, "bucket")

    def test_what_is_written_is_read(self, storage: Storage, s3: S3) -> None:
        storage.write("a.txt", "grün\n")
        storage.write("b.bin", b"\x00\xff")
        storage.write_json("a.json", {"name": "Größe"})
        assert (storage.read("a.txt"), storage.read("b.bin")) == ("grün\n".encode(), b"\x00\xff")
        assert storage.read("a.json") == '{\n  "name": "Größe"\n}'.encode()
        assert storage.read_json("a.json") == {"name": "Größe"}
        s3.sizes["big"] = 5 * 2**30
        assert storage.size("big") == 5 * 2**30
        assert storage.fetch("big", 2**20) == Fetched(5 * 2**30, "", b"")
        first = storage.fetch("b.bin", 2)
        assert first is not None and (first.size, first.content) == (2, b"\x00\xff")
        storage.write("b.bin", b"new")
        again = storage.fetch("b.bin", 2**20, first.version)
        assert again == first

    def test_missing_object_is_none(self, storage: Storage) -> None:
        missing = (storage.read("x"), storage.size("x"), storage.read_json("x"), storage.read_lines("x"))
        assert missing == (None, None, None, [])
        assert storage.fetch("x", 1) is storage.fetch("x", 1, "gone") is None

    @pytest.mark.parametrize("operation", ["get_object", "head_object"])
    def test_rejected_object_is_an_error(self, storage: Storage, s3: S3, operation: str) -> None:
        s3.troubles[operation] = [refusal("AccessDenied")]
        with pytest.raises(ClientError):
            storage.read("a") if operation == "get_object" else storage.size("a")

    @pytest.mark.parametrize(
        ("text", "read"),
        [
            *((text, text) for text in ("one\u2028two", "one\u0085two", "one\ntwo\r\n\x0b\x0c\x1c", "“quoted” 細胞")),
            ("a\ud83d", "a?"),
        ],
    )
    def test_any_text_of_a_model_survives_lines(self, storage: Storage, text: str, read: str) -> None:
        storage.write_lines("a.jsonl", [{"greedy": text}, {"greedy": "next"}])
        assert storage.read_lines("a.jsonl") == [{"greedy": read}, {"greedy": "next"}]

    def test_address_of_another_bucket_is_rejected(self, storage: Storage) -> None:
        assert storage.key_of(storage.uri("runs/a/b.txt")) == "runs/a/b.txt"
        with pytest.raises(ValueError, match="s3://bucket-2/a is not in the bucket bucket"):
            storage.key_of("s3://bucket-2/a")


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


class TestErrorsOfAws:
    @pytest.mark.parametrize(
        ("code", "message", "missing"),
        [
            ("ValidationException", 'Could not find model "arn:…".', True),
            ("ResourceNotFound", "", True),
            ("NoSuchKey", "", True),
            ("ValidationException", "1 validation error detected", False),
            ("AccessDeniedException", "could not find", False),
        ],
    )
    def test_missing_is_recognised_in_every_form(self, code: str, message: str, missing: bool) -> None:
        assert is_missing(refusal(code, message)) is missing

    def test_trouble_of_aws_is_retried_and_other_errors_stay(self) -> None:
        expected = pytest.raises(ServiceUnreachable, match="Reading the plan failed.*SlowDown")
        with expected, reaching("Reading the plan"):
            raise refusal("SlowDown")
        with pytest.raises(KeyError), reaching("Reading the plan"):
            raise KeyError("x")


@pytest.mark.parametrize(
    "text",
    [
        *("no json", "[]"),
        json.dumps(SETTINGS | {"unheard": 1}),
        json.dumps(SETTINGS | {"base_model": {"id": "x"}}),
        json.dumps({key: value for key, value in SETTINGS.items() if key != "seed"}),
    ],
)
def test_settings_of_another_deployment_are_rejected(text: str) -> None:
    with pytest.raises(MisconfiguredFunction, match="SETTINGS_JSON of this function does not match its code"):
        RunSettings.from_json(text)
