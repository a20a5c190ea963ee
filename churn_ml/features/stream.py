"""Rows of a query as Arrow tables of a fixed size, in constant memory."""

import io
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.csv

from churn_ml.errors import FeatureContractError
from churn_ml.warehouse.connection import Connection
from churn_ml.warehouse.copying import open_copy_out
from churn_ml.warehouse.sql import Composed

_READ_BYTES = 1 << 16


def stream_tables(
    connection: Connection,
    query: Composed,
    parameters: Sequence[object],
    column_types: Mapping[str, pa.DataType],
    rows_per_table: int,
) -> Generator[pa.Table]:
    """Yield the rows of `query` in their order, `rows_per_table` at a time (the last may be shorter).

    Every column is read as the type that `column_types` states, none is guessed: SQL null is null
    and an empty string stays an empty string.

    Raises
    ------
    FeatureContractError
        If the query does not return exactly the columns of `column_types`.
    """
    with open_copy_out(connection, query, parameters) as raw, io.BufferedReader(raw, _READ_BYTES) as file:
        reader = pyarrow.csv.open_csv(
            file,
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=_convert_options(column_types),
        )
        if sorted(reader.schema.names) != sorted(column_types):
            raise FeatureContractError(
                f"Expected the columns {', '.join(sorted(column_types))}, found "
                f"{', '.join(sorted(reader.schema.names))}."
            )
        yield from _regroup(reader, rows_per_table)


def read_ahead(tables: Iterator[pa.Table]) -> Generator[pa.Table]:
    """Yield `tables` while a thread reads the next one.

    Close it before `tables`: closing waits for the table that is being read.
    """
    with ThreadPoolExecutor(1, "read-ahead") as thread:
        waiting = thread.submit(next, tables, None)
        while (table := waiting.result()) is not None:
            waiting = thread.submit(next, tables, None)
            yield table


def read_table(
    connection: Connection,
    query: Composed,
    parameters: Sequence[object],
    column_types: Mapping[str, pa.DataType],
) -> pa.Table:
    """Read all rows of `query`; for training panels, which are held in memory as a whole."""
    tables = list(stream_tables(connection, query, parameters, column_types, rows_per_table=1 << 20))
    if not tables:
        return pa.schema(dict(column_types)).empty_table()
    return pa.concat_tables(tables).unify_dictionaries()


def _convert_options(column_types: Mapping[str, pa.DataType]) -> pyarrow.csv.ConvertOptions:
    return pyarrow.csv.ConvertOptions(
        column_types=dict(column_types),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        true_values=["t"],
        false_values=["f"],
    )


def _regroup(batches: Iterator[pa.RecordBatch], rows_per_table: int) -> Iterator[pa.Table]:
    waiting: list[pa.RecordBatch] = []
    row_count = 0
    for batch in batches:
        while row_count + batch.num_rows >= rows_per_table:
            take = rows_per_table - row_count
            yield pa.Table.from_batches([*waiting, batch.slice(0, take)])
            batch, waiting, row_count = batch.slice(take), [], 0
        if batch.num_rows:
            waiting.append(batch)
            row_count += batch.num_rows
    if waiting:
        yield pa.Table.from_batches(waiting)
