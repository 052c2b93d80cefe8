"""One account after another in one process: empty, separate, quick to make, and every call on record."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from rehearsal.account.cloud import Cloud
from rehearsal.aws_lambda.fork_server import ForkServer
from rehearsal.sagemaker.fake import FakeHosting, FakeTraining
from tests.doubles.rehearsal.rehearsal_bench import Bench, call, sdk


def new(folder: Path, fork_server: ForkServer) -> Cloud:
    return Cloud(folder, training=FakeTraining(), hosting=FakeHosting(), fork_server=fork_server)


def test_a_new_cloud_is_empty_and_made_in_no_time(tmp_path: Path, fork_server: ForkServer) -> None:
    with new(tmp_path / "1", fork_server) as cloud:
        cloud.client("s3").create_bucket(Bucket="one")
    started = time.monotonic()
    with new(tmp_path / "2", fork_server) as cloud:
        assert cloud.client("s3").list_buckets()["Buckets"] == []

    assert time.monotonic() - started < 2  # some 50 ms on a quiet machine


def test_two_clouds_at_once_are_refused(cloud: Cloud, tmp_path: Path, fork_server: ForkServer) -> None:
    with pytest.raises(RuntimeError, match="another Cloud is in use"), new(tmp_path / "second", fork_server):
        pass


def test_a_failed_entry_leaves_room_for_the_next(tmp_path: Path, fork_server: ForkServer) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"), new(tmp_path / "file", fork_server):
        pass
    with new(tmp_path / "folder", fork_server):
        pass


def test_closing_ends_what_still_runs(tmp_path: Path, fork_server: ForkServer) -> None:
    with new(tmp_path, fork_server) as cloud:
        execution = cloud.start(machine=Bench(cloud).machine({"W": {"Type": "Wait", "Seconds": 99999, "End": True}}))

    assert execution.status == "ABORTED"


def test_settle_tells_what_does_not_end(cloud: Cloud, bench: Bench) -> None:
    held = cloud.sagemaker.faults.add(operation="ListEndpoints", hang=True)
    execution = cloud.start(machine=bench.machine({"Ask": sdk("sagemaker:listEndpoints", {})}))

    with pytest.raises(TimeoutError, match=execution.name):
        cloud.settle(execution, timeout=0.2)
    held.release()


def test_every_call_is_on_record_with_its_operation(cloud: Cloud) -> None:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="a/b c.txt", Body=b"x" * 100_000)
    s3.copy_object(Bucket="bucket", Key="copy", CopySource={"Bucket": "bucket", "Key": "a/b c.txt"})
    assert s3.get_object(Bucket="bucket", Key="copy")["Body"].read() == b"x" * 100_000
    s3.list_objects_v2(Bucket="bucket", Prefix="a/")
    s3.head_object(Bucket="bucket", Key="copy")
    s3.delete_object(Bucket="bucket", Key="copy")
    cloud.client("sagemaker", "somebody").list_models()
    with pytest.raises(ClientError):
        s3.get_object(Bucket="bucket", Key="gone")

    made = [(entry.access_key, entry.service, entry.operation, entry.error) for entry in cloud.calls]

    assert made == [
        ("person", "s3", "CreateBucket", None),
        ("person", "s3", "PutObject", None),
        ("person", "s3", "CopyObject", None),
        ("person", "s3", "GetObject", None),
        ("person", "s3", "ListObjectsV2", None),
        ("person", "s3", "HeadObject", None),
        ("person", "s3", "DeleteObject", None),
        ("somebody", "sagemaker", "ListModels", None),
        ("person", "s3", "GetObject", "NoSuchKey"),
    ]


def test_a_lost_answer_leaves_its_effect(cloud: Cloud) -> None:
    cloud.faults.add(operation="CreateBucket", error="InternalError", status=500, after=True)
    s3 = cloud.client("s3")

    with pytest.raises(ClientError, match="InternalError"):
        s3.create_bucket(Bucket="bucket")

    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["bucket"]


def test_a_reset_forgets_runs_and_keeps_functions(cloud: Cloud, bench: Bench) -> None:
    bench.function("echo", "def handle(event, context): return event")
    bench.run({"Ask": call("echo")}, {"a": 1})
    cloud.faults.add(operation="Invoke", error="ServiceException", status=500, times=None)

    cloud.reset()

    assert cloud.executions.all() == []
    assert cloud.calls == []
    assert bench.run({"Ask": call("echo")}, {"a": 2}).output == {"a": 2}


def test_a_reset_lets_go_what_a_fault_holds_and_waits_for_the_function_at_work(cloud: Cloud, bench: Bench) -> None:
    bench.function("look", "import boto3\ndef handle(event, context): boto3.client('sagemaker').list_endpoints()")
    held = cloud.sagemaker.faults.add(operation="ListEndpoints", hang=True)
    cloud.start(machine=bench.machine({"Ask": call("look")}))
    assert held.reached.wait(10)

    cloud.reset()

    assert held.hold is not None and held.hold.is_set()
    assert cloud.functions.at_work == 0
    assert cloud.executions.all() == []


def test_an_event_that_comes_late_is_refused_while_functions_are_closed(cloud: Cloud, bench: Bench) -> None:
    bench.function("echo", "def handle(event, context): return event")

    with cloud.functions.closed():
        answer, failed = bench.invoke("echo", {"a": 1})

    assert (failed, answer["errorType"]) == (True, "Runtime.ExitError")
    assert bench.invoke("echo", {"a": 1}) == ({"a": 1}, False)


def test_after_a_reset_a_function_is_warm_unless_its_calls_failed(cloud: Cloud, bench: Bench) -> None:
    count = "import boto3\nmade = []\ndef handle(event, context):\n    made.append(1)\n"
    bench.function("count", count + "    boto3.client('sagemaker').list_endpoints()\n    return len(made)")
    bench.invoke("count")

    cloud.reset()
    warm = bench.invoke("count")
    calls = [call.operation for call in cloud.sagemaker.calls]
    cloud.sagemaker.faults.add(operation="ListEndpoints", error="ValidationException", status=400)
    bench.invoke("count")
    cloud.reset()

    assert (warm, calls) == ((2, False), ["ListEndpoints"])
    assert bench.invoke("count") == (1, False)
