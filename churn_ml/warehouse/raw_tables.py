"""Raw tables, one per declared entity: every source column is text, plus where a row came from."""

from psycopg import sql

from churn_ml.declarations import Dataset
from churn_ml.warehouse.connection import Connection

META_COLUMNS = {
    "_batch_id": "bigint not null",
    "_row_number": "bigint not null",
    "_as_of_date": "date",
    "_known_at": "timestamptz not null",
    "_landed_at": "timestamptz not null",
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
        owner.execute(
            sql.SQL("create index if not exists {} on {} (_batch_id)").format(
                sql.Identifier(f"{entity_name}_batch_id"), table
            )
        )
