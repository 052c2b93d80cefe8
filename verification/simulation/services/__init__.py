"""The services that the machines and Lambdas call, one fake of each, with what they share: errors, pages and the check of requests."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")
# How Step Functions spells a service in the error names of its AWS SDK integrations.
_SPELT = {"sagemaker": "SageMaker", "scheduler": "Scheduler", "sns": "Sns", "s3": "S3", "sfn": "Sfn"}


def client_error(code: str, message: str = "", operation: str = "Operation") -> ClientError:
    """An error as botocore raises it."""
    return ClientError({"Error": {"Code": code, "Message": message or code}}, operation)


@dataclass(frozen=True)
class Pages:
    """A paginator that puts all on one page."""

    call: Callable[..., dict[str, Any]]

    def paginate(self, **arguments: Any) -> Iterator[dict[str, Any]]:
        """The page."""
        yield self.call(**{name: value for name, value in arguments.items() if name != "PaginationConfig"})


@cache
def model(service: str) -> ServiceModel:
    """AWS's own description of a service."""
    return botocore.session.get_session().get_service_model(service)


@cache
def _operations(service: str) -> dict[str, str]:
    return {xform_name(name): name for name in model(service).operation_names}


@cache
def error_name(service: str, code: str) -> str:
    """The name of a service error in an AWS SDK integration: `<Service>.<Shape>` with "Exception" at its end.

    Step Functions uses the AWS SDK for Java: a code that the service's model does not know is `<Service>.<Service>Exception`.
    """
    spelt = _SPELT[service]
    known = (shape.name for shape in model(service).error_shapes if code in (shape.name, shape.error_code))
    return f"{spelt}.{str(next(known, spelt)).removesuffix('Exception')}Exception"


def complaints(service: str, operation: str, arguments: Mapping[str, Any]) -> str:
    """What AWS's model has to say against a request: missing or unknown fields, wrong types, bounds, choices.

    `operation` is named as boto3's method or as in a state's resource.
    """
    names = _operations(service)
    shape = model(service).operation_model(names[xform_name(operation)]).input_shape
    report = ParamValidator().validate(_deployed(arguments), shape)
    return " ".join(filter(None, [report.generate_report(), *_odd_choices(shape, arguments)]))


def _deployed(value: Any) -> Any:
    """The value with something as long as an ARN in the place of each placeholder, which only a deployment fills."""
    if isinstance(value, dict):
        return {key: _deployed(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_deployed(part) for part in value]
    return _PLACEHOLDER.sub(r"arn:aws:any:us-east-1::\1", value) if isinstance(value, str) else value


def _odd_choices(shape: Any, value: Any) -> list[str]:
    """botocore leaves the check of an enum to the service."""
    if shape.type_name == "structure" and isinstance(value, Mapping):
        known = ((shape.members[key], part) for key, part in value.items() if key in shape.members)
        return [words for member, part in known for words in _odd_choices(member, part)]
    if shape.type_name == "list" and isinstance(value, list):
        return [words for part in value for words in _odd_choices(shape.member, part)]
    options = getattr(shape, "enum", None)
    if options and isinstance(value, str) and not value.startswith("${") and value not in options:
        return [f"{value} is none of {', '.join(options)}"]
    return []
