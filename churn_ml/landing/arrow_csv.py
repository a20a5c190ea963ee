"""Text columns as CSV: every text in quotes, nothing between the delimiters for a null."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.csv as pa_csv

ROWS_PER_BLOCK = 8192
_OPTIONS = pa_csv.WriteOptions(include_header=False, batch_size=ROWS_PER_BLOCK, quoting_style="needed")


def csv_block(columns: Sequence[pa.Array]) -> bytes:
    """Return the rows of these string columns as CSV without a header."""
    schema = pa.schema([(str(place), pa.string()) for place in range(len(columns))])
    sink = pa.BufferOutputStream()
    with pa_csv.CSVWriter(sink, schema, write_options=_OPTIONS) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(list(columns), schema=schema))
    block: bytes = sink.getvalue().to_pybytes()
    return block
