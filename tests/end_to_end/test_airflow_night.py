"""A whole night through the live scheduler, from files to what BI reads, and a training."""

import pytest
from live import CUSTOMERS, FIRST_DAY, SECOND_DAY, LiveAirflow, run_to_success
from nightly import cut_off_of, read

from churn_ml.warehouse.connection import Role

pytestmark = [pytest.mark.live, pytest.mark.slow]


def test_night_is_published_and_closed(live_airflow: LiveAirflow, night: str) -> None:
    settings = live_airflow.settings
    [(run_id, customers, known_as_of)] = read(
        settings,
        "select run_id, count(*), max(known_as_of) from marts.fct_churn_score"
        f" where as_of_date = '{SECOND_DAY}' group by run_id",
    )
    assert (customers, known_as_of) == (CUSTOMERS, cut_off_of(SECOND_DAY))
    events = live_airflow.client.asset_events("churn_nightly", night)
    assert {event["run_id"] for event in events.values()} == {run_id}


def test_assets_carry_row_counts(live_airflow: LiveAirflow, night: str) -> None:
    events = live_airflow.client.asset_events("churn_nightly", night)
    assert set(events) == {f"telco_{room}" for room in ("raw", "features", "scores", "marts", "published")}
    assert {event["as_of_date"] for event in events.values()} == {SECOND_DAY.isoformat()}
    [(scored,)] = read(
        live_airflow.settings,
        f"select count(churn_probability) from marts.fct_churn_score where as_of_date = '{SECOND_DAY}'",
    )
    assert events["telco_raw"]["rows"] == CUSTOMERS
    assert events["telco_scores"]["rows"] == scored > 0
    assert events["telco_marts"]["rows"] > 0


def test_tasks_hand_on_small_summaries_only(live_airflow: LiveAirflow, night: str) -> None:
    client = live_airflow.client
    assert set(client.xcom("churn_nightly", night, "score")) == {"rows", "peak_memory_mb"}
    assert set(client.xcom("churn_nightly", night, "gate_marts")) == {"checks", "failed_warning"}
    publication = {"superseded_run_id": None, "differing_marts": [], "outdated_dates": []}
    assert client.xcom("churn_nightly", night, "publish") == publication


def test_successful_night_tells_nobody(live_airflow: LiveAirflow, night: str) -> None:
    assert [post for post in live_airflow.posts if post["dag_run_id"] == night] == []


def test_status_of_each_model_is_in_the_task_log(live_airflow: LiveAirflow, night: str) -> None:
    log = live_airflow.client.task_log("churn_nightly", night, "dbt_features")
    assert "customer_features" in log


@pytest.mark.long
def test_training_tells_the_rows_it_learnt_from(live_airflow: LiveAirflow, night: str) -> None:
    training = run_to_success(live_airflow, "churn_training", FIRST_DAY, {"seed": 7})
    events = live_airflow.client.asset_events("churn_training", training)
    learnt = read(
        live_airflow.settings,
        "select run_id, row_count from ml.model_versions where seed = 7",
        Role.TRAINER,
    )
    assert learnt == [(events["telco_ml"]["run_id"], CUSTOMERS)]
    assert events["telco_ml"]["rows"] == CUSTOMERS
