"""One mart as a file, read by ``bi_reader``: what BI may not see cannot be exported either.

The rows stream: neither a million of them nor thirty nights of them are ever held in memory.
"""

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from churn_ml.errors import PublishingError
from churn_ml.publishing.export_columns import Column, read_columns
from churn_ml.publishing.whole_files import appear_whole
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect
from churn_ml.warehouse.copying import copy_out
from churn_ml.warehouse.sql import SQL, Composed, Identifier, PostgresError

log = logging.getLogger(__name__)

FileFormat = Literal["csv", "parquet", "xlsx"]
MOST_SHEET_ROWS = 1_048_575
"""Rows below the header that one Excel sheet holds."""

STDOUT = Path("-")


@dataclass(frozen=True)
class Export:
    """What was written: `row_count` rows below the header, `byte_count` bytes, in `seconds`."""

    mart: str
    file_format: FileFormat
    path: Path
    row_count: int
    byte_count: int
    seconds: float


@dataclass(frozen=True)
class _Request:
    mart: str
    file_format: FileFormat
    columns: tuple[Column, ...]
    rows: Composed
    order: Composed
    path: Path

    @property
    def query(self) -> Composed:
        return self.rows + self.order


def export_mart(
    settings: Settings,
    mart: str,
    path: Path,
    file_format: FileFormat = "csv",
    *,
    where: str | None = None,
    columns: Sequence[str] = (),
    escape_formulas: bool = False,
) -> Export:
    """Write the rows of `mart` that BI sees to `path`, in the order of the mart's primary key.

    The file appears under its name when it is whole; a failed export leaves nothing and keeps a
    file of that name that was there. Numbers, dates and times keep their types in Parquet and
    Excel; a time is UTC, and a number with more than Excel's 15 digits is rounded there.

    Parameters
    ----------
    mart
        A table or view of the schema ``marts``.
    path
        The file to write; ``-`` is standard output, for csv.
    where
        A condition in SQL on the mart's columns. None: all rows.
    columns
        Columns to write, in this order. Empty: all of them.
    escape_formulas
        For csv that goes to a spreadsheet: an apostrophe before text that it would take for a
        formula. In Excel files text is text and needs none.

    Raises
    ------
    PublishingError
        If mart or columns do not exist, Postgres refuses the condition, the rows do not fit into a
        sheet, or the file cannot be written.
    """
    started = time.monotonic()
    _require_writable(path, file_format, escape_formulas)
    with connect(settings, Role.READER) as reader, _plain_errors(mart, where):
        # One snapshot for counting and reading; the limit of dashboards is not for whole marts.
        reader.execute("set transaction isolation level repeatable read read only")
        reader.execute("set local statement_timeout = 0")
        found = read_columns(reader, mart, columns)
        rows = _compose_rows(mart, found, where, escape_formulas)
        request = _Request(mart, file_format, found, rows, _compose_order(reader, mart), path)
        _require_one_statement(reader, request)
        row_count, byte_count = _write(reader, request)
    seconds = time.monotonic() - started
    log.info("exported marts.%s: %d rows, %d bytes in %.1f s", mart, row_count, byte_count, seconds)
    return Export(mart, file_format, path, row_count, byte_count, round(seconds, 3))


def _require_writable(path: Path, file_format: FileFormat, escape_formulas: bool) -> None:
    if escape_formulas and file_format != "csv":
        raise PublishingError(
            f"Expected format csv with escaped formulas, found {file_format}: there text is never a formula."
        )
    if path == STDOUT:
        if file_format != "csv":
            raise PublishingError(
                f"Expected a file for {file_format}, found `-`: only csv goes to standard output."
            )
        return
    if path.is_dir() or not path.parent.is_dir():
        raise PublishingError(
            f"Expected a file in a folder that exists, found {path}. Make the folder, or name a file in it."
        )


@contextmanager
def _plain_errors(mart: str, where: str | None) -> Iterator[None]:
    try:
        yield
    except PostgresError as error:
        condition = f" where {where}" if where else ""
        found = ". ".join(filter(None, [error.diag.message_primary or str(error), error.diag.message_hint]))
        raise PublishingError(
            f"Expected bi_reader to read marts.{mart}{condition}, found: {found}. A condition is one "
            f"expression on the mart's columns; `churn-ml warehouse psql -c '\\d marts.{mart}'` lists them."
        ) from None
    except OSError as error:
        raise PublishingError(
            f"Expected to write the export of marts.{mart}, found: {error}. Name another file."
        ) from None


def _compose_rows(mart: str, columns: Sequence[Column], where: str | None, escape_formulas: bool) -> Composed:
    chosen = SQL(", ").join(column.expression(escape_formulas) for column in columns)
    rows = SQL("select {} from {} as mart").format(chosen, Identifier("marts", mart))
    if where is not None:
        # A line of its own: a comment in the condition must not swallow what follows.
        rows += SQL("\nwhere (\n{}\n)").format(SQL(where.replace("%", "%%")))
    return rows


def _compose_order(reader: Connection, mart: str) -> Composed:
    keys = reader.execute(
        "select attname from pg_index join pg_attribute on attrelid = indrelid and attnum = any(indkey)"
        " where indisprimary and indrelid = format('marts.%%I', %s::text)::regclass"
        " order by array_position(indkey::smallint[], attnum)",
        [mart],
    ).fetchall()
    names = SQL(", ").join(Identifier("mart", str(name)) for (name,) in keys)
    return SQL("\norder by {}").format(names) if keys else Composed([])


def _require_one_statement(reader: Connection, request: _Request) -> None:
    """Let Postgres parse the query as one statement: the binary protocol takes no second one."""
    with reader.cursor(binary=True) as cursor:
        cursor.execute(SQL("select from ({}) as rows limit 0").format(request.query), ())


def _write(reader: Connection, request: _Request) -> tuple[int, int]:
    if request.path == STDOUT:
        return _write_csv(reader, request, sys.stdout.buffer)
    if request.file_format == "xlsx":
        _require_sheet(reader, request)
    with appear_whole(request.path) as unfinished:
        return _write_file(reader, request, unfinished)


def _write_file(reader: Connection, request: _Request, path: Path) -> tuple[int, int]:
    if request.file_format == "csv":
        with path.open("wb") as file:
            return _write_csv(reader, request, file)
    from churn_ml.publishing import export_files

    write = {"parquet": export_files.write_parquet, "xlsx": export_files.write_xlsx}[request.file_format]
    row_count = write(reader, request.query, request.columns, path)
    return row_count, path.stat().st_size


class _CountingFile:
    """A file that counts the bytes it is given."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.byte_count = file, 0

    def write(self, data: bytes, /) -> None:
        self.byte_count += self.file.write(data)


def _write_csv(reader: Connection, request: _Request, file: BinaryIO) -> tuple[int, int]:
    counting = _CountingFile(file)
    row_count = copy_out(reader, request.query, counting)
    file.flush()
    return row_count, counting.byte_count


def _require_sheet(reader: Connection, request: _Request) -> None:
    row = reader.execute(
        SQL("select count(*) from (select from ({}) as rows limit {}) as counted").format(
            request.rows, MOST_SHEET_ROWS + 1
        ),
        (),
    ).fetchone()
    if row is not None and row[0] > MOST_SHEET_ROWS:
        raise PublishingError(
            f"Expected at most {MOST_SHEET_ROWS:,} rows for an Excel sheet, found more of "
            f"marts.{request.mart}. Narrow them with --where, or take --format csv or parquet."
        )
