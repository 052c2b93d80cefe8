"""Lambda functions run as on Lambda: apart from each other, warm, timed, and with errors as Lambda reports them."""

from __future__ import annotations

import threading
import time

import pytest

from rehearsal.account.cloud import Cloud
from tests.doubles.rehearsal.rehearsal_bench import Bench

SHOW = """
import os
def handle(event, context):
    return {"environment": dict(os.environ), "modules": sorted(__import__("sys").modules), "path": __import__("sys").path}
"""


def test_a_function_sees_its_variables_and_lambdas_own_and_no_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THIS_MACHINE", "x")
    bench.function("show", SHOW, BUCKET_NAME="b")

    environment = bench.invoke("show")[0]["environment"]

    assert environment["BUCKET_NAME"] == "b"
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == "show"
    assert environment["AWS_REGION"] == "us-east-1"
    assert environment["AWS_ACCESS_KEY_ID"] == "function-role"
    assert environment["NO_PROXY"] == "127.0.0.1,localhost"
    assert {"SECRET_OF_THIS_MACHINE", "HOME", "PYTHONPATH", "VIRTUAL_ENV"}.isdisjoint(environment)


def test_a_function_can_import_boto3_and_nothing_else_of_this_project(bench: Bench) -> None:
    bench.function("show", SHOW)
    bench.function("boto", "def handle(event, context):\n    import boto3\n    return boto3.__version__")
    bench.function("moto", "def handle(event, context):\n    import moto")

    shown = bench.invoke("show")[0]
    assert not [name for name in shown["modules"] if name.split(".")[0] in {"rehearsal", "moto", "pytest", "torch"}]
    assert not [entry for entry in shown["path"] if "site-packages" in entry]
    assert bench.invoke("boto")[1] is False
    assert bench.invoke("moto")[0]["errorType"] == "ModuleNotFoundError"


def test_a_second_event_meets_the_same_warm_process(bench: Bench) -> None:
    bench.function("count", "made = []\ndef handle(event, context):\n    made.append(event)\n    return len(made)")

    assert [bench.invoke("count")[0] for _ in range(3)] == [1, 2, 3]


def test_a_warm_invocation_takes_milliseconds(bench: Bench) -> None:
    bench.function("echo", "def handle(event, context): return event")
    bench.invoke("echo")
    started = time.monotonic()
    for _ in range(10):
        bench.invoke("echo", {"a": 1})

    assert time.monotonic() - started < 2  # some 100 ms on a quiet machine


def test_a_busy_function_gets_a_second_process(cloud: Cloud, bench: Bench) -> None:
    held = cloud.sagemaker.faults.add(operation="ListEndpoints", hang=True)
    bench.function(
        "look",
        """
        import boto3, os
        def handle(event, context):
            if event: boto3.client("sagemaker").list_endpoints()
            return os.getpid()
        """,
    )
    first: list[int] = []
    thread = threading.Thread(target=lambda: first.append(bench.invoke("look", {"wait": True})[0]))
    thread.start()
    assert held.reached.wait(10)

    second = bench.invoke("look")[0]
    held.release()
    thread.join(10)

    assert first[0] != second


def test_a_function_that_takes_too_long_is_killed_and_reported_as_lambda_does(bench: Bench) -> None:
    bench.function("slow", "import time\ndef handle(event, context): time.sleep(60)", timeout=1)

    answer, failed = bench.invoke("slow")

    assert failed
    assert answer["errorType"] == "Sandbox.Timedout"
    assert answer["errorMessage"].endswith("Task timed out after 1.00 seconds")


def test_a_function_that_is_killed_fails_and_the_next_event_meets_a_new_process(cloud: Cloud, bench: Bench) -> None:
    bench.function(
        "die",
        "import os, signal\ndef handle(event, context):\n    if event: os.kill(os.getpid(), signal.SIGKILL)\n    return 'alive'",
    )

    assert bench.invoke("die", {"now": True})[0]["errorType"] == "Runtime.ExitError"
    assert bench.invoke("die") == ("alive", False)


def test_errors_before_the_handler_are_lambdas_own(bench: Bench) -> None:
    bench.function("broken", "import nowhere")
    bench.function("empty", "handler = 1")
    bench.function("odd", "def handle(event, context): return {1, 2}")

    assert bench.invoke("broken")[0]["errorType"] == "Runtime.ImportModuleError"
    assert bench.invoke("empty")[0]["errorType"] == "Runtime.HandlerNotFound"
    assert bench.invoke("odd")[0]["errorType"] == "Runtime.MarshalError"


def test_the_context_tells_name_memory_request_and_time_left(bench: Bench) -> None:
    bench.function(
        "tell",
        """
        def handle(event, context):
            return [context.function_name, context.memory_limit_in_mb, len(context.aws_request_id),
                    context.get_remaining_time_in_millis(), context.invoked_function_arn]
        """,
        timeout=7,
    )

    name, memory, length, left, arn = bench.invoke("tell")[0]

    assert (name, memory, length) == ("tell", "128", 36)
    assert 6000 < left <= 7000
    assert arn.endswith(":function:tell")


def test_what_a_function_prints_and_logs_is_kept(cloud: Cloud, bench: Bench) -> None:
    bench.function(
        "talk",
        "import logging\ndef handle(event, context):\n    print('said')\n    logging.getLogger().warning('warned')",
    )

    bench.invoke("talk")

    log = cloud.functions.log_of("talk").read_text()
    assert "said" in log
    assert "warned" in log


def test_the_calls_of_a_function_bear_its_role(cloud: Cloud, bench: Bench) -> None:
    bench.function(
        "list", "import boto3\ndef handle(event, context): return len(boto3.client('s3').list_buckets()['Buckets'])"
    )

    bench.invoke("list")

    assert [(call.access_key, call.service) for call in cloud.calls if call.operation == "ListBuckets"] == [
        ("function-role", "s3")
    ]
