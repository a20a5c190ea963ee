"""The live instance that end-to-end tests share, and a training and a night on it."""

from collections.abc import Iterator

import pytest
from live import FIRST_DAY, SECOND_DAY, LiveAirflow, deliver, run_live_airflow, run_to_success
from nightly import cut_off_of, first_load

from churn_ml.models.deployments import promote


@pytest.fixture(scope="session")
def live_airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveAirflow]:
    """An embedded Postgres and a real Airflow, in a path with spaces."""
    with run_live_airflow(tmp_path_factory.mktemp("live instance")) as live:
        yield live


@pytest.fixture(scope="session")
def training(live_airflow: LiveAirflow) -> str:
    """Two snapshots delivered, and a training on the first that the scheduler ran."""
    first = deliver(live_airflow, FIRST_DAY)
    deliver(live_airflow, SECOND_DAY)
    first_load(live_airflow.settings, first, FIRST_DAY)
    return run_to_success(live_airflow, "churn_training", FIRST_DAY)


@pytest.fixture(scope="session")
def night(live_airflow: LiveAirflow, training: str) -> str:
    """A night of the second snapshot that the scheduler ran, scored by the model of the training."""
    trained = live_airflow.client.xcom("churn_training", training, "select")
    assert isinstance(trained, dict)
    promote(live_airflow.settings, trained["model_version"], cut_off_of(FIRST_DAY), "the first", "tests")
    return run_to_success(live_airflow, "churn_nightly", SECOND_DAY)
