"""The project's DAG files, parsed by the real Airflow in a process of its own."""

from typing import Any

import pytest
from dag_parsing import describe_dags

from churn_ml.settings import Settings


@pytest.fixture(scope="session")
def parsed(server: Settings) -> dict[str, Any]:
    """What Airflow makes of the DAG files with schedules off."""
    return describe_dags(server)
