"""Raw tables, one per declared entity: every source column is text, plus where a row came from.

Restricted columns are in a table of the same name in ``raw_restricted``, joined by batch and row number.
"""

from collections.abc import Sequence

from psycopg import sql

from churn_ml.declarations import Dataset
from churn_ml.errors import WarehouseError
from churn_ml.warehouse.connection import Connection, Role

META_COLUMNS = {
    "_batch_id": "bigint not null default raw.landing_batch_id()",
    "_row_number": "bigint not null default nextval(raw.landing_row_sequence())",
    "_as_of_date": "date default raw.landing_as_of_date()",
    "_known_at": "timestamptz not null default raw.landing_known_at()",
    "_landed_at": "timestamptz not null default raw.landing_landed_at()",
}


def ensure_raw_tables(owner: Connection, dataset: Dataset) -> None:
    """Create the raw tables of each entity, or add the columns they lack; nothing is ever dropped.

    Raises
    ------
    WarehouseError
        If a column that the declaration restricts stands in ``raw`` from before.
    """
    for name, entity in dataset.entities.items():
        _ensure_table(owner, "raw", name, entity.open_columns)
        if entity.restricted_columns:
            _require_none_in_raw(owner, name, entity.restricted_columns)
            _ensure_table(owner, "raw_restricted", name, entity.restricted_columns)
    if any(entity.restricted_columns for entity in dataset.entities.values()):
        _restrict_quarantine(owner)


def _ensure_table(owner: Connection, schema: str, name: str, columns: Sequence[str]) -> None:
    table = sql.Identifier(schema, name)
    meta = [sql.SQL("{} {}").format(sql.Identifier(n), sql.SQL(t)) for n, t in META_COLUMNS.items()]
    owner.execute(sql.SQL("create table if not exists {} ({})").format(table, sql.SQL(", ").join(meta)))
    for column in columns:
        owner.execute(
            sql.SQL("alter table {} add column if not exists {} text").format(table, sql.Identifier(column))
        )
    # Batches are appended one after the other: block ranges find them, at no cost to COPY.
    owner.execute(
        sql.SQL("create index if not exists {} on {} using brin (_batch_id, _as_of_date)").format(
            sql.Identifier(f"{name}_batch_brin"), table
        )
    )


def _require_none_in_raw(owner: Connection, name: str, restricted: Sequence[str]) -> None:
    rows = owner.execute(
        "select column_name from information_schema.columns"
        " where table_schema = 'raw' and table_name = %s and column_name = any(%s) order by 1",
        [name, list(restricted)],
    ).fetchall()
    if rows:
        found = ", ".join(str(column) for (column,) in rows)
        raise WarehouseError(
            f"Expected no restricted column in raw.{name}, found {found} from before it was declared so. "
            "Move what is needed to raw_restricted and drop the column from raw as churn_owner."
        )


def _restrict_quarantine(owner: Connection) -> None:
    """Let the auditor count quarantined records and see why, but not their bytes: they hold every column."""
    [(columns,)] = owner.execute(
        "select array_agg(column_name::text order by ordinal_position) from information_schema.columns"
        " where table_schema = 'ops' and table_name = 'quarantine' and column_name <> 'raw_bytes'"
    ).fetchall()
    auditor = sql.Identifier(Role.AUDITOR)
    owner.execute(sql.SQL("revoke select on ops.quarantine from {}").format(auditor))
    owner.execute(
        sql.SQL("grant select ({}) on ops.quarantine to {}").format(
            sql.SQL(", ").join(map(sql.Identifier, columns)), auditor
        )
    )
