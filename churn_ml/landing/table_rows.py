"""Rows of a source table as CSV blocks of text, hashed as they are read."""

import hashlib
from collections.abc import Callable, Generator, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import IO, Any
from uuid import UUID

import pyarrow as pa

from churn_ml.errors import LandingError
from churn_ml.landing.arrow_csv import csv_block
from churn_ml.landing.marks import as_mark, as_moment
from churn_ml.landing.sources import BLOCK_BYTES, Fingerprint
from churn_ml.warehouse.source_tables import Mark, SourceTable, Span

Rows = Sequence[tuple[Any, ...]]


def _datetime_text(value: datetime) -> str:
    moment = value.astimezone(UTC) if value.tzinfo else value
    return moment.replace(tzinfo=None).isoformat() + "Z"


_AS_TEXT: dict[type, Callable[[Any], str]] = {
    str: str,
    bool: lambda value: "true" if value else "false",
    int: str,
    float: lambda value: format(Decimal(repr(value)), "f"),
    Decimal: lambda value: format(value, "f"),
    datetime: _datetime_text,
    date: date.isoformat,
    time: time.isoformat,
    UUID: str,
}


class RowText:
    """Turns rows into CSV: text for every value, in UTC; optionally with the time each is known from.

    Parameters
    ----------
    event_column
        The column whose time a row of a first load is known from; None leaves `_known_at` out.
    known_at
        The latest such time, and that of a row without one.
    """

    def __init__(self, table: SourceTable, event_column: str | None, known_at: datetime) -> None:
        self._table = table
        self._event_place = None if event_column is None else table.columns.index(event_column)
        self._known_at = known_at

    def block(self, rows: Rows) -> bytes:
        """Return `rows` as one block."""
        values = list(zip(*rows, strict=True))[: len(self._table.columns)]
        columns = [
            self._texts(name, column) for name, column in zip(self._table.columns, values, strict=True)
        ]
        if self._event_place is not None:
            columns.append([self._known_at_text(value) for value in values[self._event_place]])
        return csv_block([pa.array(column, pa.string()) for column in columns])

    def _texts(self, name: str, column: Sequence[object]) -> list[str | None]:
        kinds = set(map(type, column)) - {type(None)}
        if not kinds <= _AS_TEXT.keys():
            found = ", ".join(sorted(kind.__name__ for kind in kinds - _AS_TEXT.keys()))
            raise LandingError(
                f"table {self._table.name}: expected columns of text, numbers, booleans or dates, found "
                f"{name!r} with {found}. Read a view that turns it into text. "
                "Nothing of the table was stored."
            )
        if kinds == {str}:
            return list(column)  # type: ignore[arg-type]
        if len(kinds) == 1:
            as_text = _AS_TEXT[kinds.pop()]
            return [None if value is None else as_text(value) for value in column]
        return [None if value is None else _AS_TEXT[type(value)](value) for value in column]

    def _known_at_text(self, value: object) -> str:
        try:
            moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        except ValueError:
            moment = None
        event_at = as_moment(moment) if isinstance(moment, date) else self._known_at
        return min(event_at, self._known_at).isoformat()


class TableRows:
    """The rows of a span of a table, after rows read before; see `churn_ml.landing.sources.Source`.

    Attributes
    ----------
    newest : Mark or None
        The greatest value of the incremental column among the rows read.
    """

    delimiter = ","
    encoding = "UTF8"
    has_nulls = True
    header_bytes = 0
    header_lines = 0
    declared_row_count: int | None = None

    def __init__(self, table: SourceTable, text: RowText, span: Span, before: IO[bytes]) -> None:
        self.columns = table.columns
        self.newest: Mark | None = None
        self._table = table
        self._text = text
        self._span = span
        self._before = before

    def blocks(self) -> Generator[bytes, None, None]:
        """Read the rows from the first on."""
        digest, byte_count = hashlib.sha256(), 0
        self.newest = None
        for block in self._all_blocks():
            digest.update(block)
            byte_count += len(block)
            yield block
        self._fingerprint = Fingerprint(digest.hexdigest(), byte_count)

    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint of what the last whole reading of `blocks` read."""
        return self._fingerprint

    def _all_blocks(self) -> Generator[bytes, None, None]:
        self._before.seek(0)
        while block := self._before.read(BLOCK_BYTES):
            yield block
        for rows in self._table.rows(self._span):
            self._note_newest(rows)
            yield self._text.block(rows)

    def _note_newest(self, rows: Rows) -> None:
        kind = self._table.mark_kind
        if kind is None:
            return
        try:
            newest = as_mark(max(row[-1] for row in rows), kind)
        except (TypeError, ValueError) as error:
            raise LandingError(
                f"table {self._table.name}: expected values of one kind, found {error}. Correct the rows at "
                "the source. Nothing of the table was stored."
            ) from None
        self.newest = newest if self.newest is None else max(self.newest, newest)
