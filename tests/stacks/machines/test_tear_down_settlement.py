"""TearDown once everything is gone: the books, however long they take, the report, the schedule and the message."""

from __future__ import annotations

import json

import pytest

from rehearsal.step_functions.walk import Failure
from tests.doubles.machines.tear_down_run import DAY, EVENT, RUN, SETTLED, account, looked, run

SILENT = Failure("LedgerUnreachable", "The ledger does not answer.")
STILL = Failure("StillRunning", "Endpoint captune-one still runs.")
FINISHED = {"subject": "Captune: improved", "message": "All of it.", "verdict": "improved"}


class TestTheBooks:
    def test_are_settled_once_everything_is_gone_with_what_the_looks_have_seen(self) -> None:
        lives = {"1": {"createdAt": "12:00", "goneAt": "12:10"}}
        execution = run(account().script("${TearDownFunctionArn}", looked(seen=lives)))
        assert execution.asked("SettleLedger") == [{**EVENT, "runName": RUN, "seen": lives}]
        assert execution.states.index("SettleLedger") < execution.states.index("DeleteSchedule")
        assert execution.calls[2].operation == "${SettleFunctionArn}"

    def test_that_find_something_running_send_the_run_back_to_two_new_quiet_looks(self) -> None:
        execution = run(account().fail("SettleLedger", STILL))
        kinds = [name for name in execution.states if name in ("RemoveResources", "SettleLedger", "WaitForRemoval")]
        look = ["WaitForRemoval", "RemoveResources"]
        assert kinds == ["RemoveResources", *look, "SettleLedger", *look, *look, "SettleLedger"]
        # Asked again only after the new looks: a call in place would find the same.
        assert execution.pauses("SettleLedger") == [60]

    def test_that_find_something_running_again_and_again_are_asked_less_often(self) -> None:
        execution = run(account().fail("SettleLedger", *100 * [STILL]), most_steps=1000)
        assert execution.status == "SUCCEEDED"
        pauses = execution.pauses("SettleLedger")
        assert (pauses[:3], pauses[-3:]) == ([60, 60, 60], [1800, 1800, 1800])
        # A round counts as three passes, two looks and the books, and the 240 passes of half a minute are over after 79.
        assert pauses.index(1800) == 79

    def test_that_do_not_answer_are_asked_once_more_and_then_after_each_new_look(self) -> None:
        execution = run(account().fail("SettleLedger", *7 * [SILENT]))
        assert execution.pauses("SettleLedger") == [10, 30, 10, 30, 10, 30, 10]
        assert execution.states.count("RemoveResources") == 2 + 3
        assert (execution.status, execution.output["actualCents"]) == ("SUCCEEDED", 123)

    @pytest.mark.parametrize(
        "error", ["LedgerUnreachable", "States.Timeout", "Lambda.ServiceException", "States.Runtime"]
    )
    def test_that_do_not_answer_for_a_day_are_settled_all_the_same(self, error: str) -> None:
        # A round is a look and the books with their second attempt, ten seconds later.
        quick, slow = 119, (DAY - 119 * 40) // 910
        execution = run(account().fail("SettleLedger", *2 * (quick + slow) * [Failure(error)]), most_steps=1500)
        assert execution.status == "SUCCEEDED"
        assert execution.seconds == pytest.approx(DAY, rel=0.02)
        assert execution.pauses("SettleLedger") == quick * [10, 30] + slow * [10, 900]


class TestAPersonIsTold:
    def test_once_and_only_when_it_has_lasted_for_minutes_that_the_books_are_silent(self) -> None:
        assert run(account().fail("SettleLedger", *18 * [SILENT])).asked("TellUnsettled") == []
        execution = run(account().fail("SettleLedger", *80 * [SILENT]))
        (told,) = execution.asked("TellUnsettled")
        assert told == {
            "TopicArn": "${ResultTopicArn}",
            "Subject": f"Captune: not settled yet ({RUN})",
            "Message": f"Everything of run {RUN} that bills has been removed, but its cost could not be settled yet, so its "
            "reservation still counts. TearDown keeps trying for a week. What it met last: LedgerUnreachable: The ledger does "
            "not answer.",
        }
        assert execution.calls[31].state == "TellUnsettled"

    def test_in_words_that_sns_takes_however_long_name_and_cause_are(self) -> None:
        long = Failure("LedgerUnreachable", 3000 * "x")
        scripts = account().script("${TearDownFunctionArn}", looked(runName="captune-" + 90 * "y"))
        (told,) = run(scripts.fail("SettleLedger", *80 * [long])).asked("TellUnsettled")
        assert (len(told["Subject"]), told["Subject"][-2:]) == (99, "y)")
        assert told["Message"].endswith("LedgerUnreachable: " + 2000 * "x")

    @pytest.mark.parametrize("error", ["Sns.SnsException", "States.Timeout", "States.Runtime"])
    def test_or_not_and_the_books_are_asked_again_all_the_same(self, error: str) -> None:
        scripts = account().fail("SettleLedger", *20 * [SILENT]).fail("TellUnsettled", Failure(error), for_ever=True)
        execution = run(scripts)
        assert execution.status == "SUCCEEDED"
        assert execution.states.count("SettleLedger") == 11
        assert execution.states[execution.states.index("TellUnsettled") + 1] == "WaitForSettlement"


class TestTheReport:
    def test_is_finished_with_what_was_settled_and_its_verdict_is_the_messages(self) -> None:
        execution = run(account().script("${FinishFunctionArn}", {**FINISHED, "message": "All of it."}))
        assert execution.asked("FinishReport") == [SETTLED["record"]]
        assert execution.asked("PublishResult")[0]["Message"] == "All of it."
        assert execution.asked("PublishResult")[0]["Subject"] == "Captune: improved"
        assert execution.output == {**SETTLED["result"], "verdict": "improved"}

    @pytest.mark.parametrize("error", ["ReportDamaged", "Runtime.ExitError", "States.Timeout", "States.Runtime"])
    def test_that_cannot_be_finished_keeps_neither_schedule_nor_message(self, error: str) -> None:
        cause = json.dumps({"errorMessage": "plan.json is no JSON", "errorType": error})
        execution = run(account().fail("FinishReport", Failure(error, cause), for_ever=True))
        assert execution.status == "SUCCEEDED"
        (message,) = execution.asked("PublishResult")
        assert message["Subject"] == SETTLED["subject"]
        assert message["Message"] == (
            f"{SETTLED['message']}\n\nThe report could not be finished: {error}, plan.json is no JSON. The cost above is final."
        )
        assert execution.output == SETTLED["result"]
        assert len(execution.asked("DeleteSchedule")) == 1

    def test_that_cannot_be_finished_is_explained_with_all_its_words_those_in_quotes_included(self) -> None:
        for words in ('No "plan" at "s3://bucket/plan.json" today', 'It ended with "'):
            cause = json.dumps({"errorMessage": words, "errorType": "ReportDamaged"})
            scripts = account().fail("FinishReport", Failure("ReportDamaged", cause), for_ever=True)
            assert f"ReportDamaged, {words}. The cost above" in run(scripts).asked("PublishResult")[0]["Message"]

    def test_that_cannot_be_finished_is_explained_by_any_cause(self) -> None:
        scripts = account().fail("FinishReport", Failure("States.Timeout", "y" + 600 * "x"), for_ever=True)
        message = run(scripts).asked("PublishResult")[0]["Message"]
        assert f"finished: States.Timeout, y{499 * 'x'}. The cost above" in message

    def test_that_is_damaged_is_not_tried_again_and_any_other_failure_is(self) -> None:
        assert (
            len(run(account().fail("FinishReport", Failure("ReportDamaged"), for_ever=True)).asked("FinishReport")) == 1
        )
        for error in ("Lambda.ServiceException", "States.Timeout"):
            execution = run(account().fail("FinishReport", *4 * [Failure(error)]))
            assert execution.pauses("FinishReport") == [5, 12.5, 31.25, 60]
            assert execution.asked("PublishResult")[0]["Message"] == FINISHED["message"]


class TestTheSchedule:
    def test_goes_last_when_nothing_is_left_for_it_to_do(self) -> None:
        execution = run()
        assert execution.asked("DeleteSchedule") == [{"Name": RUN}]
        calls = [call.state for call in execution.calls]
        assert calls.index("SettleLedger") < calls.index("DeleteSchedule") < calls.index("PublishResult")

    def test_that_is_gone_already_is_not_asked_for_again(self) -> None:
        gone = Failure("Scheduler.ResourceNotFoundException")
        execution = run(account().fail("DeleteSchedule", gone, for_ever=True))
        assert (execution.status, len(execution.asked("DeleteSchedule"))) == ("SUCCEEDED", 1)
        assert execution.states == run().states

    @pytest.mark.parametrize("error", ["Scheduler.SchedulerException", "States.Timeout"])
    def test_that_cannot_be_deleted_will_start_a_tear_down_that_finds_nothing(self, error: str) -> None:
        execution = run(account().fail("DeleteSchedule", Failure(error), for_ever=True))
        assert execution.pauses("DeleteSchedule") == [5, 12.5, 31.25, 60]
        assert execution.states == run().states


class TestTheMessage:
    def test_is_the_settlements_and_goes_to_the_result_topic(self) -> None:
        assert run().asked("PublishResult") == [
            {"TopicArn": "${ResultTopicArn}", "Subject": FINISHED["subject"], "Message": FINISHED["message"]}
        ]

    @pytest.mark.parametrize("error", ["Sns.SnsException", "States.Timeout"])
    def test_that_is_lost_does_not_look_like_a_failed_tear_down(self, error: str) -> None:
        execution = run(account().fail("PublishResult", Failure(error), for_ever=True))
        assert execution.pauses("PublishResult") == [5, 12.5, 31.25, 60]
        assert (execution.status, execution.states[-1]) == ("SUCCEEDED", "Done")
        assert execution.output == run().output
