"""What one landing says to the warehouse: its key, its rows, its quarantine, its register entry."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from io import BufferedReader
from shutil import copyfileobj
from typing import IO, Any

from churn_ml.landing.restricted import RowTarget
from churn_ml.landing.sources import FileStamp, Fingerprint, Source
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect
from churn_ml.warehouse.copying import copy_in, open_copy_out
from churn_ml.warehouse.sql import SQL, Composed, Identifier, Literal


@dataclass(frozen=True)
class BatchKey:
    """What a batch is about, before its file was read."""

    entity: str
    as_of_date: date | None
    known_at: datetime
    run_id: str | None
    is_first_load: bool


@dataclass(frozen=True)
class RowCounts:
    """Rows of a file and where they went."""

    in_file: int
    landed: int
    quarantined: int


@dataclass(frozen=True)
class KnownBatch:
    """A batch of the register."""

    batch_id: int
    file_name: str
    file_sha256: str
    is_first_load: bool
    counts: RowCounts


@dataclass(frozen=True)
class Delivered:
    """What a batch was read from: a file, or a table as far as `high_water`."""

    name: str
    file_format: str
    fingerprint: Fingerprint
    file_path: str | None = None
    modified_ns: int | None = None
    high_water: str | None = None


@dataclass(frozen=True)
class TableBatch:
    """A batch read from a table as far as `high_water`."""

    batch_id: int
    high_water: str
    is_first_load: bool


LandedBefore = dict[tuple[str, date | None, str, FileStamp], KnownBatch]
"""Batches by entity, as-of date, path and stamp of their file."""

_KNOWN_BATCH = (
    "select batch_id, file_name, file_sha256, is_first_load,"
    " row_count_in_file, row_count_landed, row_count_quarantined"
)


@contextmanager
def open_loader(settings: Settings) -> Iterator[Connection]:
    """Open a connection for any number of landings, each a transaction of its own."""
    with connect(settings, Role.LOADER, autocommit=True) as loader:
        loader.execute("create temporary sequence landing_row_numbers cache 1000")
        yield loader


def lock_delivery(connection: Connection, key: BatchKey, byte_count: int) -> None:
    """Wait for any other landing of a file of this size for the same entity and date."""
    _lock(connection, f"landing:{key.entity}:{key.as_of_date}:{byte_count}")


def lock_table(connection: Connection, key: BatchKey) -> None:
    """Wait for any other landing of the entity's table."""
    _lock(connection, f"landing:{key.entity}:table")


def _lock(connection: Connection, name: str) -> None:
    connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])


def batches_of_size(connection: Connection, key: BatchKey, byte_count: int) -> list[KnownBatch]:
    """Return the batches that may hold the same file: only a file of the same size can be."""
    rows = connection.execute(
        f"{_KNOWN_BATCH} from ops.landing_batches"
        " where entity = %s and as_of_date is not distinct from %s and file_byte_count = %s",
        [key.entity, key.as_of_date, byte_count],
    ).fetchall()
    return [_known_batch(row) for row in rows]


def batch_of_content(connection: Connection, key: BatchKey, sha256: str) -> KnownBatch:
    """Return the registered batch of the key's entity and date that holds this content."""
    row = connection.execute(
        f"{_KNOWN_BATCH} from ops.landing_batches"
        " where entity = %s and as_of_date is not distinct from %s and file_sha256 = %s",
        [key.entity, key.as_of_date, sha256],
    ).fetchone()
    assert row is not None  # noqa: S101 - the constraint same_file_once has just named it
    return _known_batch(row)


def batches_of_table(connection: Connection, key: BatchKey, name: str) -> list[TableBatch]:
    """Return the batches read from the table `name`, the newest last."""
    rows = connection.execute(
        "select batch_id, high_water, is_first_load from ops.landing_batches where entity = %s"
        " and file_name = %s and file_format = 'table' and high_water is not null order by batch_id",
        [key.entity, name],
    ).fetchall()
    return [TableBatch(*row) for row in rows]


def spool_unlanded(
    connection: Connection,
    target: RowTarget,
    raw_columns: Sequence[str],
    blocks: Iterable[bytes],
    batch_ids: list[int],
    spool: IO[bytes],
) -> None:
    """Write those rows of `blocks` to `spool` that none of the batches holds."""
    columns = SQL(", ").join(map(Identifier, raw_columns))
    landed = target.landed_rows(batch_ids)
    connection.execute(
        SQL("create temporary table landing_overlap on commit drop as select {} from {} with no data").format(
            columns, landed
        )
    )
    copy = SQL("copy pg_temp.landing_overlap ({}) from stdin (format csv, encoding 'UTF8')").format(columns)
    if not copy_in(connection, copy, blocks):
        return
    unlanded = SQL(
        "select {columns} from pg_temp.landing_overlap except all select {columns} from {landed}"
    ).format(columns=columns, landed=landed)
    with open_copy_out(connection, unlanded) as stream:
        rows = BufferedReader(stream)
        rows.readline()
        copyfileobj(rows, spool)


def landed_before(connection: Connection, dates: Iterable[date | None]) -> LandedBefore:
    """Return the batches of these dates whose files can be told without being read."""
    days = set(dates)
    rows = connection.execute(
        f"{_KNOWN_BATCH}, entity, as_of_date, file_path, file_byte_count, file_modified_ns"
        " from ops.landing_batches where file_path is not null"
        " and (as_of_date = any(%s) or (as_of_date is null and %s)) order by batch_id",
        [[day for day in days if day is not None], None in days],
    )
    return {(row[7], row[8], row[9], FileStamp(row[10], row[11])): _known_batch(row[:7]) for row in rows}


def _known_batch(row: tuple[Any, ...]) -> KnownBatch:
    return KnownBatch(row[0], row[1], row[2], row[3], RowCounts(*row[4:]))


def begin_batch(connection: Connection, key: BatchKey) -> int:
    """Mint a batch id and set what the defaults of the raw columns read."""
    row = connection.execute(
        "select batch_id,"
        " set_config('churn.landing_batch_id', batch_id::text, true),"
        " set_config('churn.landing_as_of_date', %s, true),"
        " set_config('churn.landing_known_at', %s, true),"
        " set_config('churn.landing_landed_at', now()::text, true),"
        " set_config('churn.landing_row_sequence',"
        " ('pg_temp.landing_row_numbers'::regclass)::oid::text, true)"
        " from nextval(pg_get_serial_sequence('ops.landing_batches', 'batch_id')) as batch_id",
        [str(key.as_of_date or ""), key.known_at.isoformat()],
    ).fetchone()
    assert row is not None  # noqa: S101 - nextval always answers
    return int(row[0])


def restart_row_numbers(connection: Connection) -> None:
    """Let the next COPY number its rows from 1 (a sequence is not undone with its savepoint)."""
    connection.execute("select setval('pg_temp.landing_row_numbers', 1, false)")


def copy_statement(table: Composed, raw_columns: Sequence[str], source: Source) -> Composed:
    """Return the COPY that takes a source's blocks, header left out, as text columns."""
    columns = SQL(", ").join(map(Identifier, raw_columns))
    empty_is_text = SQL("") if source.has_nulls else SQL(", force_not_null ({})").format(columns)
    return SQL("copy {} ({}) from stdin (format csv, delimiter {}, encoding {}{})").format(
        table, columns, Literal(source.delimiter), Literal(source.encoding), empty_is_text
    )


def register_batch(
    connection: Connection, key: BatchKey, batch_id: int, delivered: Delivered, counts: RowCounts
) -> bool:
    """Insert the batch's row; False if one with the same sha256, entity and as-of date is there."""
    row = connection.execute(
        "insert into ops.landing_batches (batch_id, entity, file_name, file_format, file_sha256,"
        " file_byte_count, file_path, file_modified_ns, high_water, as_of_date, known_at, landed_at, run_id,"
        " is_first_load, row_count_in_file, row_count_landed, row_count_quarantined)"
        " overriding system value"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, now(), %s, %s, %s, %s, %s)"
        " on conflict on constraint same_file_once do nothing returning batch_id",
        [batch_id, key.entity, delivered.name, delivered.file_format, delivered.fingerprint.sha256,
         delivered.fingerprint.byte_count, delivered.file_path, delivered.modified_ns, delivered.high_water,
         key.as_of_date, key.known_at, key.run_id, key.is_first_load, counts.in_file, counts.landed,
         counts.quarantined],
    ).fetchone()  # fmt: skip
    return row is not None


def store_quarantine(
    connection: Connection, key: BatchKey, batch_id: int, file_name: str, lines: Iterable[bytes]
) -> int:
    """Copy spooled quarantine lines (see `quarantine_line`) to ``ops.quarantine``."""
    prefix = "\t".join([str(batch_id), _escape(key.entity), _escape(file_name)]).encode() + b"\t"
    statement = SQL(
        "copy ops.quarantine (batch_id, entity, file_name, line_number, line_count, reason, detail,"
        " raw_bytes) from stdin (encoding 'UTF8')"
    ).format()
    return copy_in(connection, statement, (prefix + line for line in lines))


def quarantine_line(line_number: int, line_count: int, reason: str, detail: str, raw: bytes) -> bytes:
    """Return one line of COPY text for a quarantined record."""
    text = f"{line_number}\t{line_count}\t{reason}\t{_escape(detail)}\t\\\\x"
    return text.encode() + raw.hex().encode() + b"\n"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
