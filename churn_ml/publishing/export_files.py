"""Files with types, written a block of rows at a time: Parquet and Excel."""

import math
from collections.abc import Generator, Sequence
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import xlsxwriter
from xlsxwriter.worksheet import Worksheet

from churn_ml.errors import PublishingError
from churn_ml.features.stream import stream_tables
from churn_ml.publishing.export_columns import Column
from churn_ml.warehouse.connection import Connection
from churn_ml.warehouse.sql import Composed

_ROWS_PER_GROUP, _ROWS_AT_ONCE = 20_000, 1_000
_SHEET_NAME = "rows"
_LONGEST_CELL = 32_767
_FIRST_SHEET_YEAR = 1900
_DATE_FORMAT, _TIME_FORMAT = "yyyy-mm-dd", "yyyy-mm-dd hh:mm:ss"


def write_parquet(reader: Connection, query: Composed, columns: Sequence[Column], path: Path) -> int:
    """Write the rows of `query` to `path` with their types and return their number."""
    schema = pa.schema([(column.name, column.arrow_type()) for column in columns])
    row_count = 0
    with (
        pq.ParquetWriter(path, schema, compression="zstd") as writer,
        closing(_blocks(reader, query, columns, _ROWS_PER_GROUP)) as blocks,
    ):
        for block in blocks:
            writer.write_table(block)
            row_count += block.num_rows
    return row_count


def write_xlsx(reader: Connection, query: Composed, columns: Sequence[Column], path: Path) -> int:
    """Write the rows of `query` to one sheet of `path` and return their number.

    Text stays text, also where it looks like a formula or a link. A time is UTC.

    Raises
    ------
    PublishingError
        If a text is longer than an Excel cell holds.
    """
    # The rows of a sheet wait in a file beside the workbook, which is put together at the end.
    options = {"constant_memory": True, "tmpdir": str(path.parent), "remove_timezone": True}
    row_count = 0
    with (
        xlsxwriter.Workbook(path, options) as workbook,
        closing(_blocks(reader, query, columns, _ROWS_AT_ONCE)) as blocks,
    ):
        sheet = workbook.add_worksheet(_SHEET_NAME)
        sheet.freeze_panes(1, 0)
        bold = workbook.add_format({"bold": True})
        for place, column in enumerate(columns):
            sheet.write_string(0, place, column.name, bold)
        write = _CellWriter(
            sheet,
            workbook.add_format({"num_format": _DATE_FORMAT}),
            workbook.add_format({"num_format": _TIME_FORMAT}),
        )
        for block in blocks:
            for values in zip(*(column.to_pylist() for column in block.columns), strict=True):
                row_count += 1
                for place, value in enumerate(values):
                    if value is not None:
                        write(row_count, place, value, columns[place].name)
    return row_count


class _CellWriter:
    """Writes a value into its cell as the type that it has."""

    def __init__(self, sheet: Worksheet, date_format: object, time_format: object) -> None:
        self.sheet, self.date_format, self.time_format = sheet, date_format, time_format

    def __call__(self, row: int, place: int, value: object, column: str) -> None:
        if isinstance(value, bool):
            self.sheet.write_boolean(row, place, value)
        elif isinstance(value, int | float | Decimal) and _is_finite(value):
            self.sheet.write_number(row, place, value)
        elif isinstance(value, date) and value.year >= _FIRST_SHEET_YEAR:
            form = self.time_format if isinstance(value, datetime) else self.date_format
            self.sheet.write_datetime(row, place, value, form)
        else:
            text = str(value)
            if len(text) > _LONGEST_CELL:
                raise PublishingError(
                    f"Expected text of at most {_LONGEST_CELL:,} characters for an Excel cell, found "
                    f"{len(text):,} in column {column}, row {row:,}. Leave the column out with --columns, or "
                    "take --format csv or parquet."
                )
            self.sheet.write_string(row, place, text)


def _is_finite(value: float | Decimal) -> bool:
    return math.isfinite(value)


def _blocks(reader: Connection, query: Composed, columns: Sequence[Column], rows: int) -> Generator[pa.Table]:
    types = {column.name: column.arrow_type() for column in columns}
    return stream_tables(reader, query, (), types, rows)
