"""A whole AWS account in this process and its children: moto, the SageMaker stand-in, Lambda workers and events.

with Cloud(folder, training=FakeTraining(), hosting=FakeHosting(), time_scale=2000) as cloud:
    cloud.deploy(assembly)
    execution = cloud.start({})
    cloud.settle(execution)
"""

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from moto.awslambda.models import lambda_backends
from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data
from moto.sns.models import sns_backends
from werkzeug.wrappers import Response

from rehearsal.aws_lambda.functions import Functions
from rehearsal.calls import Call, Faults, ServiceError
from rehearsal.events import Clock, Delivery, Events, sns_event
from rehearsal.sagemaker.standin import PLAYED, StandIn
from rehearsal.step_functions.executions import Execution
from rehearsal.step_functions.wall_clock import Executions
from stacks.assembly import Assembly

from .clients import ACCOUNT, PERSON, Clients
from .deployment import Deployment
from .gateway import Gateway
from .rights import Rights

_one_at_a_time = threading.Lock()  # moto keeps one account per process


class Cloud:
    """One account, empty at first. Use it in a with-statement; one at a time in a process.

    `training` and `hosting` are the stand-in's engines, the real ones when left out; `gated_weights`, `on_training_line`, `quotas` and `prices`
    are the stand-in's too. Wait seconds and retry intervals are divided by `time_scale`; TimeoutSeconds are not, for real work is not faster here.
    `messages` are those published to SNS, as (topic ARN, subject, message), and `on_history` is called with (execution ARN, history event).
    """

    def __init__(
        self,
        workdir: Path,
        *,
        training: Any = None,
        hosting: Any = None,
        gated_weights: Path | None = None,
        time_scale: float = 30,
        on_training_line: Callable[[str, str], None] | None = None,
        quotas: Mapping[str, Any] | None = None,
        prices: Mapping[str, Any] | None = None,
        region: str = "us-east-1",
    ) -> None:
        self.workdir, self.region = workdir, region
        self.time_scale = time_scale
        self.clock = Clock()
        self.on_history: Callable[[str, Mapping[str, Any]], None] = lambda arn, event: None
        self.messages: list[tuple[str, str | None, str]] = []
        self.deployment: Deployment | None = None
        self._rights = Rights(region)
        self.refused = self._rights.refused
        self._engines: dict[str, Any] = {"training": training, "hosting": hosting}
        self._standin_options: dict[str, Any] = {
            "gated_weights": gated_weights, "on_training_line": on_training_line, "quotas": quotas, "prices": prices,
        }  # fmt: skip
        self.changed = threading.Condition()
        self.executions = Executions(
            region, self.clock, time_scale, self.changed, self.client_for,
            lambda event: self.events.publish(event), lambda arn, event: self.on_history(arn, event),
        )  # fmt: skip

    # life ----------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if not _one_at_a_time.acquire(blocking=False):
            raise RuntimeError("another Cloud is in use in this process; moto keeps one account only")
        with ExitStack() as undo:  # in reverse order, and as far as it has come
            undo.callback(_one_at_a_time.release)
            self._open(undo)
            self._undo = undo.pop_all()
        return self

    def _open(self, undo: ExitStack) -> None:
        self.workdir.mkdir(parents=True, exist_ok=True)
        BackendDict.reset()
        reset_model_data()
        self._gateway = Gateway(self.clock, self._rights)
        undo.callback(self._gateway.stop)
        self._gateway.on_done = self._on_done
        self._clients = Clients(self._gateway.url, self.region)
        self._start_sagemaker()
        undo.callback(lambda: self.sagemaker.close())  # a reset puts another one in its place
        self.functions = Functions(
            self.workdir / "lambda",
            {"AWS_ENDPOINT_URL": self._gateway.url},
            self.region,
            self.clock,
        )
        undo.callback(self.functions.close)
        self.events = Events(self.region, self.clock, self.time_scale, self.client_for, self._notify)
        undo.callback(self.executions.stop_all)
        undo.callback(self._gateway.clear)  # releases the calls that a fault holds
        undo.callback(self.events.stop)

    def _start_sagemaker(self) -> None:
        self.sagemaker = StandIn(
            self.workdir / "sagemaker",
            lambda role: self.client_for("s3", role),
            self.clock,
            **self._engines,
            **self._standin_options,
        )
        self._gateway.players = {
            **dict.fromkeys(PLAYED, self.sagemaker.answer),
            "stepfunctions": self.executions.answer,
            "lambda:Invoke": self._invoke,
            "sns:Publish": self._publish,
        }

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def reset(self, *, training: Any = None, hosting: Any = None) -> None:
        """Take everything away that runs have left, and keep what was deployed; with new engines if given."""
        self.faults.clear()  # lets go the calls that it holds
        # The client of a function whose calls failed has fewer attempts left: that function begins anew.
        failed = {call.access_key for call in self.calls if call.error or call.status is None}
        # The ends of what is stopped here start no TearDown.
        with self.functions.closed(failed), self.events.muted():
            self.executions.stop_all()
            self.executions.forget()
            if self.deployment is not None:
                self.deployment.clean()
            self._gateway.clear()
            self.messages.clear()
            self.refused.clear()
            self.clock.begin_again()
            self._engines["training"] = training or self._engines["training"]
            self._engines["hosting"] = hosting or self._engines["hosting"]
            self.sagemaker.close()
            self._start_sagemaker()

    # clients -------------------------------------------------------------------------------------------------------

    def client(self, service: str, identity: str = PERSON) -> Any:
        """Return a boto3 client; `identity` is its access key id, by which its calls are known."""
        return self._clients.get(service, identity)

    def client_for(self, service: str, role_arn: str) -> Any:
        """Return a client that acts as a role."""
        return self._clients.get(service, role_arn.rpartition("/")[2] or "no-role")

    # what happens by itself ------------------------------------------------------------------------------------------

    def _on_done(self, call: Call) -> None:
        """Look again when a schedule has changed."""
        if call.service == "scheduler":
            self.events.look_again()

    def _publish(self, call: Call, region: str, body: bytes) -> Response:
        """Keep a message and send it to the subscribed Lambdas: a delivery may fail, come twice or wait, which it cannot in moto."""
        topic, subject, message = call.request["TopicArn"], call.request.get("Subject"), call.request["Message"]
        if topic not in sns_backends[ACCOUNT][region].topics:
            raise ServiceError("NotFound", "Topic does not exist", 404)
        self.messages.append((topic, subject, message))
        event = sns_event(topic, subject, message)
        for function in self.deployment.subscribers(topic) if self.deployment else []:
            self.events.send(Delivery("topic", topic.rpartition(":")[2], function, "", event))
        told = f"<PublishResult><MessageId>{uuid4()}</MessageId></PublishResult>"
        return Response(f"<PublishResponse>{told}</PublishResponse>", content_type="text/xml")

    def _invoke(self, call: Call, region: str, body: bytes) -> Response:
        """Run a function, and mark its errors as Lambda does."""
        name = str(call.request["FunctionName"])
        functions = {function.function_name: function for function in lambda_backends[ACCOUNT][region].list_functions()}
        function = functions.get(name.rpartition(":")[2])
        if function is None:
            raise ServiceError("ResourceNotFoundException", f"Function not found: {name}", 404)
        answer, failed = self.functions.invoke(function, json.loads(body or b"null"))
        return Response(answer, 200, {"x-amz-function-error": "Unhandled"} if failed else {})

    def _notify(self) -> None:
        with self.changed:
            self.changed.notify_all()

    # use -----------------------------------------------------------------------------------------------------------

    def deploy(self, assembly: Assembly) -> Deployment:
        """Create the stacks of a cloud assembly."""
        self.deployment = Deployment.create(self._clients, assembly)
        self._rights.read(self.client("iam"))
        return self.deployment

    def start(self, run_input: Any = None, *, name: str | None = None, machine: str | None = None) -> Execution:
        """Start an execution as a person would in the console, of FineTuning when `machine` (an ARN) is left out."""
        if machine is None:
            assert self.deployment is not None, "deploy before you start"
            machine = self.deployment.fine_tuning
        answer = self.client("stepfunctions").start_execution(
            stateMachineArn=machine, name=name or str(uuid4()), input=json.dumps({} if run_input is None else run_input)
        )
        return self.executions.execution(answer["executionArn"])

    def stop(self, execution: Execution, *, error: str | None = None, cause: str | None = None) -> None:
        """Stop an execution, as the console's Stop does."""
        details = {key: value for key, value in (("error", error), ("cause", cause)) if value is not None}
        self.client("stepfunctions").stop_execution(executionArn=execution.arn, **details)

    def settle(self, execution: Execution | None = None, timeout: float = 60) -> None:
        """Wait until an execution (or every one) has ended, and everything that its end caused.

        Raises TimeoutError, which names what still runs after `timeout` seconds.
        """
        self.executions.settle(execution, self.events, timeout)

    @property
    def calls(self) -> list[Call]:
        """Every AWS call so far, in order; `access_key` is the role that made it."""
        return self._gateway.calls

    @property
    def faults(self) -> Faults:
        """The faults in force on calls."""
        return self._gateway.faults

    def calls_of_roles(self) -> int:
        """The number of calls so far that deployed roles made, each of which was checked against their policies."""
        return self._rights.count(self.calls)

    def leftovers(self) -> dict[str, list[str]]:
        """Names of what would still bill or linger, by kind, empty lists included."""
        left = self.sagemaker.control_plane.leftovers()
        left["schedules"] = sorted(schedule.name for schedule in self.events.schedules())
        return left
