"""Exports: what BI sees and no more, each value with its type, in constant memory, all or nothing."""

import csv
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from published_marts import Marts
from tool_queries import POWER_BI_TABLES, ask

from churn_ml.errors import PublishingError
from churn_ml.publishing import export as export_module
from churn_ml.publishing.export import FileFormat, export_mart
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect

MART = "fct_churn_score"
FORMATS: list[FileFormat] = ["csv", "parquet", "xlsx"]
SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_sheet(path: Path) -> list[list[tuple[str, str, str]]]:
    """Return (type, style, text) of each cell, row by row, as Excel's format has it."""
    with zipfile.ZipFile(path) as book:
        rows = ElementTree.fromstring(book.read("xl/worksheets/sheet1.xml")).iter(f"{SHEET}row")  # noqa: S314
        return [
            [(cell.get("t", "n"), cell.get("s", "0"), "".join(cell.itertext())) for cell in row]
            for row in rows
        ]


@pytest.mark.parametrize("file_format", FORMATS)
def test_export_holds_what_bi_sees_and_no_more(
    marts: Marts, reader: psycopg.Connection, tmp_path: Path, file_format: FileFormat
) -> None:
    path = tmp_path / "scores"
    exported = export_mart(marts.settings, MART, path, file_format)
    [(visible,)] = reader.execute(f"select count(*) from marts.{MART}").fetchall()
    with connect(marts.settings, Role.AUDITOR) as auditor:
        [(kept,)] = auditor.execute("select count(*) from marts.dim_scoring_run").fetchall()
    rows = {
        "csv": lambda: len(read_csv(path)),
        "parquet": lambda: pq.read_metadata(path).num_rows,
        "xlsx": lambda: len(read_sheet(path)) - 1,
    }[file_format]()
    assert (exported.row_count, exported.byte_count) == (visible, path.stat().st_size)
    assert rows == visible == 12
    assert kept >= 2
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("file_format", FORMATS)
def test_unpublished_night_is_not_exported(marts: Marts, tmp_path: Path, file_format: FileFormat) -> None:
    with connect(marts.settings, Role.PUBLISHER) as publisher:
        publisher.execute("select ops.unpublish_run(%s, 'test')", [marts.runs[0].run_id])
    try:
        exported = export_mart(marts.settings, MART, tmp_path / "scores", file_format)
    finally:
        with connect(marts.settings, Role.PUBLISHER) as publisher:
            publisher.execute("select ops.publish_run(%s, 'test')", [marts.runs[0].run_id])
    assert exported.row_count == 8


def test_csv_is_in_the_order_of_the_key_and_keeps_nulls_apart(marts: Marts, tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    columns = ["customer_id", "exclusion_reason", "value_at_risk_amount", "scoring_run_key", "customer_key"]
    export_mart(marts.settings, MART, path, columns=columns, where="as_of_date = '2026-10-31'")
    rows = read_csv(path)
    assert list(rows[0]) == columns
    keys = [(int(row["scoring_run_key"]), int(row["customer_key"])) for row in rows]
    assert keys == sorted(keys)
    assert {row["customer_id"]: row["exclusion_reason"] for row in rows}["gone"] == "not_active"
    assert {row["customer_id"]: row["value_at_risk_amount"] for row in rows}["a"] == "243.96"


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ("risk_tier = 'high'", 3),
        ("customer_id like '%1+%'", 1),
        ("risk_tier = 'high' -- the ones to call", 3),
        ("risk_tier = 'high' or true", 12),
        ("as_of_date = (select max(as_of_date) from marts.dim_scoring_run)", 8),
        ("false", 0),
    ],
)
@pytest.mark.parametrize("file_format", FORMATS)
def test_condition_is_sql(
    marts: Marts, tmp_path: Path, where: str, count: int, file_format: FileFormat
) -> None:
    exported = export_mart(marts.settings, MART, tmp_path / "scores", file_format, where=where)
    assert exported.row_count == count


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("risk_tier = ", "syntax error"),
        ("tier = 'high'", 'column "tier" does not exist'),
        ("true; delete from marts.dim_date", "syntax error"),
        (
            "true)) as rows; delete from marts.dim_date;"
            " select from (select from marts.fct_churn_score as mart where (true",
            "multiple commands",
        ),
        ("exists (select from ops.pipeline_runs)", "permission denied"),
        ("customer_id in (select setting from pg_file_settings)", "permission denied"),
        ("nextval('raw.counter') > 0", "permission denied|does not exist"),
    ],
)
@pytest.mark.parametrize("file_format", FORMATS)
def test_condition_that_postgres_refuses_leaves_nothing(
    marts: Marts, tmp_path: Path, where: str, message: str, file_format: FileFormat
) -> None:
    path = tmp_path / "scores"
    path.write_text("of yesterday")
    with pytest.raises(PublishingError, match=message) as caught:
        export_mart(marts.settings, MART, path, file_format, where=where)
    assert where in str(caught.value)
    assert path.read_text() == "of yesterday"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("file_format", FORMATS)
def test_export_that_fails_on_the_way_leaves_nothing(
    marts: Marts, tmp_path: Path, file_format: FileFormat
) -> None:
    """The division fails at a row, not when the query is parsed."""
    where = "1 / (case when customer_id = 'f' then 0 else 1 end) = 1"
    with pytest.raises(PublishingError, match="division by zero"):
        export_mart(marts.settings, MART, tmp_path / "scores", file_format, where=where)
    assert list(tmp_path.iterdir()) == []


def test_unknown_names_are_told_with_those_there_are(marts: Marts, tmp_path: Path) -> None:
    with pytest.raises(PublishingError, match=r"customer_churn_current, .*dim_customer, .*found 'churn'"):
        export_mart(marts.settings, "churn", tmp_path / "a")
    with pytest.raises(PublishingError, match=r"found tier\. There are: .*risk_tier"):
        export_mart(marts.settings, MART, tmp_path / "a", columns=["customer_id", "tier"])
    with pytest.raises(PublishingError, match="each once"):
        export_mart(marts.settings, MART, tmp_path / "a", columns=["customer_id", "customer_id"])
    with pytest.raises(PublishingError, match="folder that exists"):
        export_mart(marts.settings, MART, tmp_path / "no" / "a")


def test_parquet_keeps_every_type(marts: Marts, tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    export_mart(
        marts.settings, MART, path, "parquet", where="customer_id = 'b' and as_of_date >= '2026-10-31'"
    )
    table = pq.read_table(path)
    expected = {
        "scoring_run_key": pa.int32(),
        "customer_id": pa.string(),
        "as_of_date": pa.date32(),
        "known_as_of": pa.timestamp("us", tz="UTC"),
        "is_active": pa.bool_(),
        "churn_probability": pa.float64(),
        "value_at_risk_amount": pa.decimal128(18, 2),
    }
    assert {name: table.schema.field(name).type for name in expected} == expected
    [row] = table.to_pylist()
    assert row["as_of_date"] == date(2026, 10, 31)
    assert row["known_as_of"] == datetime(2026, 11, 1, 2, tzinfo=UTC)
    assert (row["value_at_risk_amount"], row["churn_probability"]) == (Decimal("363.96"), 0.5)
    assert (row["is_active"], row["exclusion_reason"], row["model_key"]) == (True, None, None)


def test_every_relation_of_marts_can_be_exported(
    marts: Marts, reader: psycopg.Connection, tmp_path: Path
) -> None:
    path = tmp_path / "rows.parquet"
    relations = [str(row["table_name"]) for row in ask(reader, POWER_BI_TABLES)]
    assert len(relations) > 8
    for mart in relations:
        selected = reader.execute(f"select * from marts.{mart} limit 0").description or ()
        visible = reader.execute(f"select count(*) from marts.{mart}").fetchone()
        export_mart(marts.settings, mart, path, "parquet")
        found = pq.read_schema(path).names, (pq.read_metadata(path).num_rows,)
        assert found == ([column.name for column in selected], visible), mart


def test_sheet_keeps_types_and_takes_no_text_for_a_formula(marts: Marts, tmp_path: Path) -> None:
    path = tmp_path / "scores.xlsx"
    columns = ["customer_id", "as_of_date", "known_as_of", "is_active", "value_at_risk_amount", "model_key"]
    export_mart(marts.settings, MART, path, "xlsx", columns=columns, where="customer_id = '=1+1'")
    header, row = read_sheet(path)
    assert [text for _, _, text in header] == columns
    assert [kind for kind, _, _ in row] == ["inlineStr", "n", "n", "b", "n"]
    assert row[0][2] == "=1+1"
    days = (date(2026, 10, 31) - date(1899, 12, 30)).days
    assert [float(text) for _, _, text in row[1:]] == pytest.approx([days, days + 1 + 2 / 24, 1, 600])
    assert row[1][1] != row[2][1] != row[4][1], "a date, a time and a number each have a format of their own"
    with zipfile.ZipFile(path) as book:
        formats = re.findall(r'formatCode="([^"]+)"', book.read("xl/styles.xml").decode())
        assert "<f>" not in book.read("xl/worksheets/sheet1.xml").decode()
    assert {"yyyy-mm-dd", "yyyy-mm-dd hh:mm:ss"} <= set(formats)


def test_more_rows_than_a_sheet_holds_are_refused_before_writing(
    marts: Marts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert export_module.MOST_SHEET_ROWS == 2**20 - 1
    monkeypatch.setattr(export_module, "MOST_SHEET_ROWS", 11)
    with pytest.raises(PublishingError, match=r"at most 11 rows for an Excel sheet.*--where"):
        export_mart(marts.settings, MART, tmp_path / "scores.xlsx", "xlsx")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(export_module, "MOST_SHEET_ROWS", 12)
    assert export_mart(marts.settings, MART, tmp_path / "scores.xlsx", "xlsx").row_count == 12


def test_csv_for_a_spreadsheet_escapes_formulas(marts: Marts, tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    choice = {"where": "customer_id = '=1+1'", "columns": ["customer_id", "risk_tier", "customer_key"]}
    export_mart(marts.settings, MART, path, **choice)
    [plain] = read_csv(path)
    export_mart(marts.settings, MART, path, **choice, escape_formulas=True)
    [escaped] = read_csv(path)
    assert (plain["customer_id"], escaped["customer_id"]) == ("=1+1", "'=1+1")
    assert {**plain, "customer_id": ""} == {**escaped, "customer_id": ""}
    with pytest.raises(PublishingError, match="never a formula"):
        export_mart(marts.settings, MART, path, "parquet", escape_formulas=True)


def environment_of(settings: Settings) -> dict[str, str]:
    return os.environ | {
        "CHURN_HOME": str(settings.home),
        "CHURN_DATABASE_PREFIX": settings.database_prefix,
        "CHURN_DATASET": settings.dataset,
    }


def command(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = "from churn_ml.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, "export", *arguments],
        env=environment_of(settings), check=False, capture_output=True, text=True,
    )  # fmt: skip


def test_command_writes_csv_to_standard_output(marts: Marts) -> None:
    done = command(marts.settings, "dim_risk_tier", "--out", "-", "--columns", "risk_tier_key, risk_tier",
                   "--where", "risk_tier_key > 1")  # fmt: skip
    assert done.stdout == "risk_tier_key,risk_tier\n2,medium\n3,high\n"
    assert "2 rows" in done.stderr


def test_command_tells_rows_bytes_and_seconds(marts: Marts, tmp_path: Path) -> None:
    path = tmp_path / "tiers.parquet"
    done = command(marts.settings, "dim_risk_tier", "--format", "parquet", "--out", str(path), "--json")
    told = json.loads(done.stdout)
    assert (told["row_count"], told["byte_count"]) == (4, path.stat().st_size)
    assert told["seconds"] > 0


@pytest.fixture(scope="module")
def long_list(marts: Marts) -> Iterator[str]:
    """A relation of 200,000 rows of 800 characters beside the marts."""
    with connect(marts.settings, Role.TRANSFORMER) as transformer:
        transformer.execute(
            "create table marts.long_list as select n as place, repeat(md5(n::text), 25) as name,"
            " n / 7.0::float8 as share, date '2026-10-31' as as_of_date from generate_series(1, 200000) as n"
        )
        transformer.execute("alter table marts.long_list add primary key (place)")
        transformer.execute("grant select on marts.long_list to bi_reader")
    yield "long_list"
    with connect(marts.settings, Role.TRANSFORMER) as transformer:
        transformer.execute("drop table marts.long_list")


EXPORT_TWICE = """
import sys
from pathlib import Path
from churn_ml.publishing.export import export_mart
from churn_ml.settings import Settings

settings, mart, path, file_format = Settings(_env_file=None), sys.argv[1], Path(sys.argv[2]), sys.argv[3]
for rows in (40_000, 200_000):
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    done = export_mart(settings, mart, path, file_format, where=f"place <= {rows}")
    assert done.row_count == rows
    [peak] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")]
    print(peak)
"""


@pytest.mark.parametrize("file_format", FORMATS)
def test_memory_does_not_grow_with_the_rows(
    marts: Marts, long_list: str, tmp_path: Path, file_format: FileFormat
) -> None:
    """The larger export holds 128 MB more of text than the smaller: 80 MB is room for the allocator."""
    told = subprocess.run(
        [sys.executable, "-c", EXPORT_TWICE, long_list, str(tmp_path / "rows"), file_format],
        env=environment_of(marts.settings), check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    small, large = map(int, told.split())
    assert large - small < 80_000, f"peak kB at 40,000 and 200,000 rows: {small}, {large}"
