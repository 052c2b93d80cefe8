"""Waits are shortened, stops are heard at once, and timeouts end what they should."""

from __future__ import annotations

import time

from rehearsal.account.cloud import Cloud
from tests.doubles.rehearsal.rehearsal_bench import Bench, call, sdk

WAIT = {"Type": "Wait", "Seconds": 86400, "End": True}


def test_a_wait_takes_its_seconds_divided_by_the_scale(bench: Bench) -> None:
    execution = bench.run({"Wait": {"Type": "Wait", "Seconds": 100, "End": True}})

    assert execution.status == "SUCCEEDED"
    assert 0.05 <= float(execution.seconds or 0) < 2


def test_a_stop_ends_a_wait_at_once_and_keeps_error_and_cause(cloud: Cloud, bench: Bench) -> None:
    execution = cloud.start(machine=bench.machine({"Wait": WAIT}))

    cloud.stop(execution, error="Changed", cause="My mind.")
    cloud.settle(execution, timeout=5)

    assert (execution.status, execution.error, execution.cause) == ("ABORTED", "Changed", "My mind.")
    answer = cloud.client("stepfunctions").describe_execution(executionArn=execution.arn)
    assert (answer["status"], answer["error"], answer["cause"]) == ("ABORTED", "Changed", "My mind.")
    assert execution.history()[-1]["type"] == "ExecutionAborted"


def test_a_stop_in_the_first_moment_is_not_lost(cloud: Cloud, bench: Bench) -> None:
    machine = bench.machine({"Wait": WAIT})
    for _ in range(20):
        execution = cloud.start(machine=machine)
        cloud.stop(execution)
        cloud.settle(execution, timeout=5)
        assert execution.status == "ABORTED"


def test_a_stop_during_a_call_ends_the_execution_while_the_call_goes_on(cloud: Cloud, bench: Bench) -> None:
    held = cloud.sagemaker.faults.add(operation="ListEndpoints", hang=True)
    execution = cloud.start(machine=bench.machine({"Ask": sdk("sagemaker:listEndpoints", {})}))
    assert held.reached.wait(5)

    cloud.stop(execution)
    cloud.settle(execution, timeout=5)

    assert execution.status == "ABORTED"
    held.release()


def test_a_stop_ends_both_branches_of_a_parallel_state(cloud: Cloud, bench: Bench) -> None:
    branch = {"StartAt": "Wait", "States": {"Wait": WAIT}}
    both = {"Type": "Parallel", "Branches": [branch, {"StartAt": "Wait2", "States": {"Wait2": WAIT}}], "End": True}
    execution = cloud.start(machine=bench.machine({"Both": both}))

    cloud.stop(execution)
    cloud.settle(execution, timeout=5)

    assert execution.status == "ABORTED"


def test_a_failure_in_one_branch_ends_the_other_and_the_execution(bench: Bench) -> None:
    fail = {"StartAt": "No", "States": {"No": {"Type": "Fail", "Error": "No", "Cause": "way"}}}
    both = {"Type": "Parallel", "Branches": [{"StartAt": "Wait", "States": {"Wait": WAIT}}, fail], "End": True}

    execution = bench.run({"Both": both})

    assert (execution.status, execution.error, execution.cause) == ("FAILED", "No", "way")


def test_an_execution_ends_at_its_timeout(bench: Bench, cloud: Cloud) -> None:
    execution = bench.run({"Wait": WAIT}, TimeoutSeconds=2)  # a twentieth of it here

    assert execution.status == "TIMED_OUT"
    assert "stopDate" in cloud.client("stepfunctions").describe_execution(executionArn=execution.arn)


def test_a_task_ends_at_its_timeout_and_can_be_caught(cloud: Cloud, bench: Bench) -> None:
    held = cloud.sagemaker.faults.add(operation="ListEndpoints", hang=True)
    catch = [{"ErrorEquals": ["States.Timeout"], "Next": "Late"}]
    states = {"Ask": sdk("sagemaker:listEndpoints", {}, TimeoutSeconds=2, Catch=catch), "Late": {"Type": "Succeed"}}

    assert bench.run(states).states() == ["Ask", "Late"]
    held.release()


def test_a_stop_during_a_retry_interval_is_heard(cloud: Cloud, bench: Bench) -> None:
    fault = cloud.faults.add(operation="Invoke", error="ServiceException", status=500, times=None)
    retry = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 99999, "MaxAttempts": 3}]
    execution = cloud.start(machine=bench.machine({"Ask": call("nobody", Retry=retry)}))
    assert fault.reached.wait(5)
    started = time.monotonic()

    cloud.stop(execution)
    cloud.settle(execution, timeout=5)

    assert execution.status == "ABORTED"
    assert time.monotonic() - started < 5
