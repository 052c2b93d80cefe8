"""What SageMaker holds of this project: found by name, and whose it is by its tags."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from common.logs import log
from common.names import PREFIX

TAG_KEY, TAG_VALUE = "project", PREFIX
# SageMaker cuts a list into pages before it looks at names and statuses, so that each look pages through everything that the account has
# ever had of a kind. A page of the largest size takes a tenth of the calls that one of the usual ten takes.
LARGEST_PAGES = {"PageSize": 100}
# No training job runs or waits longer: MaxRuntimeInSeconds and MaxPendingTimeInSeconds end at 28 days each.
LONGEST_TRAINING_JOB = timedelta(days=2 * 28)


@dataclass(frozen=True)
class Kind:
    """A kind of resource, and how SageMaker's list operation names it, its name, its ARN and its status."""

    words: str
    operation: str
    listing: str
    name_field: str
    arn_field: str
    status_field: str | None = None


TRAINING_JOB = Kind(
    "training job", "list_training_jobs", "TrainingJobSummaries", "TrainingJobName", "TrainingJobArn", "TrainingJobStatus"
)  # fmt: skip
ENDPOINT = Kind("endpoint", "list_endpoints", "Endpoints", "EndpointName", "EndpointArn", "EndpointStatus")
ENDPOINT_CONFIGURATION = Kind(
    "endpoint configuration", "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName", "EndpointConfigArn"
)  # fmt: skip
MODEL = Kind("model", "list_models", "Models", "ModelName", "ModelArn")


@dataclass(frozen=True)
class Resource:
    """One resource. `status` is empty for a kind that has none, `created` is in UTC."""

    kind: Kind
    name: str
    arn: str
    status: str
    created: datetime

    def __str__(self) -> str:
        return f"{self.kind.words} {self.name}" + (f": {self.status}" if self.status else "")


def find_all(
    sagemaker: Any, kind: Kind, name_contains: str, status: str | None = None, *, created_after: datetime | None = None
) -> list[Resource]:
    """All resources of a kind by name, status and time. All pages come first: a list may shrink while it is read."""
    only: dict[str, Any] = {"StatusEquals": status} if status else {}
    if created_after:
        only["CreationTimeAfter"] = created_after
    pages = sagemaker.get_paginator(kind.operation).paginate(
        NameContains=name_contains, PaginationConfig=LARGEST_PAGES, **only
    )
    return [
        Resource(
            kind,
            entry[kind.name_field],
            entry[kind.arn_field],
            entry[kind.status_field] if kind.status_field else "",
            entry["CreationTime"],
        )
        for page in pages
        for entry in page[kind.listing]
    ]


def find_present(
    sagemaker: Any, kind: Kind, name_contains: str, now: datetime, status: str | None = None
) -> list[Resource]:
    """What may still run or bill: all that `find_all` finds, except training jobs too old to run, which SageMaker lists for ever."""
    youngest = now - LONGEST_TRAINING_JOB if kind is TRAINING_JOB else None
    return find_all(sagemaker, kind, name_contains, status, created_after=youngest)


class Tags:
    """Asks SageMaker whose a resource is.

    Only an answer can make a resource foreign. Where SageMaker does not answer, the name counts: removal must not depend on one more
    call. After one time-out nothing more is asked, so that no removal waits for it twice.
    """

    def __init__(self, sagemaker: Any) -> None:
        self._sagemaker = sagemaker
        self._silent = False

    def why_foreign(self, resource: Resource) -> str:
        """Why a resource is not the project's, such as "its tag project is 'theirs'"; empty where it is, or where SageMaker does not answer."""
        if self._silent:
            return ""
        try:
            pages = self._sagemaker.get_paginator("list_tags").paginate(ResourceArn=resource.arn)
            tags = {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}
        except (ClientError, BotoCoreError) as error:
            # A ClientError is of this resource only: it was deleted since it was listed, or may not be read.
            self._silent = isinstance(error, BotoCoreError)
            log("tags unknown", resource=str(resource), error=str(error))
            return ""
        if tags.get(TAG_KEY) == TAG_VALUE:
            return ""
        log("not of this project by its tags", resource=str(resource), tags=tags)
        return f"its tag {TAG_KEY} is {tags[TAG_KEY]!r}" if TAG_KEY in tags else f"it has no tag {TAG_KEY}"

    def own(self, found: Iterable[Resource]) -> list[Resource]:
        """Those of the project among what was found: called like it, for NameContains finds more, and with its tag."""
        return [one for one in named(found) if not self.why_foreign(one)]


def named(found: Iterable[Resource]) -> list[Resource]:
    """Those that are called like the project's, whatever their tags."""
    return [one for one in found if one.name.startswith(f"{PREFIX}-")]
