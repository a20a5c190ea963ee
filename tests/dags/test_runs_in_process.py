"""`dag.test()`: the wiring of a night where it fails and where there is nothing to do."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from clones import clone_warehouse, drop_warehouse
from dag_running import read_row, run_dags

from churn_ml.landing.delivery import land_inbox
from churn_ml.landing.snapshots import settle_night
from churn_ml.settings import Settings
from churn_ml.simulation.telco_shape import write_snapshot
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import open_run

SNAPSHOT = date(2026, 10, 31)


@dataclass(frozen=True)
class DagRun:
    """A warehouse, and what became of the only DAG run on it."""

    settings: Settings
    told: dict[str, Any]


@pytest.fixture(scope="module")
def dag_runs(airflow: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, DagRun]]:
    """Five runs in one process, each with a warehouse and an inbox of its own."""
    asked = {
        "nothing delivered": ("churn_nightly", "2026-11-01T02:00:00+00:00"),
        "published already": ("churn_nightly", "2026-11-02T02:00:00+00:00"),
        "training of nothing": ("churn_training", "2026-11-01T02:00:00+00:00"),
        "maintenance too early": ("churn_maintenance", "2026-11-14T05:00:00+00:00"),
        "maintenance in time": ("churn_maintenance", "2026-11-16T05:00:00+00:00"),
    }
    warehouses = {
        name: clone_warehouse(airflow).model_copy(update={"inbox_dir": tmp_path_factory.mktemp("inbox")})
        for name in asked
    }
    publish_earlier_night(warehouses["published already"])
    for name in ("maintenance too early", "maintenance in time"):
        abandon_scores(warehouses[name])
    told = run_dags(airflow, *((warehouses[name], *run) for name, run in asked.items()))
    yield {
        name: DagRun(settings, run) for (name, settings), run in zip(warehouses.items(), told, strict=True)
    }
    for settings in warehouses.values():
        drop_warehouse(settings)


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


def test_night_without_a_delivery_fails_where_it_stands(dag_runs: dict[str, DagRun]) -> None:
    night, run = dag_runs["nothing delivered"].settings, dag_runs["nothing delivered"].told
    assert run["state"] == "failed"
    assert run["tasks"]["settle"] == "failed"
    behind = [task for task in run["tasks"] if task not in {"open_run", "land", "settle"}]
    assert {run["tasks"][task] for task in behind} == {"upstream_failed"}
    status, failure = read_row(night, run["run_id"])
    assert status == "failed"
    assert str(failure).startswith("settle: LandingError: Expected a snapshot of telco for 2026-10-31")
    with connect(night, Role.PUBLISHER) as publisher:
        costs = publisher.execute(
            "select run_id, task_id, try_number, verdict, failure, rows_out from ops.task_costs"
            " order by started_at"
        ).fetchall()
    minted = run["returned"]["open_run"]
    assert costs == [
        (minted, "open_run", 1, "succeeded", None, None),
        (minted, "land", 1, "succeeded", None, 0),
        (minted, "settle", 1, "failed", "LandingError", None),
    ]


def test_night_of_a_published_snapshot_is_green_and_skips_everything(dag_runs: dict[str, DagRun]) -> None:
    night, run = dag_runs["published already"].settings, dag_runs["published already"].told
    assert run["state"] == "success"
    behind = [task for task in run["tasks"] if task not in {"open_run", "land", "settle"}]
    assert {run["tasks"][task] for task in behind} == {"skipped"}
    assert read_row(night, run["run_id"])[0] == "unchanged"


def test_training_without_data_fails_and_closes_its_row(dag_runs: dict[str, DagRun]) -> None:
    night, run = dag_runs["training of nothing"].settings, dag_runs["training of nothing"].told
    assert (run["state"], run["tasks"]["settle"], run["tasks"]["select"]) == (
        "failed", "failed", "upstream_failed",
    )  # fmt: skip
    assert read_row(night, run["run_id"])[0] == "failed"


def test_run_without_an_interval_says_how_to_trigger(settings: Settings) -> None:
    from churn_ml.errors import SettingsError
    from churn_ml.services.airflow import mint_run

    class Triggered:
        dag_id, run_id, data_interval_end = "churn_nightly", "manual__now", None

    with pytest.raises(SettingsError, match=r"found none on manual__now.*churn-ml night --as-of"):
        mint_run(settings, "night", Triggered())


def abandon_scores(night: Settings) -> None:
    """Leave the scores of a run that ended on 1 November, and a rule that keeps such for 14 days."""
    run = open_run(night, "night", datetime(2026, 11, 1, 2, tzinfo=UTC))
    with connect(night, Role.OWNER) as owner:
        owner.execute(
            "create table staging.retention_rules as select 'telco' as dataset, 'scores' as relation,"
            " 'unpublished_runs' as what, date '2026-01-01' as valid_from, null::date as valid_to,"
            " 14 as keep_days, 0 as keep_runs"
        )
        owner.execute("select ops.ensure_score_partition(%s)", [run.as_of_date])
        owner.execute(
            "insert into scores.customer_scores (as_of_date, run_id, customer_id, churn_probability_raw,"
            " churn_probability, model_version, is_out_of_fold, feature_row_sha256, scored_at)"
            " values (%s, %s, 'a', 0.5, 0.5, 'model-1', false, '', clock_timestamp())",
            [run.as_of_date, run.run_id],
        )
        owner.execute("update ops.pipeline_runs set started_at = '2026-11-01 02:00+00'")


@pytest.mark.parametrize(("name", "rows"), [("maintenance too early", 0), ("maintenance in time", 1)])
def test_maintenance_counts_ages_up_to_the_end_of_its_interval(
    dag_runs: dict[str, DagRun], name: str, rows: int
) -> None:
    night, run = dag_runs[name].settings, dag_runs[name].told
    assert (run["state"], run["returned"]["prune"]) == ("success", {"rows": rows})
    with connect(night, Role.PUBLISHER) as publisher:
        costs = publisher.execute("select run_id, task_id, rows_out from ops.task_costs")
        assert costs.fetchall() == [(None, "prune", rows)]
