"""A Parquet file as CSV blocks: text for every value, nothing between the delimiters for a null."""

from collections.abc import Generator, Iterator
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from churn_ml.declarations import Entity
from churn_ml.errors import LandingError
from churn_ml.landing.arrow_csv import ROWS_PER_BLOCK, csv_block
from churn_ml.landing.headers import check_columns
from churn_ml.landing.sources import Fingerprint, hash_file

_AS_TEXT = (
    pt.is_string, pt.is_large_string, pt.is_string_view, pt.is_boolean, pt.is_integer, pt.is_floating,
    pt.is_decimal, pt.is_date, pt.is_timestamp, pt.is_time, pt.is_null,
)  # fmt: skip


class ParquetSource:
    """A Parquet file; see `churn_ml.landing.sources.Source`."""

    delimiter = ","
    encoding = "UTF8"
    has_nulls = True
    header_bytes = 0
    header_lines = 0

    def __init__(self, path: Path, entity_name: str, entity: Entity) -> None:
        self._path = path
        with self._open() as file:
            schema = file.schema_arrow
            self.declared_row_count: int | None = file.metadata.num_rows
        self.columns: list[str] = list(schema.names)
        check_columns(self.columns, path.name, entity_name, entity)
        self._refuse_untextual(schema)

    def blocks(self) -> Generator[bytes, None, None]:
        """Read the rows as CSV, one record batch at a time."""
        with self._open() as file:
            batches = file.iter_batches(batch_size=ROWS_PER_BLOCK)
            while (batch := self._next(batches)) is not None:
                yield csv_block([_as_text(column) for column in batch.columns])

    def fingerprint(self) -> Fingerprint:
        """Hash the file; its format is not read from front to back."""
        return hash_file(self._path)

    def _open(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(self._path)
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(error) from None

    def _next(self, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
        try:
            return next(batches, None)
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: Exception) -> LandingError:
        first_line = str(error).split("\n", 1)[0]
        return LandingError(
            f"{self._path.name}: expected a whole Parquet file, found: {first_line} "
            "Deliver the file again. Nothing of it was stored."
        )

    def _refuse_untextual(self, schema: pa.Schema) -> None:
        refused = [f"{field.name!r} is {field.type}" for field in schema if not _has_text(field.type)]
        if refused:
            raise LandingError(
                f"{self._path.name}: expected columns of text, numbers, booleans or dates, found "
                f"{', '.join(refused)}. Flatten nested columns before delivery. "
                "Nothing of the file was stored."
            )


def _has_text(data_type: pa.DataType) -> bool:
    if pt.is_dictionary(data_type):
        return _has_text(data_type.value_type)
    return any(matches(data_type) for matches in _AS_TEXT)


def _as_text(column: pa.Array) -> pa.Array:
    text = pc.cast(column, pa.string())
    value_type = column.type.value_type if pt.is_dictionary(column.type) else column.type
    if not (pt.is_floating(value_type) or pt.is_decimal(value_type)):
        return text
    has_exponent = pc.match_substring_regex(text, "[0-9][eE]")
    if not pc.any(has_exponent).as_py():
        return text
    plain = [format(Decimal(value), "f") for value in text.filter(has_exponent).to_pylist()]
    return pc.replace_with_mask(text, pc.fill_null(has_exponent, False), pa.array(plain, pa.string()))
