"""A range of repeated nights tells of every day, also of one that Airflow passed over."""

from datetime import date

from churn_ml.services.nights import RepeatedNight, left_out

FIRST, LAST = date(2026, 10, 29), date(2026, 10, 31)


def test_day_that_airflow_passed_over_counts_as_failed() -> None:
    done = [RepeatedNight(day, "success", "one", "run", None, "there") for day in (FIRST, LAST)]
    [missing] = left_out(FIRST, LAST, done, "here")
    assert (missing.as_of_date, missing.state, missing.run_id) == (date(2026, 10, 30), "failed", None)
    assert "at work" in str(missing.failure)


def test_whole_range_leaves_nothing_out() -> None:
    assert left_out(LAST, LAST, [RepeatedNight(LAST, "failed", "one", None, "why", "there")], "here") == []
