"""moto as an HTTP server in this process, behind the recorder; and what it lacks, patched in."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from moto.awslambda_simple.models import LambdaSimpleBackend
from moto.core.base_backend import BackendDict
from moto.core.config import default_user_config
from moto.core.model_instances import reset_model_data
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.stepfunctions.models import StateMachine

from rehearsal.sagemaker.api.wire import serve

from .recorder import Recorder
from .rights import Rights


class Server:
    """One server for the life of the process, used by one cloud after another."""

    _of_process: list[Server] = []

    @classmethod
    def of_process(cls) -> Server:
        """The server of this process, started at the first call."""
        if not cls._of_process:
            cls._of_process.append(cls())
        return cls._of_process[0]

    def __init__(self) -> None:
        self._settings: dict[str, Any] = {}
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._recorder: Recorder | None = None
        self._server = serve(self._answer, "moto")

    @property
    def url(self) -> str:
        """The address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def begin(self, clock: Callable[[], Any], rights: Rights) -> Recorder:
        """Empty the account and return a new record, which keeps the calls from now on."""
        logging.getLogger("moto").setLevel(logging.CRITICAL)  # it logs each state that fails, as a test means it to
        settings: dict[str, Any] = default_user_config
        self._settings = {name: dict(settings[name]) for name in ("lambda", "stepfunctions")}
        settings["lambda"]["use_docker"] = False
        settings["stepfunctions"]["execute_state_machine"] = True
        BackendDict.reset()
        reset_model_data()
        self._recorder = Recorder(self._moto, clock, rights)
        return self._recorder

    def end(self) -> None:
        """Give moto its settings back, for whatever else uses it in this process."""
        default_user_config.update(self._settings)

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        recorder = self._recorder
        assert recorder is not None, "the server answers only while a cloud is in use"
        return recorder(environ, start_response)


@cache
def install(current: Callable[[], Any]) -> None:
    """Patch moto, once; `current` returns the cloud in use, or None."""
    echo = LambdaSimpleBackend.invoke

    def invoke(self: Any, function_name: str, qualifier: Any, body: Any, headers: Any, response_headers: Any) -> Any:
        """Run the function, where moto answers with the event itself, and mark its errors as Lambda does."""
        cloud = current()
        if cloud is None:
            return echo(self, function_name, qualifier, body, headers, response_headers)
        function = self.get_function(function_name, qualifier)
        answer, failed = cloud.functions.invoke(function, json.loads(body or b"null"))
        if failed:
            response_headers["x-amz-function-error"] = "Unhandled"
        return answer.encode()

    LambdaSimpleBackend.invoke = invoke
    # Fn::GetAtt of a state machine's Arn, which CloudFormation has and moto lacks.
    attribute, has = StateMachine.get_cfn_attribute, StateMachine.has_cfn_attr
    StateMachine.get_cfn_attribute = lambda self, name: self.arn if name == "Arn" else attribute(self, name)
    StateMachine.has_cfn_attr = classmethod(lambda cls, name: name == "Arn" or has(name))
