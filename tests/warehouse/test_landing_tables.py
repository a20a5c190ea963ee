"""Landing from tables: a second Postgres database and a SQLite file, read by their increment."""

import sqlite3
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from psycopg import sql
from pydantic import SecretStr
from typer.testing import CliRunner

from churn_ml.cli import app
from churn_ml.declarations import load_dataset
from churn_ml.errors import DeclarationError, LandingError
from churn_ml.landing.delivery import land_inbox
from churn_ml.landing.results import LandedFile, LandingSummary
from churn_ml.landing.tables import land_tables
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, admin_url, connect, connect_admin, open_url
from churn_ml.warehouse.raw_tables import ensure_raw_tables
from churn_ml.warehouse.runs import open_run

OCTOBER = date(2026, 10, 31)
DAY = timedelta(days=1)
CUT_OFF = datetime(2026, 11, 1, 2, tzinfo=UTC)
DECLARATION = """
dataset: "telco"
title: "Invoices read from a table"
kind: "{kind}"
label_definition: "none"
value_definition: "mrr_horizon"
sensitive_features: []
candidates: {{base_rate: {{}}}}
search: {{trials: 1, seconds: 60}}
{panel}
entities:
  invoices:
    files: []
    table: {{{table}}}
    delimiter: ","
    encoding: "UTF8"
    key: ["invoice_id"]
    columns:
      {{"Id": "invoice_id", "event_at": "event_at", "amount": "amount", "is_paid": "is_paid", "note": "note"}}
"""
PANEL = "panel: {spacing: month_end, most_dates: 2, least_dates: 2, most_customers: 1000, treated: keep}"
INVOICES = "name: billing.invoices, incremental_column: updated_at"


class Source:
    """A table of invoices in a Postgres database of its own."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.url = admin_url(settings).set(database=f"source_{uuid.uuid4().hex[:10]}")
        with connect_admin(settings) as admin:
            admin.execute(sql.SQL("create database {}").format(sql.Identifier(str(self.url.database))))
        self.run(
            'create schema billing; create table billing.invoices ("Id" integer primary key,'
            " event_at timestamptz, amount numeric(12, 2), is_paid boolean, note text,"
            " updated_at timestamptz, updated_local timestamp, updated_day date, version bigint)"
        )

    def run(self, statement: str) -> None:
        with open_url(self.url) as source:
            source.execute(statement)

    def add(self, *ids: int, at: str = "2026-10-31T12:00:00Z", note: str = "n") -> None:
        for number in ids:
            self.run(
                "insert into billing.invoices values"
                f" ({number}, '{at}', {number}.50, {number % 2 == 0}, '{note}', '{at}',"
                f" timestamptz '{at}' at time zone 'UTC', date '{at[:10]}', 7)"
            )

    def drop(self) -> None:
        with connect_admin(self.settings) as admin:
            admin.execute(
                sql.SQL("drop database {} with (force)").format(sql.Identifier(str(self.url.database)))
            )


def declare(settings: Settings, table: str, tmp_path: Path, url: str, *, kind: str = "dated") -> Settings:
    project = tmp_path / uuid.uuid4().hex
    (project / "datasets").mkdir(parents=True)
    text = DECLARATION.format(kind=kind, table=table, panel=PANEL if kind == "dated" else "")
    (project / "datasets" / "telco.yml").write_text(text, encoding="utf-8")
    changed = settings.model_copy(
        update={"project_dir": project, "source_url": SecretStr(url), "inbox_dir": tmp_path / "inbox"}
    )
    with connect(changed, Role.OWNER) as owner:
        ensure_raw_tables(owner, load_dataset(changed))
    return changed


@pytest.fixture
def source(settings: Settings) -> Iterator[Source]:
    made = Source(settings)
    yield made
    made.drop()


@pytest.fixture
def invoices(settings: Settings, source: Source, tmp_path: Path) -> Settings:
    """A warehouse whose invoices come from the source's table."""
    return declare(settings, INVOICES, tmp_path, source.url.render_as_string(hide_password=False))


def redeclare(settings: Settings, table: str, tmp_path: Path, *, kind: str = "dated") -> Settings:
    assert settings.source_url is not None
    return declare(settings, table, tmp_path, settings.source_url.get_secret_value(), kind=kind)


def land(settings: Settings, known_at: datetime = CUT_OFF, day: date = OCTOBER) -> LandedFile:
    (landed,) = land_tables(settings, as_of_date=day, known_at=known_at)
    return landed


def stored(settings: Settings, query: str) -> list[tuple[object, ...]]:
    with connect(settings, Role.OWNER) as owner:
        return owner.execute(query).fetchall()


def landed_ids(settings: Settings) -> list[str]:
    return [
        str(row[0]) for row in stored(settings, "select invoice_id from raw.invoices order by _batch_id, 1")
    ]


def test_every_value_lands_as_text_with_its_batch(invoices: Settings, source: Source) -> None:
    source.run(
        """set timezone = 'Asia/Tokyo'; insert into billing.invoices values
        (1, '2026-10-31T21:05:00+09', 10.50, true, null, '2026-10-31T12:05:00.123456Z'),
        (2, null, 0.00, false, '', '2026-10-31T12:06:00Z'),
        (3, null, null, null, E'a "b", \\n\\\\. é', '2026-10-31T12:04:00Z')"""
    )
    landed = land(invoices)
    assert (landed.file_name, landed.rows_in_file, landed.rows_landed) == ("table billing.invoices", 3, 3)
    assert stored(
        invoices,
        "select invoice_id, event_at, amount, is_paid, note, _row_number, _as_of_date, _known_at"
        " from raw.invoices order by invoice_id",
    ) == [
        ("1", "2026-10-31T12:05:00Z", "10.50", "true", None, 1, OCTOBER, CUT_OFF),
        ("2", None, "0.00", "false", "", 2, OCTOBER, CUT_OFF),
        ("3", None, None, None, 'a "b", \n\\. é', 3, OCTOBER, CUT_OFF),
    ]
    assert stored(
        invoices, "select entity, file_format, high_water, row_count_in_file from ops.landing_batches"
    ) == [("invoices", "table", "2026-10-31T12:06:00+00:00", 3)]


@pytest.mark.parametrize("column", ["updated_at", "updated_local", "updated_day"])
def test_next_landing_takes_what_is_new_and_what_was_committed_late(
    invoices: Settings, source: Source, tmp_path: Path, column: str
) -> None:
    settings = redeclare(invoices, f"name: billing.invoices, incremental_column: {column}", tmp_path)
    source.add(1, 2)
    land(settings)
    source.add(3)  # the same moment as the greatest that landed
    source.add(4, at="2026-11-01T12:00:00Z")
    again = land(settings, CUT_OFF + DAY, OCTOBER + DAY)
    assert again.rows_landed == 2
    assert landed_ids(settings) == ["1", "2", "3", "4"]
    last = land(settings, CUT_OFF + 2 * DAY, OCTOBER + 2 * DAY)
    assert (last.rows_landed, last.is_unchanged, landed_ids(settings)) == (0, False, ["1", "2", "3", "4"])


def test_integer_column_counts_too(invoices: Settings, source: Source, tmp_path: Path) -> None:
    settings = redeclare(invoices, "name: billing.invoices, incremental_column: version", tmp_path)
    source.add(1)
    land(settings)
    source.add(2)
    source.run('insert into billing.invoices ("Id", version) values (3, 8)')
    land(settings, CUT_OFF + DAY, OCTOBER + DAY)
    assert landed_ids(settings) == ["1", "2", "3"]


def test_changed_row_lands_again_and_an_unchanged_one_does_not(invoices: Settings, source: Source) -> None:
    source.add(1, 2)
    land(invoices)
    source.run("update billing.invoices set note = 'changed' where \"Id\" = 1")  # at the same moment
    source.run(
        "update billing.invoices set note = 'later', updated_at = updated_at + interval '1 h'"
        ' where "Id" = 2'
    )
    assert land(invoices, CUT_OFF + DAY, OCTOBER + DAY).rows_landed == 2
    assert stored(invoices, "select invoice_id, note from raw.invoices order by _batch_id, _row_number") == [
        ("1", "n"), ("2", "n"), ("1", "changed"), ("2", "later"),
    ]  # fmt: skip


def test_overlap_finds_what_a_long_transaction_committed_late(
    invoices: Settings, source: Source, tmp_path: Path
) -> None:
    settings = redeclare(invoices, f"{INVOICES}, overlap_minutes: 60", tmp_path)
    source.add(1, at="2026-10-31T11:30:00Z")
    land(settings)
    source.add(2, at="2026-10-31T13:00:00Z")
    land(settings, CUT_OFF + DAY, OCTOBER + DAY)
    source.add(3, at="2026-10-31T12:15:00Z")
    assert land(settings, CUT_OFF + 2 * DAY, OCTOBER + 2 * DAY).rows_landed == 1
    assert landed_ids(settings) == ["1", "2", "3"]


def test_row_beyond_the_cut_off_waits_for_the_night_that_may_know_it(
    invoices: Settings, source: Source
) -> None:
    source.add(1)
    source.add(2, at="2026-11-01T09:00:00Z")
    assert land(invoices).rows_landed == 1
    assert land(invoices, CUT_OFF + DAY, OCTOBER + DAY).rows_landed == 1
    known = stored(invoices, "select invoice_id, _known_at from raw.invoices order by 1")
    assert known == [("1", CUT_OFF), ("2", CUT_OFF + DAY)]


def test_table_without_news_is_a_batch_without_rows(invoices: Settings) -> None:
    landed = land(invoices)
    assert (landed.rows_in_file, landed.is_unchanged) == (0, False)
    again = land(invoices)
    assert (again.is_unchanged, again.batch_id) == (True, landed.batch_id)


def test_night_lands_the_tables_after_the_files(invoices: Settings, source: Source) -> None:
    source.add(1, 2)
    run = open_run(invoices, "night", CUT_OFF)
    assert land_inbox(invoices, run.run_id) == LandingSummary(1, 2, 0, 0)
    assert land_inbox(invoices, run.run_id) == LandingSummary(1, 0, 0, 0)  # read, and nothing new
    assert stored(invoices, "select distinct run_id from ops.landing_batches") == [(run.run_id,)]


def test_first_load_is_known_at_the_end_of_its_day(invoices: Settings, source: Source) -> None:
    source.add(1, at="2025-01-05T12:00:00Z")
    land_tables(invoices, as_of_date=OCTOBER, known_at=None, first_load=True)
    assert stored(invoices, "select _known_at from raw.invoices") == [(datetime(2026, 11, 1, tzinfo=UTC),)]


def test_first_load_by_event_time_is_known_row_by_row(
    invoices: Settings, source: Source, tmp_path: Path
) -> None:
    settings = redeclare(invoices, f"{INVOICES}, first_load_known_at: event_at", tmp_path)
    source.add(1, at="2025-01-05T12:00:00Z")
    source.add(2)
    source.run('update billing.invoices set event_at = null where "Id" = 2')
    source.add(3)
    source.run("update billing.invoices set event_at = '2030-01-01' where \"Id\" = 3")
    land_tables(settings, as_of_date=OCTOBER, known_at=None, first_load=True)
    source.add(4)  # committed late
    land_tables(settings, as_of_date=OCTOBER, known_at=None, first_load=True)
    end_of_day = datetime(2026, 11, 1, tzinfo=UTC)
    expected = [
        ("1", datetime(2025, 1, 5, 12, tzinfo=UTC)), ("2", end_of_day), ("3", end_of_day),
        ("4", datetime(2026, 10, 31, 12, tzinfo=UTC)),
    ]  # fmt: skip
    assert stored(settings, "select invoice_id, _known_at from raw.invoices order by 1") == expected


def test_first_load_after_a_publication_or_a_plain_landing_is_refused(
    invoices: Settings, source: Source
) -> None:
    source.add(1)
    land(invoices)
    with pytest.raises(LandingError, match="found it landed without --first-load"):
        land_tables(invoices, as_of_date=OCTOBER, known_at=None, first_load=True)
    run = open_run(invoices, "night", CUT_OFF)
    with connect(invoices, Role.OWNER) as owner:
        owner.execute(
            "insert into ops.publications (action, as_of_date, run_id, reason, recorded_by)"
            " values ('publish', %s, %s, 'a test', 'test')",
            [OCTOBER, run.run_id],
        )
    with pytest.raises(LandingError, match="never published a night"):
        land_tables(invoices, as_of_date=OCTOBER, known_at=None, first_load=True)
    with pytest.raises(LandingError, match="after every published cut-off"):
        land(invoices)
    late = land_tables(invoices, as_of_date=OCTOBER + DAY, known_at=None)
    assert late[0].rows_in_file == 0


def test_snapshot_dataset_takes_the_whole_table(invoices: Settings, source: Source, tmp_path: Path) -> None:
    settings = redeclare(invoices, "name: billing.invoices", tmp_path, kind="snapshot")
    with pytest.raises(LandingError, match="expected rows"):
        land(settings)
    source.add(1, 2)
    assert [land(settings).is_unchanged, land(settings).is_unchanged] == [False, True]
    assert land(settings, CUT_OFF + DAY, OCTOBER + DAY).rows_landed == 2


@pytest.mark.parametrize(
    ("statement", "table", "message"),
    [
        ("select 1", "name: billing.bills, incremental_column: updated_at",
         r"a table billing\.bills at the source, found invoices\."),
        ("select 1", "name: nowhere.bills, incremental_column: updated_at", "found none"),
        ("select 1", "name: billing.invoices, incremental_column: changed_at",
         "expected the columns changed_at, found Id, event_at"),
        ("alter table billing.invoices drop amount", INVOICES, "expected the columns amount, found Id"),
        ("select 1", "name: billing.invoices, incremental_column: note",
         "a timestamp, date or integer as its incremental column, found note of type TEXT"),
        ("insert into billing.invoices (\"Id\") values (9)", INVOICES, "in every row, found 1 rows without"),
        ("alter table billing.invoices alter note type bytea using ''::bytea;"
         " insert into billing.invoices (\"Id\", note, updated_at) values (9, 'x', '2026-10-31')",
         INVOICES, "found 'note' with bytes"),
    ],
)  # fmt: skip
def test_source_that_does_not_fit_is_refused_whole(
    invoices: Settings, source: Source, tmp_path: Path, statement: str, table: str, message: str
) -> None:
    source.add(1)
    source.run(statement)
    with pytest.raises(LandingError, match=message):
        land(redeclare(invoices, table, tmp_path))
    assert stored(invoices, "select from raw.invoices") == []
    assert stored(invoices, "select from ops.landing_batches") == []


def test_column_of_another_type_than_before_is_refused(
    invoices: Settings, source: Source, tmp_path: Path
) -> None:
    source.add(1)
    land(invoices)
    for column in ("version", "updated_day"):
        changed = redeclare(invoices, f"name: billing.invoices, incremental_column: {column}", tmp_path)
        with pytest.raises(LandingError, match="found a column of another type"):
            land(changed, CUT_OFF + DAY, OCTOBER + DAY)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "postgresql://someone:hush@127.0.0.1:1/shop?application_name=hush",
            r"someone:\*\*\*@127\.0\.0\.1:1/shop",
        ),
        ("hush", "text that is none"),
        ("nosuch://someone:hush@shop/x", "Expected a driver for nosuch"),
        ("oracle+oracledb://someone:hush@shop/x", r"Expected a driver for oracle\+oracledb"),
    ],
)
def test_unusable_url_is_named_without_its_password(
    invoices: Settings, tmp_path: Path, url: str, message: str
) -> None:
    with pytest.raises(LandingError, match=message) as caught:
        land(declare(invoices, INVOICES, tmp_path, url))
    assert "hush" not in str(caught.value)


def test_tables_without_a_source_are_refused_by_name(invoices: Settings) -> None:
    with pytest.raises(LandingError, match="tables of invoices in CHURN_SOURCE_URL, found none set"):
        land(invoices.model_copy(update={"source_url": None}))


def test_wrong_password_is_not_shown(invoices: Settings, source: Source, tmp_path: Path) -> None:
    url = source.url.set(password="not-the-password").render_as_string(hide_password=False)
    with pytest.raises(LandingError, match="password authentication failed") as caught:
        land(declare(invoices, INVOICES, tmp_path, url))
    assert "not-the-password" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "kind", "message"),
    [
        ("name: billing.invoices", "dated", "expected table.incremental_column of invoices"),
        (INVOICES, "snapshot", "the whole table is the snapshot"),
        (f"{INVOICES}, first_load_known_at: absent", "dated", "names no raw column of this entity: absent"),
        ("name: 'invoices; drop', incremental_column: a", "dated", "table.name"),
        (f"{INVOICES}, url: 'postgresql://a:b@c/d'", "dated", "Extra inputs"),
    ],
)
def test_declaration_is_read_strictly(
    settings: Settings, tmp_path: Path, table: str, kind: str, message: str
) -> None:
    with pytest.raises(DeclarationError, match=message):
        declare(settings, table, tmp_path, "sqlite://", kind=kind)


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    path = tmp_path / "source.sqlite"
    with sqlite3.connect(path) as source:
        source.execute(
            "create table invoices (Id integer, event_at timestamp, amount decimal(12, 2), is_paid boolean,"
            " note text, updated_at timestamp)"
        )
    return path


def add_to_sqlite(path: Path, *rows: tuple[object, ...]) -> None:
    with sqlite3.connect(path) as source:
        source.executemany("insert into invoices values (?, ?, ?, ?, ?, ?)", rows)


def test_sqlite_file_lands_the_same_way(settings: Settings, sqlite_file: Path, tmp_path: Path) -> None:
    settings = declare(
        settings, "name: invoices, incremental_column: updated_at", tmp_path, f"sqlite:///{sqlite_file}"
    )
    noon = "2026-10-31 12:00:00"
    add_to_sqlite(
        sqlite_file, (1, noon, 10.25, 1, None, noon), (2, f"{noon}.500000", 1e-7, 0, "", f"{noon}.000000")
    )
    assert land(settings).rows_landed == 2
    add_to_sqlite(
        sqlite_file, (3, None, 7, None, "x", noon), (4, None, None, None, "y", "2026-11-01 10:00:00")
    )
    assert land(settings, CUT_OFF + DAY, OCTOBER + DAY).rows_landed == 2
    assert land(settings, CUT_OFF + 2 * DAY, OCTOBER + 2 * DAY).rows_landed == 0
    assert stored(
        settings, "select invoice_id, event_at, amount, is_paid, note from raw.invoices order by 1"
    ) == [
        ("1", "2026-10-31T12:00:00Z", "10.25", "true", None),
        ("2", "2026-10-31T12:00:00.500000Z", "0.0000001", "false", ""),
        ("3", None, "7", None, "x"),
        ("4", None, None, None, "y"),
    ]


def test_row_that_postgres_cannot_hold_is_quarantined_and_the_others_land(
    settings: Settings, sqlite_file: Path, tmp_path: Path
) -> None:
    settings = declare(
        settings, "name: invoices, incremental_column: updated_at", tmp_path, f"sqlite:///{sqlite_file}"
    )
    add_to_sqlite(
        sqlite_file, *((n, None, n, 1, "a\0b" if n == 2 else "n", "2026-10-31 12:00:00") for n in (1, 2, 3))
    )
    landed = land(settings)
    assert (landed.rows_in_file, landed.rows_landed, landed.rows_quarantined) == (3, 2, 1)
    assert stored(settings, "select reason, line_number from ops.quarantine") == [("nul_byte", 2)]
    add_to_sqlite(sqlite_file, (4, None, 4, 1, "n", "2026-10-31 12:00:00"))
    assert land(settings, CUT_OFF + DAY, OCTOBER + DAY).rows_landed == 1
    assert landed_ids(settings) == ["1", "3", "4"]


def test_unreadable_time_of_a_sqlite_file_is_named(
    settings: Settings, sqlite_file: Path, tmp_path: Path
) -> None:
    settings = declare(
        settings, "name: invoices, incremental_column: updated_at", tmp_path, f"sqlite:///{sqlite_file}"
    )
    add_to_sqlite(sqlite_file, (1, None, 1, 1, "n", "2026-10-31 soon"))
    with pytest.raises(LandingError, match="fit the types of its columns"):
        land(settings)


def test_source_that_fails_while_it_is_read_leaves_nothing(
    invoices: Settings, source: Source, tmp_path: Path
) -> None:
    source.run(
        'create view billing.torn as select "Id", event_at, amount / ("Id" - 9000) as amount, is_paid, note,'
        " updated_at from billing.invoices;"
        ' insert into billing.invoices ("Id", amount, updated_at)'
        " select n, 1, '2026-10-31' from generate_series(1, 9000) as n"
    )
    with pytest.raises(LandingError, match="division by zero"):
        land(redeclare(invoices, "name: billing.torn, incremental_column: updated_at", tmp_path))
    assert stored(invoices, "select from raw.invoices") == []


def test_reader_of_the_source_writes_nothing(invoices: Settings, source: Source) -> None:
    source.add(1)
    with open_url(source.url) as other:
        other.execute("lock table billing.invoices in share mode")  # would hold up a writer
        assert land(invoices).rows_landed == 1


def test_command_lands_the_tables(
    invoices: Settings, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.add(1)
    assert invoices.source_url is not None
    for name, value in {
        "PROJECT_DIR": invoices.project_dir, "HOME": invoices.home, "DATASET": invoices.dataset,
        "DATABASE_PREFIX": invoices.database_prefix, "SOURCE_URL": invoices.source_url.get_secret_value(),
    }.items():  # fmt: skip
        monkeypatch.setenv(f"CHURN_{name}", str(value))
    result = CliRunner().invoke(app, ["land-tables", "--as-of", "2026-10-31", "--first-load", "--json"])
    assert result.exit_code == 0, result.output
    assert '"file_name": "table billing.invoices"' in result.output


def test_two_landings_of_one_table_at_once_land_each_row_once(invoices: Settings, source: Source) -> None:
    source.run(
        'insert into billing.invoices ("Id", updated_at)'
        " select n, '2026-10-31T12:00:00Z'::timestamptz from generate_series(1, 20000) as n"
    )
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda day: land(invoices, CUT_OFF + DAY, day), (OCTOBER, OCTOBER + DAY)))
    assert stored(invoices, "select count(*), count(distinct invoice_id) from raw.invoices") == [
        (20000, 20000)
    ]
