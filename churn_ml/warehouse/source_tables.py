"""Tables of a source database, any that SQLAlchemy reaches, read as a stream of rows."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from churn_ml.errors import LandingError

Mark = datetime | date | int
"""A value of an incremental column."""

MarkKind = Literal["moment", "local_moment", "day", "number"]
"""A timestamp with a time zone, one without, a date, an integer."""

_ROWS_PER_READ = 5000
_MOST_NAMES = 20
# The values of other types are taken as the driver gives them: SQLAlchemy would round a decimal.
_CONVERTED = (sa.DateTime, sa.Date, sa.Time, sa.Boolean)


@dataclass(frozen=True)
class Span:
    """Which rows to read, by the incremental column.

    Attributes
    ----------
    above : Mark or None
        Excluded lower bound.
    from_ : Mark or None
        Included lower bound.
    up_to : Mark or None
        Included upper bound.
    """

    above: Mark | None = None
    from_: Mark | None = None
    up_to: Mark | None = None


@contextmanager
def open_source(url_text: str) -> Iterator[sa.Connection]:
    """Open a connection to the source database that reads one state of it, where the database can.

    Raises
    ------
    LandingError
        If the URL is none, its driver is not installed, or the database refuses or fails; a
        password is never shown.
    """
    url = _read_url(url_text)
    engine = _create_engine(url)
    try:
        with engine.connect() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise LandingError(
            f"Expected the source database at {_shown(url)} to answer, found: {_first_line(error)} "
            "Check CHURN_SOURCE_URL and the rights of its user. Nothing of the table was stored."
        ) from None
    finally:
        engine.dispose()


def _read_url(url_text: str) -> URL:
    try:
        url = make_url(url_text)
    except (ArgumentError, ValueError):
        raise LandingError(
            "Expected a URL such as postgresql://user:password@host/database in CHURN_SOURCE_URL, found "
            "text that is none. See .env.example."
        ) from None
    return url.set(drivername="postgresql+psycopg") if url.drivername in ("postgresql", "postgres") else url


def _create_engine(url: URL) -> sa.Engine:
    options: dict[str, Any] = {}
    if url.get_backend_name() == "postgresql":
        options = {
            "isolation_level": "REPEATABLE READ",
            "connect_args": {"connect_timeout": 10} if "psycopg" in url.drivername else {},
        }
    try:
        return sa.create_engine(url, poolclass=sa.NullPool, **options)
    except (NoSuchModuleError, ImportError) as error:
        raise LandingError(
            f"Expected a driver for {url.drivername} beside SQLAlchemy, found none ({error}). Install the "
            "driver, or name an installed one in CHURN_SOURCE_URL, such as postgresql+psycopg."
        ) from None


def _shown(url: URL) -> str:
    return url.set(query={}).render_as_string(hide_password=True)


def _first_line(error: SQLAlchemyError) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    line = (str(cause).strip() or type(cause).__name__).split("\n", 1)[0]
    return line if line.endswith(".") else f"{line}."


class SourceTable:
    """A table or view of the source: the declared columns, and the incremental one if there is any.

    Raises
    ------
    LandingError
        If the table or a column is not there, or the incremental column has no order to rely on.
    """

    def __init__(
        self, connection: sa.Connection, name: str, columns: Sequence[str], incremental_column: str | None
    ) -> None:
        self.name = name
        self.columns = list(columns)
        schema, _, table_name = name.rpartition(".")
        types = _column_types(connection, table_name, schema or None, name)
        wanted = [*columns, *([incremental_column] if incremental_column else [])]
        _require_columns(name, wanted, types)
        self.mark_kind = _mark_kind(name, incremental_column, types) if incremental_column else None
        self._connection = connection
        self._table = sa.table(
            table_name, *(_column(n, types[n]) for n in set(wanted)), schema=schema or None
        )
        self._selected = [self._table.c[column] for column in wanted]
        self._mark = self._table.c[incremental_column] if incremental_column else None

    def rows(self, span: Span) -> Iterator[Sequence[tuple[Any, ...]]]:
        """Stream the rows of `span` in parts, each row with the incremental value as its last."""
        query = sa.select(*self._selected).where(*self._conditions(span))
        streaming = self._connection.execution_options(stream_results=True, yield_per=_ROWS_PER_READ)
        parts = iter(streaming.execute(query).partitions(_ROWS_PER_READ))
        while (part := self._readable(lambda: next(parts, None))) is not None:
            yield part

    def count_without_mark(self) -> int:
        """Count the rows whose incremental column is null: no span ever holds them."""
        if self._mark is None:
            return 0
        query = sa.select(sa.func.count()).select_from(self._table).where(self._mark.is_(None))
        return int(self._connection.execute(query).scalar_one())

    def _conditions(self, span: Span) -> Iterator[sa.ColumnElement[bool]]:
        if self._mark is None:
            return
        if span.above is not None:
            yield self._mark > span.above
        if span.from_ is not None:
            yield self._mark >= span.from_
        if span.up_to is not None:
            yield self._mark <= span.up_to

    def _readable(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except (ValueError, TypeError, OverflowError) as error:
            raise LandingError(
                f"table {self.name}: expected values that fit the types of its columns, found: {error}. "
                "Correct the rows at the source. Nothing of the table was stored."
            ) from None


def _column_types(
    connection: sa.Connection, table_name: str, schema: str | None, name: str
) -> dict[str, sa.types.TypeEngine[Any]]:
    inspector = sa.inspect(connection)
    if not inspector.has_table(table_name, schema=schema):
        there = sorted([*inspector.get_table_names(schema=schema), *inspector.get_view_names(schema=schema)])
        raise LandingError(
            f"Expected a table {name} at the source, found {_listed(there)}. Correct table: in the dataset's "
            "YAML file (schema.table), or grant the user of CHURN_SOURCE_URL the right to read it."
        )
    return {column["name"]: column["type"] for column in inspector.get_columns(table_name, schema=schema)}


def _require_columns(name: str, wanted: Sequence[str], types: dict[str, Any]) -> None:
    missing = [column for column in wanted if column not in types]
    if missing:
        raise LandingError(
            f"table {name}: expected the columns {', '.join(missing)}, found {_listed(list(types))}. "
            "Correct columns: or table: in the dataset's YAML file. Nothing of the table was stored."
        )


def _mark_kind(name: str, column: str, types: dict[str, Any]) -> MarkKind:
    column_type = types[column]
    if isinstance(column_type, sa.DateTime):
        return "moment" if getattr(column_type, "timezone", False) else "local_moment"
    if isinstance(column_type, sa.Date):
        return "day"
    if isinstance(column_type, sa.Integer):
        return "number"
    raise LandingError(
        f"table {name}: expected a timestamp, date or integer as its incremental column, found {column} of "
        f"type {column_type}. Declare another incremental_column: in the dataset's YAML file."
    )


def _column(name: str, column_type: sa.types.TypeEngine[Any]) -> sa.ColumnClause[Any]:
    return sa.column(name, column_type) if isinstance(column_type, _CONVERTED) else sa.column(name)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more if names else "none"
