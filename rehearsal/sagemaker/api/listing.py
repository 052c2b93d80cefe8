"""The filters, order and pages that all of SageMaker's list operations share."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rehearsal.sagemaker.clock import from_wire

from .errors import ServiceError, invalid

_TIMES = {
    "CreationTimeBefore": ("CreationTime", -1),
    "CreationTimeAfter": ("CreationTime", 1),
    "LastModifiedTimeBefore": ("LastModifiedTime", -1),
    "LastModifiedTimeAfter": ("LastModifiedTime", 1),
}
DEFAULT_PAGE = 10  # SageMaker gives ten where MaxResults is left out; callers that do not page miss the rest


def listed(
    answer_name: str,
    rows: Iterable[Mapping[str, Any]],
    request: Mapping[str, Any],
    *,
    name: str,
    status: str | None = None,
    ascending: bool = False,
) -> dict[str, Any]:
    """Return one page of `rows` as a list operation answers it.

    Args:
        answer_name: the member that holds the rows, for example "Endpoints".
        name: the rows' name member; `status` their status member, for StatusEquals.
        ascending: the order where SortOrder is left out, which differs between the operations.

    Raises:
        ServiceError: NextToken is not one of ours.
    """
    kept = [row for row in rows if _in_time(row, request)]
    by = {"Name": name, "Status": status or name}.get(request.get("SortBy", ""), "CreationTime")
    order = request.get("SortOrder", "Ascending" if ascending else "Descending")

    def key(row: Mapping[str, Any]) -> list[Any]:
        value = row[by]
        return [value if isinstance(value, str) else value.timestamp(), row[name]]

    kept.sort(key=key, reverse=order == "Descending")
    if request.get("NextToken"):
        last = _read_token(request["NextToken"])
        # Rows may have gone between two pages, so a page starts after a row and not at a number.
        kept = [row for row in kept if (key(row) < last if order == "Descending" else key(row) > last)]
    size = request.get("MaxResults") or DEFAULT_PAGE
    # SageMaker cuts a page before it looks at names and statuses: one may be empty and have another after it.
    page = {answer_name: [dict(row) for row in kept[:size] if _wanted(row, request, name, status)]}
    if len(kept) > size:
        token = json.dumps(key(kept[size - 1])).encode()
        page["NextToken"] = base64.urlsafe_b64encode(token).decode()  # type: ignore[assignment]
    return page


def _wanted(row: Mapping[str, Any], request: Mapping[str, Any], name: str, status: str | None) -> bool:
    if request.get("NameContains", "").lower() not in row[name].lower():
        return False
    return not status or request.get("StatusEquals") in (None, row[status])


def _in_time(row: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    return all(
        (row[member] - from_wire(request[field])).total_seconds() * sign >= 0
        for field, (member, sign) in _TIMES.items()
        if request.get(field) is not None and member in row
    )


def _read_token(token: str) -> list[Any]:
    try:
        last = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (binascii.Error, ValueError):
        raise invalid("Invalid NextToken.") from None
    if not isinstance(last, list) or len(last) != 2:
        raise invalid("Invalid NextToken.")
    return last


def sliced(
    rows: Sequence[Any], request: Mapping[str, Any], most: int, refused: str
) -> tuple[Sequence[Any], dict[str, str]]:
    """Return the page that a request asks for, of rows of another service, and the member that leads to the next one, if there is one.

    Args:
        most: the rows of a page where MaxResults is left out.
        refused: the error's name for a token that is none.
    """
    try:
        start = int(request.get("NextToken") or 0)
    except ValueError:
        raise ServiceError(refused, "The pagination token is invalid.") from None
    end = start + int(request.get("MaxResults") or most)
    return rows[start:end], {"NextToken": str(end)} if end < len(rows) else {}
