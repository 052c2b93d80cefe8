"""Short stories of the ledger and the prices alone, each with one right ending. Each answers what was broken."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from common.errors import CaptuneError, PriceUnknown
from common.ledger import keys
from common.ledger import ledger as ledger_module
from common.ledger.rows import parts_cents
from common.pricing import prices
from preflight import money
from verification.simulation.services.dynamodb import Table
from verification.simulation.services.orchestration import MACHINE
from verification.simulation.services.sagemaker import REGION
from verification.simulation.services.supplies import PriceList, product
from verification.simulation.world import CONFLICT, LOST_ANSWER, NOON

# 341 and 253 cents of instances, and six of small items: six dollars.
DETAILS: dict[str, str | int] = {
    "training_prices": "ml.g5.2xlarge=1.515",
    "hosting_prices": "ml.g5.2xlarge=1.515",
    "price_source": "AWS Price List",
    "training_instances": 1,
    "max_training_seconds": 8100,
    "max_endpoint_seconds": 6000,
    "other_cents": 6,
    "keep_endpoint_seconds": 0,
}


def ledger_over(table: Table) -> ledger_module.Ledger:
    """The real ledger, which does not really wait."""
    return ledger_module.Ledger(table, "ledger", pause=lambda seconds: None)


def reservation(run: str, cents: int, *months: str, execution: str = "", **details: Any) -> ledger_module.Reservation:
    """What a run asks for, in November 2026 unless other months are named: so many cents of small items, or what the details come to."""
    in_months = months or ("2026-11",)
    small = {"max_training_seconds": 0, "max_endpoint_seconds": 0, "other_cents": cents - 2 * (len(in_months) - 1)}
    of_run: Any = {**DETAILS, **(details or small), "execution_name": run}
    arn = f"{MACHINE.replace('stateMachine', 'execution')}:{execution or run}"
    cents = parts_cents({**of_run, "months": ",".join(in_months)})
    return ledger_module.Reservation(f"captune-{run}", arn, cents, in_months, of_run)


def before_a_write(table: Table, act: Callable[[], object]) -> None:
    """Lets somebody act once, between what a caller has read and the transaction that it writes."""

    def pause(operation: str) -> None:
        if operation == "TransactWriteItems":
            table.pause = lambda other: None
            act()

    table.pause = pause


def clamped_to_what_is_left() -> list[str]:
    """With four and a half dollars left a run is clamped, and what was clamped can be reserved."""
    table = Table()
    ledger = ledger_over(table)
    ledger.reserve(reservation("earlier", 2050), 2500, NOON)
    price = money.find_price(PriceList({}, answers=False), REGION, "ml.g5.2xlarge", "Training")
    try:
        allowance = money.allow(ledger, 2500, price, price, 7200, 3600, 0, NOON)
        ledger.reserve(reservation("later", allowance.worst.cents), 2500, NOON)
    except CaptuneError as error:
        return [f"a run that four and a half dollars allow was refused: {error}"]
    return [] if allowance.clamped else ["the run was not clamped"]


def collision() -> list[str]:
    """A transaction that collides with another one is made again."""
    troubles = iter([CONFLICT, CONFLICT])
    ledger = ledger_over(Table(trouble=lambda operation: next(troubles, None) if "Write" in operation else None))
    try:
        ledger.reserve(reservation("one", 100), 2500, NOON)
    except Exception as error:
        return [f"a collision refused the run: {error}"]
    return [] if ledger.committed_cents("2026-11") == 100 else ["the reservation is not in the ledger"]


def one_name_in_two_months() -> list[str]:
    """Of two executions that take one name at the same moment, in different months, one has it."""
    ledger = ledger_over(table := Table())
    rival = reservation("one", 100, "2026-12", execution="rival")
    before_a_write(table, lambda: ledger.reserve(rival, 2500, NOON))
    try:
        ledger.reserve(reservation("one", 100), 2500, NOON)
    except CaptuneError:
        return []
    return ["two executions have the same run"]


def repeated_after_a_lost_answer() -> list[str]:
    """A reservation whose answer was lost is asked for again and counted once."""
    troubles = iter([LOST_ANSWER])
    ledger = ledger_over(Table(trouble=lambda operation: next(troubles, None) if "Write" in operation else None))
    for _ in range(2):
        try:
            ledger.reserve(reservation("one", 100), 2500, NOON)
        except CaptuneError as error:
            problem = str(error)
        else:
            return [] if ledger.committed_cents("2026-11") == 100 else ["the repeated reservation was counted twice"]
    return [f"the repeated reservation was refused: {problem}"]


def room_for_one() -> list[str]:
    """Of two reservations that come at once, where there is room for one, one is refused."""
    ledger = ledger_over(table := Table())
    before_a_write(table, lambda: ledger.reserve(reservation("other", 1500), 2500, NOON))
    with suppress(CaptuneError):
        ledger.reserve(reservation("one", 1500), 2500, NOON)
    held = [row.item["reserved_cents"] for row in ledger.rows()]
    return [] if held == [1500] else [f"{sum(held)} cents were reserved under a cap of 2500"]


def room_for_none() -> list[str]:
    """The first reservation of a month has to fit under the cap like every other one."""
    ledger = ledger_over(Table())
    with suppress(CaptuneError):
        ledger.reserve(reservation("dear", 1500), 700, NOON)
    return ["1500 cents were reserved under a cap of 700"] if ledger.rows() else []


def settled_by_two() -> list[str]:
    """Two tear-downs that settle a run at once release its reservation once."""
    ledger = ledger_over(table := Table())
    ledger.reserve(reservation("one", 1500), 2500, NOON)
    before_a_write(table, lambda: ledger.settle("captune-one", {"2026-11": 40}, {}, NOON))
    ledger.settle("captune-one", {"2026-11": 40}, {}, NOON)
    told = int(table.rows[keys.of_month("2026-11")]["committed_cents"]["N"])
    return [] if told == 40 else [f"the month says {told} cents after a run of 40"]


def two_prices() -> list[str]:
    """Of two prices in the list the dearer one is reserved."""

    class TwoPrices(PriceList):
        def paginate(self, **asked: Any) -> Any:
            yield {"PriceList": [product("ml.g5.2xlarge", "Train", usd) for usd in ("9.9", "1.5")]}

    found = prices.listed(TwoPrices({}), REGION, "ml.g5.2xlarge", "Training")
    return [] if found and str(found.hourly_usd) == "9.9" else ["the cheaper of two prices was taken"]


def a_quarter_of_the_price() -> list[str]:
    """A listed price of a quarter of the known one is refused, not believed."""
    try:
        found = prices.listed(PriceList({"ml.g5.2xlarge": "0.379"}), REGION, "ml.g5.2xlarge", "Training")
    except PriceUnknown:
        return []
    return [f"it was taken: {found}"]


STORIES = (
    clamped_to_what_is_left,
    collision,
    one_name_in_two_months,
    repeated_after_a_lost_answer,
    room_for_one,
    room_for_none,
    settled_by_two,
    two_prices,
    a_quarter_of_the_price,
)
