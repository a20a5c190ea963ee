"""The live instance that end-to-end tests share."""

from collections.abc import Iterator

import pytest
from live import LiveAirflow, run_live_airflow


@pytest.fixture(scope="session")
def live_airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveAirflow]:
    """An embedded Postgres and a real Airflow, in a path with spaces."""
    with run_live_airflow(tmp_path_factory.mktemp("live instance")) as live:
        yield live
