"""SageMaker in virtual time: jobs and endpoints follow the course decided at their start, seen through a client of boto3's kind."""

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest
from botocore.exceptions import ClientError

from common.resources import TRAINING_JOB, find_all
from rehearsal.sagemaker.market import Market
from rehearsal.sagemaker.store import Endpoint, TrainingJob
from tests.doubles.rehearsal.sagemaker_account import configuration_request, model_request, training_request
from verification.simulation.services import Client
from verification.simulation.services.sagemaker import EndpointCourse, JobCourse, SageMaker
from verification.simulation.world import NOON, World

TAGS = [{"Key": "project", "Value": "captune"}, {"Key": "run", "Value": "captune-one"}]
RUN: dict[str, Any] = {"run": "captune-one", "instance_type": "ml.g5.2xlarge", "hourly_usd": Fraction("1.515")}


def after(seconds: float) -> Any:
    return NOON + timedelta(seconds=seconds)


class Site:
    """An account with SageMaker only, in which a job trains from its second minute to its 20th, and an endpoint takes ten minutes."""

    def __init__(self) -> None:
        self.world, self.ended = World(random.Random(1), NOON, 2500), list[str]()
        self.job = JobCourse(**RUN, start=after(60), end=after(1200), seconds_to_stop=100, final="Completed")
        self.numbers: list[int] = []
        market = Market({}, {"ml.g5.2xlarge for training job usage": 200})
        self.sagemaker = SageMaker(self.world, market, lambda uri: True, self._job, self._endpoint, self.ended.append)
        self.client = Client("sagemaker", self.sagemaker.control_plane.operations, self.sagemaker.perform)

    def _job(self, job: TrainingJob, number: int) -> JobCourse:
        self.numbers.append(number)
        return replace(self.job, changes=[])

    def _endpoint(self, endpoint: Endpoint, number: int) -> EndpointCourse:
        ready = self.world.now + timedelta(seconds=600)
        return EndpointCourse(**RUN, billed_from=self.world.now, ready=ready, final="InService", reason="")

    def train(self, name: str = "captune-one") -> Callable[[], dict[str, Any]]:
        """Start a job, and return what describes it."""
        self.client.create_training_job(**training_request(name, Tags=TAGS))
        return lambda: self.client.describe_training_job(TrainingJobName=name)

    def deploy(self) -> Callable[[], dict[str, Any]]:
        """Create an endpoint, and return what describes it."""
        name = "captune-one"
        self.client.create_model(**model_request(name), Tags=TAGS)
        self.client.create_endpoint_config(**configuration_request(name), Tags=TAGS)
        self.client.create_endpoint(EndpointName=name, EndpointConfigName=name, Tags=TAGS)
        return lambda: self.client.describe_endpoint(EndpointName=name)

    def at(self, seconds: float) -> None:
        self.world.now = after(seconds)


@pytest.fixture
def site() -> Site:
    return Site()


def test_a_job_has_its_moments_although_no_one_looked_at_them(site: Site) -> None:
    describe = site.train()
    site.at(5000)

    job = describe()

    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Completed", "Completed")
    assert (job["TrainingStartTime"], job["TrainingEndTime"]) == (after(60), after(1200))
    assert job["BillableTimeInSeconds"] == 1140


def test_a_job_that_is_pulled_interrupted_and_on_spot_bills_the_share_of_its_course(site: Site) -> None:
    site.job = replace(
        site.job, pull=300, interruptions=2, billed_share=0.3, detail="MaxWaitTimeExceeded", final="Stopped"
    )
    describe = site.train()
    site.at(5000)

    job = describe()

    statuses = [step["Status"] for step in job["SecondaryStatusTransitions"]]
    assert statuses.count("Interrupted") == 2 and statuses[-2:] == ["Training", "MaxWaitTimeExceeded"]
    assert (job["TrainingTimeInSeconds"], job["BillableTimeInSeconds"]) == (1140, 342)
    assert "FailureReason" not in job


@pytest.mark.parametrize(("stopped_at", "ends_at", "billed"), [(30, 35, 0), (500, 600, 540), (1150, 1200, 1140)])
def test_a_stopped_job_takes_its_time_and_bills_no_wait(stopped_at: int, ends_at: int, billed: int, site: Site) -> None:
    describe = site.train()
    site.at(stopped_at)
    site.client.stop_training_job(TrainingJobName="captune-one")
    assert describe()["TrainingJobStatus"] == "Stopping"
    site.at(5000)

    job = describe()

    assert (job["TrainingJobStatus"], job["TrainingEndTime"]) == ("Stopped", after(ends_at))
    assert job["BillableTimeInSeconds"] == billed
    with pytest.raises(ClientError, match="in status Stopped"):
        site.client.stop_training_job(TrainingJobName="captune-one")


def test_an_endpoint_is_there_until_its_deletion_has_taken_its_time(site: Site) -> None:
    describe = site.deploy()
    with pytest.raises(ClientError, match="in-progress"):
        site.client.delete_endpoint(EndpointName="captune-one")
    site.at(600)
    assert describe()["EndpointStatus"] == "InService"
    site.client.delete_endpoint(EndpointName="captune-one")
    assert describe()["EndpointStatus"] == "Deleting"
    assert [one.name for one in site.sagemaker.still_there("captune-one")] == ["captune-one"]
    site.at(5000)

    (endpoint,) = site.sagemaker.endpoints

    assert endpoint.deleted is not None and after(605) <= endpoint.deleted <= after(660)
    assert site.sagemaker.present == site.sagemaker.still_there("captune-one") == []


def test_it_is_known_until_when_a_status_stays(site: Site) -> None:
    describe = site.train()
    assert site.sagemaker.unchanged_until("captune-one") == after(1200)
    site.at(1200)
    assert describe()["TrainingJobStatus"] == "Completed"
    assert site.sagemaker.unchanged_until("captune-one") is None
    site.deploy()
    assert site.sagemaker.unchanged_until("captune-one") == after(1800)
    assert site.sagemaker.unchanged_until("captune-two") is None


def test_whoever_ends_a_job_or_an_endpoint_is_told_of_with_its_run_though_it_cannot_end_yet(site: Site) -> None:
    site.train()
    site.client.stop_training_job(TrainingJobName="captune-one")
    site.at(5000)
    site.deploy()
    with pytest.raises(ClientError):
        site.client.delete_endpoint(EndpointName="captune-one")
    with pytest.raises(ClientError):
        site.client.delete_endpoint(EndpointName="captune-two")

    assert site.ended == ["captune-one", "captune-one", ""]


def test_a_list_is_paged_through_and_filtered_by_a_moment(site: Site) -> None:
    for number in range(120):
        site.at(number)
        site.train(f"captune-{number:03}")

    found = find_all(site.client, TRAINING_JOB, "captune", created_after=after(5))

    assert [one.name for one in found] == [f"captune-{number:03}" for number in range(5, 120)]
    assert site.numbers == [*range(120)]
    assert len(site.client.list_training_jobs()["TrainingJobSummaries"]) == 10


def test_a_client_has_no_operation_that_is_not_imitated(site: Site) -> None:
    assert not hasattr(site.client, "create_processing_job")
