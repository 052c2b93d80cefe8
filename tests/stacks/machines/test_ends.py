"""Each end of both machines has a contract, which the simulated account checks."""

import pytest

from verification.simulation import rows
from verification.simulation.definitions import MACHINES, Definition, edited, machine
from verification.simulation.ends import ENDS, broken

REPORTED = dict.fromkeys(("run", "verdict", "reason", "report", "reportConsole", "summary"), "told")


@pytest.mark.parametrize("name", MACHINES)
def test_each_way_to_a_succeed_state_has_a_contract(name: str) -> None:
    states = machine(name)["States"]
    ends = {state for state, body in states.items() if body["Type"] == "Succeed"}

    def leads_to(body: Definition) -> set[str]:
        return {one.get("Next", "") for one in (body, *body.get("Choices", []), *body.get("Catch", []))}

    assert ENDS[name].keys() == {state for state, body in states.items() if ends & leads_to(body)}


@pytest.mark.parametrize(
    "output",
    [REPORTED, {**REPORTED, "reservedCents": "5"}, {**REPORTED, "reservedCents": 5, "more": ""}, {}, None],
    ids=["missing", "of another type", "unexpected", "empty", "none"],
)
def test_a_field_that_differs_from_the_contract_is_named(output: object) -> None:
    assert broken("fine_tuning", ["WriteReport", "Done"], {**REPORTED, "reservedCents": 5}) == []

    assert all("Reported differs in " in words for words in broken("fine_tuning", ["WriteReport", "Done"], output))
    assert broken("fine_tuning", ["WriteReport", "Done"], output)


def test_the_simulated_account_notices_a_report_without_output() -> None:
    with edited("fine_tuning", lambda definition: definition["States"]["Done"].update(Output={}))():
        wrong = rows.check(rows.table()["PublishResult x refused"])

    assert any("fine_tuning ends after WriteReport" in words for words in wrong)
