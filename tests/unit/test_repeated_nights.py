"""A range of repeated nights tells of every day, also of one that Airflow passed over."""

from datetime import UTC, date, datetime, timedelta

import pytest

from churn_ml.errors import ServiceError
from churn_ml.services.airflow_client import AirflowClient
from churn_ml.services.nights import RepeatedNight, left_out

FIRST, LAST = date(2026, 10, 29), date(2026, 10, 31)


def test_day_that_airflow_passed_over_counts_as_failed() -> None:
    done = [RepeatedNight(day, "success", "one", "run", None, "there") for day in (FIRST, LAST)]
    [missing] = left_out(FIRST, LAST, done, "here")
    assert (missing.as_of_date, missing.state, missing.run_id) == (date(2026, 10, 30), "failed", None)
    assert "at work" in str(missing.failure)


def test_whole_range_leaves_nothing_out() -> None:
    assert left_out(LAST, LAST, [RepeatedNight(LAST, "failed", "one", None, "why", "there")], "here") == []


def test_a_night_that_has_not_begun_is_refused_and_not_waited_for() -> None:
    nobody = AirflowClient("http://127.0.0.1:9", "nobody", "none")
    with pytest.raises(ServiceError, match="an interval that has begun"):
        nobody.trigger("churn_nightly", data_interval_end=datetime.now(UTC) + timedelta(days=1, minutes=5))
