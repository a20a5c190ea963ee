"""What one landing says to the warehouse: its key, its rows, its quarantine, its register entry."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from churn_ml.landing.sources import Fingerprint, Source
from churn_ml.warehouse.connection import Connection
from churn_ml.warehouse.copying import copy_in
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


def lock_delivery(connection: Connection, key: BatchKey, byte_count: int) -> None:
    """Wait for any other landing of a file of this size for the same entity and date."""
    connection.execute(
        "select pg_advisory_xact_lock(hashtextextended(%s, 0))",
        [f"landing:{key.entity}:{key.as_of_date}:{byte_count}"],
    )


def batches_of_size(connection: Connection, key: BatchKey, byte_count: int) -> list[KnownBatch]:
    """Return the batches that may hold the same file: only a file of the same size can be."""
    rows = connection.execute(
        "select batch_id, file_name, file_sha256, is_first_load,"
        " row_count_in_file, row_count_landed, row_count_quarantined from ops.landing_batches"
        " where entity = %s and as_of_date is not distinct from %s and file_byte_count = %s",
        [key.entity, key.as_of_date, byte_count],
    ).fetchall()
    return [KnownBatch(row[0], row[1], row[2], row[3], RowCounts(*row[4:])) for row in rows]


def begin_batch(connection: Connection, key: BatchKey) -> int:
    """Mint a batch id and set what the defaults of the raw columns read."""
    row = connection.execute(
        "select nextval(pg_get_serial_sequence('ops.landing_batches', 'batch_id'))"
    ).fetchone()
    assert row is not None  # noqa: S101 - nextval always answers
    for name, value in {
        "landing_batch_id": row[0],
        "landing_as_of_date": key.as_of_date or "",
        "landing_known_at": key.known_at.isoformat(),
    }.items():
        connection.execute("select set_config('churn.' || %s, %s, true)", [name, str(value)])
    connection.execute("select set_config('churn.landing_landed_at', now()::text, true)")
    return int(row[0])


def restart_row_numbers(connection: Connection) -> None:
    """Let the next COPY number its rows from 1 (a sequence is not undone with its savepoint)."""
    connection.execute("drop sequence if exists pg_temp.landing_row_numbers")
    connection.execute("create temporary sequence landing_row_numbers cache 1000")
    connection.execute(
        "select set_config('churn.landing_row_sequence',"
        " ('pg_temp.landing_row_numbers'::regclass)::oid::text, true)"
    )


def copy_statement(entity: str, raw_columns: Sequence[str], source: Source) -> Composed:
    """Return the COPY that takes a source's blocks, header left out, as text columns."""
    columns = SQL(", ").join(map(Identifier, raw_columns))
    empty_is_text = SQL("") if source.has_nulls else SQL(", force_not_null ({})").format(columns)
    return SQL("copy {} ({}) from stdin (format csv, delimiter {}, encoding {}{})").format(
        Identifier("raw", entity), columns, Literal(source.delimiter), Literal(source.encoding), empty_is_text
    )


def register_batch(
    connection: Connection,
    key: BatchKey,
    batch_id: int,
    file_name: str,
    file_format: str,
    fingerprint: Fingerprint,
    counts: RowCounts,
) -> bool:
    """Insert the batch's row; False if one with the same sha256, entity and as-of date is there."""
    row = connection.execute(
        "insert into ops.landing_batches (batch_id, entity, file_name, file_format, file_sha256,"
        " file_byte_count, as_of_date, known_at, landed_at, run_id, is_first_load, row_count_in_file,"
        " row_count_landed, row_count_quarantined) overriding system value"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, now(), %s, %s, %s, %s, %s)"
        " on conflict on constraint same_file_once do nothing returning batch_id",
        [batch_id, key.entity, file_name, file_format, fingerprint.sha256, fingerprint.byte_count,
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
