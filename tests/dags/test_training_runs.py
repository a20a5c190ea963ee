"""`dag.test()` of a whole training: mapped families, a second one that has nothing to do, and force."""

import os
from datetime import date

import pytest
from dag_running import read_row, run_dag
from nightly import first_load, read

from churn_ml.settings import Settings
from churn_ml.simulation.telco_shape import write_snapshot
from churn_ml.warehouse.connection import Role

pytestmark = pytest.mark.long

SNAPSHOT = date(2026, 10, 31)


@pytest.mark.slow
def test_a_training_maps_its_families_and_one_of_unchanged_rows_is_skipped(
    airflow: Settings, settings: Settings, tmp_path: os.PathLike[str]
) -> None:
    asked = airflow.model_copy(update={"candidates": "base_rate,spline_logistic", "search_trials": 1})
    trained = settings.model_copy(update={"inbox_dir": tmp_path})
    path = trained.inbox / "customers.csv"
    path.parent.mkdir(parents=True)
    write_snapshot(path, customers=2500, as_of_date=SNAPSHOT, seed=11)
    first_load(trained, path, SNAPSHOT)

    first = run_dag(asked, trained, "churn_training", "2026-11-01T02:00:00+00:00")
    assert first["state"] == "success"
    assert first["returned"]["select"]["family"] == "spline_logistic"
    assert read_row(trained, first["run_id"])[0] == "succeeded"
    candidates = read(trained, "select family, trial_count from ml.candidates order by family", Role.TRAINER)
    assert candidates == [("base_rate", 1), ("spline_logistic", 1)]

    again = run_dag(asked, trained, "churn_training", "2026-11-08T02:00:00+00:00")
    assert again["state"] == "success"
    assert (again["tasks"]["plan"], again["tasks"]["candidate"], again["tasks"]["select"]) == (
        "success", "skipped", "skipped",
    )  # fmt: skip
    assert read_row(trained, again["run_id"])[0] == "unchanged"
    assert read(trained, "select count(*) from ml.model_versions", Role.TRAINER) == [(1,)]
