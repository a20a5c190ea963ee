"""What ``bi_reader`` may not do: write, define, read outside the marts, or keep the server busy."""

from collections.abc import Iterator

import psycopg
import pytest
from published_marts import Marts
from tool_queries import POWER_BI_TABLES, ask

from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.provision import provision

REFUSED = psycopg.errors.InsufficientPrivilege

WRITES = [
    "insert into marts.{} default values",
    "update marts.{} set {} = {}",
    "delete from marts.{}",
    "truncate marts.{}",
    "copy marts.{} from stdin",
    "alter table marts.{} disable row level security",
    "comment on table marts.{} is 'mine'",
    "drop table marts.{}",
    "lock table marts.{} in access exclusive mode",
]
DEFINITIONS = [
    "create table marts.mine (id integer)",
    "create table public.mine (id integer)",
    "create view marts.mine as select 1 as id",
    "create temporary table mine (id integer)",
    "create schema mine",
    "create function public.mine() returns integer language sql as 'select 1'",
    "create role mine",
    "alter role bi_reader createdb",
    "drop policy published_runs on marts.fct_churn_score",
    "set role churn_owner",
    "set session authorization churn_transformer",
    "copy marts.dim_date to program 'cat'",
    "copy marts.dim_date to '/tmp/mine'",
    "select pg_read_file('postgresql.conf')",
]


@pytest.fixture
def writing(reader: psycopg.Connection) -> psycopg.Connection:
    """A reader that has switched its own safety catch off: rights alone are left to refuse."""
    reader.execute("set default_transaction_read_only = off")
    reader.commit()
    return reader


@pytest.mark.parametrize("statement", WRITES)
def test_no_mart_can_be_written(writing: psycopg.Connection, statement: str) -> None:
    tables = [str(row["table_name"]) for row in ask(writing, POWER_BI_TABLES)
              if row["table_type"] == "BASE TABLE"]  # fmt: skip
    assert tables
    for table in tables:
        [(column,)] = writing.execute(
            "select attname from pg_attribute where attrelid = %s::regclass and attnum = 1",
            [f"marts.{table}"],
        )
        with pytest.raises(REFUSED):
            writing.execute(statement.format(table, column, column))
        writing.rollback()


@pytest.mark.parametrize("statement", DEFINITIONS)
def test_nothing_can_be_defined_or_taken(writing: psycopg.Connection, statement: str) -> None:
    with pytest.raises(REFUSED):
        writing.execute(statement)


def test_transactions_are_read_only_by_themselves(reader: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        reader.execute("create table public.mine (id integer)")


def test_no_relation_outside_the_marts_can_be_read(marts: Marts, reader: psycopg.Connection) -> None:
    with connect(marts.settings, Role.OWNER) as owner:
        relations = owner.execute(
            "select nspname, relname from pg_class join pg_namespace on relnamespace = pg_namespace.oid"
            " where relkind in ('r', 'p', 'v', 'm', 'f') and nspname <> 'marts'"
            " and nspname !~ '^pg_' and nspname <> 'information_schema'"
        ).fetchall()
    schemas = {"features", "intermediate", "ml", "ops", "raw", "raw_restricted", "scores", "staging"}
    assert schemas - {schema for schema, _ in relations} <= {"intermediate", "raw_restricted"}
    for schema, relation in relations:
        with pytest.raises(REFUSED):
            reader.execute(f'select from "{schema}"."{relation}"')
        reader.rollback()


def test_no_schema_but_marts_can_be_used(reader: psycopg.Connection) -> None:
    usable = reader.execute(
        "select nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'"
        " and (has_schema_privilege(oid, 'usage') or has_schema_privilege(oid, 'create'))"
    ).fetchall()
    assert set(usable) == {("marts",), ("public",)}, "public is empty, and every role may look into it"
    creatable = "select from pg_namespace where has_schema_privilege(oid, 'create')"
    assert reader.execute(creatable).fetchall() == []


def test_no_function_of_the_warehouse_can_be_called(marts: Marts, reader: psycopg.Connection) -> None:
    for function in ("published_run_ids()", "current_run_id()", "publish_run('a', 'b')", "discard_run('a')"):
        with pytest.raises(REFUSED):
            reader.execute(f"select ops.{function}")
        reader.rollback()


def test_limits_of_a_session_are_the_declared_ones(marts: Marts, reader: psycopg.Connection) -> None:
    names = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"]
    seconds = [
        reader.execute("select extract(epoch from current_setting(%s)::interval)", [name]).fetchone()
        for name in names
    ]
    assert seconds == [(marts.settings.reader_timeout_seconds,), (10,), (60,)]


@pytest.fixture
def hasty(marts: Marts) -> Iterator[Marts]:
    """The same warehouse, provisioned with one second for a query."""
    provision(marts.settings.model_copy(update={"reader_timeout_seconds": 1}))
    yield marts
    provision(marts.settings)


def test_query_that_takes_too_long_is_cut_off(hasty: Marts) -> None:
    with (
        connect(hasty.settings, Role.READER) as reader,
        pytest.raises(psycopg.errors.QueryCanceled, match="canceling statement due to statement timeout"),
    ):
        reader.execute("select pg_sleep(30) from marts.dim_risk_tier")
