"""`captune prices`: refreshes the pinned price table from the AWS Price List."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from captune import account
from captune.account import Refused, Region
from common import clock
from common.pricing import prices

TABLE = Path(prices.__file__).with_name("prices.json")
_MORE_TYPES = "An instance type to add to the table; may be repeated."
_MORE_REGIONS = "A region to add to the table; may be repeated."


def command(
    instance_type: Annotated[list[str] | None, typer.Option(help=_MORE_TYPES, show_default=False)] = None,
    price_region: Annotated[list[str] | None, typer.Option(help=_MORE_REGIONS, show_default=False)] = None,
    region: Region = None,
) -> None:
    """Reads the Price List and writes the table."""
    print(refresh(account.session(region), instance_type or [], price_region or []))


def refresh(session: Any, instance_types: list[str], regions: list[str], table_file: Path = TABLE) -> str:
    """Reads every pair of the table (and the added ones) again and writes the table; returns what changed.

    A pair that the Price List does not know leaves the table: unknown is not free, and an old price is a guess.
    """
    pricing = session.client("pricing", region_name="us-east-1")
    table = json.loads(table_file.read_text("utf-8"))
    old = table["hourly_usd"]
    known = {kind for kinds in old.values() for kind in kinds}
    pairs = {(region, kind) for region, kinds in old.items() for kind in kinds}
    pairs |= {(region, kind) for region in [*old, *regions] for kind in instance_types}
    pairs |= {(region, kind) for region in regions for kind in known}
    new: dict[str, dict[str, str]] = {}
    lines = []
    for region, kind in sorted(pairs):
        found = [price for use in ("Training", "Hosting") if (price := prices.listed(pricing, region, kind, use))]
        before = old.get(region, {}).get(kind)
        if len(found) < 2:
            lines.append(f"{region} {kind}: not listed for training and hosting, left out (was {before})")
            continue
        now = str(max(price.hourly_usd for price in found))
        new.setdefault(region, {})[kind] = now
        lines.append(f"{region} {kind}: ${now}/h" + ("" if before == now else f" (was {before})"))
    if not new:
        raise Refused("The Price List has no price at all for these; the table was left as it is.")
    table.update(source="AWS Price List", date=clock.now().date().isoformat(), hourly_usd=new)
    table_file.write_text(json.dumps(table, indent=2) + "\n", "utf-8")
    return "\n".join([*lines, f"Written to {table_file.name}. Deploy again to use it."])
