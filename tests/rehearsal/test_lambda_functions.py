"""Lambda functions run as on Lambda: apart from each other, warm, timed, with errors as Lambda reports them."""

import threading

import pytest

from rehearsal.account.cloud import Cloud
from tests.doubles import PATIENCE_SECONDS
from tests.doubles.rehearsal.deployed import Workbench

SHOW = """
import os, sys
def handle(event, context):
    print("said")
    return {"environment": dict(os.environ), "modules": sorted(sys.modules), "path": sys.path, "memory": context.memory_limit_in_mb,
            "left": context.get_remaining_time_in_millis(), "arn": context.invoked_function_arn}
"""


def test_a_function_sees_its_variables_only(cloud: Cloud, bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THIS_MACHINE", "x")
    bench.function("show", SHOW, BUCKET_NAME="b")

    shown = bench.invoke("show")[0]

    assert shown["environment"].items() >= {
        "BUCKET_NAME": "b", "AWS_LAMBDA_FUNCTION_NAME": "show", "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "function-role", "NO_PROXY": "127.0.0.1,localhost",
    }.items()  # fmt: skip
    assert {"SECRET_OF_THIS_MACHINE", "HOME", "PYTHONPATH", "VIRTUAL_ENV"}.isdisjoint(shown["environment"])
    assert not [name for name in shown["modules"] if name.split(".")[0] in {"rehearsal", "moto", "pytest", "torch"}]
    assert not [entry for entry in shown["path"] if "site-packages" in entry]
    assert shown["memory"] == "128" and shown["arn"].endswith(":function:show")
    assert 0 < shown["left"] <= 1000 * PATIENCE_SECONDS
    assert "said" in cloud.functions.log_of("show").read_text("utf-8")


def test_a_function_calls_aws_as_its_role_and_knows_only_boto3(cloud: Cloud, bench: Workbench) -> None:
    bench.function("boto", "import boto3\ndef handle(event, context): boto3.client('s3').list_buckets()")
    bench.function("moto", "import moto")
    assert bench.invoke("boto") == (None, False)
    error = bench.invoke("moto")[0]
    assert error["errorType"] == "Runtime.ImportModuleError"
    assert error["errorMessage"] == "Unable to import module 'main': No module named 'moto'"
    assert [(call.access_key, call.operation) for call in cloud.calls if call.service == "s3"] == [
        ("function-role", "ListBuckets")
    ]


def test_an_event_meets_the_warm_process_and_a_second_one_while_it_is_busy(cloud: Cloud, bench: Workbench) -> None:
    held = cloud.faults.add(operation="ListEndpoints", hang=True)
    code = """
    import boto3, os
    def handle(event, context):
        if event: boto3.client("sagemaker").list_endpoints()
        return os.getpid()
    """
    bench.function("look", code)
    warm = [bench.invoke("look")[0] for _ in range(2)]
    first: list[int] = []
    thread = threading.Thread(target=lambda: first.append(bench.invoke("look", {"wait": True})[0]))
    thread.start()
    assert held.reached.wait(PATIENCE_SECONDS)
    second = bench.invoke("look")[0]
    held.release()
    thread.join(PATIENCE_SECONDS)
    assert warm == [first[0]] * 2
    assert second != first[0]


def test_an_error_has_lambdas_form_and_the_next_event_a_new_process(cloud: Cloud, bench: Workbench) -> None:
    code = """
    import os, signal, sys, time
    def handle(event, context):
        if event == "fail": raise LookupError("no such run")
        if event == "odd": return {1, 2}
        if event == "exit": sys.exit(3)
        if event == "die": os.kill(os.getpid(), signal.SIGKILL)
        if event == "sleep": time.sleep(600)
        return "alive"
    """
    bench.function("odd", code)
    failed, odd, left, killed = (bench.invoke("odd", event) for event in ("fail", "odd", "exit", "die"))
    configure = cloud.client("lambda").update_function_configuration
    configure(FunctionName="odd", Timeout=1)
    slow = bench.invoke("odd", "sleep")
    configure(FunctionName="odd", Timeout=PATIENCE_SECONDS)
    after = bench.invoke("odd")
    assert (failed[0]["errorType"], failed[0]["errorMessage"]) == ("LookupError", "no such run")
    assert len(failed[0]["stackTrace"]) == 1, "it begins in the function's own code"
    assert (odd[0]["errorType"], left[0]["errorType"]) == ("Runtime.MarshalError", "Runtime.ExitError")
    assert (killed[1], killed[0]["errorType"]) == (True, "Runtime.ExitError")
    assert (slow[1], slow[0]["errorType"]) == (True, "Sandbox.Timedout")
    assert slow[0]["errorMessage"].endswith("Task timed out after 1.00 seconds")
    assert after == ("alive", False)
