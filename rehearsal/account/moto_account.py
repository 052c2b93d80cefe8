"""moto in this process: its settings while a cloud uses it, and what it lacks, patched in."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from moto.awslambda_simple.models import LambdaSimpleBackend
from moto.core.base_backend import BackendDict
from moto.core.config import default_user_config
from moto.core.model_instances import reset_model_data
from moto.stepfunctions.models import StateMachine


@contextmanager
def emptied() -> Iterator[None]:
    """An empty account, which runs Lambdas and state machines; afterwards moto has its own settings again."""
    logging.getLogger("moto").setLevel(logging.CRITICAL)  # it logs each state that fails, as a test means it to
    settings: dict[str, Any] = default_user_config
    before = {name: dict(settings[name]) for name in ("lambda", "stepfunctions")}
    settings["lambda"]["use_docker"] = False
    settings["stepfunctions"]["execute_state_machine"] = True
    BackendDict.reset()
    reset_model_data()
    try:
        yield
    finally:
        settings.update(before)


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
