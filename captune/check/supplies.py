"""What a run takes from AWS: container images, weights, instances and their prices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from botocore.exceptions import ClientError

from captune.check.findings import Findings, ok, problem, warning
from common.aws import error_code
from common.errors import PriceUnknown
from common.pricing import prices
from preflight.account import images, quotas
from preflight.account.own_folder import list_folder
from preflight.account.own_weights import loaded_files, told_of_spare
from stacks.configuration.catalog import Weights

_RIGHTS = (
    "allow servicequotas:GetServiceQuota, ListServiceQuotas, GetAWSDefaultServiceQuota and ListAWSDefaultServiceQuotas"
)
_ASK_FOR_QUOTAS = "Service Quotas > Amazon SageMaker in the console; AWS answers within hours to days"


def image(ecr_in: Callable[[str], Any], address: str) -> Findings:
    """Whether a container image can be pulled, by the question that Preflight asks (ecr:BatchGetImage)."""
    subject = f"image {address.rpartition('/')[2]}"
    missing, unsure = images.problem(ecr_in, address)
    if missing:
        yield problem(subject, missing, "use a newer version of this project, or set hosting_image in cdk.json")
    elif unsure:
        yield warning(subject, unsure, "allow ecr:BatchGetImage on AWS's registry, or let it be: Preflight asks again")
    else:
        yield ok(subject, "exists")


def newer_images(listed: Sequence[tuple[str, str]]) -> Findings:
    """Whether AWS has images that nobody of this project has looked at."""
    for text, fix in listed:
        yield warning("newer images", text, f"use a newer version of this project, or {fix}")
    if not listed:
        yield ok("newer images", "the SageMaker SDK lists none that nobody looked at")


def plan(freetier: Any) -> Findings:
    """Whether the account has the paid plan: on the free one, which new accounts may have, AWS closes it with its credits."""
    subject = "account plan"
    try:
        found = freetier.get_account_plan_state()
    except ClientError as error:
        if error_code(error) != "ResourceNotFoundException":
            raise
        yield ok(subject, "AWS keeps none for this account, so it is not the free one")
        return
    credits, ends = found.get("accountPlanRemainingCredits"), found.get("accountPlanExpirationDate")
    left = f", with ${credits['amount']:.2f} of credits left" if credits else ""
    if found["accountPlanType"] == "PAID":
        yield ok(subject, f"is the paid one{left}")
        return
    until = f" or on {ends:%d %B %Y}" if ends else ""
    text = f"is the free one{left}: AWS closes the account when they are used up{until}, and a running endpoint with it"
    yield warning(subject, text, "upgrade it first: Billing and Cost Management in the console, then Upgrade plan")


def weights(s3: Any, place: Weights) -> Findings:
    """Whether the base model lies at the address in the form that training and hosting read, and nothing large beside it.

    Of a folder of the user's only: nobody here can move what lies in JumpStart's.
    """
    uri, bucket = place.uri, place.bucket
    try:
        found, elsewhere = list_folder(s3, bucket, place.prefix, place.region)
    except ClientError as error:
        if error_code(error) != "NoSuchBucket":
            raise
        fix = "set region in cdk.json to one with JumpStart, or correct weights_uri"
        yield problem("weights", f"there is no bucket {bucket}", fix)
        return
    if elsewhere:
        text, _, fix = elsewhere.partition(": ")
        yield problem("weights", text, fix)
        return
    tensors = loaded_files(found)
    spare = told_of_spare(found, tensors, sum(tensors.values())) if place.own else ""
    if not found:
        fix = "set region in cdk.json, another base_model, or weights_uri"
        yield problem("weights", f"there is nothing at {uri}", fix)
    elif not tensors or "config.json" not in found:
        text = f"{uri} does not hold config.json and *.safetensors side by side, but {', '.join(sorted(found)[:5])}"
        fix = "training and hosting read that form only: choose another base_model, or copy the weights in that form"
        yield problem("weights", text, fix)
    elif spare:
        text, _, fix = spare.rpartition(": ")
        yield problem("weights", f"{uri}: {text}", fix)
    else:
        size = sum(tensors.values()) / 1e9
        yield ok("weights", f"{len(tensors)} safetensors of {size:.1f} GB in {bucket}")


def quota(service_quotas: Any, needs: Sequence[quotas.Need], region: str) -> Findings:
    """Whether the account may run so many instances of at least one of the types of each need. All are sought in one listing."""
    read = quotas.read(service_quotas, needs)
    for need in needs:
        subject, found = f"quota for {need.use}", read[need.use]
        shortages = [one.shortage(need.instances) for one in found]
        for one, shortage in zip(found, shortages, strict=True):
            if one.value is None:
                fix = f"{_RIGHTS}, or look before a run pays for its training: {quotas.console(region)}"
                yield warning(subject, f"{one.named} could not be read: {one.why_unknown}", fix)
            elif not shortage:
                yield ok(subject, f"{one.value} of {one.instance_type}")
            elif all(shortages):
                yield problem(subject, shortage, _ASK_FOR_QUOTAS)
            else:
                yield warning(subject, f"{shortage}, so {one.instance_type} is left out", _ASK_FOR_QUOTAS)


def price(pricing: Any, region: str, types: Sequence[str], use: str) -> Findings:
    """Whether every type has a price in the Price List, and whether the pinned table still agrees with it.

    `use` is `Training` or `Hosting`. A run takes the listed price, and the pinned one where the list cannot be reached.
    """
    for kind in types:
        subject = f"price of {use.lower()}"
        try:
            listed = prices.listed(pricing, region, kind, use)
        except PriceUnknown as error:
            yield problem(subject, str(error), "as it says")
            continue
        table = _pinned(region, kind, use)
        refresh = f"captune prices --instance-type {kind} --price-region {region}, then make deploy"
        if listed and table and listed.hourly_usd == table.hourly_usd:
            yield ok(subject, f"{kind} costs ${listed.hourly_usd}/h, as the pinned table says")
        elif listed and table:
            text = f"{kind} costs ${listed.hourly_usd}/h, the {table.source} says ${table.hourly_usd}"
            yield warning(subject, text, refresh)
        elif listed:
            yield warning(subject, f"{kind} costs ${listed.hourly_usd}/h and is not in the pinned table", refresh)
        elif table:
            text = f"the Price List has no {kind} in {region}; ${table.hourly_usd}/h is from the {table.source}"
            yield warning(subject, text, refresh)
        else:
            yield problem(subject, f"neither the Price List nor the pinned table knows {kind} in {region}", refresh)


def _pinned(region: str, kind: str, use: str) -> prices.Price | None:
    try:
        return prices.pinned(region, kind, use)
    except PriceUnknown:
        return None
