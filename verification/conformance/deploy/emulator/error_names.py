"""The names of errors as Step Functions gives them in its AWS SDK integrations."""

from __future__ import annotations

from collections.abc import Mapping

# boto3's name of a service, and how Step Functions spells it.
SERVICES = {"sagemaker": "SageMaker", "scheduler": "Scheduler"}


def error_name(service: str, code: str, modelled: Mapping[str, str]) -> str:
    """Return the name of an error: the exception of the service's model, or the service's own for a code it does not know.

    Args:
        service: boto3's name of the service.
        code: the code in the answer.
        modelled: the names of the model's exceptions by their code.
    """
    prefix = SERVICES[service]
    name = modelled.get(code, prefix)
    return f"{prefix}.{name if name.endswith('Exception') else name + 'Exception'}"
