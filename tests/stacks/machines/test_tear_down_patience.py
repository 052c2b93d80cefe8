"""TearDown gives up nothing: how long it waits, how often it looks, and that a week of that fits into its history."""

from __future__ import annotations

import re
from typing import Any

from stacks.state_machine import load_definition
from tests.doubles.machines.stacks_bench import ROOT

DEFINITION = load_definition(ROOT / "stacks" / "tear_down.asl.yaml")
STATES = DEFINITION["States"]
WEEK = 7 * 86400
# AWS: an execution ends when its history has so many events.
LONGEST_HISTORY = 25_000


def pace(state: str) -> tuple[int, int, int]:
    """Until which pass, how long until then and how long after it a Wait takes."""
    found = re.fullmatch(r"\{% \$passes < (\d+) \? (\d+) : (\d+) %\}", STATES[state]["Seconds"])
    assert found
    return int(found[1]), int(found[2]), int(found[3])


def catches(state: str, error: str) -> dict[str, Any]:
    """The rule that meets an error: the first that names it, itself or by States.ALL."""
    return next(rule for rule in STATES[state]["Catch"] if {error, "States.ALL"} & set(rule["ErrorEquals"]))


def events(state: str) -> int:
    """How many events a state adds at most: it is entered and left, and each attempt is scheduled, begun and ended."""
    body = STATES[state]
    if body["Type"] != "Task":
        return 2
    answer: int = 2 + 3 * (1 + max(rule["MaxAttempts"] for rule in body["Retry"]))
    return answer


def waits_of_a_week() -> int:
    often, short, long = pace("WaitForRemoval")
    return often + (WEEK - often * short) // long + 1


def test_it_looks_every_half_minute_for_two_hours_and_every_quarter_of_an_hour_for_a_week() -> None:
    assert pace("WaitForRemoval") == pace("WaitForSettlement") == (240, 30, 900)
    assert DEFINITION["TimeoutSeconds"] == WEEK


def test_every_pass_is_counted_and_a_failed_one_too() -> None:
    assert STATES["Begin"]["Assign"]["passes"] == 0
    counted = "{% $passes + 1 %}"
    assert STATES["RemoveResources"]["Assign"]["passes"] == counted
    assert catches("RemoveResources", "States.Timeout")["Assign"]["passes"] == counted
    for error in ("StillRunning", "ServiceUnreachable"):
        assert catches("SettleLedger", error)["Assign"]["passes"] == counted


def test_whatever_removal_fails_with_another_pass_follows() -> None:
    rule = catches("RemoveResources", "States.Timeout")
    assert (rule["Next"], rule["Assign"]["quietPasses"]) == ("WaitForRemoval", 0)
    assert STATES["WaitForRemoval"]["Next"] == "RemoveResources"


def test_whatever_settlement_fails_with_it_is_tried_again_and_nothing_bills_meanwhile() -> None:
    rule = catches("SettleLedger", "ServiceUnreachable")
    assert (rule["Next"], STATES["LongUnsettled?"]["Default"]) == ("LongUnsettled?", "WaitForSettlement")
    assert STATES["WaitForSettlement"]["Next"] == "RemoveResources"
    assert "quietPasses" not in rule["Assign"], "one more quiet pass leads back to the settlement"


def test_what_came_into_being_after_two_quiet_passes_is_removed_and_two_more_have_to_follow() -> None:
    rule = catches("SettleLedger", "StillRunning")
    assert (rule["Next"], rule["Assign"]["quietPasses"]) == ("WaitForRemoval", 0)
    retry = next(rule for rule in STATES["SettleLedger"]["Retry"] if "StillRunning" in rule["ErrorEquals"])
    assert retry["MaxAttempts"] == 0


def test_a_person_is_told_once_that_the_books_wait_and_the_trouble_with_that_stops_nothing() -> None:
    (rule,) = STATES["LongUnsettled?"]["Choices"]
    assert (rule["Condition"], rule["Next"]) == ("{% $unsettled = 10 %}", "TellUnsettled")
    assert catches("SettleLedger", "ServiceUnreachable")["Assign"]["unsettled"] == "{% $unsettled + 1 %}"
    assert STATES["TellUnsettled"]["Next"] == catches("TellUnsettled", "States.ALL")["Next"] == "WaitForSettlement"


def test_only_an_input_that_names_no_run_ends_it_at_once() -> None:
    for state in ("RemoveResources", "SettleLedger"):
        assert catches(state, "InvalidInput")["Next"] == "NoSuchRun"
    failing = {name for name, body in STATES.items() if body["Type"] == "Fail"}
    assert failing == {"NoSuchRun"}


def test_a_week_of_trouble_fits_into_the_history_of_an_execution() -> None:
    removing = events("RemoveResources") + events("AllGone?") + events("WaitForRemoval")
    # Two quiet passes, then something still runs, again and again: the most that can come between two waits, on average.
    never_quiet_enough = (2 * removing + events("SettleLedger")) / 2
    settling = removing + events("SettleLedger") + events("LongUnsettled?")
    once = (
        events("TellUnsettled") + events("KeepEndpointForNow") + sum(map(events, ("DeleteSchedule", "PublishResult")))
    )
    assert waits_of_a_week() * max(removing, never_quiet_enough, settling) + once + 100 < LONGEST_HISTORY


def test_an_event_of_a_run_that_goes_on_is_looked_at_for_ten_minutes_and_then_left() -> None:
    conditions = {rule["Condition"]: rule["Next"] for rule in STATES["AllGone?"]["Choices"]}
    assert conditions == {
        "{% $keep %}": "KeepEndpointForNow",
        "{% $quietPasses >= 2 %}": "SettleLedger",
        "{% $runningPasses >= 20 %}": "RunGoesOn",
    }
    assert STATES["AllGone?"]["Default"] == "WaitForRemoval"
    assert STATES["RunGoesOn"]["Type"] == "Succeed"
    assert STATES["RemoveResources"]["Assign"]["runningPasses"] == (
        "{% $states.result.Payload.running ? $runningPasses + 1 : 0 %}"
    )
    assert 20 * pace("WaitForRemoval")[1] == 600


def test_what_was_seen_of_endpoints_goes_from_pass_to_pass_and_on_to_the_settlement() -> None:
    assert STATES["Begin"]["Assign"]["seen"] == {}
    assert STATES["RemoveResources"]["Assign"]["seen"] == "{% $states.result.Payload.seen %}"
    assert STATES["RemoveResources"]["Arguments"]["Payload"] == "{% $merge([$event, {'seen': $seen}]) %}"
    payload = STATES["SettleLedger"]["Arguments"]["Payload"]
    assert payload == "{% $merge([$event, {'runName': $removal.runName, 'seen': $seen}]) %}"
