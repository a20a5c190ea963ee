"""How long the report of a run is kept."""

from datetime import UTC, datetime

import pytest

from churn_ml.dashboard.report import read_report, write_report
from churn_ml.errors import WarehouseError
from churn_ml.publishing.publish import discard_run
from churn_ml.settings import Settings
from churn_ml.warehouse.runs import open_run


def test_the_page_goes_with_the_rows_of_its_run(settings: Settings) -> None:
    runs = [open_run(settings, "night", datetime(2026, 11, day, 2, tzinfo=UTC)).run_id for day in (1, 2)]
    for run_id in runs:
        write_report(settings, run_id)
    assert discard_run(settings, runs[0]) == 1
    with pytest.raises(WarehouseError, match="found none"):
        read_report(settings, runs[0])
    assert read_report(settings, runs[1])
