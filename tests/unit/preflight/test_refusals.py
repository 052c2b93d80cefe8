"""Preflight of a run that cannot start: refused by name, with everything there is to mend, and nothing staged."""

from __future__ import annotations

import pytest

from common.errors import (
    BudgetExceeded,
    CaptuneError,
    DatasetRejected,
    DeployInProgress,
    EulaNotAccepted,
    HeldOutLeaks,
    InvalidInput,
    LeftoversFound,
    PatientDataSuspected,
    PriceUnknown,
    PromptsRejected,
    QuotaTooLow,
    RunInFlight,
    RunNameTaken,
    ServiceUnreachable,
    TooManyStarts,
    WeightsNotFound,
)
from common.names import run_name
from common.pricing.costs import looks_bound
from tests.doubles.lambda_fakes import refusal
from tests.doubles.preflight_site import Site, titled
from tests.doubles.run_settings import SETTINGS
from tests.doubles.texts.made_up_prose import prose


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(monkeypatch)


def test_a_corpus_that_is_missing_is_refused_with_the_command_to_upload_it(site: Site) -> None:
    message = site.refusal(DatasetRejected, {"corpus": "corpora/mine.txt"})
    assert "aws s3 cp FILE s3://bucket/corpora/mine.txt" in message


def test_a_corpus_of_five_gigabytes_is_refused_by_its_size_alone(site: Site) -> None:
    site.s3.sizes["corpora/mine.txt"] = 5 * 2**30
    assert "has 5,120.0 MiB; at most 1,024 MiB" in site.refusal(DatasetRejected, {"corpus": "corpora/mine.txt"})


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"", DatasetRejected), (b"\x00\x01", DatasetRejected), ("é".encode("latin-1") * 9000, DatasetRejected),
     (prose(200).encode(), DatasetRejected), (b"the same line again and again\n" * 500, DatasetRejected),
     (prose(2000).encode() + b"\nMRN: 12345678", PatientDataSuspected)],
    ids=["empty", "binary", "not UTF-8", "too short", "one line repeated", "data of patients"],
)  # fmt: skip
def test_a_corpus_that_cannot_be_learned_from_is_refused_by_name(
    site: Site, content: bytes, kind: type[CaptuneError]
) -> None:
    site.upload("mine.txt", content)
    assert "corpora/mine.txt" in site.refusal(kind, {"corpus": "corpora/mine.txt"})


def test_a_corpus_that_says_everything_twice_is_refused(site: Site) -> None:
    site.upload("mine.txt", titled(36, 60, 100) + b"\n\n" + titled(36, 60, 100))
    message = site.refusal(HeldOutLeaks, {"corpus": "corpora/mine.txt"})
    assert "Every part of corpora/mine.txt that was to be held out stands in another part as well" in message


def test_held_out_text_that_the_corpus_holds_is_refused(site: Site) -> None:
    site.data["medicalheldout.txt"] += b"\n\n" + prose(100, 100).encode()
    assert "data/medicalheldout.txt, line" in site.refusal(HeldOutLeaks)


def test_a_domain_without_files_is_refused_for_each_of_them(site: Site) -> None:
    site.settings["domain"] = "law"
    message = site.refusal(DatasetRejected)
    assert all(f"data/law{name} does not exist" in message for name in ("dataset.txt", "heldout.txt", "prompts.jsonl"))


def test_prompts_that_are_no_prompts_are_refused(site: Site) -> None:
    site.upload("p.jsonl", b"What is a gene?")
    assert "corpora/p.jsonl: line 1 is not JSON" in site.refusal(PromptsRejected, {"prompts": "corpora/p.jsonl"})


def test_the_licence_has_to_be_accepted_where_the_model_has_one(site: Site) -> None:
    site.settings["accept_eula"] = False
    assert "llamaEula.txt, then set accept_eula to true" in site.refusal(EulaNotAccepted)
    site.settings["base_model"] = {**SETTINGS["base_model"], "requires_eula": False}
    assert site.run()["acceptEula"] is False


def test_weights_that_are_not_there_are_refused_and_a_closed_bucket_only_warned_of(site: Site) -> None:
    del site.s3.objects["gated", "llama/config.json"]
    assert "The weights of Llama 2 7B were not found" in site.refusal(WeightsNotFound)
    site.s3.troubles["list_objects_v2"] = [refusal("AccessDenied")]
    assert "could not be listed (AccessDenied)" in site.run()["warnings"][0]


def test_a_quota_of_zero_is_refused_with_its_code_and_the_way_to_ask_for_more(site: Site) -> None:
    site.quotas.applied = {"L-2D6DEB3C": 1.0, "L-9614C779": 0.0}
    message = site.refusal(QuotaTooLow)
    assert "(code L-9614C779) is 0 and 1 is needed. Ask for more in the console under Service Quotas" in message


def test_quotas_that_cannot_be_read_are_a_warning(site: Site) -> None:
    site.quotas.troubles["get_service_quota"] = [refusal("AccessDeniedException")] * 2
    (warning,) = site.run()["warnings"]
    assert warning.startswith(
        'Quotas that could not be read: "ml.g5.2xlarge for training job usage" (code L-2D6DEB3C): 1 needed, AWS answered AccessDeniedException; '
        '"ml.g5.2xlarge for endpoint usage" (code L-9614C779): 1 needed, AWS answered AccessDeniedException. The run goes on without knowing. '
        "Look them up now, at https://us-east-1.console.aws.amazon.com/servicequotas/home/services/sagemaker/quotas: "
    )
    assert "stop this execution" in warning


def test_a_second_run_needs_a_second_instance(site: Site) -> None:
    site.ledger.with_run("other")
    assert "in flight (captune-other), and there is no instance for two" in site.refusal(RunInFlight)
    site.quotas.applied = {"L-2D6DEB3C": 2.0, "L-9614C779": 2.0}
    assert "Other runs are in flight" in site.run()["warnings"][0]


def test_leftovers_of_an_earlier_run_are_refused_with_the_way_to_remove_them(site: Site) -> None:
    site.sagemaker.endpoints["captune-lost"] = "InService"
    message = site.refusal(LeftoversFound)
    assert "An earlier run left endpoint captune-lost" in message
    assert '{"runName": "captune-…"}' in message


@pytest.mark.parametrize("name", ["___", "again-try2", "My.Run"])
def test_any_execution_name_makes_a_run(site: Site, name: str) -> None:
    assert site.run(name=name)["runName"] == run_name(name)


def test_a_name_that_another_run_has_is_refused_before_anything_of_it_is_overwritten(site: Site) -> None:
    site.ledger.with_run("a-bc").settled("captune-a-bc")
    site.refusal(RunNameTaken, name="a-bc")


def test_names_that_differ_in_case_or_in_a_replaced_character_are_runs_of_their_own(site: Site) -> None:
    site.quotas.applied = {"L-2D6DEB3C": 2.0, "L-9614C779": 2.0}
    site.ledger.with_run("my-run")
    assert (
        len({site.run(name=name)["runName"].lower() for name in ("my.run", "My-Run", "my_run")} - {"captune-my-run"})
        == 3
    )


def test_an_instance_type_without_a_price_is_refused(site: Site) -> None:
    site.settings["hosting_instance_types"] = ["ml.g5.2xlarge", "ml.unheard.of"]
    assert "No price is known for ml.unheard.of" in site.refusal(PriceUnknown)


def test_a_run_that_does_not_fit_into_the_month_is_refused_and_one_that_nearly_does_is_clamped(site: Site) -> None:
    site.cap_cents = 100
    assert "is missing" in site.refusal(BudgetExceeded)
    site.cap_cents = 400
    plan = site.run()
    assert plan["budget"]["clamped"] is True
    assert plan["budget"]["worstCaseCents"] <= 400
    assert plan["training"]["maxRuntimeSeconds"] < 7200
    assert any("the month's cap shortened this run" in warning for warning in plan["warnings"])


def test_all_faults_are_told_in_one_attempt_under_the_name_of_the_first(site: Site) -> None:
    site.settings["accept_eula"] = False
    site.data["medicaldataset.txt"] = b"too short"
    site.data["medicalheldout.txt"] += b"\nDOB: 03/05/1961"
    site.data["medicalprompts.jsonl"] = b"[]"
    site.quotas.applied = {"L-2D6DEB3C": 0.0, "L-9614C779": 0.0}
    site.sagemaker.endpoints["captune-lost"] = "InService"
    del site.s3.objects["gated", "llama/config.json"]
    site.cap_cents = 50
    message = site.refusal(InvalidInput, {"epochs": 0})
    assert message.startswith("9 things to mend before this run can start. (1) InvalidInput: ")
    kinds = [
        EulaNotAccepted,
        WeightsNotFound,
        PromptsRejected,
        DatasetRejected,
        PatientDataSuspected,
        LeftoversFound,
        QuotaTooLow,
        BudgetExceeded,
    ]
    assert all(f"({number}) {kind.__name__}: " in message for number, kind in enumerate(kinds, 2))


def test_trouble_of_aws_is_no_fault_to_mend_but_the_error_that_is_tried_again(site: Site) -> None:
    site.settings["accept_eula"] = False
    site.sagemaker.troubles["list_endpoints"] = [refusal("ThrottlingException")]
    assert "ThrottlingException" in site.refusal(ServiceUnreachable)
    reads = iter(["fine", "throttled"])
    site.ledger.table.trouble = lambda operation: next(reads, "throttled") if operation == "GetItem" else None
    assert "The ledger did not answer" in site.refusal(ServiceUnreachable)


@pytest.mark.parametrize(
    ("of_the_definition", "of_preflight"), [("v1", "v2"), (None, "v2"), ("", ""), ("v1", "")],
    ids=["another", "a definition without one", "none at all", "a function whose variables are not there yet"],
)  # fmt: skip
def test_an_execution_of_another_deployment_is_refused_before_its_settings_are_read(
    site: Site, of_the_definition: str, of_preflight: str
) -> None:
    site.version, site.deployed_version = of_the_definition, of_preflight
    site.settings = {"of": "another form"}
    assert "Wait until the deployment has ended" in site.refusal(DeployInProgress)


class TestALoopOfStarts:
    """Every execution that is looked at costs a little that no reservation covers."""

    def test_refused_starts_are_bounded_before_anything_else_is_asked(self, site: Site) -> None:
        row = {"pk": {"S": "STARTS#2026-11"}, "starts": {"N": str(looks_bound(site.cap_cents) - 1)}}
        site.ledger.table.rows["STARTS#2026-11"] = row
        site.refusal(InvalidInput, {"epoch": 1})
        asked = len(site.sagemaker.calls), len(site.s3.calls)

        message = site.refusal(TooManyStarts, {"epoch": 1})
        assert "84 executions were looked at in 2026-11" in message
        assert "on 2026-12-01" in message
        assert (len(site.sagemaker.calls), len(site.s3.calls)) == asked

    def test_a_look_that_is_repeated_costs_again_and_counts_again(self, site: Site) -> None:
        site.run()
        site.run()
        assert site.ledger.table.rows["STARTS#2026-11"]["starts"] == {"N": "2"}

    def test_a_ledger_that_cannot_count_starts_nothing(self, site: Site) -> None:
        site.ledger.table.trouble = lambda operation: "throttled" if operation == "UpdateItem" else None
        site.refusal(ServiceUnreachable)


def test_what_the_project_itself_costs_is_not_planned_for_a_run(site: Site) -> None:
    # A smoke run may cost $3.04; 45 cents and two hundredths of the cap are not for runs.
    site.cap_cents = 356
    assert site.run({"smoke": True})["budget"]["worstCaseCents"] == 304
    site.cap_cents = 355
    message = site.refusal(BudgetExceeded, {"smoke": True})
    assert "$3.03 of the cap's $3.03 for runs is left" in message
    assert "at least 4 and deploy" in message
