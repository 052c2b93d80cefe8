"""Time, always timezone-aware UTC."""

from datetime import UTC, datetime, timedelta

from common.outside import outside

# strftime takes a month's name from the locale of the process.
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip


def now() -> datetime:
    """The current time in UTC."""
    return outside().now()


def month_of(moment: datetime) -> str:
    """The calendar month, as AWS bills it: `2026-11`."""
    return moment.astimezone(UTC).strftime("%Y-%m")


def date_in_words(moment: datetime) -> str:
    """The day as a person reads it: `24 November 2026`."""
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}"


def next_month_start(moment: datetime) -> datetime:
    """Midnight UTC of the first day of the month after `moment`."""
    first = moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1)


def start_after(month: str) -> datetime:
    """Midnight UTC of the first day after a month such as `2026-11`."""
    return next_month_start(datetime.fromisoformat(f"{month}-01").replace(tzinfo=UTC))


def months_between(start: datetime, end: datetime) -> list[str]:
    """Every calendar month that the interval touches, in order."""
    months = [month_of(start)]
    cursor = next_month_start(start)
    while cursor <= end:
        months.append(month_of(cursor))
        cursor = next_month_start(cursor)
    return months


def schedule_time(moment: datetime) -> str:
    """The form that EventBridge Scheduler's `at(...)` takes: `2026-11-24T18:00:00`, in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def written(moment: datetime) -> str:
    """A moment in the one form that texts can be compared in: UTC, whole seconds, rounded down."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def from_iso(text: str) -> datetime:
    """Reads what `datetime.isoformat` or AWS wrote; a time without zone is UTC."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
