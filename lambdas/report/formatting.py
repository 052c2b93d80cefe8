"""Numbers for readers: no more digits than the standard error supports; money and time in words."""

import math
from collections.abc import Mapping
from datetime import UTC
from typing import Any

from common.clock import date_in_words, from_iso

MINUS = "\u2212"
NONE = "\u2013"
SIGNIFICANCE = 0.05  # of the verdict: a p below it counts
_TURNS = (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F)
_NO_CHARACTERS = (*range(0xD800, 0xE000), 0xFFFE, 0xFFFF)
_UNPRINTABLE = dict.fromkeys(
    [*(code for code in range(32) if chr(code) not in "\n\t"), *range(127, 160), *_TURNS, *_NO_CHARACTERS]
)


def decimals_for(standard_error: float | None, *, default: int = 3) -> int:
    """Decimals by the Particle Data Group's rule: two digits of an error that begins with 100 to 354, else one."""
    if standard_error is None or not math.isfinite(standard_error) or standard_error <= 0:
        return default
    exponent = math.floor(math.log10(standard_error))
    leading = round(standard_error / 10 ** (exponent - 2))
    digits = 2 if leading <= 354 or leading >= 950 else 1
    if leading >= 950:
        exponent += 1
    return max(0, digits - 1 - exponent)


def decimals_beside_zero(places: int, *values: float | None) -> int:
    """As many decimal places, or more if a value near zero would be written as zero: the verdict depends on its sign."""
    while places < 6 and any(value and round(value, places) == 0 for value in values):
        places += 1
    return places


def number(value: float | None, decimals: int = 3, *, signed: bool = False) -> str:
    """A number with a true minus sign, such as `−10,000`; a dash for none."""
    if value is None or not math.isfinite(value):
        return NONE
    text = f"{abs(value):,.{decimals}f}"
    negative = value < 0 and any(character in "123456789" for character in text)
    return (MINUS if negative else "+" if signed and value > 0 else "") + text


def with_error(value: float | None, error: float | None, *, signed: bool = False) -> str:
    """`2.91 ± 0.08`, both to the digits that the error supports."""
    places = decimals_for(error)
    if error is None:
        return number(value, places, signed=signed)
    return f"{number(value, places, signed=signed)} ± {number(error, places)}"


def interval_text(figure: Mapping[str, Any], unit: str = "", *, signed: bool = True) -> str:
    """`−0.052 nats per token (95% interval −0.069 to −0.037)`."""
    places = decimals_for(figure.get("standard_error"))
    text = number(figure.get("estimate"), places, signed=signed) + (f" {unit}" if unit else "")
    if figure.get("low") is None:
        error = figure.get("standard_error")
        return text if error is None else f"{text} (standard error {number(error, places)})"
    return f"{text} (95% interval {range_text(figure, signed=signed)})"


def range_text(figure: Mapping[str, float | None], *, signed: bool = True) -> str:
    """`−0.069 to −0.037`, or a dash without an interval."""
    if figure.get("low") is None or figure.get("high") is None:
        return NONE
    places = decimals_beside_zero(decimals_for(figure.get("standard_error")), figure["low"], figure["high"])
    low, high = number(figure["low"], places, signed=signed), number(figure["high"], places, signed=signed)
    return f"{low} to {high}"


def change_text(figure: Mapping[str, float], unit: str) -> str:
    """The size of a change without its sign: `0.052 nats per token (95% interval 0.037 to 0.069)`."""
    low, high = sorted((abs(figure["low"]), abs(figure["high"])))
    error = figure["standard_error"]
    sizes = {"estimate": abs(figure["estimate"]), "standard_error": error, "low": low, "high": high}
    estimate = number(sizes["estimate"], decimals_for(error))
    return f"{estimate} {unit} (95% interval {range_text(sizes, signed=False)})"


def format_p(value: float | None) -> str:
    """`p = 0.031`, two significant digits; `p < 0.0001` for the smallest."""
    if value is None or not math.isfinite(value):
        return "p unknown"
    if value < 0.0001:
        return "p < 0.0001"
    if value >= 0.095:
        return f"p = {value:.2f}"
    places = 1 - math.floor(math.log10(value))
    # Which side of the limit it is on must be seen: 0.0496 is not 0.05.
    while places < 8 and value != SIGNIFICANCE and round(value, places) == SIGNIFICANCE:
        places += 1
    return f"p = {value:.{places}f}".rstrip("0")


def percent(value: float | None, error: float | None = None, *, signed: bool = False) -> str:
    """A share (0 to 1) as a percentage; a decimal only if the standard error is below half a point."""
    if value is None:
        return NONE
    places = 1 if error is not None and 0 < 100 * error < 0.5 else 0
    return f"{number(100 * value, places, signed=signed)}%"


def share(figure: Mapping[str, Any]) -> str:
    """A share (0 to 1) as a percentage with its standard error: `10.9 ± 2.1%`."""
    estimate, error = figure.get("estimate"), figure.get("standard_error")
    if estimate is None or error is None:
        return percent(estimate)
    both = with_error(100 * estimate, 100 * error) if error else f"{number(100 * estimate, 0)} ± 0"
    return f"{both}%"


def money(cents: float | None) -> str:
    """Integer cents as dollars, the sign before them."""
    return NONE if cents is None else f"{MINUS if cents < 0 else ''}${abs(cents) / 100:,.2f}"


def rate(cents: float) -> str:
    """An hourly price in dollars, to a tenth of a cent where it has one: `$1.515`."""
    return f"${cents / 100:,.3f}".removesuffix("0")


def duration(seconds: float | None) -> str:
    """Seconds as `1 h 12 min`, `4 min 30 s` or `12 s`."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    if minutes:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{rest} s" if whole or not seconds else f"{seconds:.1f} s"


def plural(count: int | None, noun: str) -> str:
    """`1 document`, `4 documents`, `– documents` if the count is unknown."""
    return f"{whole(count)} {noun}{'' if count == 1 else 's'}"


def printable(words: str) -> str:
    """Text without control characters, halves of characters, and the marks that turn the reading direction of what follows."""
    return words.translate(_UNPRINTABLE)


def tidy(words: str) -> str:
    """Prose with each figure and its sign kept on one line."""
    return words.replace("p = ", "p\u00a0=\u00a0").replace("p < ", "p\u00a0<\u00a0")


def whole(value: Any) -> str:
    """A count with its thousands separated; a dash for none."""
    return number(float(value), 0) if isinstance(value, int | float) else NONE


def moment(stamp: Any) -> str:
    """An ISO time as `24 November 2026, 14:31 UTC`; the text itself where it is not a time."""
    try:
        parsed = from_iso(str(stamp)).astimezone(UTC)
    except ValueError:
        return str(stamp) if stamp else NONE
    return f"{date_in_words(parsed)}, {parsed:%H:%M} UTC"
