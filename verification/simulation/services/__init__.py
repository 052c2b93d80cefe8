"""The services that the machines and Lambdas call, one fake of each, with what they share: errors, pages and the check of requests."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError

from rehearsal.sagemaker.validation import service_model, violations

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
def _operations(service: str) -> dict[str, str]:
    return {xform_name(name): name for name in service_model(service).operation_names}


@cache
def error_name(service: str, code: str) -> str:
    """The name of a service error in an AWS SDK integration: `<Service>.<Shape>` with "Exception" at its end.

    Step Functions uses the AWS SDK for Java: a code that the service's model does not know is `<Service>.<Service>Exception`.
    """
    spelt = _SPELT[service]
    known = (shape.name for shape in service_model(service).error_shapes if code in (shape.name, shape.error_code))
    return f"{spelt}.{str(next(known, spelt)).removesuffix('Exception')}Exception"


def complaints(service: str, operation: str, arguments: Mapping[str, Any]) -> str:
    """What AWS's model has to say against a request: missing or unknown fields, wrong types, bounds, choices, patterns.

    `operation` is named as boto3's method or as in a state's resource. A `${Placeholder}`, which a deployment fills, is not judged.
    """
    shape = service_model(service).operation_model(_operations(service)[xform_name(operation)]).input_shape
    return "; ".join(words for words in violations(shape, arguments) if "${" not in words) if shape else ""
