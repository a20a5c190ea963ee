"""`dag.test()`: the wiring of a night where it fails and where there is nothing to do."""

import os
from datetime import UTC, date, datetime, timedelta

import pytest
from dag_running import read_row, run_dag

from churn_ml.landing.delivery import land_inbox
from churn_ml.landing.snapshots import settle_night
from churn_ml.settings import Settings
from churn_ml.simulation.telco_shape import write_snapshot
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import open_run

SNAPSHOT = date(2026, 10, 31)


@pytest.fixture
def night(airflow: Settings, settings: Settings, tmp_path: os.PathLike[str]) -> Settings:
    """A warehouse and an inbox of the test's own, on the metadata that all tests share."""
    return settings.model_copy(update={"inbox_dir": tmp_path})


def publish_earlier_night(night: Settings) -> None:
    """Land a snapshot and mark a night of it as published, as if it had gone through every room."""
    folder = night.inbox / SNAPSHOT.isoformat()
    folder.mkdir(parents=True)
    write_snapshot(folder / "customers.csv", customers=20, as_of_date=SNAPSHOT, seed=1)
    run = open_run(night, "night", datetime.combine(SNAPSHOT + timedelta(days=1), datetime.min.time(), UTC))
    land_inbox(night, run.run_id)
    assert settle_night(night, run.run_id)
    with connect(night, Role.OWNER) as owner:
        owner.execute(
            "insert into ops.published_runs (as_of_date, run_id, known_as_of) values (%s, %s, %s)",
            [SNAPSHOT, run.run_id, run.known_as_of],
        )


def test_night_without_a_delivery_fails_where_it_stands(airflow: Settings, night: Settings) -> None:
    run = run_dag(airflow, night, "churn_nightly", "2026-11-01T02:00:00+00:00")
    assert run["state"] == "failed"
    assert run["tasks"]["settle"] == "failed"
    behind = [task for task in run["tasks"] if task not in {"open_run", "land", "settle"}]
    assert {run["tasks"][task] for task in behind} == {"upstream_failed"}
    status, failure = read_row(night, run["run_id"])
    assert status == "failed"
    assert str(failure).startswith("settle: LandingError: Expected a snapshot of telco for 2026-10-31")


def test_night_of_a_published_snapshot_is_green_and_skips_everything(
    airflow: Settings, night: Settings
) -> None:
    publish_earlier_night(night)
    run = run_dag(airflow, night, "churn_nightly", "2026-11-02T02:00:00+00:00")
    assert run["state"] == "success"
    behind = [task for task in run["tasks"] if task not in {"open_run", "land", "settle"}]
    assert {run["tasks"][task] for task in behind} == {"skipped"}
    assert read_row(night, run["run_id"])[0] == "unchanged"


def test_training_without_data_fails_and_closes_its_row(airflow: Settings, night: Settings) -> None:
    run = run_dag(airflow, night, "churn_training", "2026-11-01T02:00:00+00:00")
    assert (run["state"], run["tasks"]["settle"], run["tasks"]["select"]) == (
        "failed", "failed", "upstream_failed",
    )  # fmt: skip
    assert read_row(night, run["run_id"])[0] == "failed"


def test_run_without_an_interval_says_how_to_trigger(airflow: Settings, night: Settings) -> None:
    from churn_ml.errors import SettingsError
    from churn_ml.services.airflow import mint_run

    class DagRun:
        dag_id, run_id, data_interval_end = "churn_nightly", "manual__now", None

    with pytest.raises(SettingsError, match=r"found none on manual__now.*churn-ml night --as-of"):
        mint_run(night, "night", DagRun())
