"""Personal columns land in raw_restricted, beside rows of raw that lack them, and few may read them."""

import gzip
import sqlite3
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from churn_ml.declarations import load_dataset
from churn_ml.errors import LandingError, WarehouseError
from churn_ml.landing.delivery import land_file
from churn_ml.landing.results import LandedFile
from churn_ml.landing.tables import land_tables
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.raw_tables import ensure_raw_tables

DAY = date(2026, 10, 31)
CUT_OFF = datetime(2026, 11, 1, 2, tzinfo=UTC)
OUTSIDERS = [Role.TRANSFORMER, Role.AUDITOR, Role.TRAINER, Role.SCORER, Role.PUBLISHER, Role.READER]
DECLARATION = """
dataset: "telco"
title: "People with names"
kind: "{kind}"
label_definition: "none"
value_definition: "none"
sensitive_features: []
candidates: {{base_rate: {{}}}}
search: {{trials: 1, seconds: 60}}
{panel}
entities:
  people:
    files: ["people.csv", "people.csv.gz", "people.parquet"]
    table: {table}
    delimiter: ","
    encoding: "UTF8"
    key: ["person_id"]
    columns: {{"Phone": "phone", "Id": "person_id", "Name": "last_name", "at": "event_at", "City": "city"}}
    restricted_columns: {restricted}
"""
PANEL = "panel: {spacing: month_end, most_dates: 2, least_dates: 2, most_customers: 1000, treated: keep}"
INCREMENTAL = "{name: people, incremental_column: at, overlap_minutes: 60, first_load_known_at: event_at}"
CLEAN = 'Id,Name,City,Phone,at\n1,"Smith, J.",Bern,11,\n2,"",,22,\n3,Ünal,Ulm,33,\n'


def declare(
    settings: Settings, folder: Path, *, table: str = "null", restricted: str = "[last_name, phone]"
) -> Settings:
    project = folder / uuid.uuid4().hex
    (project / "datasets").mkdir(parents=True)
    is_dated = "incremental_column" in table
    text = DECLARATION.format(kind="dated" if is_dated else "snapshot", panel=PANEL if is_dated else "",
                              table=table, restricted=restricted)  # fmt: skip
    (project / "datasets" / "telco.yml").write_text(text, encoding="utf-8")
    url = SecretStr(f"sqlite:///{folder / 'source.db'}")
    changed = settings.model_copy(update={"project_dir": project, "source_url": url})
    with connect(changed, Role.OWNER) as owner:
        ensure_raw_tables(owner, load_dataset(changed))
    return changed


def land(settings: Settings, path: Path) -> LandedFile:
    return land_file(settings, path, "people", as_of_date=DAY, known_at=CUT_OFF)


def stored(settings: Settings, query: str, role: Role = Role.OWNER) -> list[tuple[object, ...]]:
    with connect(settings, role) as connection:
        return connection.execute(query).fetchall()


def people(settings: Settings) -> list[tuple[object, ...]]:
    """Each landed row with its personal part, which is in every respect the same row's."""
    return stored(
        settings,
        "select person_id, last_name, city, phone from raw.people inner join raw_restricted.people"
        " using (_batch_id, _row_number, _as_of_date, _known_at, _landed_at) order by _batch_id, _row_number",
    )


def columns_of(settings: Settings, schema: str) -> list[object]:
    query = (
        "select column_name from information_schema.columns where table_name = 'people'"
        f" and table_schema = '{schema}' and column_name not like '\\_%' order by 1"
    )
    return [name for (name,) in stored(settings, query)]


def as_csv(path: Path) -> Path:
    path.with_suffix(".csv").write_text(CLEAN, encoding="utf-8")
    return path.with_suffix(".csv")


def as_gzip(path: Path) -> Path:
    path.with_suffix(".csv.gz").write_bytes(gzip.compress(CLEAN.encode()))
    return path.with_suffix(".csv.gz")


def as_parquet(path: Path) -> Path:
    table = pa.table({"Id": [1, 2, 3], "Name": ["Smith, J.", "", "Ünal"], "City": ["Bern", "", "Ulm"],
                      "Phone": [11, 22, 33], "at": ["", "", ""]})  # fmt: skip
    pq.write_table(table, path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


@pytest.mark.parametrize("write", [as_csv, as_gzip, as_parquet])
def test_restricted_columns_land_apart_whatever_the_format(
    settings: Settings, tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    declared = declare(settings, tmp_path)
    result = land(declared, write(tmp_path / "people"))
    assert (result.rows_in_file, result.rows_landed, result.rows_quarantined) == (3, 3, 0)
    assert people(declared) == [
        ("1", "Smith, J.", "Bern", "11"), ("2", "", "", "22"), ("3", "Ünal", "Ulm", "33")
    ]  # fmt: skip
    assert columns_of(declared, "raw") == ["city", "event_at", "person_id"]
    assert columns_of(declared, "raw_restricted") == ["last_name", "phone"]
    assert stored(declared, "select _row_number from raw.people order by 1") == [(1,), (2,), (3,)]


def test_malformed_records_are_quarantined_and_the_counts_add_up(settings: Settings, tmp_path: Path) -> None:
    declared = declare(settings, tmp_path)
    path = tmp_path / "people.csv"
    path.write_text('Id,Name,City,Phone,at\n1,A,Bern,1,\n2,Smith, J.,Bern,2,\n3,5" x,Ulm,3,\n4,D,Ulm,4,\n')
    result = land(declared, path)
    assert (result.rows_in_file, result.rows_landed, result.rows_quarantined) == (4, 2, 2)
    assert people(declared) == [("1", "A", "Bern", "1"), ("4", "D", "Ulm", "4")]
    assert stored(declared, "select count(*) from raw_restricted.people") == [(2,)]


@pytest.mark.parametrize("role", OUTSIDERS)
def test_no_other_role_reads_personal_columns(settings: Settings, tmp_path: Path, role: Role) -> None:
    declared = declare(settings, tmp_path)
    land(declared, as_csv(tmp_path / "people"))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        stored(declared, "select from raw_restricted.people", role)


def test_auditor_reads_why_a_record_is_quarantined_but_not_its_bytes(
    settings: Settings, tmp_path: Path
) -> None:
    declared = declare(settings, tmp_path)
    path = tmp_path / "people.csv"
    path.write_text("Id,Name,City,Phone,at\n1,A,Bern,1,\n2,Smith, J.,Bern,2,\n")
    land(declared, path)
    reasons = stored(declared, "select reason, line_number, detail from ops.quarantine", Role.AUDITOR)
    assert reasons == [("wrong_field_count", 3, "6 fields, the header has 5")]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        stored(declared, "select raw_bytes from ops.quarantine", Role.AUDITOR)


def test_auditor_of_a_dataset_without_personal_columns_reads_the_bytes(settings: Settings) -> None:
    assert stored(settings, "select raw_bytes from ops.quarantine", Role.AUDITOR) == []


def test_a_file_lands_once_and_a_refused_one_leaves_nothing(settings: Settings, tmp_path: Path) -> None:
    declared = declare(settings, tmp_path)
    first = land(declared, as_csv(tmp_path / "people"))
    assert land(declared, as_csv(tmp_path / "people")).batch_id == first.batch_id
    (tmp_path / "empty.csv").write_text("Id,Name,City,Phone,at\n")
    with pytest.raises(LandingError, match="found none"):
        land(declared, tmp_path / "empty.csv")
    assert stored(declared, "select count(*) from raw.people") == [(3,)]
    assert stored(declared, "select count(*) from raw_restricted.people") == [(3,)]


def fill_source(folder: Path, *rows: tuple[object, ...]) -> None:
    with sqlite3.connect(folder / "source.db") as source:
        source.execute(
            'create table if not exists people ("Id" integer, "Name" text, "City" text, "Phone" integer,'
            " at timestamp)"
        )
        source.executemany("insert into people values (?, ?, ?, ?, ?)", rows)


def test_a_table_lands_apart_and_late_rows_land_once(settings: Settings, tmp_path: Path) -> None:
    fill_source(
        tmp_path,
        (1, "Smith", "Bern", 11, "2026-10-30 12:00:00.000000"),
        (2, None, "Ulm", None, "2026-10-30 12:30:00.000000"),
    )
    declared = declare(settings, tmp_path, table=INCREMENTAL)
    (first,) = land_tables(declared, as_of_date=DAY, known_at=None, first_load=True)
    assert first.rows_landed == 2
    assert people(declared) == [("1", "Smith", "Bern", "11"), ("2", None, "Ulm", None)]
    [(known_at,)] = stored(declared, "select min(_known_at) from raw_restricted.people")
    assert known_at == datetime(2026, 10, 30, 12, tzinfo=UTC)
    # The same row but for a personal column is another one.
    fill_source(tmp_path, (1, "Jones", "Bern", 11, "2026-10-30 12:00:00.000000"))
    (second,) = land_tables(declared, as_of_date=DAY, known_at=CUT_OFF)
    assert second.rows_landed == 1
    assert people(declared)[2:] == [("1", "Jones", "Bern", "11")]
    (third,) = land_tables(declared, as_of_date=DAY, known_at=CUT_OFF)
    assert third.rows_landed == 0


def test_a_column_that_stands_in_raw_is_not_restricted_in_silence(settings: Settings, tmp_path: Path) -> None:
    declare(settings, tmp_path, restricted="[phone]")
    with pytest.raises(WarehouseError, match=r"no restricted column in raw\.people, found last_name"):
        declare(settings, tmp_path)
