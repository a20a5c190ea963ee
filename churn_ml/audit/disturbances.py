"""What the proofs do to the raw rows of the sample: take the future away, change it, add to it, reorder.

Everything here works on any dated dataset: it knows the columns every version carries (event_at,
revision, is_deleted) and the key and columns that the dataset declares, and no others.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from churn_ml.audit.sample import count_rows, end_of, number_batches_anew
from churn_ml.declarations import Dataset, Entity
from churn_ml.services.dated_nights import Night
from churn_ml.warehouse.connection import Connection
from churn_ml.warehouse.raw_tables import META_COLUMNS
from churn_ml.warehouse.sql import SQL, Composed, Identifier, Literal

# Moments that surely cast, so that no verdict on a delivered text is anticipated here.
_MOMENT = "^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$"
_PORTIONS = 2
_RIVALS = 20
_INSTANT = timedelta(microseconds=1)
_A_SECOND_LATER = (
    "to_char((event_at::timestamptz + interval '1 second') at time zone 'UTC',"
    """ 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"""
)

Changes = Mapping[str, Composed | SQL]
"""What is put in the place of a record's own columns."""


@dataclass(frozen=True)
class Table:
    """One raw table and what its declaration says of it."""

    entity: str
    columns: tuple[str, ...]
    key: tuple[str, ...]

    @property
    def name(self) -> Identifier:
        """The table as an identifier."""
        return Identifier("raw", self.entity)

    @property
    def values(self) -> tuple[str, ...]:
        """The columns that may be exchanged between two records: neither identity nor reference."""
        fixed = {*self.key, "event_at", "revision", "is_deleted"}
        return tuple(name for name in self.columns if name not in fixed and not name.endswith("_id"))

    @property
    def label(self) -> str:
        """The column by whose change a record becomes another one."""
        return "event_at" if "event_at" in self.key else self.key[0]


def tables_of(dataset: Dataset) -> list[Table]:
    """Return the raw tables of `dataset`."""
    return [_table(name, entity) for name, entity in dataset.entities.items()]


def _table(name: str, entity: Entity) -> Table:
    return Table(name, tuple(entity.open_columns), tuple(entity.key))


def take_future_away(owner: Connection, dataset: Dataset, night: Night) -> int:
    """Delete every row that happened after the as-of date or became known after the cut-off."""
    deleted = 0
    for table in tables_of(dataset):
        statement = SQL("delete from {} where {}").format(table.name, _is_future(night))
        deleted += owner.execute(statement).rowcount
    owner.execute("delete from ops.landing_batches where known_at > %s", [night.known_as_of])
    count_rows(owner, dataset)
    return deleted


def change_future(owner: Connection, dataset: Dataset, night: Night, seed: int) -> tuple[int, int]:
    """Exchange the values of all future rows and add future rows to every record of the past.

    Added are, to the newest record of each customer (and of each plan): a deletion of it known an
    instant after the cut-off, a further record of before the end of the day known at that instant,
    and one of the first moment after the day, known at the cut-off. Returns how many rows were
    changed and added.
    """
    _expect_many_rows(owner)
    changed = added = 0
    for table in tables_of(dataset):
        changed += owner.execute(_exchange(table, _is_future(night), seed)).rowcount
        after = _open_batch(owner, table, night, night.known_as_of + _INSTANT, "after")
        at_once = _open_batch(owner, table, night, night.known_as_of, "at the cut-off")
        for batch_id, changes in (
            (after, {"revision": SQL("(revision::integer + 1)::text"), "is_deleted": SQL("'true'")}),
            (after, _under_another_key(table, "-late") or {"event_at": SQL(_A_SECOND_LATER)}),
            (at_once, {"event_at": _text_of(end_of(night)), **_under_another_key(table, "-next")}),
        ):
            added += owner.execute(_add(table, night, seed, batch_id, changes)).rowcount
    count_rows(owner, dataset)
    return changed, added


def add_rivals(owner: Connection, dataset: Dataset, night: Night, seed: int) -> int:
    """Give some records of the past a rival: same key and revision, other values, known as early.

    Nothing but the content may decide between the two, so that the order of arrival does not.
    """
    _expect_many_rows(owner)
    added = 0
    for table in tables_of(dataset):
        known_at = _busiest_delivery(owner, table, night)
        if known_at is None or not table.values:
            continue
        batch_id = _open_batch(owner, table, night, known_at, "rivals")
        condition = SQL("_known_at = {}").format(Literal(known_at))
        source = SQL("(select * from ({}) as given order by md5({} || {}) limit {}) as given").format(
            _shaken(table, condition, seed), Literal(str(seed)), _key_text(table), Literal(_RIVALS)
        )
        added += owner.execute(_insert(table, source, batch_id, {})).rowcount
    count_rows(owner, dataset)
    return added


def make_late_rows(
    owner: Connection, table: Table, night: Night, customers: list[str], seed: int
) -> list[tuple[str, ...]]:
    """Return one record per customer that happened at noon of the as-of date and nobody knew of.

    The rows are texts in the order of the table's columns; they are nowhere stored.
    """
    _expect_many_rows(owner)
    changes: Changes = {
        "event_at": SQL("{}").format(Literal(f"{night.as_of_date}T12:00:00Z")),
        "revision": SQL("'1'"),
        **_under_another_key(table, "-late"),
    }
    values = [changes.get(name, Identifier(name)) for name in table.columns]
    query = SQL(
        "select distinct on (customer_id) {} from ({}) as given where customer_id = any(%s)"
        " order by customer_id, event_at desc"
    ).format(SQL(", ").join(values), _shaken(table, _is_past(night), seed))
    return owner.execute(query, [customers]).fetchall()


def shuffle_arrival(owner: Connection, dataset: Dataset, seed: int) -> Iterator[bool]:
    """Let all batches arrive again, numbered the other way round, in portions of a random order.

    Yields after each has arrived whether it was the last; the caller stages in between.
    """
    tables = tables_of(dataset)
    _hold_back(owner, tables, seed)
    for portion in range(_PORTIONS):
        owner.execute(
            "insert into ops.landing_batches overriding system value"
            " select (held.batch).* from pg_temp.held_batches as held where portion = %s",
            [portion],
        )
        for table in tables:
            statement = SQL(
                "insert into {} select held.* from {} as held"
                " inner join pg_temp.held_batches as batches on held._batch_id = (batches.batch).batch_id"
                " where batches.portion = {}"
            )
            owner.execute(statement.format(table.name, _held(table), Literal(portion)))
        owner.commit()
        yield portion == _PORTIONS - 1


def _hold_back(owner: Connection, tables: list[Table], seed: int) -> None:
    """Set all rows and batches aside, with the batches' numbers turned round."""
    owner.execute(
        "create temporary table numbers as"
        " select batch_id, max(batch_id) over () + min(batch_id) over () - batch_id as new_id"
        " from ops.landing_batches"
    )
    owner.execute(
        "create temporary table held_batches as select batches as batch,"
        " mod(abs(hashtextextended(batch_id::text, %s)), %s) as portion"
        " from ops.landing_batches as batches",
        [seed, _PORTIONS],
    )
    owner.execute(
        "update pg_temp.held_batches as held set batch.batch_id = numbers.new_id"
        " from pg_temp.numbers where (held.batch).batch_id = numbers.batch_id"
    )
    for table in tables:
        owner.execute(SQL("create temporary table {} as table {}").format(_held(table), table.name))
        owner.execute(
            SQL(
                "update {} as held set _batch_id = numbers.new_id from pg_temp.numbers"
                " where held._batch_id = numbers.batch_id"
            ).format(_held(table))
        )
        owner.execute(SQL("truncate {}").format(table.name))
    owner.execute("delete from ops.landing_batches")


def _held(table: Table) -> Identifier:
    return Identifier(f"held_{table.entity}")


def empty_raw(owner: Connection, dataset: Dataset) -> None:
    """Delete every raw row and batch: for proofs that bring rows of their own."""
    for table in tables_of(dataset):
        owner.execute(SQL("truncate {}").format(table.name))
    owner.execute("delete from ops.landing_batches")
    number_batches_anew(owner)


def _expect_many_rows(owner: Connection) -> None:
    """Keep the planner, which takes the patterns below for rare, from comparing each row with each."""
    owner.execute("set local enable_nestloop = off")


def _is_future(night: Night) -> Composed:
    return SQL('(_known_at > {} or (event_at ~ {} and event_at collate "C" >= {}))').format(
        Literal(night.known_as_of), Literal("^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T"), _text_of(end_of(night))
    )


def _is_past(night: Night) -> Composed:
    return SQL("(not {} and event_at ~ {} and revision ~ '^[0-9]{{1,6}}$')").format(
        _is_future(night), Literal(_MOMENT)
    )


def _text_of(moment: datetime) -> Composed:
    return SQL("{}").format(Literal(f"{moment:%Y-%m-%dT%H:%M:%S}Z"))


def _key_text(table: Table) -> Composed:
    return SQL("concat_ws('|', {})").format(SQL(", ").join(map(Identifier, table.key)))


def _shaken(table: Table, condition: Composed, seed: int) -> Composed:
    """Select the rows of `condition`, each with the values of another one in the place of its own."""
    own = [name for name in (*table.columns, *META_COLUMNS) if name not in table.values]
    return SQL(
        "with given as (select *, ctid as row_address,"
        " row_number() over (order by md5({} || {}), ctid) as place, count(*) over () as total"
        " from {} where {})"
        " select given.row_address, {} from given"
        " inner join given as other on other.place = mod(given.place, given.total) + 1"
    ).format(
        Literal(str(seed)),
        _key_text(table),
        table.name,
        condition,
        SQL(", ").join(
            [
                *(SQL("given.{}").format(Identifier(name)) for name in own),
                *(SQL("other.{}").format(Identifier(name)) for name in table.values),
            ]
        ),
    )


def _exchange(table: Table, condition: Composed, seed: int) -> Composed:
    names = table.values or ("revision",)
    return SQL("update {} as raw set {} from ({}) as given where raw.ctid = given.row_address").format(
        table.name,
        SQL(", ").join([SQL("{} = given.{}").format(Identifier(name), Identifier(name)) for name in names]),
        _shaken(table, condition, seed),
    )


def _add(table: Table, night: Night, seed: int, batch_id: int, changes: Changes) -> Composed:
    """Insert, for the newest past record of each owner, one with the values of another and `changes`."""
    owner_of_record = Identifier("customer_id" if "customer_id" in table.columns else table.key[0])
    source = SQL(
        "(select distinct on ({}) * from ({}) as shaken order by {}, event_at desc) as given"
    ).format(owner_of_record, _shaken(table, _is_past(night), seed), owner_of_record)
    return _insert(table, source, batch_id, changes)


def _insert(table: Table, source: Composed, batch_id: int, changes: Changes) -> Composed:
    values = [changes.get(name, Identifier(name)) for name in table.columns]
    return SQL(
        "insert into {} ({}, {}) select {}, batches.batch_id, row_number() over (),"
        " batches.as_of_date, batches.known_at, batches.landed_at"
        " from {} cross join ops.landing_batches as batches where batches.batch_id = {}"
    ).format(
        table.name,
        SQL(", ").join(map(Identifier, table.columns)),
        SQL(", ").join(map(Identifier, META_COLUMNS)),
        SQL(", ").join([SQL("given.{}").format(value) if isinstance(value, Identifier) else value
                        for value in values]),
        source,
        Literal(batch_id),
    )  # fmt: skip


def _under_another_key(table: Table, ending: str) -> Changes:
    """Change the text that names a record; where its moment names it, nothing."""
    if table.label == "event_at":
        return {}
    return {table.label: SQL("{} || {}").format(Identifier(table.label), Literal(ending))}


def _open_batch(owner: Connection, table: Table, night: Night, known_at: datetime, what: str) -> int:
    """Register a batch of rows that the audit makes up."""
    name = f"audit: {what}"
    sha256 = hashlib.sha256(f"{name}|{table.entity}".encode()).hexdigest()
    [(batch_id,)] = owner.execute(
        "insert into ops.landing_batches (entity, file_name, file_format, file_sha256, file_byte_count,"
        " as_of_date, known_at, is_first_load, row_count_in_file, row_count_landed, row_count_quarantined)"
        " values (%s, %s, 'csv', %s, 0, %s, %s, false, 0, 0, 0) returning batch_id",
        [table.entity, name, sha256, night.as_of_date, known_at],
    ).fetchall()
    return int(batch_id)


def _busiest_delivery(owner: Connection, table: Table, night: Night) -> datetime | None:
    """Return the known time before the night's cut-off at which most records became known."""
    row = owner.execute(
        SQL("select _known_at from {} where {} group by 1 order by count(*) desc, 1 limit 1").format(
            table.name, _is_past(night)
        )
    ).fetchone()
    return row[0] if row else None
