"""The filters, order and pages of the list operations."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

from botocore.utils import parse_timestamp

from .errors import invalid

DEFAULT_PAGE = 10  # SageMaker returns ten where MaxResults is left out; callers that do not page miss the rest


def listed(
    answer_name: str,
    rows: Iterable[Mapping[str, Any]],
    request: Mapping[str, Any],
    *,
    name: str,
    status: str | None = None,
    ascending: bool = False,
) -> dict[str, Any]:
    """Return one page of `rows` as a list operation of SageMaker answers it.

    Args:
        answer_name: the member that holds the rows, for example "Endpoints".
        name: the rows' name member; `status` their status member, for StatusEquals.
        ascending: the order where SortOrder is left out, which differs between the operations.

    Raises:
        ServiceError: NextToken is not one of ours.
    """
    by = {"Name": name, "Status": status or name}.get(request.get("SortBy", ""), "CreationTime")
    order = request.get("SortOrder", "Ascending" if ascending else "Descending")

    def key(row: Mapping[str, Any]) -> list[Any]:
        value = row[by]
        return [value if isinstance(value, str) else value.timestamp(), row[name]]

    kept = sorted((row for row in rows if _in_time(row, request)), key=key, reverse=order == "Descending")
    if request.get("NextToken"):
        try:
            last = json.loads(base64.urlsafe_b64decode(request["NextToken"]))
        except ValueError:
            raise invalid("Invalid NextToken.") from None
        # Rows may be deleted between two pages, so a page starts after a row and not at a number.
        kept = [row for row in kept if (key(row) < last if order == "Descending" else key(row) > last)]
    size = request.get("MaxResults") or DEFAULT_PAGE
    # SageMaker cuts a page before it looks at names and statuses: one may be empty and have another after it.
    page: dict[str, Any] = {answer_name: [dict(row) for row in kept[:size] if _wanted(row, request, name, status)]}
    if len(kept) > size:
        page["NextToken"] = base64.urlsafe_b64encode(json.dumps(key(kept[size - 1])).encode()).decode()
    return page


def _wanted(row: Mapping[str, Any], request: Mapping[str, Any], name: str, status: str | None) -> bool:
    if request.get("NameContains", "").lower() not in row[name].lower():
        return False
    return not status or request.get("StatusEquals") in (None, row[status])


def _in_time(row: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    for member in ("CreationTime", "LastModifiedTime"):
        before, after = request.get(f"{member}Before"), request.get(f"{member}After")
        if before is not None and row[member] > parse_timestamp(before):
            return False
        if after is not None and row[member] < parse_timestamp(after):
            return False
    return True
