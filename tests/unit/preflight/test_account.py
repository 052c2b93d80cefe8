"""What the account holds when a run begins: the ledger's memory, names and resources of other runs, service quotas, JumpStart's hub."""

import json
from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from common.errors import EulaNotAccepted, LedgerLost, RunNameTaken
from preflight.account import quotas, weights
from preflight.account.other_runs import leftovers, refuse_lost_ledger, refuse_taken_name, runs_in_flight
from preflight.account.quotas import ENDPOINT, TRAINING, Quota
from preflight.settings import BaseModel, RunSettings
from tests.doubles.lambda_fakes import NOW, SageMaker, ServiceQuotas, StepFunctions, arn, refusal
from tests.doubles.ledger_fakes import FakeLedger
from tests.doubles.preflight_site import SETTINGS, Site
from tests.doubles.run_end import visit

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
BEFORE_NOVEMBER = datetime(2026, 10, 31, 23, 59, tzinfo=UTC)
TRAINED = {"captune-abc": "Completed", "captune-b-try2": "Stopped"}


def of_both() -> FakeLedger:
    return FakeLedger().with_run("abc").with_run("b").settled("captune-b")


def trained(created: datetime = NOW, **kinds: Any) -> SageMaker:
    sagemaker = SageMaker(jobs=kinds.get("jobs", TRAINED))
    sagemaker.created, sagemaker.tags = created, kinds.get("tags", {})
    return sagemaker


class TestLostLedger:
    @pytest.mark.parametrize(
        ("sagemaker", "ledger"),
        [
            (trained(), of_both()),
            (trained(), of_both().damage("RUN#captune-abc")),
            (trained(BEFORE_NOVEMBER), FakeLedger()),
            (trained(jobs={"my-captune-abc": "Completed"}), FakeLedger()),
            (trained(jobs={"captune-abc": "Completed"}, tags={"captune-abc": {}}), FakeLedger()),
        ],
        ids=["sound", "damaged item", "job of another month", "another name", "without the project's tag"],
    )
    def test_ledger_that_knows_the_months_own_jobs_is_not_lost(self, sagemaker: SageMaker, ledger: FakeLedger) -> None:
        assert refuse_lost_ledger(sagemaker, StepFunctions(), ledger, arn("me"), NOW, "") == []

    @pytest.mark.parametrize(
        ("sagemaker", "ledger", "named"),
        [
            (trained(), FakeLedger(), r"\(captune-abc, captune-b-try2\)"),
            (trained(BEFORE_NOVEMBER + timedelta(minutes=1)), FakeLedger(), r"\(captune-abc, captune-b-try2\)"),
            (trained(), FakeLedger().with_run("abc"), r"\(captune-b-try2\)"),
            (trained(jobs={f"captune-{n}": "Completed" for n in range(7)}), FakeLedger(), "captune-2 and 4 more"),
        ],
        ids=["new", "at the month's first moment", "without one", "without many"],
    )
    def test_ledger_without_its_jobs_is_lost(self, sagemaker: SageMaker, ledger: FakeLedger, named: str) -> None:
        with pytest.raises(LedgerLost, match=f"{named}.*2026-12-01.*accept_lost_ledger to 2026-11"):
            # The loss of another month was accepted.
            refuse_lost_ledger(sagemaker, StepFunctions(), ledger, arn("me"), NOW, "2026-10")


def executed(*states: str, starts: datetime = NOW - HOUR, **execution: Any) -> StepFunctions:
    """A machine with this execution, `serve`, and an earlier one that the ledger knows."""
    told = {"status": "SUCCEEDED", "startDate": starts, "stopDate": NOW, **execution}
    told = {name: value for name, value in told.items() if value}
    made = StepFunctions({arn("serve"): told, arn("abc"): {**told, "status": "FAILED"}})
    made.histories = {arn("serve"): [one for state in states for one in visit(state, 0, 1)]}
    return made


class TestForgottenRuns:
    """A table that was restored from a backup has valid seals, and runs that trained nothing leave no job."""

    @pytest.mark.parametrize(
        "execution",
        [
            {},
            {"status": "FAILED"},
            {"status": "RUNNING", "stopDate": None},
            {"starts": BEFORE_NOVEMBER},  # it went on into this month
            {"starts": BEFORE_NOVEMBER - 5 * HOUR, "stopDate": BEFORE_NOVEMBER - 4 * HOUR},  # as its endpoint may have
        ],
        ids=["succeeded", "failed", "running", "over the month's end", "kept over the month's end"],
    )
    def test_a_ledger_that_does_not_know_a_run_that_had_reserved_is_lost(self, execution: Any) -> None:
        step_functions = executed("Preflight", "ReserveBudget", "ScheduleTearDown", **execution)
        look = partial(refuse_lost_ledger, SageMaker(), step_functions, FakeLedger().with_run("abc"), arn("me"), NOW)
        with pytest.raises(
            LedgerLost, match=r"runs of 2026-11 .*\(captune-serve\).* older backup.*accept_lost_ledger to 2026-11"
        ):
            look("2026-10")
        (warning,) = look("2026-11")
        assert "The ledger lacks runs of 2026-11 (captune-serve)" in warning

    @pytest.mark.parametrize(
        ("step_functions", "ledger"),
        [
            (executed("Preflight", "StopWithReason", status="FAILED"), FakeLedger()),
            (executed("Preflight", "ReserveBudget", status="ABORTED"), FakeLedger()),
            (executed("Preflight", status="RUNNING", stopDate=None), FakeLedger()),
            (executed("ScheduleTearDown"), FakeLedger().with_run("serve")),
            (executed("ScheduleTearDown"), FakeLedger().with_run("serve").damage("RUN#captune-serve")),
            (executed("ScheduleTearDown", stopDate=BEFORE_NOVEMBER - 5 * HOUR), FakeLedger()),
            (executed("ScheduleTearDown", starts=BEFORE_NOVEMBER - 18 * HOUR), FakeLedger()),
        ],
        ids=["refused", "before it reserved", "just begun", "known", "damaged", "of another month", "older than any"],
    )
    def test_what_never_reserved_or_is_known_is_not_lost(
        self, step_functions: StepFunctions, ledger: FakeLedger
    ) -> None:
        assert refuse_lost_ledger(SageMaker(), step_functions, ledger, arn("me"), NOW, "") == []

    def test_a_run_that_reserves_during_the_look_is_known(self) -> None:
        step_functions, ledger = executed("ScheduleTearDown", status="RUNNING", stopDate=None), FakeLedger()

        def begin(called: str) -> None:
            if called == "get_execution_history" and ledger.run("captune-serve") is None:
                ledger.with_run("serve")

        step_functions.before = begin
        assert refuse_lost_ledger(SageMaker(), step_functions, ledger, arn("me"), NOW, "") == []

    def test_this_execution_is_no_other(self) -> None:
        step_functions = executed("ScheduleTearDown")
        assert refuse_lost_ledger(SageMaker(), step_functions, FakeLedger(), arn("serve"), NOW, "") == []

    def test_of_many_that_were_rejected_the_longest_are_looked_at(self) -> None:
        step_functions = executed("ScheduleTearDown")
        refused = {"status": "FAILED", "startDate": NOW - MINUTE, "stopDate": NOW}
        step_functions.executions = {**{arn(f"r{n}"): refused for n in range(30)}, **step_functions.executions}
        with pytest.raises(LedgerLost, match="captune-serve"):
            refuse_lost_ledger(SageMaker(), step_functions, FakeLedger(), arn("me"), NOW, "")
        looked_at = {one["executionArn"] for one in step_functions.called("get_execution_history")}
        assert len(looked_at) == 20


class TestNames:
    @pytest.mark.parametrize(
        ("jobs", "ledger", "used"),
        [
            ({"captune-abcd": "Completed"}, FakeLedger(), False),
            ({"captune-abc": "InProgress"}, FakeLedger().with_run("abc"), False),
            ({}, FakeLedger().with_run("abc_1", run="captune-abc"), True),
            ({}, FakeLedger().with_run("abc").settled("captune-abc"), True),
            ({"captune-abc": "Completed"}, FakeLedger(), True),
        ],
        ids=["nobody's", "this execution's", "another execution's", "a recorded run's", "a job's"],
    )
    def test_used_name_is_rejected(self, jobs: dict[str, str], ledger: FakeLedger, used: bool) -> None:
        with pytest.raises(RunNameTaken, match="Start a new execution") if used else nullcontext():
            refuse_taken_name(SageMaker(jobs=jobs), ledger, "captune-abc", arn("abc"))


class TestLeftovers:
    def test_runs_in_flight_are_other_open_reservations(self) -> None:
        ledger = FakeLedger().with_run("a").with_run("b").with_run("c").with_run("me").settled("captune-b")
        assert runs_in_flight(ledger, "captune-me") == ["captune-a", "captune-c"]

    def test_run_with_an_unreadable_item_counts_as_in_flight(self) -> None:
        ledger = FakeLedger().with_run("a").with_run("b").settled("captune-a").settled("captune-b")
        ledger.damage("RUN#captune-a")
        (run,) = runs_in_flight(ledger, "captune-me")
        assert run.startswith("captune-a (its item in the ledger is damaged")
        sagemaker = SageMaker(endpoints={"captune-a": "InService", "captune-b": "InService"})
        assert leftovers(sagemaker, ledger, NOW) == ["endpoint captune-b"]

    def test_leftovers_are_what_bills_without_a_reservation(self) -> None:
        ledger = FakeLedger().with_run("covered").with_run("done").settled("captune-done")
        jobs = {"captune-covered-try2": "InProgress", "captune-lost": "InProgress", "captune-old": "Completed"}
        endpoints = {
            "captune-covered": "InService",
            "captune-done": "Creating",
            "captune-going": "Deleting",
            "not-captune-x": "InService",
            "captune-lost-2": "Failed",
        }
        found = leftovers(SageMaker(jobs=jobs, endpoints=endpoints), ledger, NOW)
        assert found == ["training job captune-lost", "endpoint captune-done", "endpoint captune-lost-2"]

    def test_a_leftover_with_another_tag_is_named_with_it(self) -> None:
        sagemaker = SageMaker(jobs={"captune-theirs": "InProgress"}, endpoints={"captune-demo": "InService"})
        sagemaker.tags = {"captune-theirs": {}, "captune-demo": {"project": "demo"}}
        assert leftovers(sagemaker, FakeLedger(), NOW) == [
            "training job captune-theirs (it has no tag project)",
            "endpoint captune-demo (its tag project is 'demo')",
        ]
        sagemaker.jobs = {}
        sagemaker.troubles["list_tags"] = [refusal("ThrottlingException")]
        assert leftovers(sagemaker, FakeLedger(), NOW) == ["endpoint captune-demo"]


# The quotas that a new account usually lacks, and what AWS does not say of them.

KNOWN, OTHER = "ml.g5.2xlarge", "ml.g6.2xlarge"
APPLIED, ONE = "list_service_quotas", "get_service_quota"


def troubled(service: ServiceQuotas, operation: str, trouble: Exception) -> ServiceQuotas:
    service.troubles[operation] = [trouble]
    return service


def renumbered() -> ServiceQuotas:
    """A service that knows the quota under another code than we know."""
    service = ServiceQuotas({"L-NEW": 3.0})
    service.names = {"L-NEW": f"{KNOWN} for {ENDPOINT}"}
    return service


def one(service: ServiceQuotas, kind: str = KNOWN, use: str = ENDPOINT) -> Quota:
    (quota,) = quotas.read(service, [Quota(kind, use, 1)])
    return quota


@pytest.mark.parametrize(
    ("service", "kind", "use", "value", "code"),
    [
        (ServiceQuotas({"L-2D6DEB3C": 2.0}, {"L-2D6DEB3C": 0.0}), KNOWN, TRAINING, 2, "L-2D6DEB3C"),
        (ServiceQuotas({}, {"L-9614C779": 0.0}), KNOWN, ENDPOINT, 0, "L-9614C779"),
        (renumbered(), KNOWN, ENDPOINT, 3, "L-NEW"),
        (ServiceQuotas({"L-2": 0.0}), OTHER, ENDPOINT, 0, "L-2"),
        (ServiceQuotas({"L-1": 1.0}, {"L-1": 0.0, "L-2": 4.0}), OTHER, ENDPOINT, 4, "L-2"),
    ],
    ids=["applied", "default", "no such code", "applied, by name", "default, by name"],
)
def test_applied_value_wins_over_default(service: ServiceQuotas, kind: str, use: str, value: int, code: str) -> None:
    quota = one(service, kind, use)
    assert (quota.value, quota.code, bool(quota.shortage(1))) == (value, code, value == 0)


@pytest.mark.parametrize(
    ("service", "kind", "why"),
    [
        (troubled(ServiceQuotas({}), ONE, refusal("AccessDeniedException")), KNOWN, "AccessDeniedException"),
        (troubled(ServiceQuotas({}), ONE, ConnectTimeoutError(endpoint_url="q")), KNOWN, "(ConnectTimeoutError)"),
        (troubled(ServiceQuotas({"L-2": 1.0}), APPLIED, refusal("TooManyRequests")), OTHER, "TooManyRequests"),
        (ServiceQuotas({}), "ml.unheard.of", "AWS lists no such quota"),
    ],
)
def test_unreadable_quota_is_unknown_and_rejects_nothing(service: ServiceQuotas, kind: str, why: str) -> None:
    quota = one(service, kind)
    assert (quota.value, quota.shortage(1)) == (None, "")
    assert why in quota.why_unknown


@pytest.mark.parametrize(
    ("values", "left"),
    [((None, 1), [1]), ((1, None), [0]), ((1, 1), [0, 1]), ((None, None), [0]), ((0, None), [1]), ((None, 0), [0])],
)
def test_of_a_list_no_type_of_unknown_quota_stays(values: tuple[int | None, int | None], left: list[int]) -> None:
    """SageMaker checks the quota of every type that it is given, and refuses the endpoint after training is paid."""
    for use in (ENDPOINT, TRAINING):
        read = [Quota(kind, use, 1, value) for kind, value in zip((KNOWN, OTHER), values, strict=True)]
        free, warnings = quotas.within_quotas(read, [], "us-east-1")
        assert free == [read[number] for number in left]
        unknown = [one.instance_type for one in read if one.value is None and one not in free]
        assert [warning.split()[0] for warning in warnings if "checks the quota of each" in warning] == unknown


def test_no_call_begins_after_the_time_is_over() -> None:
    ticks = iter(range(0, 1000, 7))
    service = ServiceQuotas({"L-9614C779": 1.0, "L-2": 1.0}, {"L-2": 0.0})
    wanted = [Quota(kind, ENDPOINT, 1) for kind in (KNOWN, OTHER)]
    read = quotas.read(service, wanted, lambda: float(next(ticks)))
    assert [quota.value for quota in read] == [1, None]
    assert "within 20 seconds" in read[1].why_unknown
    assert [operation for operation, _ in service.calls] == [ONE, APPLIED]


# What JumpStart's hub says of the base model, before anything is paid.

MODEL = RunSettings.from_json(json.dumps(SETTINGS)).base_model
CHAT = replace(MODEL, has_chat_template=True)
WEIGHTS = ["sub/config.json", "sub/model-1.safetensors", "sub/model-2.safetensors"]
BESIDE = ["config.json", "model.safetensors", "tokenizer_config.json"]


def asked_hub(model: BaseModel = MODEL, files: Any = BESIDE, settings: str | None = None, **described: Any) -> Any:
    """What becomes of the hub's answer; `settings` is what tokenizer_config.json holds, None where it cannot be had."""
    client = SageMaker()
    client.hub |= described
    client.hub_files = files

    def get(url: str) -> bytes:
        if settings is None:
            raise OSError("timed out")
        return settings.encode()

    answer = weights.in_hub(client, model, get)
    named = {"HubName": "SageMakerPublicHub", "HubContentType": "Model", "HubContentName": MODEL.hub_name}
    assert client.called("describe_hub_content") == [{**named, "HubContentVersion": MODEL.hub_version}]
    access = {"AcceptEula": True, "ExpectedS3Url": MODEL.weights_uri}
    assert client.called("create_hub_content_presigned_urls")[0]["AccessConfig"] == access
    return answer


# The place in the one document that was found, of Llama 2 13B Chat.
SEEN = "s3://jumpstart-private-cache-prod-us-east-1/meta-textgeneration/meta-textgeneration-llama-2-13b-f/artifacts/inference-prepack/v1.1.0/"


def at(uri: str, field: str = "HostingArtifactUri") -> str:
    return json.dumps({"GatedBucket": True, field: uri})


@pytest.mark.parametrize(
    ("found", "has_template", "warned"),
    [
        (lambda: asked_hub(HubContentDocument=at("s3://gated/llama")), False, ""),
        (lambda: asked_hub(HubContentDocument=at("s3://gated/llama/", "HostingPrepackedArtifactUri")), False, ""),
        (lambda: asked_hub(HubContentDocument=at("s3://of-another-region/llama/")), False, ""),
        (lambda: asked_hub(HubContentDocument=at(SEEN)), False, f"{SEEN[:-1]}, but this deployment reads "),
        (lambda: asked_hub(files=["config.json", "pytorch_model.bin"]), False, "/config.json, /pytorch_model.bin."),
        (lambda: asked_hub(files=["config.json", "sub/model.safetensors"]), False, "in one folder"),
        (lambda: asked_hub(CHAT, []), True, "it lists no files."),
        (lambda: asked_hub(files=WEIGHTS), False, ""),
        (lambda: asked_hub(SupportStatus="Deprecated"), False, f"calls Llama 2 7B {MODEL.hub_version} Deprecated"),
        (lambda: asked_hub(CHAT, [*BESIDE, "chat_template.jinja"]), True, ""),
        (lambda: asked_hub(CHAT, settings='{"chat_template": "{{ messages }}"}'), True, ""),
        (lambda: asked_hub(CHAT, settings="{}"), False, ""),
        (lambda: asked_hub(CHAT), True, "could not read"),
        (lambda: asked_hub(CHAT, BESIDE[:2], "{}"), True, "could not read"),
        (lambda: asked_hub(CHAT, settings="<html>"), True, "could not read"),
        (lambda: asked_hub(CHAT, settings="[]"), True, "could not read"),
    ],
)
def test_an_answer_of_the_hub_becomes_a_warning_or_nothing(found: Any, has_template: bool, warned: str) -> None:
    template, warnings = found()
    assert template is has_template
    assert (warned in warnings[0]) if warned else not warnings


@pytest.mark.parametrize(
    ("operation", "trouble", "named"),
    [
        ("describe_hub_content", EndpointConnectionError(endpoint_url="https://api"), "EndpointConnectionError"),
        ("create_hub_content_presigned_urls", refusal("ThrottlingException"), "ThrottlingException"),
    ],
)
def test_a_hub_that_does_not_answer_is_a_warning(operation: str, trouble: Exception, named: str) -> None:
    client = SageMaker()
    client.troubles[operation] = [trouble]
    template, (warning,) = weights.in_hub(client, CHAT)
    assert template is True and f"({named})" in warning


AWS = boto3.client("sagemaker", "us-east-1", aws_access_key_id="key", aws_secret_access_key="secret")
WHOLE = [{"LocalPath": f"/{name}", "Url": f"https://hub/{name}"} for name in BESIDE]


def parsed_by_botocore(described: str, *pages: str) -> tuple[bool, list[str]]:
    """What becomes of bodies that SageMaker sends, read by botocore's own client; tokenizer_config.json is `described` too."""
    bodies = iter((described, *pages))

    def answer(request: Any, **_: Any) -> AWSResponse:
        raw: Any = SimpleNamespace(stream=lambda *_, **__: iter([next(bodies).encode()]))
        return AWSResponse(request.url, 200, {}, raw)

    AWS.meta.events.register("before-send", answer, unique_id="answer")
    try:
        return weights.in_hub(AWS, CHAT, lambda url: described.encode())
    finally:
        AWS.meta.events.unregister("before-send", unique_id="answer")


@pytest.mark.parametrize(
    ("described", "page", "warned"),
    [
        *((body, {"AuthorizedUrlConfigs": WHOLE}, "in an unknown form") for body in ({}, {"HubContentDocument": None})),
        *(
            ({"HubContentDocument": text}, {"AuthorizedUrlConfigs": WHOLE}, "in an unknown form")
            for text in ("", "<html>", "[]", "null", "7", "[" * 100_000)
        ),
        ({"HubContentDocument": "{}", "SupportStatus": None}, {}, "it lists no files."),
        ({"HubContentDocument": "{}"}, {"AuthorizedUrlConfigs": None}, "it lists no files."),
        ({"HubContentDocument": "{}"}, {"AuthorizedUrlConfigs": [{}, {"LocalPath": "/a"}, {"Url": "b"}]}, "it lists no files."),
        ({"HubContentDocument": "{}"}, {"AuthorizedUrlConfigs": [{"LocalPath": 7, "Url": None}]}, "it lists no files."),
        ({"HubContentDocument": "{}"}, {"AuthorizedUrlConfigs": {"LocalPath": "/a"}}, "did not describe"),
        ([], {}, "did not describe"),
        ("not JSON", {}, "did not describe"),
    ],
)  # fmt: skip
def test_an_odd_answer_of_the_hub_is_a_warning(described: Any, page: Any, warned: str) -> None:
    _, warnings = parsed_by_botocore(json.dumps(described), json.dumps(page))
    assert warned in warnings[0]


def test_the_hubs_files_come_from_all_of_its_pages() -> None:
    pages = [{"AuthorizedUrlConfigs": [one], "NextToken": f"after {one}"} for one in WHOLE]
    del pages[-1]["NextToken"]
    found = parsed_by_botocore(
        '{"HubContentDocument": "{}", "chat_template": "{{ messages }}"}', *map(json.dumps, pages)
    )
    assert found == (True, [])


ANY_JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(("HubContentDocument", "SupportStatus", "NextToken"), ANY_JSON)),
    ANY_JSON,
)
def test_no_answer_of_the_hub_raises(described: Any, listed: Any) -> None:
    _, warnings = parsed_by_botocore(json.dumps(described), json.dumps({"AuthorizedUrlConfigs": listed}))
    assert warnings


@pytest.mark.parametrize("address", ["", "s3://gated/llama/config.json", "https://[half", "https://hub:port/"])
def test_an_odd_address_of_the_hub_is_an_os_error(address: str) -> None:
    with pytest.raises(OSError):
        weights.fetch(address)


@pytest.mark.parametrize(
    ("changed", "called"),
    [({}, 1), ({"accept_eula": False}, 0), ({"base_model": {**SETTINGS["base_model"], "hub_name": ""}}, 0)],
)
def test_the_hub_is_asked_once_the_licence_is_accepted(site: Site, changed: dict[str, Any], called: int) -> None:
    site.settings |= changed
    with suppress(EulaNotAccepted):
        site.run()
    assert len(site.sagemaker.called("describe_hub_content")) == called
