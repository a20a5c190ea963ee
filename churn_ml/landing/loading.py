"""Put a source's records into ``raw``: whole by COPY, or record by record where COPY refuses."""

import logging
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import IO

from churn_ml.errors import LandingError
from churn_ml.landing.batches import RowCounts, copy_statement, quarantine_line, restart_row_numbers
from churn_ml.landing.records import Record, RecordSplitter, split_lines
from churn_ml.landing.restricted import RowTarget
from churn_ml.landing.scan import RecordScan
from churn_ml.landing.sources import BLOCK_BYTES, Source
from churn_ml.warehouse.connection import Connection
from churn_ml.warehouse.sql import Composed
from churn_ml.warehouse.trial_copy import try_copy_in

log = logging.getLogger(__name__)

_SPOOL_IN_MEMORY = 4 * 1024 * 1024


@dataclass(frozen=True)
class LoadedRows:
    """The counts of a file whose good records are in ``raw``, and its spooled quarantine."""

    counts: RowCounts
    quarantine: IO[bytes]


def load_rows(
    connection: Connection,
    target: RowTarget,
    raw_columns: Sequence[str],
    source: Source,
    file_name: str,
    *,
    may_be_empty: bool,
) -> LoadedRows:
    """Load the rows of `source` by COPY, and through the record splitter if COPY or the scan object.

    Raises
    ------
    LandingError
        If the file has no rows and needs some, or its rows or bytes do not add up.
    """
    table = target.open(connection)
    refusal, loaded = _load_whole(connection, table, raw_columns, source)
    if loaded is None:
        log.warning("%s: not a clean file (%s): splitting its records", file_name, refusal)
        loaded = _load_records(connection, table, raw_columns, source, file_name)
    _require_rows(loaded.counts, source, file_name, may_be_empty=may_be_empty)
    target.part(connection, raw_columns, loaded.counts.landed, file_name)
    return loaded


def _load_whole(
    connection: Connection, table: Composed, raw_columns: Sequence[str], source: Source
) -> tuple[str | None, LoadedRows | None]:
    scan = RecordScan(source.delimiter)
    restart_row_numbers(connection)

    def find_fault(row_count: int) -> str | None:
        if scan.suspicion is None and row_count != scan.record_count:
            return f"COPY read {row_count} rows, the scan {scan.record_count}"
        return scan.suspicion

    with closing(source.blocks()) as blocks:
        outcome = try_copy_in(
            connection, copy_statement(table, raw_columns, source), scan.watch(blocks), find_fault
        )
    if outcome.refusal is not None:
        return outcome.refusal, None
    counts = RowCounts(scan.record_count, outcome.row_count, 0)
    return None, LoadedRows(counts, tempfile.SpooledTemporaryFile())


def _load_records(
    connection: Connection, table: Composed, raw_columns: Sequence[str], source: Source, file_name: str
) -> LoadedRows:
    sorting = RecordSorting(source, len(raw_columns))
    restart_row_numbers(connection)

    def find_fault(row_count: int) -> str | None:
        return None if row_count == sorting.counts.landed else f"COPY read {row_count} records"

    statement = copy_statement(table, raw_columns, source)
    outcome = try_copy_in(connection, statement, sorting.good_blocks(), find_fault)
    counts = sorting.counts
    if outcome.refusal is not None:
        raise LandingError(
            f"{file_name}: expected COPY to take the {counts.landed} well-formed records, found: "
            f"{outcome.refusal}. Nothing of the file was stored. "
            "Keep the file and report it: the record splitter and COPY disagree."
        )
    sorting.require_every_byte(file_name)
    sorting.spool.seek(0)
    return LoadedRows(counts, sorting.spool)


class RecordSorting:
    """Streams the good records of a source on and spools the malformed ones, counting every byte."""

    def __init__(self, source: Source, field_count: int) -> None:
        self.spool: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_SPOOL_IN_MEMORY)  # noqa: SIM115
        self._source = source
        self._splitter = RecordSplitter(
            source.delimiter, source.encoding, field_count, first_line_number=source.header_lines + 1
        )
        self._rows: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    @property
    def counts(self) -> RowCounts:
        """Rows sorted so far; a blank line is none."""
        landed, quarantined = self._rows["landed"], self._rows["quarantined"]
        return RowCounts(landed + quarantined, landed, quarantined)

    def good_blocks(self) -> Iterator[bytes]:
        """Yield the well-formed records, one per line end, in blocks for COPY."""
        pending: list[bytes] = []
        pending_bytes = 0
        with closing(self._source.blocks()) as blocks:
            for record in self._splitter.split(split_lines(self._counted(blocks))):
                if self._sort(record):
                    content = record.content
                    pending.append(b'"\\."' if content == b"\\." else content)
                    pending_bytes += len(content)
                if pending_bytes > BLOCK_BYTES:
                    yield b"\n".join(pending) + b"\n"
                    pending, pending_bytes = [], 0
        if pending:
            yield b"\n".join(pending) + b"\n"

    def require_every_byte(self, file_name: str) -> None:
        """Raise unless every byte read belongs to a landed or quarantined record or a blank line."""
        sorted_bytes = self._bytes["landed"] + self._bytes["quarantined"] + self._bytes["blank"]
        if sorted_bytes != self._bytes["read"]:
            raise LandingError(
                f"{file_name}: expected {self._bytes['read']} bytes in records, found {sorted_bytes}. "
                "Nothing of the file was stored. "
                "Keep the file and report it: the record splitter lost its place."
            )

    def _counted(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        for block in blocks:
            self._bytes["read"] += len(block)
            yield block

    def _sort(self, record: Record) -> bool:
        kind = "blank" if record.is_blank else "quarantined" if record.flaw else "landed"
        self._rows[kind] += 1
        self._bytes[kind] += len(record.raw)
        if record.flaw is not None:
            # A Parquet file has no lines: its records are counted instead.
            number = self.counts.in_file if self._source.has_nulls else record.line_number
            self.spool.write(
                quarantine_line(number, record.line_count, record.flaw.reason, record.flaw.detail, record.raw)
            )
        return kind == "landed"


def _require_rows(counts: RowCounts, source: Source, file_name: str, *, may_be_empty: bool) -> None:
    declared = source.declared_row_count
    if declared is not None and counts.in_file != declared:
        raise LandingError(
            f"{file_name}: expected the {declared} rows its footer declares, found {counts.in_file}. "
            "Deliver the file again. Nothing of it was stored."
        )
    if counts.in_file == 0 and not may_be_empty:
        raise LandingError(
            f"{file_name}: expected rows below the header, found none. An empty snapshot would replace every "
            "customer by nobody. Deliver the file with rows. Nothing of it was stored."
        )
