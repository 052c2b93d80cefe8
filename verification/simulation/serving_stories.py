"""Stories of a run that only serves: its endpoint is kept for longer, ended early, or meets trouble while a person does either.

Each is a sentence with one right ending, and answers what was broken.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from captune import serving
from common.clock import from_iso, month_of
from common.errors import CaptuneError
from common.ledger import keys
from common.pricing import costs
from verification.simulation import runs
from verification.simulation.account import BUCKET, MACHINE, TEAR_DOWN, Account, calm
from verification.simulation.lambdas import installed
from verification.simulation.ledger_stories import before_a_write, reservation
from verification.simulation.parameters import RunParameters
from verification.simulation.rows import left, money
from verification.simulation.services.dynamodb import number
from verification.simulation.world import Execution

RUN = "captune-kept"
KEPT = RunParameters(serves=True, keep_seconds=1200, endpoints=("in service",))


def _kept(cents_left: int = 0) -> tuple[Account, Execution]:
    """A run whose endpoint is kept, in an account that has nothing else, or so many cents left for it."""
    account = calm(whole=True)
    if cents_left:
        moment = account.world.now
        gone = costs.for_runs(account.world.cap_cents) - cents_left
        with installed():
            account.ledger().reserve(reservation("before", gone, month_of(moment)), account.world.cap_cents, moment)
            cents: Any = {"training_cents": 0, "endpoint_cents": 0, "booked_other_cents": gone}
            account.ledger().settle("captune-before", {month_of(moment): gone}, cents, moment)
    execution = runs.start(account, "kept", KEPT)
    with installed():
        while "keep_until" not in account.runs().get(RUN, {}) and account.world.step():
            pass
        account.world.run(account.world.now + timedelta(minutes=1))
    return account, execution


def _deployment(account: Account) -> serving.Deployment:
    return serving.Deployment(
        account.clients.__getitem__, BUCKET, "ledger", MACHINE, TEAR_DOWN, account.world.cap_cents
    )


def _extend(account: Account, minutes: int = 30) -> str:
    """The name of the error that a person meets who keeps the endpoint for longer; empty where it stays."""
    with installed():
        try:
            serving.extend(_deployment(account), RUN, minutes, account.world.now)
        except (CaptuneError, serving.Refused) as error:
            return type(error).__name__
    return ""


def _until(account: Account) -> datetime:
    return from_iso(account.runs()[RUN]["keep_until"]["S"])


def _end(account: Account, after: datetime, before: datetime) -> list[str]:
    """Runs to the end: what is wrong with money and leftovers, and with the moment at which the endpoint went."""
    with installed():
        account.world.run()
    (endpoint,) = account.sagemaker.past_endpoints
    wrong = [words for words in left(account) + money(account) if "captune-before" not in words]
    if not (endpoint.gone and after <= endpoint.gone <= before):
        wrong.append(f"the endpoint went at {endpoint.gone}, not from {after} to {before}")
    row, month = account.runs()[RUN], month_of(account.world.now)
    if number(row, "actual_cents") >= number(row, "reserved_cents"):
        wrong.append("nothing was given back")
    spent = sum(number(one, f"actual_cents_{month}") for one in account.runs().values())
    committed = number(account.table.rows[keys.of_month(month)], "committed_cents")
    return wrong + ([] if committed == spent else [f"{committed} cents are committed, and {spent} were spent"])


def kept_for_longer() -> list[str]:
    """An endpoint that is kept for longer stays to its new end, and what was set aside beyond its cost goes back."""
    account, execution = _kept()
    before, reserved = _until(account), number(account.runs()[RUN], "reserved_cents")
    wrong = [words for words in [_extend(account)] if words]
    until, more = _until(account), number(account.runs()[RUN], "reserved_cents") - reserved
    wrong += [] if until == before + timedelta(minutes=30) else [f"it is kept until {until}"]
    wrong += [] if 75 <= more <= 80 else [f"half an hour was reserved with {more} cents"]
    event = {"executionArn": execution.arn, "executionName": "kept", "status": "SUCCEEDED", "reason": "event"}
    account.tear_down(event, delay=600)  # the event of its end once more, which must not end it
    return wrong + _end(account, until, until + timedelta(minutes=5))


def ended_by_its_owner() -> list[str]:
    """An endpoint that its owner ends goes at once, and what was reserved and not used goes back."""
    account, _ = _kept()
    _extend(account)
    now = account.world.now
    with installed():
        serving.stop(_deployment(account), RUN, now)
    return _end(account, now, now + timedelta(minutes=5))


def ended_while_it_starts() -> list[str]:
    """A run that its owner ends while its endpoint is being created is aborted, and the endpoint goes as soon as it can."""
    account = calm(whole=True)
    execution = runs.start(account, "kept", KEPT)
    with installed():
        while not account.sagemaker.endpoints and account.world.step():
            pass
        now = account.world.now
        serving.stop(_deployment(account), RUN, now)
    wrong = _end(account, now, now + timedelta(minutes=20))
    return wrong + ([] if execution.status == "ABORTED" else [f"the run ended as {execution.status}"])


def not_beyond_the_cap() -> list[str]:
    """Beyond what the cap leaves no endpoint is kept for longer: nothing is changed, and it ends when it was to end."""
    account, _ = _kept(cents_left=300)
    before = {key: dict(row) for key, row in account.table.rows.items()}
    refused, until = _extend(account, 60), _until(account)
    wrong = [] if refused == "BudgetExceeded" else [f"{refused or 'nothing'} was raised"]
    wrong += [] if account.table.rows == before else ["the ledger was changed"]
    return wrong + _end(account, until, until + timedelta(minutes=5))


def deadline_not_moved() -> list[str]:
    """Where the schedule cannot be moved the endpoint ends when it was to end, and what was reserved for longer goes back."""
    account, _ = _kept()
    until, entries = _until(account), dict(account.scheduler.entries)
    account.scheduler.entries.clear()  # as it looks to somebody who may not read it
    refused = _extend(account)
    account.scheduler.entries.update(entries)
    wrong = [] if refused == "DeadlineNotMoved" else [f"{refused or 'nothing'} was raised"]
    return wrong + _end(account, until, until + timedelta(minutes=5))


def two_who_extend_at_once() -> list[str]:
    """Of two who keep an endpoint for longer at the same moment, each has set aside what it adds."""
    account, _ = _kept()
    before, met = _until(account), list[str]()
    pause = account.table.pause
    before_a_write(account.table, lambda: met.append(_extend(account, 10)))
    met.append(_extend(account, 20))
    account.table.pause = pause
    until = _until(account)
    wrong = [] if met == ["", ""] and until == before + timedelta(minutes=30) else [f"{met}: kept until {until}"]
    return wrong + _end(account, until, until + timedelta(minutes=5))


def settled_before_it_is_extended() -> list[str]:
    """A run that is settled between the look at its item and the write is not extended."""
    account, _ = _kept()
    until, met = _until(account), list[datetime]()
    pause = account.table.pause

    def settle() -> None:
        met.append(account.world.now)
        serving.stop(_deployment(account), RUN, account.world.now)
        account.world.run(account.world.now + timedelta(minutes=10))

    before_a_write(account.table, settle)
    refused = _extend(account)
    account.table.pause = pause
    wrong = [] if refused == "ExtensionRefused" else [f"{refused or 'nothing'} was raised"]
    return wrong + _end(account, met[0], until)


STORIES: tuple[Callable[[], list[str]], ...] = (
    kept_for_longer,
    ended_by_its_owner,
    ended_while_it_starts,
    not_beyond_the_cap,
    deadline_not_moved,
    two_who_extend_at_once,
    settled_before_it_is_extended,
)
