"""The ledger: what may be spent this month, what is set aside for running runs, and what settled runs did cost.

One item a month (`MONTH#2026-11`) holds `committed_cents`: the reservations of running runs plus the actual cost of settled
ones. One item a run (`RUN#captune-…`) holds its reservation and, later, its settlement. Both change together in one DynamoDB
transaction, so two executions can never both take the last dollars, a repeated call changes nothing, and a settlement
releases a reservation exactly once. The cap is compared at the moment of writing: a new cap counts at once.

A run whose deadline lies in the next month sets its worst case aside in both months, because AWS may bill in either.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from common.clock import start_after
from common.errors import BudgetExceeded, RunNameTaken, ServiceUnreachable

_CONFLICT_ATTEMPTS = 12
# A write that was cancelled for one of these said nothing about the money: it is made again.
_PASSING_REASONS = {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}
# What is left of a service error after botocore's own attempts, when trying again later is right.
_PASSING_ERRORS = {
    "InternalServerError",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "ThrottlingException",
    "TransactionInProgressException",
}


@dataclass(frozen=True)
class Reservation:
    """What a run asks for before anything bills."""

    run: str
    execution_arn: str
    cents: int
    months: tuple[str, ...]
    details: Mapping[str, str | int]


def dollars(cents: int) -> str:
    """Cents as a person reads them: `$12.34`."""
    sign = "-" if cents < 0 else ""
    return f"{sign}${abs(cents) // 100}.{abs(cents) % 100:02d}"


def way_out(needed_cents: int, cap_cents: int, committed: Mapping[str, int]) -> str:
    """What a person can do about a run that needs more than the cap leaves in one of its months (month → committed cents)."""
    if needed_cents > cap_cents:
        return f"Set budget_usd in cdk.json to at least {-(-needed_cents // 100)} and deploy."
    full = max(month for month, cents in committed.items() if cents + needed_cents > cap_cents)
    return (
        "Wait for a run in flight to be settled, raise budget_usd in cdk.json and deploy, or start again on "
        f"{start_after(full).date().isoformat()}."
    )


class Ledger:
    """The ledger table. `pause` waits between attempts at a transaction that collided with another one (seconds)."""

    def __init__(self, dynamodb: Any, table: str, pause: Callable[[float], None] = time.sleep) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._pause = pause

    def committed_cents(self, month: str) -> int:
        """What is set aside or spent in a month."""
        item = self._read(f"MONTH#{month}")
        return int(item.get("committed_cents", 0)) if item else 0

    def run(self, run: str) -> dict[str, Any] | None:
        """The ledger item of a run, or None."""
        return self._read(f"RUN#{run}")

    def items(self) -> list[dict[str, Any]]:
        """Every item, for a person to read."""
        pages = self._dynamodb.get_paginator("scan").paginate(TableName=self._table, ConsistentRead=True)
        return [_plain(item) for page in pages for item in page["Items"]]

    def reserve(self, reservation: Reservation, cap_cents: int, now: datetime) -> dict[str, Any]:
        """Sets the worst case of a run aside, or refuses it. Returns the run's item; calling again changes nothing.

        Raises BudgetExceeded when a month's cap does not cover it, RunNameTaken when another execution or a finished run has
        the name, ServiceUnreachable when trying again later is right.
        """
        room = cap_cents - reservation.cents
        months = [
            self._update(
                f"MONTH#{month}",
                "SET committed_cents = if_not_exists(committed_cents, :zero) + :amount",
                "attribute_not_exists(committed_cents) OR committed_cents <= :room",
                {":zero": 0, ":amount": reservation.cents, ":room": room},
            )
            for month in reservation.months
        ]
        item: dict[str, Any] = {
            "pk": f"RUN#{reservation.run}",
            "state": "reserved",
            "execution_arn": reservation.execution_arn,
            "reserved_cents": reservation.cents,
            "months": ",".join(reservation.months),
            "reserved_at": now.isoformat(timespec="seconds"),
            **reservation.details,
        }
        put = {
            "Put": {"TableName": self._table, "Item": _typed(item), "ConditionExpression": "attribute_not_exists(pk)"}
        }
        # The first reservation of a month has no item to compare with, so what is above the whole cap is not even tried.
        if room >= 0 and self._transact([*months, put]):
            return item
        existing = self.run(reservation.run)
        if existing is None:
            raise self._too_much(reservation, cap_cents)
        if existing["execution_arn"] == reservation.execution_arn and existing["state"] == "reserved":
            return existing
        raise RunNameTaken(
            f"The run name {reservation.run} was used before. Start a new execution and leave its name to the console, "
            "or choose one that differs in its letters and digits."
        )

    def settle(
        self, run: str, actual: Mapping[str, int], details: Mapping[str, str | int], now: datetime
    ) -> dict[str, Any] | None:
        """Replaces a reservation by what the run did cost in each month, exactly once. Returns the run's item.

        `actual` maps a month to cents. A run that was never reserved has no item: None is returned and nothing changes.
        """
        item = self.run(run)
        if item is None or item["state"] == "settled":
            return item
        months = set(item["months"].split(",")) | set(actual)
        reserved_months = set(item["months"].split(","))
        deltas = {m: actual.get(m, 0) - (int(item["reserved_cents"]) if m in reserved_months else 0) for m in months}
        updates = [
            self._update(
                f"MONTH#{month}",
                "SET committed_cents = if_not_exists(committed_cents, :zero) + :delta",
                None,
                {":zero": 0, ":delta": delta},
            )
            for month, delta in sorted(deltas.items())
        ]
        settlement = {
            "actual_cents": sum(actual.values()),
            "settled_at": now.isoformat(timespec="seconds"),
            **{f"actual_cents_{month}": cents for month, cents in actual.items()},
            **details,
        }
        names = {f"#f{i}": name for i, name in enumerate(settlement)}
        values = {f":v{i}": value for i, value in enumerate(settlement.values())}
        expression = "SET #state = :settled, " + ", ".join(f"#f{i} = :v{i}" for i in range(len(settlement)))
        closing = self._update(
            f"RUN#{run}", expression, "#state = :reserved", {":settled": "settled", ":reserved": "reserved", **values}
        )
        closing["Update"]["ExpressionAttributeNames"] = {"#state": "state", **names}
        self._transact([*updates, closing])
        return self.run(run)

    def note(self, run: str, facts: Mapping[str, str | int]) -> None:
        """Writes facts about a run into its item, each only once: what was seen first stays. A missing item is left missing."""
        if not facts:
            return
        names = {f"#f{i}": name for i, name in enumerate(facts)}
        values = {f":v{i}": value for i, value in enumerate(facts.values())}
        expression = "SET " + ", ".join(f"#f{i} = if_not_exists(#f{i}, :v{i})" for i in range(len(facts)))
        request = self._update(f"RUN#{run}", expression, "attribute_exists(pk)", values)["Update"]
        try:
            self._dynamodb.update_item(**request, ExpressionAttributeNames=names)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise

    def _too_much(self, reservation: Reservation, cap_cents: int) -> BudgetExceeded | ServiceUnreachable:
        committed = {month: self.committed_cents(month) for month in reservation.months}
        left = cap_cents - max(committed.values())
        if left >= reservation.cents:
            return ServiceUnreachable(
                "A run was settled at this very moment and made room; the state machine tries again."
            )
        return BudgetExceeded(
            f"This run may cost up to {dollars(reservation.cents)}, and {dollars(max(0, left))} of the {dollars(cap_cents)} cap is left in "
            f"{' and '.join(reservation.months)}: {dollars(reservation.cents - left)} is missing. {way_out(reservation.cents, cap_cents, committed)}"
        )

    def _transact(self, writes: list[dict[str, Any]]) -> bool:
        """Writes all or nothing, and tells whether the conditions allowed it."""
        for attempt in range(_CONFLICT_ATTEMPTS):
            try:
                self._call("transact_write_items", TransactItems=writes)
                return True
            except ClientError as error:
                if error.response["Error"]["Code"] != "TransactionCanceledException":
                    raise
                reasons = {reason.get("Code", "None") for reason in error.response.get("CancellationReasons", [])}
                if not reasons & _PASSING_REASONS:
                    if "ConditionalCheckFailed" in reasons:
                        return False
                    raise
            self._pause(random.uniform(0, min(2.0, 0.05 * 2**attempt)))
        raise ServiceUnreachable("The ledger was busy with other runs in every attempt; the state machine tries again.")

    def _call(self, operation: str, **arguments: Any) -> Any:
        """Calls DynamoDB. Raises ServiceUnreachable for what passes: the write may have happened, and may be repeated."""
        try:
            return getattr(self._dynamodb, operation)(**arguments)
        except BotoCoreError as error:
            raise ServiceUnreachable(f"The ledger did not answer: {error}") from error
        except ClientError as error:
            if error.response["Error"]["Code"] in _PASSING_ERRORS:
                raise ServiceUnreachable(f"The ledger did not answer: {error}") from error
            raise

    def _update(self, pk: str, expression: str, condition: str | None, values: Mapping[str, Any]) -> dict[str, Any]:
        update: dict[str, Any] = {
            "TableName": self._table,
            "Key": {"pk": {"S": pk}},
            "UpdateExpression": expression,
            "ExpressionAttributeValues": _typed(values),
        }
        if condition:
            update["ConditionExpression"] = condition
        return {"Update": update}

    def _read(self, pk: str) -> dict[str, Any] | None:
        answer = self._call("get_item", TableName=self._table, Key={"pk": {"S": pk}}, ConsistentRead=True)
        return _plain(answer["Item"]) if "Item" in answer else None


def _typed(values: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    return {name: {"N": str(value)} if isinstance(value, int) else {"S": str(value)} for name, value in values.items()}


def _plain(item: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    return {name: int(value["N"]) if "N" in value else value["S"] for name, value in item.items()}
