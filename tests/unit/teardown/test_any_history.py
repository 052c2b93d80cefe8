"""Whatever endpoints came and went and whoever looked when: the recorded time covers what AWS billed, and no more than the looks leave open."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from common.clock import written
from common.endpoint_lives import Seen
from common.errors import ServiceUnreachable
from common.ledger.changes import Booking
from common.ledger.rows import RunItem
from common.resources import ENDPOINT, Resource
from settle.billing import bill
from teardown.endpoint_lifetimes import SeenEndpoints, note_gone
from tests.doubles.lambda_fakes import NOW, SageMaker
from tests.doubles.ledger_fakes import FakeLedger
from verification.simulation.faults import THROTTLED

RUN = "captune-abc"
# Who looks: the run's own teardown, which remembers; another one, which knows only the ledger; the sweeper, which removes nothing.
OWN, ANOTHER, SWEEPER = range(3)


@dataclass(frozen=True)
class Endpoint:
    """One endpoint of the run, in seconds since its reservation."""

    name: str
    created: int
    gone: int


@dataclass(frozen=True)
class Look:
    """A listing of the endpoints. The ledger takes note of it, unless it is silent."""

    second: int
    by: int
    ledger_answers: bool


@dataclass(frozen=True)
class History:
    """Endpoints one after another, the end of the execution that asked for the first, and the looks in order."""

    endpoints: tuple[Endpoint, ...]
    served: int
    ended: int
    looks: tuple[Look, ...]

    def listed(self, second: int) -> list[Endpoint]:
        return [one for one in self.endpoints if one.created <= second < one.gone]


@st.composite
def histories(draw: st.DrawFn) -> History:
    endpoints, second = [], 0
    for name in (RUN, draw(st.sampled_from((RUN, f"{RUN}-try2"))), RUN)[: draw(st.integers(1, 3))]:
        created = second + draw(st.integers(1, 4000))
        second = created + draw(st.integers(1, 40_000))
        endpoints.append(Endpoint(name, created, second))
    looks = draw(
        st.lists(
            st.builds(Look, st.integers(0, second + 9000), st.integers(0, 2), st.booleans()),
            unique_by=lambda one: one.second,
        )
    )
    end = max(second, *(one.second for one in looks)) if looks else second
    quiet = [Look(end + 30, OWN, draw(st.booleans())), Look(end + 60, OWN, True)]
    first = endpoints[0]
    served = draw(st.integers(first.created + 1, first.gone))
    return History(
        tuple(endpoints),
        served,
        draw(st.integers(served, second)),
        (*sorted(looks, key=lambda one: one.second), *quiet),
    )


def at(second: int) -> datetime:
    return NOW + timedelta(seconds=second)


def followed(history: History, ledger: FakeLedger) -> Seen:
    """What the run's own teardown remembers in the end, after everybody has looked and noted what they saw."""
    memory: Seen = {}
    for look in history.looks:
        ledger.table.trouble = lambda operation, answers=look.ledger_answers: None if answers else THROTTLED
        listed, moment = history.listed(look.second), at(look.second)
        seen = SeenEndpoints(memory if look.by == OWN else None, bounds=look.second >= history.ended)
        with suppress(*(() if look.ledger_answers else (ServiceUnreachable,))):
            if look.by == SWEEPER:
                note_gone(ledger, RUN, {(one.name, written(at(one.created))) for one in listed}, moment, moment)
            else:
                found = [Resource(ENDPOINT, one.name, "", "InService", at(one.created)) for one in listed]
                seen.saw(SageMaker(configurations=[one.name for one in listed]), found, moment)
                try:
                    seen.write(ledger, RUN, moment)
                finally:
                    memory = seen.seen if look.by == OWN else memory
    return memory


def recorded(history: History, ledger: FakeLedger, memory: Seen, after: int) -> tuple[int, int]:
    """The endpoint seconds and the cents in all that the ledger records, so many seconds after the last look."""
    entered = {"CreateEndpoint": at(history.endpoints[0].created), "AskBothModels": at(history.served)}
    moment = at(history.looks[-1].second + after)

    def book(item: RunItem) -> Booking:
        made = bill(SageMaker(), RUN, item, entered, moment, memory)
        return Booking(made.by_month, {"endpoint_seconds": made.endpoint_seconds, **made.known}, made.complete)

    item = ledger.settle(RUN, book, moment)
    assert item is not None
    return item["endpoint_seconds"], item["actual_cents"]


def bounds(history: History) -> tuple[int, int]:
    """The least and the most seconds that may be recorded: what AWS billed, and until the first look that could tell.

    They are of the endpoint that the execution asked for, and of those that a teardown listed and remembered or noted.
    """
    told = first_tellers(history)
    least = most = 0
    for one in history.endpoints:
        if one not in told and one is not history.endpoints[0]:
            continue
        # Before the execution has ended, one that nobody has listed may still come.
        nothing = (look.second for look in history.looks if counts(look) and not history.listed(look.second))
        gone = told.get(one) or min(second for second in nothing if second >= max(one.gone, history.ended))
        least += one.gone - one.created
        most += gone + 1 - one.created
    return least, most


def first_tellers(history: History) -> dict[Endpoint, int]:
    """When somebody who knew of an endpoint, by a listing or by the ledger, first listed it no more. A silent ledger tells nobody."""
    told: dict[Endpoint, int] = {}
    remembered: set[Endpoint] = set()
    noted: set[Endpoint] = set()
    for look in filter(counts, history.looks):
        known = {*history.listed(look.second), *(remembered if look.by == OWN else ())}
        if look.ledger_answers:
            noted |= known
            known = {*noted}
        if look.by == OWN:
            remembered = known
        for one in known:
            if one.gone <= look.second:
                told.setdefault(one, look.second)
    return told


def counts(look: Look) -> bool:
    """Whether anything stays of what a look saw: the sweeper only adds ends, and another teardown forgets what it could not note."""
    return look.by == OWN or (look.by == ANOTHER and look.ledger_answers)


@given(histories(), st.integers(30, 100_000))
def test_the_recorded_time_covers_what_aws_billed_and_ends_with_the_first_look_that_tells(
    history: History, later: int
) -> None:
    ledger = FakeLedger().with_run("abc")
    memory = followed(history, ledger)
    first = recorded(history, ledger, memory, 30)
    least, most = bounds(history)
    assert least <= first[0] <= most
    assert recorded(history, ledger, memory, later) == first, "a second time changes nothing"
