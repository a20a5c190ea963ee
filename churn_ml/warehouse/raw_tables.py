"""Raw tables, one per declared entity: every source column is text, plus where a row came from."""

from psycopg import sql

from churn_ml.declarations import Dataset
from churn_ml.warehouse.connection import Connection

META_COLUMNS = {
    "_batch_id": "bigint not null default raw.landing_batch_id()",
    "_row_number": "bigint not null default nextval(raw.landing_row_sequence())",
    "_as_of_date": "date default raw.landing_as_of_date()",
    "_known_at": "timestamptz not null default raw.landing_known_at()",
    "_landed_at": "timestamptz not null default raw.landing_landed_at()",
}

# A COPY plans the defaults of its table once, and the planner replaces a call of an immutable
# function by its value. Declared stable, as they honestly are, these functions would run once per
# row and cost a third of the speed of landing. A prepared INSERT would keep the values of its
# first plan: rows enter raw by COPY, or with every one of these columns stated.
_LANDING_SETTINGS = {
    "landing_batch_id": "bigint",
    "landing_row_sequence": "regclass",
    "landing_as_of_date": "date",
    "landing_known_at": "timestamptz",
    "landing_landed_at": "timestamptz",
}


def ensure_raw_tables(owner: Connection, dataset: Dataset) -> None:
    """Create the raw table of each entity, or add the columns it lacks; nothing is ever dropped."""
    for name, data_type in _LANDING_SETTINGS.items():
        _ensure_landing_setting(owner, name, data_type)
    # A batch's rows carry its id before its counts, and so its own row, are known.
    owner.execute("grant usage on sequence ops.landing_batches_batch_id_seq to churn_loader")
    for entity_name, entity in dataset.entities.items():
        table = sql.Identifier("raw", entity_name)
        meta = [sql.SQL("{} {}").format(sql.Identifier(n), sql.SQL(t)) for n, t in META_COLUMNS.items()]
        owner.execute(sql.SQL("create table if not exists {} ({})").format(table, sql.SQL(", ").join(meta)))
        for column in entity.columns.values():
            owner.execute(
                sql.SQL("alter table {} add column if not exists {} text").format(
                    table, sql.Identifier(column)
                )
            )
        # Batches are appended one after the other: block ranges find them, at no cost to COPY.
        owner.execute(
            sql.SQL("create index if not exists {} on {} using brin (_batch_id, _as_of_date)").format(
                sql.Identifier(f"{entity_name}_batch_brin"), table
            )
        )


def _ensure_landing_setting(owner: Connection, name: str, data_type: str) -> None:
    value = sql.SQL("nullif(current_setting({}), '')").format(sql.Literal(f"churn.{name}"))
    # text casts to regclass by looking a name up; through oid it does not.
    path = sql.SQL("oid::regclass") if data_type == "regclass" else sql.SQL(data_type)
    owner.execute(
        sql.SQL(
            "create or replace function raw.{}() returns {} language sql immutable parallel restricted "
            "return {}::{}"
        ).format(sql.Identifier(name), sql.SQL(data_type), value, path)
    )
