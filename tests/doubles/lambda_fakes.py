"""Small stand-ins of AWS services for tests of the Lambdas, checked against botocore's own description of each service.

An unknown or missing parameter, an operation that botocore cannot page through, or an answer with a field that AWS does
not have fails the test. A listing that is not paged through shows one entry only."""

import hashlib
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import botocore.session
import pytest
from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.model import ListShape, OperationModel, StructureShape
from botocore.validate import ParamValidator

from verification.simulation.services import Pages

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:captune-fine-tuning"
TEAR_DOWN = "arn:aws:states:us-east-1:123456789012:stateMachine:captune-tear-down"


def arn(execution_name: str) -> str:
    """The ARN of an execution of FineTuning."""
    return f"{MACHINE.replace('stateMachine', 'execution')}:{execution_name}"


def resource_arn(kind: str, name: str) -> str:
    """The ARN of a resource at SageMaker: training-job, endpoint, endpoint-config, model."""
    return f"arn:aws:sagemaker:us-east-1:123456789012:{kind}/{name}"


def logged(capsys: pytest.CaptureFixture[str], message: str) -> list[dict[str, Any]]:
    """The lines of the log with a message, or the metrics for `metric`."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line for line in lines if ("_aws" in line if message == "metric" else line.get("message") == message)]


def refusal(code: str, message: str = "refused", **more: Any) -> ClientError:
    """An error as botocore raises it."""
    return ClientError({"Error": {"Code": code, "Message": message}, **more}, "Operation")


@cache
def _session() -> botocore.session.Session:
    return botocore.session.get_session()


@cache
def _operations(service: str) -> dict[str, OperationModel]:
    model = _session().get_service_model(service)
    return {xform_name(name): model.operation_model(name) for name in model.operation_names}


@cache
def _pageable(service: str) -> set[str]:
    return {xform_name(name) for name in _session().get_paginator_model(service)._paginator_config}


def _check_answer(answer: Any, shape: Any, place: str) -> None:
    if isinstance(shape, StructureShape) and isinstance(answer, dict):
        for key, value in answer.items():
            if key == "ResponseMetadata":  # botocore's own
                continue
            assert key in shape.members, f"AWS does not answer {place}.{key}"
            _check_answer(value, shape.members[key], f"{place}.{key}")
    elif isinstance(shape, ListShape) and isinstance(answer, list):
        for value in answer:
            _check_answer(value, shape.member, place)


class Service:
    """A service whose operations are the methods named on_<operation>.

    `troubles` holds errors for the next calls of an operation, None for one that succeeds; `before` runs before each.
    """

    name = ""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.troubles: dict[str, list[Exception | None]] = {}
        self.before: Callable[[str], None] = lambda operation: None

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        if operation.startswith("on_") or operation not in _operations(self.name):
            raise AttributeError(operation)

        def call(**request: Any) -> Any:
            model = _operations(self.name)[operation]
            report = ParamValidator().validate(request, model.input_shape)
            assert not report.has_errors(), f"{operation}: {report.generate_report()}"
            self.calls.append((operation, request))
            self.before(operation)
            trouble = self.troubles[operation].pop(0) if self.troubles.get(operation) else None
            if trouble is not None:
                raise trouble
            answer = getattr(self, f"on_{operation}")(**request)
            _check_answer(answer, model.output_shape, operation)
            return answer

        return call

    def get_paginator(self, operation: str) -> Pages:
        """Pages of one entry each."""
        assert operation in _pageable(self.name), f"botocore cannot page through {operation}"
        return Pages(getattr(self, operation))

    def called(self, operation: str) -> list[dict[str, Any]]:
        """The requests of one operation."""
        return [request for name, request in self.calls if name == operation]


def page(field: str, entries: list[Any], token: str | None, token_field: str = "NextToken") -> dict[str, Any]:
    """One entry and the token of the next."""
    start = int(token or 0)
    more = {token_field: str(start + 1)} if start + 1 < len(entries) else {}
    return {field: entries[start : start + 1], **more}


class SageMaker(Service):
    """Training jobs, endpoints, endpoint configurations and models by name, with their status.

    Nothing happens here by itself, as it does in the rehearsal and in the simulation: a test of one Lambda says what
    there is, and reads what was called.
    """

    name = "sagemaker"

    def __init__(self, **kinds: Any) -> None:
        super().__init__()
        # Copies, because a call that stops or deletes writes here and one table may serve several tests.
        self.jobs: dict[str, Any] = dict(kinds.get("jobs", {}))
        self.endpoints: dict[str, str] = dict(kinds.get("endpoints", {}))
        # By name, each with its instance type and count.
        self.configurations: dict[str, Any] = dict.fromkeys(kinds.get("configurations", ()), ("ml.g5.2xlarge", 1))
        self.models: dict[str, Any] = dict.fromkeys(kinds.get("models", ()))
        self.created = NOW - timedelta(minutes=30)
        self.created_at: dict[str, datetime] = {}
        self.variants: dict[str, Any] = {"ProductionVariants": [{"VariantName": "a", "CurrentInstanceCount": 1}]}
        self.hub: dict[str, Any] = {"HubContentDocument": "{}", "SupportStatus": "Supported"}
        self.hub_files = ["config.json", "model.safetensors", "tokenizer_config.json"]
        # By name; what is not here has the project's tag.
        self.tags: dict[str, dict[str, str]] = {}

    def _listed(self, field: str, prefix: str, kind: str, statuses: dict[str, Any], **request: Any) -> dict[str, Any]:
        """A page as SageMaker makes it: cut from everything there is, and only then filtered by name and status."""
        entries = [
            {
                f"{prefix}Name": name,
                f"{prefix}Arn": resource_arn(kind, name),
                "CreationTime": self.created_at.get(name, self.created),
                **({f"{prefix}Status": status} if status else {}),
            }
            for name, status in statuses.items()
        ]
        if "CreationTimeAfter" in request:
            entries = [one for one in entries if one["CreationTime"] >= request["CreationTimeAfter"]]
        found, wanted = page(field, entries, request.get("NextToken")), request.get("StatusEquals")
        found[field] = [
            one
            for one in found[field]
            if request["NameContains"] in one[f"{prefix}Name"] and wanted in (None, one.get(f"{prefix}Status"))
        ]
        return found

    def on_describe_hub_content(self, **request: Any) -> dict[str, Any]:
        return self.hub

    def on_create_hub_content_presigned_urls(self, **request: Any) -> dict[str, Any]:
        files = [{"LocalPath": f"/{path}", "Url": f"https://hub/{path}"} for path in self.hub_files]
        return page("AuthorizedUrlConfigs", files, request.get("NextToken"))

    def on_list_training_jobs(self, **request: Any) -> dict[str, Any]:
        statuses = {name: self.status(name) for name in self.jobs}
        return self._listed("TrainingJobSummaries", "TrainingJob", "training-job", statuses, **request)

    def on_list_endpoints(self, **request: Any) -> dict[str, Any]:
        return self._listed("Endpoints", "Endpoint", "endpoint", self.endpoints, **request)

    def on_list_endpoint_configs(self, **request: Any) -> dict[str, Any]:
        names = dict.fromkeys(self.configurations)
        return self._listed("EndpointConfigs", "EndpointConfig", "endpoint-config", names, **request)

    def on_list_models(self, **request: Any) -> dict[str, Any]:
        return self._listed("Models", "Model", "model", self.models, **request)

    def status(self, job: str) -> str:
        """The status of a job, which is kept alone or in the answer of DescribeTrainingJob."""
        kept = self.jobs[job]
        return str(kept if isinstance(kept, str) else kept["TrainingJobStatus"])

    def on_describe_training_job(self, TrainingJobName: str) -> dict[str, Any]:
        if TrainingJobName not in self.jobs:
            raise refusal("ValidationException", "Requested resource not found.")
        kept = self.jobs[TrainingJobName]
        return {"TrainingJobStatus": kept} if isinstance(kept, str) else dict(kept)

    def on_stop_training_job(self, TrainingJobName: str) -> dict[str, Any]:
        self.jobs[TrainingJobName] = "Stopping"
        return {}

    def on_delete_endpoint(self, EndpointName: str) -> dict[str, Any]:
        self.endpoints[EndpointName] = "Deleting"
        return {}

    def on_describe_endpoint(self, EndpointName: str) -> dict[str, Any]:
        return {
            "EndpointName": EndpointName,
            "EndpointArn": resource_arn("endpoint", EndpointName),
            "EndpointConfigName": EndpointName,
            "EndpointStatus": self.endpoints[EndpointName],
            **self.variants,
        }

    def on_describe_endpoint_config(self, EndpointConfigName: str) -> dict[str, Any]:
        if EndpointConfigName not in self.configurations:
            raise refusal("ValidationException", f'Could not find endpoint configuration "{EndpointConfigName}".')
        kind, count = self.configurations[EndpointConfigName]
        known = {"InstanceType": kind, "InitialInstanceCount": count} if kind else {}
        variant = {"VariantName": "a", "ModelName": "a", **known}
        return {"EndpointConfigName": EndpointConfigName, "ProductionVariants": [variant]}

    def on_delete_endpoint_config(self, EndpointConfigName: str) -> dict[str, Any]:
        del self.configurations[EndpointConfigName]
        return {}

    def on_list_tags(self, ResourceArn: str, NextToken: str | None = None) -> dict[str, Any]:
        tags = self.tags.get(ResourceArn.rpartition("/")[2], {"project": "captune"})
        return page("Tags", [{"Key": key, "Value": value} for key, value in tags.items()], NextToken)

    def on_delete_model(self, ModelName: str) -> dict[str, Any]:
        del self.models[ModelName]
        return {}


class StepFunctions(Service):
    """Executions by ARN, each as DescribeExecution answers it, with its history."""

    name = "stepfunctions"

    def __init__(self, executions: dict[str, dict[str, Any]] | None = None) -> None:
        super().__init__()
        self.executions = executions or {}
        self.histories: dict[str, list[dict[str, Any]]] = {}
        self.started: list[dict[str, str]] = []

    def on_describe_execution(self, executionArn: str) -> dict[str, Any]:
        if executionArn not in self.executions:
            raise refusal("ExecutionDoesNotExist", "Execution Does Not Exist")
        return self.executions[executionArn]

    def on_stop_execution(self, executionArn: str, error: str, cause: str) -> dict[str, Any]:
        self.executions[executionArn] |= {"status": "ABORTED", "error": error, "cause": cause, "stopDate": NOW}
        return {"stopDate": NOW}

    def on_list_executions(
        self, stateMachineArn: str, statusFilter: str = "", nextToken: str | None = None
    ) -> dict[str, Any]:
        found = [
            {"executionArn": key, "name": key.rpartition(":")[2], **kept}
            for key, kept in self.executions.items()
            if statusFilter in ("", kept["status"])
            and key.startswith(f"{stateMachineArn.replace(':stateMachine:', ':execution:')}:")
        ]
        return page("executions", found, nextToken, "nextToken")

    def on_get_execution_history(self, executionArn: str, nextToken: str | None = None, **_: Any) -> dict[str, Any]:
        return page("events", self.histories.get(executionArn, []), nextToken, "nextToken")

    def on_start_execution(self, stateMachineArn: str, name: str, input: str) -> dict[str, Any]:
        assert len(name) <= 80, "names of executions hold 80 characters"
        if any(kept["name"] == name for kept in self.started):
            raise refusal("ExecutionAlreadyExists", "Execution Already Exists")
        self.started.append({"name": name, "input": input, "machine": stateMachineArn})
        execution = f"{stateMachineArn.replace(':stateMachine:', ':execution:')}:{name}"
        self.executions[execution] = {"status": "RUNNING"}
        return {"executionArn": execution}


class S3(Service):
    """Objects by (bucket, key), and each version that was read of them by its id."""

    name = "s3"

    def __init__(self, objects: dict[tuple[str, str], bytes] | None = None) -> None:
        super().__init__()
        self.objects = objects if objects is not None else {}
        self.versions: dict[str, bytes] = {}
        self.sizes: dict[str, int] = {}
        self.region = ""  # of the buckets; without one S3 says none

    def on_head_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        if Key in self.sizes:
            return {"ContentLength": self.sizes[Key]}
        if (Bucket, Key) not in self.objects:
            raise refusal("404", "Not Found")
        return {"ContentLength": len(self.objects[Bucket, Key])}

    def on_get_object(self, Bucket: str, Key: str, VersionId: str = "") -> dict[str, Any]:
        if Key in self.sizes:
            return {"Body": None, "ContentLength": self.sizes[Key]}
        body = self.versions.get(VersionId) if VersionId else self.objects.get((Bucket, Key))
        if body is None:
            raise refusal("NoSuchVersion" if VersionId else "NoSuchKey", "The specified key does not exist.")
        version = f"v-{hashlib.md5(body).hexdigest()}"
        self.versions[version] = body
        return {"Body": io.BytesIO(body), "ContentLength": len(body), "VersionId": version}

    def on_put_object(self, Bucket: str, Key: str, Body: bytes, ContentType: str) -> dict[str, Any]:
        self.objects[Bucket, Key] = Body
        return {}

    def on_list_objects_v2(self, Bucket: str, Prefix: str, MaxKeys: int = 1000) -> dict[str, Any]:
        keys = sorted(key for bucket, key in self.objects if bucket == Bucket and key.startswith(Prefix))[:MaxKeys]
        contents = [{"Key": key, "Size": self.sizes.get(key, len(self.objects[Bucket, key]))} for key in keys]
        headers = {"x-amz-bucket-region": self.region} if self.region else {}
        return {"KeyCount": len(keys), "Contents": contents, "ResponseMetadata": {"HTTPHeaders": headers}}


class Pricing(Service):
    """The Price List with these products."""

    name = "pricing"

    def __init__(self, *products: dict[str, Any]) -> None:
        super().__init__()
        self.products = [json.dumps(product) for product in products]

    def on_get_products(self, ServiceCode: str, Filters: list[Any], NextToken: str | None = None) -> dict[str, Any]:
        return page("PriceList", self.products, NextToken)


class Ecr(Service):
    """A registry that holds every image but those in `missing`, by tag."""

    name = "ecr"

    def __init__(self) -> None:
        super().__init__()
        self.missing: set[str] = set()

    def on_batch_get_image(self, imageIds: list[dict[str, str]], **asked: Any) -> dict[str, Any]:
        (image,) = imageIds
        if image["imageTag"] in self.missing:
            return {"images": [], "failures": [{"imageId": image, "failureCode": "ImageNotFound"}]}
        return {"images": [{"imageId": image}], "failures": []}


class Events(Service):
    """EventBridge's rules by name, each with its state and the ARN of its target."""

    name = "events"

    def __init__(self, **rules: tuple[str, str]) -> None:
        super().__init__()
        self.rules = {name.replace("_", "-"): rule for name, rule in rules.items()}

    def on_describe_rule(self, Name: str) -> dict[str, Any]:
        if Name not in self.rules:
            raise refusal("ResourceNotFoundException")
        return {"Name": Name, "State": self.rules[Name][0]}

    def on_list_targets_by_rule(self, Rule: str) -> dict[str, Any]:
        return {"Targets": [{"Id": "0", "Arn": self.rules[Rule][1]}]}


class Sns(Service):
    """What hears each topic, by its ARN, as protocol and endpoint."""

    name = "sns"

    def __init__(self, topics: dict[str, list[tuple[str, str]]]) -> None:
        super().__init__()
        self.topics = topics

    def on_list_subscriptions_by_topic(self, TopicArn: str) -> dict[str, Any]:
        if TopicArn not in self.topics:
            raise refusal("NotFound")
        return {"Subscriptions": [{"Protocol": one, "Endpoint": two} for one, two in self.topics[TopicArn]]}


class ServiceQuotas(Service):
    """Applied and default values by code. Of those that a run needs none is on the first page."""

    name = "service-quotas"

    def __init__(self, applied: dict[str, float], defaults: dict[str, float] | None = None) -> None:
        super().__init__()
        self.applied, self.defaults = applied, defaults or {}
        self.names = {"L-1": "ml.g6.xlarge for endpoint usage", "L-2": "ml.g6.2xlarge for endpoint usage"}

    def on_get_service_quota(self, ServiceCode: str, QuotaCode: str) -> dict[str, Any]:
        return self._value(self.applied, QuotaCode)

    def on_get_aws_default_service_quota(self, ServiceCode: str, QuotaCode: str) -> dict[str, Any]:
        return self._value(self.defaults, QuotaCode)

    def on_list_service_quotas(self, MaxResults: int, NextToken: str | None = None, **_: Any) -> dict[str, Any]:
        return self._listed(self.applied, NextToken)

    def on_list_aws_default_service_quotas(
        self, MaxResults: int, NextToken: str | None = None, **_: Any
    ) -> dict[str, Any]:
        return self._listed(self.defaults, NextToken)

    def _listed(self, values: dict[str, float], token: str | None) -> dict[str, Any]:
        names = {"L-OTHER": "ml.m5.large for endpoint usage", **self.names}
        known = {"L-OTHER": 0.0, **values}
        rows = [
            {"QuotaCode": code, "QuotaName": name, "Value": known[code]}
            for code, name in names.items()
            if code in known
        ]
        return page("Quotas", rows, token)

    def _value(self, values: dict[str, float], code: str) -> dict[str, Any]:
        if code not in values:
            raise refusal("NoSuchResourceException", "The request failed because the specified quota does not exist.")
        return {"Quota": {"Value": values[code]}}
