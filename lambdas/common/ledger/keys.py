"""The keys of the ledger's items, known here and nowhere else: one item a run, one a month, and one a month for what was looked at."""

_RUN, _MONTH, _STARTS = "RUN#", "MONTH#", "STARTS#"


def of_run(run: str) -> str:
    """The key of a run's item."""
    return f"{_RUN}{run}"


def of_month(month: str) -> str:
    """The key of a month's item, such as 2026-11."""
    return f"{_MONTH}{month}"


def of_starts(month: str) -> str:
    """The key of the count of executions that were looked at in a month."""
    return f"{_STARTS}{month}"


def run_in(key: str) -> str | None:
    """The run whose item has this key, or None for an item of another kind."""
    return _after(_RUN, key)


def month_in(key: str) -> str | None:
    """The month whose item has this key, or None for an item of another kind."""
    return _after(_MONTH, key)


def starts_in(key: str) -> str | None:
    """The month whose count of executions has this key, or None for an item of another kind."""
    return _after(_STARTS, key)


def _after(beginning: str, key: str) -> str | None:
    return key.removeprefix(beginning) if key.startswith(beginning) else None
