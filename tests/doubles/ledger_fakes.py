"""The real ledger, over a table that a test looks at, edits by hand and makes fail."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Self

from common.ledger.changes import Booking
from common.ledger.ledger import Ledger, Reservation
from tests.doubles.lambda_fakes import NOW, arn
from verification.simulation.faults import THROTTLED
from verification.simulation.services.dynamodb import Table

CAP = 2500
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


def reservation(run: str, cents: int, *months: str, execution: str = "", **details: Any) -> Reservation:
    """What a run asks for, in November 2026 unless other months are named; of small items alone where there are no details."""
    small = {"max_training_seconds": 0, "max_endpoint_seconds": 0, "other_cents": cents}
    of_run: Any = {**DETAILS, **(details or small), "execution_name": run}
    return Reservation(f"captune-{run}", arn(execution or run), cents, months or ("2026-11",), of_run)


def booking(by_month: dict[str, int], details: Any = None, complete: bool = True) -> Callable[[Any], Booking]:
    """What a settlement comes to, whatever the item holds."""
    return lambda item: Booking(by_month, details or {}, complete)


def empty_table(client: Any) -> Any:
    """Makes the table `ledger` anew at DynamoDB and returns its client."""
    if "ledger" in client.list_tables()["TableNames"]:
        client.delete_table(TableName="ledger")
    client.create_table(
        TableName="ledger",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return client


class OneTable(Table):
    """The table `ledger`: DynamoDB holds many, so each call names it, and each read asks for the newest version."""

    def get_item(self, **request: Any) -> dict[str, Any]:
        assert (request["TableName"], request["ConsistentRead"]) == ("ledger", True)
        return super().get_item(**request)

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        assert (request["TableName"], request["ConsistentRead"]) == ("ledger", True)
        return super().paginate(**request)

    def transact_write_items(self, *, TransactItems: list[dict[str, Any]]) -> dict[str, Any]:
        assert {one["Put"]["TableName"] for one in TransactItems} == {"ledger"}
        return super().transact_write_items(TransactItems=TransactItems)


class FakeLedger(Ledger):
    """A ledger over a table in memory, or over DynamoDB's. It does not wait between attempts."""

    def __init__(self, table: Any = None) -> None:
        self.table = table or OneTable()
        self.pauses: list[Any] = []
        super().__init__(self.table, "ledger", self.pauses.append)

    def before_a_write(self, act: Callable[[], object]) -> None:
        """Lets somebody act once, between what a caller has read and the transaction that it writes."""

        def pause(operation: str) -> None:
            if operation == "TransactWriteItems":
                self.table.pause = lambda other: None
                act()

        self.table.pause = pause

    def fall_silent(self) -> Self:
        """From now on the table answers nothing."""
        self.table.trouble = lambda operation: THROTTLED
        return self

    def with_run(self, execution_name: str, run: str | None = None, **details: Any) -> Self:
        """Adds an open reservation of six dollars."""
        asked = reservation(execution_name, 600, **{**DETAILS, **details})
        self.reserve(replace(asked, run=run or asked.run), 100_000, NOW)
        return self

    def noting(self, run: str, **facts: Any) -> Self:
        """Writes facts into a run's item, as the ledger does."""
        self.update(run, lambda item: {**item, **facts})
        return self

    def damage(self, pk: str, name: str = "note", value: dict[str, Any] | None = None) -> Self:
        """Changes one attribute of an item as a person or a script would, without its seal; an empty value removes it."""
        value = {"S": "changed"} if value is None else value
        item = self.table.get_item(TableName="ledger", Key={"pk": {"S": pk}}, ConsistentRead=True)["Item"]
        kept = {key: one for key, one in item.items() if key != name} | ({name: value} if value else {})
        self.table.transact_write_items(TransactItems=[{"Put": {"TableName": "ledger", "Item": kept}}])
        return self

    def delete(self, pk: str) -> None:
        """Deletes an item as a person or a script would."""
        if isinstance(self.table, OneTable):
            del self.table.rows[pk]
        else:
            self.table.delete_item(TableName="ledger", Key={"pk": {"S": pk}})

    def settled(self, run: str, moment: Any = NOW) -> Self:
        """Closes a reservation."""
        parts = {"training_seconds": 600, "endpoint_seconds": 0, "training_cents": 26, "endpoint_cents": 0}
        self.settle(run, booking({"2026-11": 32}, {**parts, "status": "FAILED"}), moment)
        return self
