"""The BI contract as rules over whatever marts there are: each returns those who break it."""

import re
from collections import Counter
from collections.abc import Callable

import psycopg
from tool_queries import (
    METABASE_FIELDS,
    METABASE_FOREIGN_KEYS,
    METABASE_TABLES,
    POWER_BI_COLUMNS,
    POWER_BI_KEYS,
    POWER_BI_RELATIONSHIPS,
    POWER_BI_TABLES,
    ask,
)

Rule = Callable[[psycopg.Connection], list[str]]

DIMENSION_KEYS = {
    "scoring_run_key": "dim_scoring_run",
    "scored_run_key": "dim_scoring_run",
    "customer_key": "dim_customer",
    "date_key": "dim_date",
    "model_key": "dim_model",
    "risk_tier_key": "dim_risk_tier",
}
"""How a key column ends that names a dimension."""

PLAIN_TYPES = {
    "boolean", "smallint", "integer", "bigint", "double precision", "numeric", "text", "date",
    "timestamp with time zone",
}  # fmt: skip
"""What Power BI and Metabase read as what it is: no JSON, no array, no uuid."""

ORDERED_LABEL = re.compile(r"(_tier|_group|_label|_month|_band|_bin|_decile)$")
SORTED_BY_ANOTHER_NAME = {
    "month_label": "month_number",
    "weekday_label": "day_of_week",
    "bucket_label": "bucket_number",
}


def is_dimension_of(table: str, column: str) -> bool:
    return DIMENSION_KEYS.get(column) == table


def dimension_named(column: str) -> str | None:
    return next((dim for key, dim in DIMENSION_KEYS.items() if re.search(rf"(^|_){key}$", column)), None)


def marts_without_a_primary_key(connection: psycopg.Connection) -> list[str]:
    """Metabase's and Power BI's own questions must both find one."""
    tables = {row["name"] for row in ask(connection, METABASE_TABLES) if row["type"] == "TABLE"}
    metabase = {row["table_name"] for row in ask(connection, METABASE_FIELDS) if row["is_pk"]}
    power_bi = {row["table_name"] for row in ask(connection, POWER_BI_KEYS) if row["primary_key"] == "Y"}
    return sorted(map(str, tables - (metabase & power_bi)))


def keys_without_a_relationship(connection: psycopg.Connection) -> list[str]:
    """A column named for a dimension relates to that dimension, once, in both tools' eyes."""
    tables = {row["name"] for row in ask(connection, METABASE_TABLES) if row["type"] == "TABLE"}
    relations = [
        Counter((row["fk_table"], row["fk_column"], row["pk_table"]) for row in ask(connection, query))
        for query in (METABASE_FOREIGN_KEYS, POWER_BI_RELATIONSHIPS)
    ]
    offenders = []
    for row in ask(connection, METABASE_FIELDS):
        table, column = str(row["table_name"]), str(row["name"])
        if table not in tables or not column.endswith("_key") or is_dimension_of(table, column):
            continue
        dimension = dimension_named(column)
        if dimension is None:
            offenders.append(f"{table}.{column} names no dimension of DIMENSION_KEYS")
        elif any(found[table, column, dimension] != 1 for found in relations):
            offenders.append(f"{table}.{column} -> {dimension}")
    return offenders


def relationships_not_on_one_integer(connection: psycopg.Connection) -> list[str]:
    """Power BI relates on one column; integers are what it joins fast."""
    types = {(row["table_name"], row["column_name"]): row["data_type"]
             for row in ask(connection, POWER_BI_COLUMNS)}  # fmt: skip
    relations = ask(connection, POWER_BI_RELATIONSHIPS)
    columns = Counter(row["fk_name"] for row in relations)
    declared = connection.execute(
        "select conrelid::regclass::text || '.' || conname from pg_constraint"
        " where contype = 'f' and connamespace = 'marts'::regnamespace"
        " and (cardinality(conkey) > 1 or conname not in"
        " (select constraint_name from information_schema.referential_constraints"
        " where unique_constraint_name is not null))"
    ).fetchall()
    offenders = [str(name) for (name,) in declared]
    for row in relations:
        ends = {types[row["fk_table"], row["fk_column"]], types[row["pk_table"], row["pk_column"]]}
        if columns[row["fk_name"]] != 1 or ends != {"integer"}:
            offenders.append(f"{row['fk_name']}: {row['fk_column']}, {', '.join(map(str, ends))}")
    return sorted(offenders)


def foreign_keys_without_an_index(connection: psycopg.Connection) -> list[str]:
    """A key leads an index, follows the run in one, or lies in a BRIN index, whose columns stand alone."""
    rows = connection.execute(
        """
        select conrelid::regclass::text || '.' || attname
        from pg_constraint
        inner join pg_attribute on attrelid = conrelid and attnum = conkey[1]
        where contype = 'f' and connamespace = 'marts'::regnamespace and not exists (
            select from pg_index
            inner join pg_class as indexes on indexrelid = indexes.oid
            inner join pg_am on relam = pg_am.oid
            inner join pg_attribute as head on head.attrelid = conrelid and head.attnum = indkey[0]
            where indrelid = conrelid and indpred is null and (
                indkey[0] = conkey[1]
                or (indkey[1] = conkey[1] and head.attname in ('run_id', 'scoring_run_key'))
                or (amname = 'brin' and conkey[1] = any(indkey))
            )
        )
        order by 1
        """
    ).fetchall()
    return [str(name) for (name,) in rows]


def relations_without_a_comment(connection: psycopg.Connection) -> list[str]:
    """Metabase shows the comment of a table beside its name."""
    return [str(row["name"]) for row in ask(connection, METABASE_TABLES) if not row["description"]]


def columns_without_a_comment(connection: psycopg.Connection) -> list[str]:
    """Metabase shows the comment of a column where people choose it."""
    return [f"{row['table_name']}.{row['name']}" for row in ask(connection, METABASE_FIELDS)
            if not row["field_comment"]]  # fmt: skip


def columns_of_no_plain_type(connection: psycopg.Connection) -> list[str]:
    """JSON, arrays and uuid arrive as text; a number without digits and scale has no width."""
    return [
        f"{row['table_name']}.{row['column_name']}: {row['data_type']}"
        for row in ask(connection, POWER_BI_COLUMNS)
        if row["data_type"] not in PLAIN_TYPES
        or (row["data_type"] == "numeric" and row["numeric_scale"] is None)
    ]


def times_without_a_date(connection: psycopg.Connection) -> list[str]:
    """Power BI drops the zone of a time: a plain date stands beside it."""
    types = {(str(row["table_name"]), str(row["column_name"])): row["data_type"]
             for row in ask(connection, POWER_BI_COLUMNS)}  # fmt: skip
    return [
        f"{table}.{column}"
        for (table, column), data_type in types.items()
        if data_type == "timestamp with time zone" and types.get((table, date_beside(column))) != "date"
    ]


def date_beside(column: str) -> str:
    """The cut-off `known_as_of` is told by the day it is the cut-off of."""
    if column.endswith("known_as_of"):
        return column.removesuffix("known_as_of") + "as_of_date"
    return column.removesuffix("_at") + "_date"


def amounts_without_a_currency(connection: psycopg.Connection) -> list[str]:
    """Money is numeric to the cent, with its currency in the same row."""
    rows = ask(connection, POWER_BI_COLUMNS)
    named = {(row["table_name"], row["column_name"]) for row in rows}
    offenders = []
    for row in rows:
        table, column = row["table_name"], str(row["column_name"])
        if not column.endswith("_amount"):
            continue
        currency = "source_currency" if column.startswith("source_") else "currency"
        if (row["data_type"], row["numeric_scale"]) != ("numeric", 2) or (table, currency) not in named:
            offenders.append(
                f"{table}.{column}: {row['data_type']}, scale {row['numeric_scale']}, {currency}"
            )
    return offenders


def ordered_labels(connection: psycopg.Connection) -> list[tuple[str, str, str]]:
    """Return (table, label, the column that orders it) of every label with an order."""
    found = []
    for row in ask(connection, POWER_BI_COLUMNS):
        table, column = str(row["table_name"]), str(row["column_name"])
        if row["data_type"] == "text" and ORDERED_LABEL.search(column):
            stem = column.removesuffix("_label")
            found.append((table, column, SORTED_BY_ANOTHER_NAME.get(column, f"{stem}_sort")))
    return found


def labels_without_an_order(connection: psycopg.Connection) -> list[str]:
    """Tools sort text by letters: an integer beside a label says its place."""
    types = {(str(row["table_name"]), str(row["column_name"])): row["data_type"]
             for row in ask(connection, POWER_BI_COLUMNS)}  # fmt: skip
    missing = [f"{table}.{label}: {order}" for table, label, order in ordered_labels(connection)
               if types.get((table, order)) != "integer"]  # fmt: skip
    missing += [f"{table}.{column}: {data_type}" for (table, column), data_type in types.items()
                if column.endswith("_sort") and data_type != "integer"]  # fmt: skip
    return missing


def labels_with_two_places(connection: psycopg.Connection) -> list[str]:
    """Power BI refuses to sort by a column that gives one label two places."""
    types = {(row["table_name"], row["column_name"]) for row in ask(connection, POWER_BI_COLUMNS)}
    offenders = []
    for table, label, order in ordered_labels(connection):
        if (table, order) not in types:
            continue
        doubled = connection.execute(
            f"select {label} from marts.{table} where {label} is not null"
            f" group by {label} having count(distinct {order}) <> 1 limit 1"
        ).fetchone()
        if doubled:
            offenders.append(f"{table}.{label}: {doubled[0]}")
    return offenders


def what_the_tools_must_not_see(connection: psycopg.Connection) -> list[str]:
    """Nothing but tables and plain views of marts: a materialised view has no keys in any tool."""
    relations = [
        f"{row['table_schema']}.{row['table_name']}: {row['table_type']}"
        for row in ask(connection, POWER_BI_TABLES)
        if row["table_schema"] != "marts" or row["table_type"] not in {"BASE TABLE", "VIEW"}
    ]
    kinds = ask(connection, METABASE_TABLES)
    return relations + [f"{row['name']}: {row['type']}" for row in kinds
                        if row["type"] not in {"TABLE", "VIEW"}]  # fmt: skip


RULES: dict[str, Rule] = {
    rule.__name__: rule
    for rule in (
        marts_without_a_primary_key,
        keys_without_a_relationship,
        relationships_not_on_one_integer,
        foreign_keys_without_an_index,
        relations_without_a_comment,
        columns_without_a_comment,
        columns_of_no_plain_type,
        times_without_a_date,
        amounts_without_a_currency,
        labels_without_an_order,
        labels_with_two_places,
        what_the_tools_must_not_see,
    )
}
