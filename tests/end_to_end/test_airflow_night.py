"""A training and a whole night through the live scheduler, from files to what BI reads."""

from datetime import date

import pytest
from live import LiveAirflow
from nightly import cut_off_of, first_load, read

from churn_ml.models.registry import promote
from churn_ml.simulation.telco_shape import write_snapshot
from churn_ml.warehouse.connection import Role

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.xdist_group("live_airflow")]

FIRST_DAY, SECOND_DAY = date(2026, 9, 30), date(2026, 10, 31)
CUSTOMERS = 1500


def run_to_success(live_airflow: LiveAirflow, dag_id: str, as_of_date: date) -> str:
    client = live_airflow.client
    client.unpause(dag_id)
    dag_run_id = client.trigger(dag_id, data_interval_end=cut_off_of(as_of_date))
    state = client.wait_for_run(dag_id, dag_run_id, seconds=420)
    tasks = {task["task_id"]: task["state"] for task in client.task_instances(dag_id, dag_run_id)}
    assert state == "success", tasks
    return dag_run_id


@pytest.fixture(scope="module")
def training(live_airflow: LiveAirflow) -> str:
    """Two snapshots delivered, and a training on the first that the scheduler ran."""
    settings = live_airflow.settings
    for day in (FIRST_DAY, SECOND_DAY):
        folder = settings.inbox / day.isoformat()
        folder.mkdir(parents=True, exist_ok=True)
        write_snapshot(folder / "customers.csv", customers=CUSTOMERS, as_of_date=day, seed=3)
    first_load(settings, settings.inbox / FIRST_DAY.isoformat() / "customers.csv", FIRST_DAY)
    return run_to_success(live_airflow, "churn_training", FIRST_DAY)


@pytest.fixture(scope="module")
def night(live_airflow: LiveAirflow, training: str) -> str:
    """A night of the second snapshot that the scheduler ran, scored by the model of the training."""
    trained = live_airflow.client.xcom("churn_training", training, "train")
    assert isinstance(trained, dict)
    promote(live_airflow.settings, trained["model_version"], cut_off_of(FIRST_DAY), "the first", "tests")
    return run_to_success(live_airflow, "churn_nightly", SECOND_DAY)


def test_training_tells_the_rows_it_learnt_from(live_airflow: LiveAirflow, training: str) -> None:
    events = live_airflow.client.asset_events("churn_training", training)
    learnt = read(
        live_airflow.settings, "select run_id, row_count, seed from ml.model_versions", Role.TRAINER
    )
    assert learnt == [(events["telco_ml"]["run_id"], events["telco_ml"]["rows"], 20260101)]
    assert learnt[0][1] == CUSTOMERS


def test_night_is_published_and_closed(live_airflow: LiveAirflow, night: str) -> None:
    settings = live_airflow.settings
    [(run_id, customers, known_as_of)] = read(
        settings,
        "select run_id, count(*), max(known_as_of) from marts.fct_churn_score group by run_id",
    )
    assert (customers, known_as_of) == (CUSTOMERS, cut_off_of(SECOND_DAY))
    events = live_airflow.client.asset_events("churn_nightly", night)
    assert {event["run_id"] for event in events.values()} == {run_id}


def test_assets_carry_row_counts(live_airflow: LiveAirflow, night: str) -> None:
    events = live_airflow.client.asset_events("churn_nightly", night)
    assert set(events) == {"telco_raw", "telco_features", "telco_scores", "telco_marts"}
    [(scored,)] = read(
        live_airflow.settings, "select count(churn_probability) from marts.customer_churn_current"
    )
    assert events["telco_raw"]["rows"] == CUSTOMERS
    assert events["telco_scores"]["rows"] == scored > 0
    assert events["telco_marts"]["rows"] > 0


def test_tasks_hand_on_small_summaries_only(live_airflow: LiveAirflow, night: str) -> None:
    client = live_airflow.client
    assert set(client.xcom("churn_nightly", night, "score")) == {"rows", "peak_memory_mb"}
    assert set(client.xcom("churn_nightly", night, "gate_marts")) == {"checks", "failed_warning"}
    publication = {"superseded_run_id": None, "differing_marts": []}
    assert client.xcom("churn_nightly", night, "publish") == publication


def test_successful_night_tells_nobody(live_airflow: LiveAirflow, night: str) -> None:
    assert [post for post in live_airflow.posts if post["dag_run_id"] == night] == []


def test_status_of_each_model_is_in_the_task_log(live_airflow: LiveAirflow, night: str) -> None:
    log = live_airflow.client.task_log("churn_nightly", night, "dbt_features")
    assert "customer_features" in log
