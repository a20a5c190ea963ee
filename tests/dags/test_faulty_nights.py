"""`dag.test()`: whole nights that meet a fault, stop behind it, and go on once it is mended."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from dag_running import read_row, run_dag
from nightly import read

from churn_ml.models.deployments import promote
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect

pytestmark = pytest.mark.long

SECOND_DAY = date(2026, 10, 31)
NIGHT = "2026-11-01T02:00:00+00:00"
VISIBLE = "select run_id, as_of_date, count(*) from marts.fct_churn_score group by run_id, as_of_date"


def execute(settings: Settings, role: Role, statement: str) -> None:
    with connect(settings, role) as connection:
        connection.execute(statement)


def deliver_unknown_outcome(settings: Settings, snapshot: Path, as_of_date: date) -> None:
    """Deliver `snapshot` again for a later date, with one customer who churned 'Maybe'."""
    header, first, rest = snapshot.read_text().split("\n", 2)
    assert header.endswith(",Churn")
    spoiled = first.rsplit(",", 1)[0] + ",Maybe"
    folder = settings.inbox / as_of_date.isoformat()
    folder.mkdir()
    (folder / "customers.csv").write_text("\n".join([header, spoiled, rest]))


def heal_after_the_first_try(settings: Settings) -> None:
    """Take the fault away as soon as a dbt node has failed of it."""
    deadline = time.monotonic() + 180
    failed = "select from ops.dbt_results where layer = 'features' and status = 'error'"
    while not read(settings, failed, Role.TRANSFORMER):
        assert time.monotonic() < deadline, "no dbt node has failed"
        time.sleep(0.1)
    execute(settings, Role.TRANSFORMER, "alter table features.customer_labels drop constraint refused")


def nodes_of_try(settings: Settings, try_number: int) -> dict[str, str]:
    rows = read(
        settings,
        "select node_name, dbt_results.status from ops.dbt_results join ops.pipeline_runs using (run_id)"
        f" where layer = 'features' and dag_run_id is not null and try_number = {try_number}",
        Role.TRANSFORMER,
    )
    return {str(name): str(status) for name, status in rows}


def test_blocked_gate_stops_the_night_and_bi_keeps_the_former_one(
    airflow: Settings, published: Settings, snapshots: dict[date, Path]
) -> None:
    before = read(published, VISIBLE)
    deliver_unknown_outcome(published, snapshots[SECOND_DAY], date(2026, 11, 30))
    run = run_dag(airflow, published, "churn_nightly", "2026-12-01T02:00:00+00:00")
    assert (run["state"], run["tasks"]["gate_raw"], run["tries"]["gate_raw"]) == ("failed", "failed", 1)
    done = {"open_run", "land", "settle", "gate_raw"}
    assert {state for task, state in run["tasks"].items() if task not in done} == {"upstream_failed"}
    status, failure = read_row(published, run["run_id"])
    assert status == "failed"
    assert str(failure).startswith("gate_raw: GateBlocked: ")
    scored = f"select from scores.customer_scores where run_id = '{run['returned']['open_run']}'"
    assert read(published, scored, Role.SCORER) == []
    assert len(before) == 1
    assert read(published, VISIBLE) == before
    fresh = "select run_id, last_attempt_status, failed_since_count from marts.warehouse_freshness"
    assert read(published, fresh) == [(before[0][0], "failed", 1)]


def test_night_resumes_after_a_failed_node_and_is_published_once_its_cause_is_mended(
    airflow: Settings, trained: Settings
) -> None:
    """The fault of try 1 is gone at try 2; the one that no retry mends is mended and cleared."""
    [(model_version,)] = read(trained, "select model_version from ml.model_deployments", Role.TRAINER)
    execute(trained, Role.OWNER, "delete from ml.model_deployments")
    refuse = "alter table features.customer_labels add constraint refused check (false) not valid"
    execute(trained, Role.TRANSFORMER, refuse)
    with ThreadPoolExecutor() as pool:
        healing = pool.submit(heal_after_the_first_try, trained)
        failed = run_dag(airflow, trained, "churn_nightly", NIGHT)
        healing.result()

    assert (failed["tasks"]["dbt_features"], failed["tries"]["dbt_features"]) == ("success", 2)
    first, second = nodes_of_try(trained, 1), nodes_of_try(trained, 2)
    assert first["telco__customer_labels"] == "error"
    assert second["telco__customer_labels"] == "success"
    assert first["telco__customer_features"] == "success"
    assert not {name for name, status in first.items() if status in {"success", "pass"}} & set(second)

    assert (failed["state"], failed["tasks"]["score"], failed["tries"]["score"]) == ("failed", "failed", 1)
    status, failure = read_row(trained, failed["run_id"])
    assert (status, str(failure)[:17]) == ("failed", "score: NoChampion")

    promote(trained, str(model_version), datetime(2026, 10, 1, 2, tzinfo=UTC), "it was late", "tests")
    mended = run_dag(airflow, trained, "churn_nightly", NIGHT, go_on=True)
    assert (mended["state"], mended["run_id"]) == ("success", failed["run_id"])
    assert read_row(trained, mended["run_id"]) == ("succeeded", None)
    publication = {"superseded_run_id": None, "differing_marts": [], "outdated_dates": []}
    assert mended["returned"]["publish"] == publication
    [(run_id, as_of_date, _)] = read(trained, VISIBLE)
    assert (run_id, as_of_date) == (failed["returned"]["open_run"], SECOND_DAY)
    costs = read(
        trained,
        "select task_id, string_agg(verdict, ' ' order by started_at) from ops.task_costs"
        f" where run_id = '{run_id}' group by task_id",
        Role.PUBLISHER,
    )
    assert dict(costs) == dict.fromkeys(mended["tasks"], "succeeded") | {
        "dbt_features": "failed succeeded",
        "score": "failed succeeded",
    }
