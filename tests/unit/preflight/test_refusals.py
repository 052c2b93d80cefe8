"""A run that cannot start: refused by a named error with all that has to change, before anything is staged."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from common import errors
from common.errors import CaptuneError, DatasetRejected, ServiceUnreachable
from common.ledger.seal import sealed
from common.pricing.costs import looks_bound
from tests.doubles.lambda_fakes import TEAR_DOWN, refusal
from tests.doubles.preflight_site import KILL_SWITCH, SETTINGS, SWEEPER, Site, titled
from tests.doubles.texts import prose
from verification.simulation.faults import THROTTLED

Change = Callable[[Site], object]
MINE, SPOT = {"corpus": "corpora/mine.txt"}, {"spot": True}
KMS = "User: x is not authorized to perform: kms:Decrypt on this resource"
STARTS = "STARTS#2026-11"
DEAF = [("lambda", TEAR_DOWN), ("email", SWEEPER)]


def settings(**changes: Any) -> Change:
    return lambda site: site.settings.update(changes)


def quotas(training: float, endpoint: float) -> Change:
    return lambda site: site.quotas.applied.update({"L-2D6DEB3C": training, "L-9614C779": endpoint})


def cap(cents: int) -> Change:
    return lambda site: setattr(site, "cap_cents", cents)


def answering(service: str, operation: str, *codes: str, message: str = "refused") -> Change:
    return lambda site: getattr(site, service).troubles.update({operation: [refusal(code, message) for code in codes]})


def leaking(site: Site) -> None:
    site.data["medicalheldout.txt"] += b"\n\n" + prose(100, 100).encode()


def two_runs_of_two(site: Site) -> None:
    site.ledger.with_run("other")
    settings(training_instance_count=2)(site)
    quotas(3, 2)(site)


def accepted_loss(site: Site) -> None:
    site.sagemaker.jobs["captune-old"] = "Completed"
    settings(accept_lost_ledger="2026-11")(site)


def rule(name: str, state: str = "", target: str = "") -> Change:
    """A rule with another state and target; without any of both, one that does not exist."""
    return lambda site: site.events.rules.update({name: (state, target)}) if state else site.events.rules.pop(name)


# What is changed, the input, the error and a key word of its message.
REFUSED: list[tuple[Change, dict[str, Any], type[CaptuneError], str]] = [
    (rule("run-ended"), {}, errors.GuardrailMissing, "which starts TearDown when a run ends, does not exist"),
    (rule("run-ended", "DISABLED", TEAR_DOWN), {}, errors.GuardrailMissing, "is DISABLED"),
    (rule("run-ended", "ENABLED", SWEEPER), {}, errors.GuardrailMissing, "has lost its target"),
    (rule("sweep"), {}, errors.GuardrailMissing, "sweep, which starts the sweeper every quarter of an hour, does not"),
    (rule("sweep", "ENABLED", TEAR_DOWN), {}, errors.GuardrailMissing, "has lost its target"),
    (lambda site: site.sns.topics.update({KILL_SWITCH: DEAF}), {}, errors.GuardrailMissing, "has no subscriber"),
    (lambda site: site.sns.topics.clear(), {}, errors.GuardrailMissing, "has no subscriber"),
    (lambda site: None, MINE, DatasetRejected, "aws s3 cp FILE s3://bucket/corpora/mine.txt"),
    (lambda site: site.s3.sizes.update({"corpora/mine.txt": 5 * 2**30}), MINE, DatasetRejected, "captune sample"),
    (
        lambda site: site.upload("mine.txt", titled(36, 60, 100) * 2),
        MINE,
        errors.HeldOutLeaks,
        "so none can be held out. Remove the repeated text",
    ),
    (leaking, {}, errors.HeldOutLeaks, "data/medicalheldout.txt, line"),
    (settings(domain="law"), {}, DatasetRejected, "data/lawheldout.txt does not exist"),
    (answering("s3", "list_objects_v2", "NoSuchBucket"), {}, errors.WeightsNotFound, "Set region in cdk.json"),
    (lambda site: site.ecr.missing.add("1"), {}, errors.ImageNotFound, ":1 does not exist"),
    (lambda site: site.ecr.missing.add("2"), {}, errors.ImageNotFound, ":2 does not exist"),
    (answering("ecr", "batch_get_image", "RepositoryNotFoundException"), {}, errors.ImageNotFound, "training"),
    (settings(hosting_image="vllm/vllm:1"), {}, errors.ImageNotFound, "vllm/vllm:1 is not the address of an image"),
    (lambda site: site.quotas.applied.update({"L-CAEE7DB7": 0.0}), SPOT, errors.QuotaTooLow, "(code L-CAEE7DB7) is 0"),
    (two_runs_of_two, {}, errors.RunInFlight, "4 are needed"),
    (lambda site: site.sagemaker.endpoints.update({"captune-a": "Failed"}), {}, errors.LeftoversFound, "captune-a"),
    (lambda site: site.ledger.with_run("other", run="captune-abc"), {}, errors.RunNameTaken, "name captune-abc"),
    (lambda site: site.sagemaker.jobs.update({"captune-old": "Completed"}), {}, errors.LedgerLost, "captune-old"),
    (settings(hosting_instance_types=["ml.unheard.of"]), {}, errors.PriceUnknown, "ml.unheard.of"),
    # A smoke run may cost $3.56; 45 cents and two hundredths of the cap pay for what the project itself costs.
    (cap(406), {"smoke": True}, errors.BudgetExceeded, "$3.55 of the cap's $3.55 for runs is left"),
    (settings(checkpoint_minutes=0), SPOT, errors.SpotWithoutCheckpoints, "Set checkpoint_minutes in cdk.json to 10"),
    (answering("s3", "get_object", "AccessDenied", message=KMS), {}, errors.AssetUnreadable, "s3://assets/data.zip"),
]
DENIED = "AccessDeniedException"
WARNED: list[tuple[Change, str]] = [
    (answering("s3", "list_objects_v2", "AccessDenied"), "(AccessDenied). SageMaker reads"),
    (answering("quotas", "get_service_quota", DENIED), f"(code L-2D6DEB3C): 1 needed, AWS answered {DENIED}"),
    (answering("ecr", "batch_get_image", DENIED), f"exists ({DENIED})"),
    (lambda site: (site.ledger.with_run("other"), quotas(2, 2)(site)), "Other runs in flight"),
    (accepted_loss, "(captune-old). accept_lost_ledger gives 2026-11 its full cap"),
    (cap(450), "The remaining budget shortens this run"),
    (settings(base_model={**SETTINGS["base_model"], "served_tokens": 100}), "may be too long"),
]


@pytest.mark.parametrize(("change", "given", "kind", "words"), REFUSED)
def test_run_is_rejected_by_name(site: Site, change: Change, given: Any, kind: type[CaptuneError], words: str) -> None:
    change(site)
    assert words in site.refusal(kind, given)


@pytest.mark.parametrize(("change", "words"), WARNED)
def test_run_starts_with_a_warning(site: Site, change: Change, words: str) -> None:
    change(site)
    assert any(words in warning for warning in site.run()["warnings"])


def test_all_faults_are_reported_in_one_attempt_under_the_first_name(site: Site) -> None:
    site.settings["accept_eula"], site.cap_cents = False, 50
    site.s3.objects.clear()
    site.data |= {"medicaldataset.txt": b"too short", "medicalprompts.jsonl": b"[]"}
    site.data["medicalheldout.txt"] += b"\nDOB: 03/05/1961"
    quotas(0, 0)(site)
    site.sagemaker.endpoints["captune-lost"] = "InService"
    message = site.refusal(errors.InvalidInput, {"epochs": 0})
    assert message.startswith("Fix 9 problems, then start a new execution. (1) ")
    kinds = re.findall(r"\(\d\) (\w+): ", message)
    assert kinds[:5] == ["InvalidInput", "EulaNotAccepted", "WeightsNotFound", "PromptsRejected", "DatasetRejected"]
    assert kinds[5:] == ["PatientDataSuspected", "LeftoversFound", "QuotaTooLow", "BudgetExceeded"]


@pytest.mark.parametrize(
    "change",
    [
        answering("s3", "get_object", "SlowDown"),
        lambda site: setattr(site.ledger.table, "trouble", {"Scan": THROTTLED}.get),
        # A ledger that cannot count starts starts nothing.
        lambda site: setattr(site.ledger.table, "trouble", {"TransactWriteItems": THROTTLED}.get),
    ],
    ids=["S3", "ledger", "count of starts"],
)
def test_trouble_of_aws_is_an_error_that_is_retried(site: Site, change: Change) -> None:
    change(site)
    site.refusal(ServiceUnreachable, {"epochs": 0})


@pytest.mark.parametrize("versions", [("v1", "v2"), (None, "v2"), ("", "")])
def test_execution_of_another_deployment_is_rejected_at_once(site: Site, versions: tuple[Any, str]) -> None:
    site.version, site.deployed_version = versions
    site.settings = {"of": "another form"}
    assert "until the deployment ends" in site.refusal(errors.DeployInProgress)


def test_starts_are_bounded_before_anything_else_is_read(site: Site) -> None:
    # Every execution that is checked costs a little that no reservation covers.
    most = looks_bound(site.cap_cents)
    site.ledger.table.rows[STARTS] = {**sealed({"pk": STARTS, "starts": most - 2})}
    site.run()
    site.refusal(errors.InvalidInput, {"epoch": 1})
    assert site.ledger.table.rows[STARTS]["starts"] == {"N": str(most)}
    calls = len(site.sagemaker.calls), len(site.s3.calls)
    message = site.refusal(errors.TooManyStarts, {"epoch": 1})
    assert "84 executions started in 2026-11" in message and "until 2026-12-01" in message
    assert (len(site.sagemaker.calls), len(site.s3.calls)) == calls
