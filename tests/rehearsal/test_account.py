"""The rehearsed account: one at a time in a process, empty, with every call on record; its events and schedules; what it deploys."""

import io
import logging
import sys
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest

from rehearsal.account.cloud import Cloud
from stacks.assembly import Assembly, FileAsset, SynthesisFailed, synthesize
from tests.doubles.rehearsal.deployed import ROLE, Workbench
from verification.fake_engines import FakeHosting, FakeTraining


def new(folder: Path) -> Cloud:
    return Cloud(folder, training=FakeTraining(), hosting=FakeHosting(), time_scale=5000)


def test_each_account_is_empty_and_alone_and_closing_ends_what_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"), new(tmp_path / "file"):
        pass
    with new(tmp_path / "1") as cloud:
        cloud.client("s3").create_bucket(Bucket="one")
        execution = cloud.start(
            machine=Workbench(cloud).machine({"W": {"Type": "Wait", "Seconds": 9999999, "End": True}})
        )
        with pytest.raises(RuntimeError, match="another Cloud is in use"), new(tmp_path / "second"):
            pass
    assert execution.status == "ABORTED"
    with new(tmp_path / "2") as cloud:
        assert cloud.client("s3").list_buckets()["Buckets"] == []


def test_a_deployment_does_not_warn_of_each_resource_that_is_not_simulated(
    cloud: Cloud, assembly: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("moto").setLevel(logging.NOTSET)
    deployment = cloud.deploy(Assembly(assembly))
    assert "AWS::CloudWatch::Alarm" in deployment.unsupported
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_delivery_is_attempted_three_times_and_its_error_is_kept(cloud: Cloud, bench: Workbench) -> None:
    bench.function("fail", "def handle(event, context): raise ValueError('not this one')")
    target = {"Arn": "arn:aws:lambda:us-east-1:123456789012:function:fail", "RoleArn": ROLE, "Input": "{}"}
    at = f"at({cloud.clock() + timedelta(hours=1):%Y-%m-%dT%H:%M:%S})"
    cloud.client("scheduler").create_schedule(
        Name="later", ScheduleExpression=at, FlexibleTimeWindow={"Mode": "OFF"}, Target=target
    )
    cloud.clock.advance(hours=2)
    cloud.settle()
    (delivery,) = cloud.events.deliveries
    assert "not this one" in str(delivery.error)
    assert [call.operation for call in cloud.calls if call.service == "lambda"][1:] == ["Invoke"] * 3


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("sys.exit('a warning of node\\ncaptune: Fix these:\\n  - epochs\\n  - seed')", "captune: Fix these:\n  - epochs\n  - seed"),
        ("sys.exit(os.environ['CDK_CONTEXT_JSON'])", '{"a": 1, "b": "3", "aws:cdk:bundling-stacks": []}'),
        ("raise RuntimeError('no node')", "RuntimeError: no node"),
        ("sys.exit(3)", f"app.py ended with code 3 without a message. Run it: {sys.executable} app.py"),
    ],
    ids=["all that it says of settings", "settings on top of cdk.json", "the last line of a traceback", "its code"],
)  # fmt: skip
def test_a_rejection_of_the_app_is_reported_in_its_own_words(program: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "cdk.json").write_text('{"context": {"a": 1, "b": 2}}')
    (tmp_path / "app.py").write_text(f"import os, sys; {program}")
    with pytest.raises(SynthesisFailed) as refused:
        synthesize(tmp_path, tmp_path / "out", {"b": "3"})
    assert str(refused.value) == message


def test_an_uploaded_folder_leaves_out_the_caches_of_python(tmp_path: Path) -> None:
    for name in ("handler.py", "ask/__init__.py", "ask/__pycache__/__init__.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    content = FileAsset("bucket", "key.zip", tmp_path, is_folder=True).content()
    assert zipfile.ZipFile(io.BytesIO(content)).namelist() == ["ask/__init__.py", "handler.py"]
