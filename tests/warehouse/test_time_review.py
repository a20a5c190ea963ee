"""What happens beside a night must not get into it: late batches, other runs, time zones."""

import sqlite3
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from nightly import cut_off_of
from pydantic import SecretStr
from subscription_deliveries import HISTORY_ENDS, cut_off_after
from untested import build_layer

from churn_ml.errors import PublishingError, TransformationError
from churn_ml.landing.delivery import land_file
from churn_ml.landing.tables import land_tables
from churn_ml.publishing.publish import publish_run
from churn_ml.quality.gates import run_gate
from churn_ml.services.dbt_selection import Layer
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect, connect_admin
from churn_ml.warehouse.runs import close_run, open_run

SNAPSHOT_DAY = date(2026, 10, 31)
CUT_OFF = cut_off_after(HISTORY_ENDS)


def change(settings: Settings, statement: str) -> None:
    with connect_admin(settings, database=settings.warehouse_database) as admin:
        admin.execute(statement)


def rows(settings: Settings, statement: str) -> list[tuple[object, ...]]:
    with connect(settings, Role.AUDITOR) as auditor:
        return auditor.execute(statement).fetchall()


def test_night_is_not_published_without_a_batch_that_it_may_know(
    built: tuple[Settings, str], snapshots: dict[date, Path], tmp_path: Path
) -> None:
    settings, run_id = built
    cut_off = cut_off_of(SNAPSHOT_DAY)
    corrected = tmp_path / "corrected.csv"
    corrected.write_text(snapshots[SNAPSHOT_DAY].read_text().replace("Month-to-month", "Two year"))
    land_file(settings, corrected, "customers", as_of_date=SNAPSHOT_DAY, known_at=cut_off)
    run_gate(settings, run_id, "marts")
    with pytest.raises(PublishingError, match=r"corrected\.csv.*dbt_staging"):
        publish_run(settings, run_id, "test")
    assert rows(settings, "select count(*) from ops.published_runs") == [(0,)]


FEATURES = f"select * from features.customer_features where known_as_of = '{CUT_OFF}' order by customer_id"
STAGED: tuple[Layer, ...] = ("staging", "intermediate")
ALL: tuple[Layer, ...] = (*STAGED, "features")
BROKEN = "intermediate.int_subscriptions__subscriptions_dated"


@pytest.mark.long
def test_resumed_night_does_not_rely_on_rows_that_another_run_dropped(history: Settings) -> None:
    build(history, CUT_OFF + timedelta(hours=2), "training", STAGED)
    refused = f"constraint refused check (known_as_of <> '{CUT_OFF}') not valid"
    change(history, f"alter table {BROKEN} add {refused}")
    failed = open_run(history, "night", CUT_OFF)
    build_layer(history, failed.run_id, "staging")
    with pytest.raises(TransformationError, match="refused"):
        build_layer(history, failed.run_id, "intermediate")
    close_run(history, failed.run_id, "failed", "a full disk")
    change(history, f"alter table {BROKEN} drop constraint refused")
    state_published(history, build(history, CUT_OFF + timedelta(days=1), "night", ()))
    build(history, CUT_OFF + timedelta(days=1, hours=2), "training", STAGED)
    build_layer(history, failed.run_id, "intermediate", try_number=2)
    build_layer(history, failed.run_id, "features")
    resumed = rows(history, FEATURES)
    build(history, CUT_OFF, "night", ALL)
    assert resumed == rows(history, FEATURES)


def build(
    settings: Settings, cut_off: datetime, run_kind: str, layers: tuple[Layer, ...], *, tested: bool = False
) -> str:
    run = open_run(settings, run_kind, cut_off)
    for layer in layers:
        build_layer(settings, run.run_id, layer, tested=tested)
    close_run(settings, run.run_id, "succeeded")
    return run.run_id


def state_published(settings: Settings, run_id: str) -> None:
    """State that a night was published, without its marts."""
    change(
        settings,
        "insert into ops.publications (action, as_of_date, run_id, reason, recorded_by)"
        f" select 'publish', as_of_date, run_id, 'test', 'test' from ops.pipeline_runs"
        f" where run_id = '{run_id}'",
    )


def test_time_zone_of_the_server_decides_nothing(history: Settings) -> None:
    build(history, CUT_OFF, "night", ALL)
    expected = rows(history, FEATURES)
    change(history, f"alter database {history.warehouse_database} set timezone = 'Pacific/Auckland'")
    change(history, f"alter database {history.warehouse_database} set datestyle = 'German, DMY'")
    change(history, "truncate features.customer_features")
    build(history, CUT_OFF, "night", ALL)
    assert rows(history, FEATURES) == expected


def test_first_load_of_a_table_by_event_time_is_staged_and_tested(history: Settings, tmp_path: Path) -> None:
    settings = with_contacts_in_a_table(history, tmp_path)
    land_tables(settings, as_of_date=HISTORY_ENDS, known_at=None, first_load=True)
    build(settings, CUT_OFF, "night", ALL, tested=True)
    found = rows(
        settings,
        "select event_at = known_at from staging.stg_subscriptions__contacts where contact_id like 'table %'",
    )
    assert found == [(True,), (True,)]
    inbound = "select inbound_contacts_90d from features.customer_features where customer_id = 'C00000001'"
    assert rows(settings, inbound) == [(1,)]


def with_contacts_in_a_table(settings: Settings, folder: Path) -> Settings:
    """A deployment that also reads contacts from a table: one of May and one of October."""
    (folder / "datasets").mkdir()
    (folder / "dbt_project").symlink_to(settings.project_dir / "dbt_project")
    declared = (settings.project_dir / "datasets" / "subscriptions.yml").read_text()
    files = '    files: ["contacts.csv", "contacts.csv.gz", "contacts.parquet"]\n'
    table = "{name: contacts, incremental_column: updated_at, first_load_known_at: event_at}"
    assert files in declared
    changed = declared.replace(files, f"{files}    table: {table}\n")
    (folder / "datasets" / "subscriptions.yml").write_text(changed)
    columns = "contact_id, event_at, revision, is_deleted, customer_id, channel, direction"
    with sqlite3.connect(folder / "source.db") as source:
        source.execute(f"create table contacts ({columns.replace(',', ' text,')} text, updated_at timestamp)")
        for day in ("2026-05-20", "2026-10-20"):
            source.execute(
                f"insert into contacts values ('table {day}', '{day}T12:00:00Z', '1', 'false', 'C00000001',"
                f" 'email', 'inbound', '{day} 12:00:00')"
            )
    source.close()
    url = SecretStr(f"sqlite:///{folder / 'source.db'}")
    return settings.model_copy(update={"project_dir": folder, "source_url": url})
