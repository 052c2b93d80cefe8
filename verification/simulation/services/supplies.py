"""What a run needs beside SageMaker: S3, SNS, event rules, the market of prices, quotas and images, and the endpoint's answers."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from preflight.account import quotas
from rehearsal.sagemaker.market import Market
from rehearsal.sagemaker.operations import HostingApi
from rehearsal.sagemaker.s3_folders import split
from verification.simulation.price_list import HOURLY_USD
from verification.simulation.services import Client, client_error
from verification.simulation.services.sagemaker import ACCOUNT, REGION

BUCKET = "bucket"
SWEEPER = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:sweeper"
QUOTA = 100  # instances of each type, for each use


@dataclass(frozen=True)
class Storage:
    """S3: the objects of the project's bucket by key. In every other bucket there is something under each prefix."""

    objects: dict[str, bytes] = field(default_factory=dict)
    # Where nothing is written: then an adapter is found wherever a job was to write one.
    anything: bool = False

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, **_: Any) -> dict[str, Any]:
        """Keeps an object."""
        self.objects[Key] = Body
        return {}

    def get_object(self, *, Bucket: str, Key: str, VersionId: str = "") -> dict[str, Any]:
        """An object that was kept. The simulation replaces none, so that there is one version of each."""
        body = self._kept(Key, "NoSuchKey")
        return {"Body": io.BytesIO(body), "ContentLength": len(body), "VersionId": "one"}

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        """The size of an object that was kept."""
        return {"ContentLength": len(self._kept(Key, "404"))}

    def list_objects_v2(self, *, Bucket: str, Prefix: str, MaxKeys: int = 1000) -> dict[str, Any]:
        """What lies under a prefix."""
        if self.anything or Bucket != BUCKET:
            return {"KeyCount": 1}
        keys = sorted(key for key in self.objects if key.startswith(Prefix))[:MaxKeys]
        return {"KeyCount": len(keys), "Contents": [{"Key": key, "Size": len(self.objects[key])} for key in keys]}

    def has_objects(self, uri: str) -> bool:
        """Whether something lies under an S3 URI."""
        bucket, prefix = split(uri)
        return bool(self.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)["KeyCount"])

    def _kept(self, key: str, missing: str) -> bytes:
        if key not in self.objects:
            raise client_error(missing, "The specified key does not exist.")
        return self.objects[key]


@dataclass(frozen=True)
class Topic:
    """SNS: subject and text of each message, which `observe` hears."""

    observe: Callable[[str], None] = lambda text: None
    messages: list[tuple[str, str]] = field(default_factory=list)

    def publish(self, **asked: Any) -> dict[str, Any]:
        """Keeps a message."""
        self.messages.append((str(asked.get("Subject", "")), str(asked["Message"])))
        self.observe(str(asked["Message"]))
        return {"MessageId": str(len(self.messages))}

    def list_subscriptions_by_topic(self, **asked: Any) -> dict[str, Any]:
        """The sweeper hears the kill switch."""
        return {"Subscriptions": [{"Protocol": "lambda", "Endpoint": SWEEPER}]}


@dataclass
class Rules:
    """EventBridge's rules of the project, which are all on."""

    targets: tuple[str, ...]

    def describe_rule(self, *, Name: str) -> dict[str, Any]:
        """Whether a rule is on."""
        return {"Name": Name, "State": "ENABLED"}

    def list_targets_by_rule(self, *, Rule: str) -> dict[str, Any]:
        """What each of them starts."""
        return {"Targets": [{"Id": Rule, "Arn": arn} for arn in self.targets]}


def market(hourly_usd: Mapping[str, str]) -> Market:
    """The rehearsal's market with these prices, and one quota for every instance type, those without a price among them."""
    uses = (quotas.TRAINING, quotas.SPOT_TRAINING, quotas.ENDPOINT)
    return Market(hourly_usd, {f"{one} for {use}": QUOTA for one in (*HOURLY_USD, "ml.unheard.of") for use in uses})


def runtime(hosting: HostingApi) -> Client:
    """SageMaker's runtime: InvokeEndpoint of an endpoint that is in service."""

    def invoke(operation: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        attributes = asked.get("CustomAttributes", "")
        answer = hosting.invoke(asked["EndpointName"], asked["Body"].encode(), asked["ContentType"], attributes)
        return {"Body": io.BytesIO(answer.body)}

    return Client("sagemaker-runtime", {"InvokeEndpoint"}, invoke)
