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


def ensure_raw_tables(owner: Connection, dataset: Dataset) -> None:
    """Create the raw table of each entity, or add the columns it lacks; nothing is ever dropped."""
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
