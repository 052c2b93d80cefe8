"""Every alarm of the deployed template goes off in the rehearsal when what it watches for happens, and none without a cause."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rehearsal import alarms as program
from rehearsal.account.assembly import Assembly
from rehearsal.account.cloud import Cloud
from rehearsal.alarm_causes import CAUSES, begin, sound_run, sweep, told
from rehearsal.aws_lambda.fork_server import ForkServer
from rehearsal.cloudwatch.watch import Watch
from rehearsal.conductor.display import Display
from rehearsal.conductor.results import show_alarms
from rehearsal.sagemaker.fake import FakeHosting, FakeTraining

# What a cause sets off besides its own alarm.
ALSO = {"captune-sweeps-given-up": {"captune-sweeper-failed"}}


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory, assembly: Path, fork_server: ForkServer) -> Iterator[Cloud]:
    """The deployed account of this module; `begin` empties it."""
    folder = tmp_path_factory.mktemp("account")
    with Cloud(
        folder, training=FakeTraining(), hosting=FakeHosting(), time_scale=5000, fork_server=fork_server
    ) as cloud:
        cloud.deploy(Assembly(assembly))
        yield cloud


def alarms(cloud: Cloud) -> dict[str, dict[str, Any]]:
    found = cloud.client("cloudwatch").describe_alarms()["MetricAlarms"]
    return {alarm["AlarmName"]: alarm for alarm in found}


@pytest.mark.parametrize("name", CAUSES)
def test_each_alarm_goes_off_and_reaches_the_warnings_topic(account: Cloud, name: str) -> None:
    watch = begin(account)

    CAUSES[name](account)

    assert set(watch.look()) == {name} | ALSO.get(name, set())
    assert {message["AlarmName"] for _, message in told(account)} == {name} | ALSO.get(name, set())


def test_every_alarm_of_the_template_has_a_cause_here(account: Cloud) -> None:
    assert set(alarms(account)) == set(CAUSES)


def test_no_alarm_goes_off_in_a_run_that_goes_well(account: Cloud) -> None:
    watch = begin(account)

    sound_run(account)

    assert watch.look() == []
    account.clock.advance(minutes=15)
    sweep(account)
    assert watch.look() == []
    assert {alarm["StateValue"] for alarm in alarms(account).values()} == {"OK"}


def test_the_message_has_cloudwatchs_form_and_the_templates_text(account: Cloud) -> None:
    watch = begin(account)
    account.clock.advance(hours=1)
    watch.look()

    ((subject, message),) = told(account)

    assert set(message) >= {"AlarmName"}, "by which the owner's subscription tells it from the budget's prose"
    assert subject == 'ALARM: "captune-sweeper-silent" in US East (N. Virginia)'
    assert (message["OldStateValue"], message["NewStateValue"]) == ("OK", "ALARM")
    assert "3 missing datapoints were treated as [Breaching]" in message["NewStateReason"]
    assert message["AlarmDescription"] == alarms(account)["captune-sweeper-silent"]["AlarmDescription"]
    assert message["Trigger"]["MetricName"] == "Invocations"


def test_an_alarm_tells_once_until_it_has_ended(account: Cloud) -> None:
    watch = begin(account)
    account.clock.advance(hours=1)
    assert watch.look() == ["captune-sweeper-silent"]
    assert watch.look() == []

    sweep(account)
    assert watch.look() == []
    assert alarms(account)["captune-sweeper-silent"]["StateValue"] == "OK"

    account.clock.advance(hours=1)
    assert watch.look() == ["captune-sweeper-silent"]


def test_one_late_sweep_is_no_silence(account: Cloud) -> None:
    watch = begin(account)
    account.clock.advance(minutes=40)
    assert watch.look() == []


def test_a_message_in_a_dead_letter_queue_is_the_event_that_was_lost(account: Cloud) -> None:
    begin(account)
    CAUSES["captune-events-undelivered"](account)

    sqs = account.client("sqs")
    (address,) = [url for url in sqs.list_queues()["QueueUrls"] if "Undelivered" in url]
    (message,) = sqs.receive_message(QueueUrl=address, MessageAttributeNames=["All"])["Messages"]
    assert json.loads(message["Body"])["reason"] == "event"
    assert "AccessDenied" in message["MessageAttributes"]["ERROR_MESSAGE"]["StringValue"]


def test_a_metric_is_what_a_lambda_wrote_in_whole_lines(account: Cloud) -> None:
    """The embedded metric format, in the middle of other lines and of one that is still being written."""
    watch = begin(account)
    log = account.functions.folder / "logs" / "Another.log"
    directive = {
        "Namespace": "Captune",
        "Dimensions": [[]],
        "Metrics": [{"Name": "DamagedLedgerItems", "Unit": "None"}],
    }
    line = json.dumps({"_aws": {"Timestamp": 0, "CloudWatchMetrics": [directive]}, "DamagedLedgerItems": 2})
    log.write_text(f"plain text\n{line[:40]}")
    try:
        assert watch.look() == []
        log.write_text(f"plain text\n{line}\n")
        assert watch.look() == ["captune-ledger-damaged"]
        ((_, message),) = told(account)
        assert "1 datapoint [2.0] was greater than the threshold (0.0)" in message["NewStateReason"]
    finally:
        log.unlink()


def test_a_silent_sweeper_leaves_the_alarms_of_its_own_metrics_as_they_were(account: Cloud) -> None:
    watch = begin(account)
    client = account.client("cloudwatch")
    client.set_alarm_state(AlarmName="captune-endpoint-too-old", StateValue="ALARM", StateReason="seen an hour ago")
    account.clock.advance(hours=1)

    assert watch.look() == ["captune-sweeper-silent"]
    assert alarms(account)["captune-endpoint-too-old"]["StateValue"] == "ALARM"


def test_an_account_that_is_emptied_is_out_of_alarm(account: Cloud) -> None:
    watch = begin(account)
    account.clock.advance(hours=1)
    watch.look()

    begin(account)

    assert {alarm["StateValue"] for alarm in alarms(account).values()} == {"OK"}
    assert told(account) == []


def test_a_rehearsal_shows_the_alarm_that_is_on_at_its_end_and_does_not_end_well(account: Cloud) -> None:
    watch, said = begin(account), io.StringIO()
    account.sagemaker.faults.add(operation="ListTrainingJobs", error="AccessDeniedException", status=400)

    good = show_alarms(Display(console=Console(file=said, width=200, soft_wrap=True)), account, watch)

    assert not good
    assert '✗ ALARM: "captune-sweeper-failed" in US East (N. Virginia)' in said.getvalue()
    assert "Read the sweeper's log" in said.getvalue()


@pytest.mark.parametrize(("silent", "code"), [(False, 0), (True, 1)])
def test_make_alarms_prints_each_message_and_ends_with_1_where_one_stays_silent(
    account: Cloud, monkeypatch: pytest.MonkeyPatch, silent: bool, code: int
) -> None:
    name, said = "captune-sweeper-silent", io.StringIO()
    monkeypatch.setattr(program, "CAUSES", {name: (lambda cloud: None) if silent else CAUSES[name]})
    monkeypatch.setattr(Watch, "count", lambda self: 1)

    assert program.show(account, Display(console=Console(file=said, width=200, soft_wrap=True))) == code

    assert "none of 1 alarms went off" in said.getvalue()
    assert ("stayed silent" in said.getvalue()) == silent
    assert ('ALARM: "captune-sweeper-silent" in US East' in said.getvalue()) != silent
    assert f"{1 - silent} of 1 alarms went off and reached the warnings topic" in said.getvalue()
