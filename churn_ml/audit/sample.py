"""A seeded sample of customers with all their raw rows, copied from the live warehouse as a stream."""

import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from churn_ml.audit.databases import ThrowAway
from churn_ml.declarations import Dataset, load_dataset
from churn_ml.errors import AuditFailed
from churn_ml.services.dated_nights import Night
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect
from churn_ml.warehouse.copying import copy_in, open_copy_out
from churn_ml.warehouse.raw_tables import META_COLUMNS
from churn_ml.warehouse.runs import night_cut_off
from churn_ml.warehouse.sql import SQL, Composed, Identifier, Literal

log = logging.getLogger(__name__)

_BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Sample:
    """What was copied: how many customers and rows, and the newest night they tell of."""

    customers: int
    rows: int
    newest: Night


def end_of(night: Night) -> datetime:
    """Return the first moment after the as-of date."""
    return datetime.combine(night.as_of_date + timedelta(days=1), time(0, tzinfo=UTC))


def night_of(as_of_date: date) -> Night:
    """Return the night of `as_of_date` with the cut-off that the schedule gives it."""
    return Night(as_of_date, night_cut_off(as_of_date))


def read_night(live: Settings, as_of_date: date | None) -> Night:
    """Return the night of `as_of_date`, or else the newest published one, or the newest delivered one.

    Raises
    ------
    AuditFailed
        If nothing has landed.
    """
    with connect(live, Role.AUDITOR) as auditor:
        if as_of_date is None:
            [(as_of_date,)] = auditor.execute(
                "select coalesce((select max(as_of_date) from ops.published_runs),"
                " (select max(as_of_date) from ops.landing_batches))"
            ).fetchall()
        if as_of_date is None:
            raise AuditFailed(
                f"Expected deliveries in {live.warehouse_database} to audit, found none. "
                "Land a history first: `churn-ml land <folder> --first-load`."
            )
        row = auditor.execute(
            "select known_as_of from ops.published_runs where as_of_date = %s", [as_of_date]
        ).fetchone()
    return Night(as_of_date, row[0]) if row else night_of(as_of_date)


def copy_sample(live: Settings, target: ThrowAway, newest: Night, customers: int, seed: int) -> Sample:
    """Copy the rows of a seeded choice of customers, and the batches that brought them.

    Entities without a customer_id, as plans, are copied whole. The live warehouse is read in one
    snapshot and by the role that reads only.
    """
    dataset = load_dataset(live)
    with connect(live, Role.AUDITOR) as source, target.connect(Role.OWNER) as owner:
        source.execute("set transaction isolation level repeatable read, read only")
        chosen = _choose_customers(source, customers, seed)
        rows = sum(_copy_entity(source, owner, dataset, entity, chosen) for entity in dataset.entities)
        _copy_batches(source, owner, dataset)
    if not rows:
        raise AuditFailed(
            f"Expected rows of customers in {live.warehouse_database} to audit, found none. "
            "Land a history first: `churn-ml land <folder> --first-load`."
        )
    log.info("audit: %d rows of %d customers copied", rows, len(chosen))
    return Sample(len(chosen), rows, newest)


def _choose_customers(source: Connection, customers: int, seed: int) -> list[str]:
    rows = source.execute(
        "select customer_id from raw.customers group by customer_id"
        " order by md5(%s || ':' || customer_id), customer_id limit %s",
        [str(seed), customers],
    ).fetchall()
    return [str(customer_id) for (customer_id,) in rows]


def _copy_entity(
    source: Connection, owner: Connection, dataset: Dataset, entity: str, chosen: list[str]
) -> int:
    declared = dataset.entities[entity].open_columns
    columns = SQL(", ").join(map(Identifier, [*declared, *META_COLUMNS]))
    query = SQL("select {} from {}").format(columns, Identifier("raw", entity))
    parameters: list[object] = []
    if "customer_id" in declared:
        query += SQL(" where customer_id = any(%s)")
        parameters.append(chosen)
    return copy_rows(source, query, parameters, owner, SQL("raw.{} ({})").format(Identifier(entity), columns))


def _copy_batches(source: Connection, owner: Connection, dataset: Dataset) -> None:
    """Copy the register of the batches that the copied rows came with, and number new ones after them."""
    batches = [
        batch_id
        for entity in dataset.entities
        for (batch_id,) in owner.execute(
            SQL("select distinct _batch_id from {}").format(Identifier("raw", entity))
        ).fetchall()
    ]
    columns = SQL(", ").join(map(Identifier, _batch_columns(owner)))
    query = SQL("select {} from ops.landing_batches where batch_id = any(%s)").format(columns)
    copy_rows(source, query, [batches], owner, SQL("ops.landing_batches ({})").format(columns))
    number_batches_anew(owner)
    count_rows(owner, dataset)


def count_rows(owner: Connection, dataset: Dataset) -> None:
    """Let the register say of each batch the rows that are there, as it does of whole batches."""
    for entity in dataset.entities:
        owner.execute(
            SQL(
                "update ops.landing_batches as batches set row_count_quarantined = 0,"
                " row_count_in_file = counted.row_count, row_count_landed = counted.row_count"
                " from (select batch_id, count(raw._batch_id) as row_count from ops.landing_batches"
                " left join {} as raw on batch_id = raw._batch_id where entity = {} group by 1) as counted"
                " where counted.batch_id = batches.batch_id"
            ).format(Identifier("raw", entity), Literal(entity))
        )


def number_batches_anew(owner: Connection) -> None:
    """Let the next batch be numbered after all that are there."""
    owner.execute(
        "select setval(pg_get_serial_sequence('ops.landing_batches', 'batch_id'),"
        " (select coalesce(max(batch_id), 0) + 1 from ops.landing_batches))"
    )


def _batch_columns(owner: Connection) -> list[str]:
    """Return the columns of the register; the runs that landed the batches are not copied."""
    rows = owner.execute(
        "select column_name from information_schema.columns"
        " where table_schema = 'ops' and table_name = 'landing_batches' and column_name <> 'run_id'"
    ).fetchall()
    return [str(name) for (name,) in rows]


def copy_rows(
    source: Connection, query: Composed, parameters: list[object], target: Connection, into: Composed
) -> int:
    """Copy the rows of `query` as a stream `into` a table and its columns; return how many."""
    statement = SQL("copy {} from stdin (format csv, header true)").format(into)
    with open_copy_out(source, query, parameters) as rows:
        return copy_in(target, statement, _blocks(io.BufferedReader(rows, _BLOCK_BYTES)))


def _blocks(rows: io.BufferedReader) -> Iterator[bytes]:
    while block := rows.read(_BLOCK_BYTES):
        yield block
