"""Texts and JSON in the project's bucket."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from common.aws import is_missing, reaching
from common.errors import ServiceUnreachable
from common.storage import Head, Storage
from tests.doubles.lambda_fakes import S3, refusal


@pytest.fixture
def s3() -> S3:
    return S3()


@pytest.fixture
def storage(s3: S3) -> Storage:
    return Storage(s3, "bucket")


def test_what_is_written_is_read(storage: Storage) -> None:
    storage.write("a.txt", "grün\n")
    storage.write("b.bin", b"\x00\xff")
    head = storage.head("a.txt")
    assert head is not None
    assert (storage.read("a.txt"), storage.read("b.bin"), head.size) == ("grün\n".encode(), b"\x00\xff", 6)


def test_what_is_not_there_is_none(storage: Storage) -> None:
    assert (storage.read("x"), storage.head("x"), storage.read_json("x"), storage.read_lines("x")) == (
        None,
        None,
        None,
        [],
    )


def test_size_and_version_of_a_large_object_are_known_without_reading_it(storage: Storage, s3: S3) -> None:
    s3.sizes["big"] = 5 * 2**30
    assert storage.head("big") == Head(5 * 2**30, '"large"')


@pytest.mark.parametrize("operation", ["get_object", "head_object"])
def test_a_refusal_is_not_taken_for_a_missing_object(storage: Storage, s3: S3, operation: str) -> None:
    s3.troubles[operation] = [refusal("AccessDenied")]
    with pytest.raises(ClientError):
        storage.read("a") if operation == "get_object" else storage.head("a")


def test_json_is_written_for_people_and_read_back(storage: Storage) -> None:
    storage.write_json("a.json", {"name": "Größe"})
    assert storage.read("a.json") == '{\n  "name": "Größe"\n}'.encode()
    assert storage.read_json("a.json") == {"name": "Größe"}


@pytest.mark.parametrize(
    "text", ["one\u2028two", "one\u0085two", "one\u2029two", "one\ntwo\r\n\x0b\x0c\x1c", "“quoted” 細胞"]
)
def test_any_text_of_a_model_survives_json_lines(storage: Storage, text: str) -> None:
    storage.write_lines("a.jsonl", [{"greedy": text}, {"greedy": "next"}])
    assert storage.read_lines("a.jsonl") == [{"greedy": text}, {"greedy": "next"}]


def test_half_of_a_surrogate_pair_spoils_no_answers(storage: Storage) -> None:
    storage.write_lines("a.jsonl", [{"greedy": "a\ud83d"}])
    assert storage.read_lines("a.jsonl") == [{"greedy": "a?"}]


def test_an_address_becomes_a_key_again_and_that_of_another_bucket_is_refused(storage: Storage) -> None:
    assert storage.key_of(storage.uri("runs/a/b.txt")) == "runs/a/b.txt"
    with pytest.raises(ValueError, match="s3://bucket-2/a is not in the bucket bucket"):
        storage.key_of("s3://bucket-2/a")


@pytest.mark.parametrize(
    ("code", "message", "missing"),
    [("ValidationException", 'Could not find model "arn:…".', True), ("ValidationException", "Requested resource not found.", True),
     ("ResourceNotFound", "", True), ("ResourceNotFoundException", "", True), ("NoSuchKey", "", True), ("404", "Not Found", True),
     ("ValidationException", "1 validation error detected", False), ("AccessDeniedException", "could not find", False)],
)  # fmt: skip
def test_services_say_in_several_ways_that_something_is_missing(code: str, message: str, missing: bool) -> None:
    assert is_missing(refusal(code, message)) is missing


def test_trouble_of_aws_becomes_the_error_that_is_tried_again_and_other_errors_stay() -> None:
    with (
        pytest.raises(ServiceUnreachable, match="Reading the plan could not be finished.*SlowDown"),
        reaching("Reading the plan"),
    ):
        raise refusal("SlowDown")
    with pytest.raises(KeyError), reaching("Reading the plan"):
        raise KeyError("x")
