"""How values are written: one way for tiles, tables, tooltips and sentences."""

from datetime import date, datetime

import pandas as pd

NOT_KNOWN = "not known"
_NARROW = "\N{NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"
# From here on the last digits of an amount or a count say nothing to a reader.
_MILLIONS_FROM = 10_000_000
_CENTS_BELOW = 1_000


def show(value: object, kind: str, currency: str = "") -> str:
    """Return `value` as people read it.

    Parameters
    ----------
    value
        A number, date or text; None and NaN are not known.
    kind
        A format of ``marts.metric_definitions`` (integer, decimal, percent, points, days, currency), or
        date, month, time or text.
    currency
        ISO 4217 code of an amount.
    """
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return NOT_KNOWN
    if kind in _OF_TIME:
        return _OF_TIME[kind](value)
    if kind == "text" or isinstance(value, str):
        return str(value)
    return _show_number(float(value), kind, currency)  # type: ignore[arg-type]


def show_change(now: object, before: object, kind: str) -> str | None:
    """Return what became of a number, signed: points of a share, percent of an amount, else the difference.

    None where either is not known or where a percentage has nothing to be of.
    """
    if NOT_KNOWN in (show(now, kind), show(before, kind)):
        return None
    difference = float(now) - float(before)  # type: ignore[arg-type]
    if kind == "percent":
        return signed(100 * difference, "points")
    if kind == "currency":
        base = float(before)  # type: ignore[arg-type]
        return signed(100 * difference / base, "of_amount") if base else None
    return signed(difference, kind)


def signed(value: float, kind: str, currency: str = "") -> str:
    """Return a number with its sign, also where it is above 0; the sign is of what is shown."""
    text = _show_number(abs(value), kind, currency)
    if is_shown_as_zero(text):
        return text
    return f"{_MINUS if value < 0 else '+'}{text}"


def show_day(day: date) -> str:
    """Return a day as 30 October 2026."""
    return f"{day.day} {day:%B %Y}"


def short_day(day: date) -> str:
    """Return a day as 30 Oct, where there is little room and the year stands elsewhere."""
    return f"{day.day} {day:%b}"


def is_shown_as_zero(text: str) -> bool:
    """Say whether a number as it is written has no digit but 0: what is too small to see is no change."""
    return not any(digit in text for digit in "123456789")


def show_time(moment: datetime) -> str:
    """Return a UTC time to the minute."""
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"


_UNITS = {"percent": "%", "of_amount": "%", "points": "points", "days": "days"}
_OF_TIME = {
    "date": lambda value: show_day(value),
    "time": lambda value: show_time(value),
    "month": lambda value: f"{value:%B %Y}",
}


def _show_number(value: float, kind: str, currency: str) -> str:
    text = _digits(abs(value), kind)
    sign = _MINUS if value < 0 and not is_shown_as_zero(text) else ""
    unit = {"percent": "%", "of_amount": "%", "points": "points", "days": "days", "currency": currency}.get(
        kind
    )
    if kind == "days" and text == "1":
        unit = "day"
    return f"{sign}{text}{_NARROW}{unit}" if unit else f"{sign}{text}"


def _digits(value: float, kind: str) -> str:
    if kind == "percent":
        percent = 100 * value
        return f"{percent:.2f}" if 0 < percent < 1 else f"{percent:.1f}"
    if kind in ("points", "of_amount"):
        return f"{value:.1f}"
    if kind == "decimal":
        return f"{value:,.2f}"
    if value >= _MILLIONS_FROM:
        return f"{value / 1_000_000:,.1f} m"
    return f"{value:,.2f}" if kind == "currency" and value < _CENTS_BELOW else f"{value:,.0f}"
