"""What Metabase and Power BI ask a Postgres database, in the shape in which they ask it."""

import psycopg

Rows = list[dict[str, object]]

METABASE_TABLES = """
select n.nspname as schema, c.relname as name,
    case c.relkind when 'r' then 'TABLE' when 'p' then 'PARTITIONED TABLE' when 'v' then 'VIEW'
    when 'f' then 'FOREIGN TABLE' when 'm' then 'MATERIALIZED VIEW' end as type,
    d.description, stat.n_live_tup as estimated_row_count
from pg_catalog.pg_class as c
inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
left join pg_catalog.pg_description as d
    on c.oid = d.objoid and d.objsubid = 0 and d.classoid = 'pg_class'::regclass
left join pg_stat_user_tables as stat on n.nspname = stat.schemaname and c.relname = stat.relname
where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and c.relkind in ('r', 'p', 'v', 'f', 'm')
    and n.nspname in ('marts')
order by type, schema, name
"""

METABASE_FIELDS = """
select c.column_name as name, c.udt_name as database_type, c.ordinal_position - 1 as database_position,
    c.table_name, pk.column_name is not null as is_pk,
    col_description(
        cast(
            cast(format('%I.%I', cast(c.table_schema as text), cast(c.table_name as text)) as regclass) as oid
        ),
        c.ordinal_position
    ) as field_comment,
    (column_default is null or lower(column_default) = 'null') and is_nullable = 'NO' as database_required
from information_schema.columns as c
left join (
    select tc.table_schema, tc.table_name, kc.column_name
    from information_schema.table_constraints as tc
    inner join information_schema.key_column_usage as kc
        on tc.constraint_name = kc.constraint_name
        and tc.table_schema = kc.table_schema
        and tc.table_name = kc.table_name
    where tc.constraint_type = 'PRIMARY KEY'
) as pk
    on c.table_schema = pk.table_schema
    and c.table_name = pk.table_name
    and c.column_name = pk.column_name
where c.table_schema !~ '^information_schema|catalog_history|pg_' and c.table_schema in ('marts')
order by c.table_schema, c.table_name, c.ordinal_position
"""

METABASE_FOREIGN_KEYS = """
select fk_table.relname as fk_table, fk_column.attname as fk_column,
    pk_table.relname as pk_table, pk_column.attname as pk_column
from pg_constraint as c
inner join pg_class as fk_table on c.conrelid = fk_table.oid
inner join pg_namespace as fk_ns on c.connamespace = fk_ns.oid
inner join pg_attribute as fk_column on c.conrelid = fk_column.attrelid
inner join pg_class as pk_table on c.confrelid = pk_table.oid
inner join pg_namespace as pk_ns on pk_table.relnamespace = pk_ns.oid
inner join pg_attribute as pk_column on c.confrelid = pk_column.attrelid
where fk_ns.nspname !~ '^information_schema|catalog_history|pg_'
    and c.contype = 'f'::char
    and fk_column.attnum = any(c.conkey)
    and pk_column.attnum = any(c.confkey)
    and fk_ns.nspname in ('marts')
order by fk_ns.nspname, fk_table.relname
"""

POWER_BI_TABLES = """
select table_schema, table_name, table_type
from information_schema.tables
where table_schema not in ('information_schema', 'pg_catalog')
order by table_schema, table_name
"""

POWER_BI_COLUMNS = """
select table_name, column_name, ordinal_position, is_nullable,
    case when (data_type like '%unsigned%') then data_type || ' unsigned' else data_type end as data_type,
    numeric_precision, numeric_scale
from information_schema.columns
where table_schema = 'marts'
order by table_schema, table_name, ordinal_position
"""

POWER_BI_KEYS = """
select i.table_name, i.constraint_schema || '_' || i.constraint_name as index_name, ii.column_name,
    ii.ordinal_position, case when i.constraint_type = 'PRIMARY KEY' then 'Y' else 'N' end as primary_key
from information_schema.table_constraints as i
inner join information_schema.key_column_usage as ii
    on i.constraint_schema = ii.constraint_schema
    and i.constraint_name = ii.constraint_name
    and i.table_schema = ii.table_schema
    and i.table_name = ii.table_name
where i.table_schema = 'marts' and i.constraint_type in ('PRIMARY KEY', 'UNIQUE')
order by index_name, ii.table_schema, ii.table_name, ii.ordinal_position
"""

POWER_BI_RELATIONSHIPS = """
select pkcol.table_name as pk_table, pkcol.column_name as pk_column,
    fkcol.table_name as fk_table, fkcol.column_name as fk_column, fkcol.ordinal_position as ordinal,
    fkcon.constraint_schema || '_' || fkcol.table_name || '_' || pkcol.table_name || '_'
    || fkcon.constraint_name as fk_name
from (
    select distinct constraint_catalog, constraint_schema, unique_constraint_schema, constraint_name,
        unique_constraint_name
    from information_schema.referential_constraints
) as fkcon
inner join information_schema.key_column_usage as fkcol
    on fkcon.constraint_schema = fkcol.constraint_schema
    and fkcon.constraint_name = fkcol.constraint_name
inner join information_schema.key_column_usage as pkcol
    on fkcon.unique_constraint_schema = pkcol.constraint_schema
    and fkcon.unique_constraint_name = pkcol.constraint_name
where fkcol.table_schema = 'marts' and pkcol.ordinal_position = fkcol.ordinal_position
order by fk_name, fkcol.ordinal_position
"""


def ask(connection: psycopg.Connection, query: str) -> Rows:
    """Return the answer to a tool's question, one dictionary per row."""
    cursor = connection.cursor()
    cursor.execute(query)
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
