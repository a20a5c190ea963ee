"""The live instance that end-to-end tests share, and a night on it."""

from collections.abc import Iterator

import pytest
from live import FIRST_DAY, SECOND_DAY, LiveAirflow, deliver, run_live_airflow, run_to_success
from nightly import cut_off_of, first_load, train_and_promote


@pytest.fixture(scope="session")
def live_airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveAirflow]:
    """An embedded Postgres and a real Airflow, in a path with spaces."""
    with run_live_airflow(tmp_path_factory.mktemp("live instance")) as live:
        yield live


@pytest.fixture(scope="session")
def night(live_airflow: LiveAirflow) -> str:
    """A night of the second snapshot that the scheduler ran, scored by a model of the first."""
    first = deliver(live_airflow, FIRST_DAY)
    deliver(live_airflow, SECOND_DAY)
    first_load(live_airflow.settings, first, FIRST_DAY)
    train_and_promote(live_airflow.settings, cut_off_of(FIRST_DAY))
    return run_to_success(live_airflow, "churn_nightly", SECOND_DAY)
