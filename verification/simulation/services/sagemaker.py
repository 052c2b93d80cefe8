"""SageMaker in virtual time: the rehearsal's control plane over engines that decide at the start of a job or an endpoint how it will go."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from functools import partial
from typing import Any, Generic, TypeVar

from rehearsal.sagemaker.control_plane import ControlPlane
from rehearsal.sagemaker.engines import Answer, Engine, HostingEngine, TrainingEngine
from rehearsal.sagemaker.market import Market
from rehearsal.sagemaker.store import Endpoint, TrainingJob
from verification.fake_engines import completion
from verification.simulation.world import World

REGION = "us-east-1"
# Not the number of a rehearsal, so that reports are written as for a real account.
ACCOUNT = "111122223333"


@dataclass(kw_only=True)
class Course(ABC):
    """How a job or an endpoint goes: its run, its instances, and the changes to come, each with its moment."""

    run: str
    instance_type: str
    hourly_usd: Fraction  # of all its instances together
    changes: list[tuple[datetime, Callable[..., None]]] = field(default_factory=list)

    @abstractmethod
    def plan(self, thing: Any) -> None:
        """Plan all changes of a job or an endpoint."""


@dataclass(kw_only=True)
class JobCourse(Course):
    """A training job that ends as `final`. `start` is None if it never gets an instance.

    `pull` are the seconds in which the image is pulled first: billed, and outside MaxRuntimeInSeconds. `billed_share` is the share of
    its seconds that bills.
    """

    end: datetime
    seconds_to_stop: float
    start: datetime | None = None
    pull: float = 0.0
    final: str = "Failed"
    detail: str = ""
    reason: str = "CapacityError"
    billed_share: float = 1.0
    interruptions: int = 0

    def plan(self, thing: TrainingJob) -> None:
        """See `Course`. An interruption takes no time: how much of the job bills is decided by its share."""
        thing.instance_type, thing.billed_share = self.instance_type, self.billed_share
        download = partial(thing.enter, "Downloading", "Downloading input data")
        if self.start is not None:
            self.changes = [
                (self.start, change) for change in (download, *(thing.interrupt, download) * self.interruptions)
            ]
            self.changes.append(
                (self.start + timedelta(seconds=self.pull), partial(thing.enter, "Training", "Training"))
            )
        reason = self.reason if self.final == "Failed" else None
        self.changes.append((self.end, partial(thing.finish, self.final, self.detail or None, reason)))


@dataclass(kw_only=True)
class EndpointCourse(Course):
    """An endpoint that goes from Creating to `final`. It bills from `billed_from`, None if it never gets an instance."""

    billed_from: datetime | None
    ready: datetime
    final: str
    reason: str

    def plan(self, thing: Endpoint) -> None:
        """See `Course`."""
        thing.instance_type = self.instance_type
        reason = self.reason if self.final == "Failed" else None
        self.changes = [(self.ready, partial(thing.become, self.final, reason))]


Thing = TypeVar("Thing", TrainingJob, Endpoint)
AnyCourse = TypeVar("AnyCourse", bound=Course)


class _Virtual(Engine[Thing], Generic[Thing, AnyCourse]):
    """Decides a course at the start of each job or endpoint, and follows it with each look.

    `courses` holds every course so far; `decide` gets the number of earlier ones.
    """

    def __init__(self, world: World, decide: Callable[[Thing, int], AnyCourse]) -> None:
        self._world = world
        self._decide: Callable[[Thing, int], AnyCourse] = decide
        self.courses: dict[Thing, AnyCourse] = {}

    def start(self, thing: Thing) -> None:
        """Decide how it goes."""
        course = self.courses[thing] = self._decide(thing, len(self.courses))
        course.plan(thing)

    def observed(self, thing: Thing) -> None:
        """Make the changes that are due, each at its moment."""
        changes = self.courses[thing].changes
        while changes and changes[0][0] <= self._world.now:
            moment, change = changes.pop(0)
            change(at=moment)


class VirtualTraining(_Virtual[TrainingJob, JobCourse], TrainingEngine):
    """Training jobs."""

    def stop(self, job: TrainingJob) -> None:
        """End the job early; one that waits for its instance ends without having billed anything."""
        course, now = self.courses[job], self._world.now
        end = min(course.end, now + timedelta(seconds=course.seconds_to_stop))
        course.changes = [(end if job.started else now + timedelta(seconds=5), partial(job.finish, "Stopped"))]


class VirtualHosting(_Virtual[Endpoint, EndpointCourse], HostingEngine):
    """Endpoints."""

    def stop(self, endpoint: Endpoint) -> None:
        """Delete the endpoint, which takes its time."""
        gone = self._world.now + timedelta(seconds=self._world.random.uniform(5, 60))
        self.courses[endpoint].changes = [(gone, endpoint.vanish)]

    def invoke(self, endpoint: Endpoint, body: bytes, content_type: str, custom_attributes: str = "") -> Answer:
        """Answer with words that depend on the model and the request."""
        return completion(endpoint, body, custom_attributes)


@dataclass
class _Clock:
    world: World

    def __call__(self) -> datetime:
        return self.world.now

    def advance(self, **amount: float) -> None:
        self.world.now += timedelta(**amount)


class SageMaker:
    """The control plane, and what only the simulation and its audit know of jobs and endpoints.

    `ending` is called before each call that stops a job or deletes an endpoint, with its run.
    """

    def __init__(
        self,
        world: World,
        market: Market,
        has_objects: Callable[[str], bool],
        decide_job: Callable[[TrainingJob, int], JobCourse],
        decide_endpoint: Callable[[Endpoint, int], EndpointCourse],
        ending: Callable[[str], None],
    ) -> None:
        self._training, self._hosting = VirtualTraining(world, decide_job), VirtualHosting(world, decide_endpoint)
        self._ending = ending
        self.control_plane = ControlPlane(self._training, self._hosting, market, _Clock(world), has_objects)

    def perform(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Perform an operation. Raises ServiceError, as SageMaker would answer."""
        if operation in {"StopTrainingJob", "DeleteEndpoint"}:
            (name,) = request.values()
            self._ending(next((course.run for thing, course in self._all() if thing.name == name), ""))
        return dict(self.control_plane.operations[operation](request, REGION) or {})

    def run_of(self, thing: TrainingJob | Endpoint) -> str:
        """The run that the tags of a job or an endpoint name."""
        return self.control_plane.store.tags[thing.arn].get("run", "")

    @property
    def jobs(self) -> dict[TrainingJob, JobCourse]:
        """Every training job as it is now."""
        self.control_plane.training.look()
        return self._training.courses

    @property
    def endpoints(self) -> dict[Endpoint, EndpointCourse]:
        """Every endpoint so far, as it is now."""
        self.control_plane.hosting.look()
        return self._hosting.courses

    @property
    def present(self) -> list[Endpoint]:
        """The endpoints that exist now."""
        return self.control_plane.hosting.look()

    def unchanged_until(self, name: str) -> datetime | None:
        """The moment of the next change of status of a job or an endpoint, if no call comes before."""
        moments = (
            course.changes[-1][0]
            for thing, course in self._all()
            if thing.name == name and thing.status in {"InProgress", "Stopping", "Creating"}
        )
        return next(moments, None)

    def still_there(self, run: str) -> list[TrainingJob | Endpoint]:
        """Everything of a run that bills or may yet."""
        return [thing for thing, course in self._all() if course.run == run]

    def _all(self) -> Iterator[tuple[TrainingJob | Endpoint, Course]]:
        """The jobs that are not over and the endpoints that exist."""
        yield from ((job, course) for job, course in self.jobs.items() if not job.is_over)
        yield from ((endpoint, course) for endpoint, course in self.endpoints.items() if not endpoint.deleted)
