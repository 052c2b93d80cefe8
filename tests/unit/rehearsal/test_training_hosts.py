"""The hosts of one training job as one: whose failure is the job's, and how long a job has run."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

from rehearsal.sagemaker.real.training_hosts import Cluster
from rehearsal.sagemaker.records import TrainingJob
from tests.doubles.rehearsal.sagemaker_account import Clock, training_request


class Host:
    """A container that ends when it is told to, and is heard of later."""

    def __init__(self) -> None:
        self.ended, self.ended_at, self.exit_code = threading.Event(), 0.0, 0

    def ends(self, at: float, code: int) -> None:
        self.ended_at, self.exit_code = at, code

    def is_heard_of(self) -> None:
        self.ended.set()
        self.tell()

    def joins(self, cluster: Cluster) -> Host:
        def started(on_end: Any) -> Any:
            self.tell = on_end
            return self

        cluster.add(started)
        return self


def test_the_failure_that_came_first_is_the_jobs_though_its_victims_is_heard_of_first() -> None:
    told: list[int] = []
    cluster = Cluster(lambda: told.append(1))
    victim, cause = (Host().joins(cluster) for _ in range(2))
    cause.ends(at=1.0, code=3)
    victim.ends(at=1.1, code=1)
    failed_before = cluster.first_failed
    victim.is_heard_of()
    cause.is_heard_of()
    assert (failed_before, cluster.first_failed, len(told)) == (None, 1, 2)


def test_a_jobs_longest_time_is_that_of_its_command_and_not_of_its_downloads() -> None:
    clock = Clock()
    job = TrainingJob("job", "arn", training_request("job"), clock)
    for start in range(2):
        job.enter("Starting", "")
        clock.advance(seconds=5)
        job.enter("Downloading", "")
        clock.advance(seconds=100)
        assert job.ran_seconds(clock()) == 10 * start
        job.enter("Training", "")
        clock.advance(seconds=10)
        assert job.ran_seconds(clock()) == 10 * (start + 1)
        job.interrupt()
        clock.advance(seconds=1000)
    assert (job.ran_seconds(clock()), job.trained_seconds(clock())) == (20, 220)
    assert job.max_runtime == timedelta(hours=1)


def test_a_job_on_spot_bills_a_share_of_the_seconds_in_which_it_has_an_instance() -> None:
    clock = Clock()
    job = TrainingJob("job", "arn", training_request("job", EnableManagedSpotTraining=True), clock)
    for _ in range(2):
        job.enter("Downloading", "")
        clock.advance(seconds=75)
        job.interrupt()
        clock.advance(seconds=1000)
    job.finish("Completed")
    answer = job.describe()
    assert (answer["TrainingTimeInSeconds"], answer["BillableTimeInSeconds"]) == (150, 60)
