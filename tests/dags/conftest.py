"""The project's DAG files, parsed by the real Airflow in a process of its own."""

from typing import Any

import pytest
from dag_parsing import describe_dags

from churn_ml.services.airflow import prepare_airflow
from churn_ml.settings import Settings


@pytest.fixture(scope="session")
def parsed(server: Settings) -> dict[str, Any]:
    """What Airflow makes of the DAG files with schedules off."""
    return describe_dags(server)


@pytest.fixture(scope="session")
def airflow(server: Settings) -> Settings:
    """The server with Airflow's metadata, which all tests share."""
    prepare_airflow(server)
    return server
