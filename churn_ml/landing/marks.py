"""The high-water mark of a table: up to where it was read, and what to read next."""

from datetime import UTC, date, datetime, timedelta

from churn_ml.warehouse.source_tables import Mark, MarkKind, Span

_LEAST_OVERLAP = timedelta(seconds=1)
"""Databases cut and compare fractions of a second each in its own way."""


def parse_mark(text: str, kind: MarkKind) -> Mark:
    """Read a mark of the register.

    Raises
    ------
    ValueError
        If it is none of this kind: the incremental column has another type than it had.
    """
    if kind == "number":
        return int(text)
    if kind == "day":
        return date.fromisoformat(text)
    if len(text) <= len("2026-10-31"):
        raise ValueError(f"{text!r} is no timestamp")
    return as_mark(datetime.fromisoformat(text), kind)


def as_mark(value: object, kind: MarkKind) -> Mark:
    """Return a value of the incremental column so that two of them can be compared.

    Raises
    ------
    ValueError
        If the value is not of this kind.
    """
    if isinstance(value, datetime) and kind in ("moment", "local_moment"):
        moment = value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        return moment if kind == "moment" else moment.replace(tzinfo=None)
    if isinstance(value, date) and not isinstance(value, datetime) and kind == "day":
        return value
    if isinstance(value, int) and kind == "number":
        return value
    raise ValueError(f"{value!r} of type {type(value).__name__} in the incremental column")


def mark_text(mark: Mark) -> str:
    """Return a mark as the register keeps it; a time is in UTC."""
    return as_moment(mark).isoformat() if isinstance(mark, datetime) else str(mark)


def as_moment(value: date) -> datetime:
    """Return a time with its zone; one without is UTC, and a day is known at its end."""
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    return datetime.combine(value, datetime.min.time(), UTC) + timedelta(days=1)


def newest_span(kind: MarkKind, mark: Mark | None, known_at: datetime) -> Span:
    """Return the rows beyond `mark` that a warehouse of `known_at` may know."""
    return Span(above=mark, up_to=_last_known(kind, known_at))


def overlap_span(kind: MarkKind, mark: Mark, known_at: datetime, minutes: int) -> Span:
    """Return the rows at and shortly before `mark`, some of which may have been committed late."""
    last = _last_known(kind, known_at)
    up_to = mark if last is None else min(mark, last)
    return Span(from_=_behind(mark, minutes), up_to=up_to)


def overlap_start(mark: Mark, minutes: int) -> Mark:
    """Return the first value that `overlap_span` reads."""
    return _behind(mark, minutes)


def _behind(mark: Mark, minutes: int) -> Mark:
    if isinstance(mark, datetime):
        return mark - max(timedelta(minutes=minutes), _LEAST_OVERLAP)
    if isinstance(mark, date):
        return mark - timedelta(days=-(-minutes // (24 * 60)))
    return mark


def _last_known(kind: MarkKind, known_at: datetime) -> Mark | None:
    if kind == "number":
        return None
    return as_mark(known_at, kind) if kind != "day" else known_at.astimezone(UTC).date()
