"""The marts through the drivers of Debian: JDBC (Metabase, DBeaver, Tableau) and ODBC (Excel, Power BI)."""

import json
import os
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from published_marts import Marts
from tool_queries import METABASE_FIELDS, METABASE_FOREIGN_KEYS, ask

from churn_ml.warehouse.connection import Role, warehouse_url

JDBC_DRIVER = Path("/usr/share/java/postgresql.jar")
PROGRAM = Path(__file__).with_name("ReadMetadata.java")
TYPED_ROW = (
    "select customer_key, customer_id, as_of_date, known_as_of, is_active, churn_probability,"
    " value_at_risk_amount, risk_tier, model_key from marts.customer_churn_current where customer_id = 'b'"
)


def needs_jdbc() -> None:
    if shutil.which("java") is None or not JDBC_DRIVER.is_file():
        pytest.skip("no java or no JDBC driver: apt-get install default-jre-headless libpostgresql-jdbc-java")


@pytest.fixture(scope="module")
def jdbc(marts: Marts) -> dict[str, list[dict[str, str]]]:
    """What the JDBC driver tells of the schema, by kind."""
    needs_jdbc()
    url = warehouse_url(marts.settings, Role.READER)
    environment = {
        "PATH": os.environ["PATH"],
        "PGUSER": str(url.username),
        "PGPASSWORD": str(url.password),
        "JDBC_URL": f"jdbc:postgresql://{url.host}:{url.port}/{url.database}",
    }
    lines = subprocess.run(
        ["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", str(JDBC_DRIVER), str(PROGRAM), "marts",
         TYPED_ROW],
        env=environment, check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    told = defaultdict(list)
    for line in lines:
        row = {name.lower(): value for name, value in json.loads(line).items()}
        kind = row.pop("of")
        if kind != "row":
            row = {name: value and value.partition(":")[2] for name, value in row.items()}
        told[kind].append(row)
    return told


def test_jdbc_tells_every_column_with_its_comment(
    jdbc: dict[str, list[dict[str, str]]], reader: psycopg.Connection
) -> None:
    told = {(row["table_name"], row["column_name"]): row["remarks"] for row in jdbc["column"]}
    expected = {(f["table_name"], f["name"]): f["field_comment"] for f in ask(reader, METABASE_FIELDS)}
    assert told == expected
    assert all(row["remarks"] for row in jdbc["table"])
    assert {row["table_name"] for row in jdbc["table"]} == {table for table, _ in expected}


def test_jdbc_tells_every_key(jdbc: dict[str, list[dict[str, str]]], reader: psycopg.Connection) -> None:
    fields = ask(reader, METABASE_FIELDS)
    assert {(row["table_name"], row["column_name"]) for row in jdbc["primary_key"]} == {
        (field["table_name"], field["name"]) for field in fields if field["is_pk"]
    }
    assert {
        (row["fktable_name"], row["fkcolumn_name"], row["pktable_name"], row["pkcolumn_name"])
        for row in jdbc["imported_key"]
    } == {tuple(row.values()) for row in ask(reader, METABASE_FOREIGN_KEYS)}


def test_jdbc_reads_each_value_as_its_type(jdbc: dict[str, list[dict[str, str]]]) -> None:
    [row] = jdbc["row"]
    assert {name: value and value.partition(":")[0] for name, value in row.items()} == {
        "customer_key": "Integer", "customer_id": "String", "as_of_date": "Date", "known_as_of": "Timestamp",
        "is_active": "Boolean", "churn_probability": "Double", "value_at_risk_amount": "BigDecimal",
        "risk_tier": "String", "model_key": None,
    }  # fmt: skip
    assert row["value_at_risk_amount"] == "BigDecimal:363.96"


@pytest.fixture(scope="module")
def odbc(marts: Marts) -> Iterator[Any]:
    """A connection of pyodbc through Debian's driver."""
    pyodbc = pytest.importorskip("pyodbc", reason="pyodbc is not installed or finds no unixODBC")
    if "PostgreSQL Unicode" not in pyodbc.drivers():
        pytest.skip("no ODBC driver for Postgres: apt-get install odbc-postgresql unixodbc")
    url = warehouse_url(marts.settings, Role.READER)
    connection = pyodbc.connect(
        f"DRIVER={{PostgreSQL Unicode}};SERVER={url.host};PORT={url.port};DATABASE={url.database};"
        f"UID={url.username};PWD={url.password};BoolsAsChar=0"
    )
    yield connection
    connection.close()


def test_odbc_tells_every_column(odbc: Any, reader: psycopg.Connection) -> None:
    """Debian's psqlodbc leaves the remarks of its catalogue empty: comments are asked for in SQL."""
    fields = {(f["table_name"], f["name"]): f["field_comment"] for f in ask(reader, METABASE_FIELDS)}
    told = {
        (row.table_name, row.column_name)
        for table in {table for table, _ in fields}
        for row in odbc.cursor().columns(table=table, schema="marts")
    }
    assert told == set(fields)
    comments = {
        (row.table_name, row.name): row.field_comment for row in odbc.cursor().execute(METABASE_FIELDS)
    }
    assert comments == fields


def test_odbc_tells_every_key(odbc: Any, reader: psycopg.Connection) -> None:
    cursor = odbc.cursor()
    fields = ask(reader, METABASE_FIELDS)
    tables = sorted({str(field["table_name"]) for field in fields})
    primary, foreign = set(), set()
    for table in tables:
        primary |= {(table, row.column_name) for row in cursor.primaryKeys(table, schema="marts")}
        for row in cursor.foreignKeys(foreignTable=table, foreignSchema="marts"):
            foreign.add((row.fktable_name, row.fkcolumn_name, row.pktable_name, row.pkcolumn_name))
    assert primary == {(field["table_name"], field["name"]) for field in fields if field["is_pk"]}
    assert foreign == {tuple(row.values()) for row in ask(reader, METABASE_FOREIGN_KEYS)}


def test_odbc_reads_each_value_as_its_type(odbc: Any) -> None:
    [row] = odbc.cursor().execute(TYPED_ROW).fetchall()
    assert [type(value).__name__ for value in row] == [
        "int", "str", "date", "datetime", "bool", "float", "Decimal", "str", "NoneType",
    ]  # fmt: skip
    assert (row.value_at_risk_amount, row.as_of_date) == (Decimal("363.96"), date(2026, 10, 31))


def test_odbc_may_write_nothing(odbc: Any) -> None:
    import pyodbc

    with pytest.raises(pyodbc.Error, match="read-only transaction"):
        odbc.cursor().execute("delete from marts.fct_churn_score")
    odbc.rollback()
