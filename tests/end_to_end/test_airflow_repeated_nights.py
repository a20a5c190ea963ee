"""Nights repeated on the live Airflow: by its own backfill over a range, and by a trigger with params."""

from datetime import date, timedelta

import pytest
from live import SECOND_DAY, LiveAirflow, deliver, run_to_success
from nightly import cut_off_of, read

from churn_ml.landing.delivery import land_file
from churn_ml.publishing.comparison import read_comparison
from churn_ml.publishing.publish import discard_run
from churn_ml.services.nights import BACKFILL_DAG, RepeatedNight, repeat_nights
from churn_ml.settings import Settings
from churn_ml.warehouse.runs import open_repetition, read_run

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.long]

THIRD_DAY = SECOND_DAY + timedelta(days=2)
REPRODUCE: dict[str, object] = {"run_kind": "reproduce"}


def published_runs(settings: Settings) -> dict[object, object]:
    return dict(read(settings, "select as_of_date, run_id from marts.dim_scoring_run"))


@pytest.fixture(scope="module")
def nights(live_airflow: LiveAirflow, night: str) -> dict[object, object]:
    """Two published nights with a day without one between them: as-of date -> run."""
    deliver(live_airflow, THIRD_DAY)
    run_to_success(live_airflow, "churn_nightly", THIRD_DAY)
    return published_runs(live_airflow.settings)


@pytest.fixture(scope="module")
def reproduced(live_airflow: LiveAirflow, nights: dict[object, object]) -> dict[date, RepeatedNight]:
    """The three days, after Airflow's own backfill reproduced them."""
    done = repeat_nights(live_airflow.settings, SECOND_DAY, THIRD_DAY, REPRODUCE)
    return {repeated.as_of_date: repeated for repeated in done}


def test_backfill_reproduces_each_published_night_of_a_range(
    live_airflow: LiveAirflow, nights: dict[object, object], reproduced: dict[date, RepeatedNight]
) -> None:
    states = {day: repeated.state for day, repeated in reproduced.items()}
    between = SECOND_DAY + timedelta(days=1)
    assert states == {SECOND_DAY: "success", between: "skipped", THIRD_DAY: "success"}
    for day in (SECOND_DAY, THIRD_DAY):
        comparison = read_comparison(live_airflow.settings, str(reproduced[day].run_id))
        assert (comparison.repeats_run_id, comparison.is_equal) == (nights[day], True)
        dag_run = live_airflow.client.dag_run(BACKFILL_DAG, reproduced[day].dag_run_id)
        assert dag_run["run_type"] == "backfill"


def test_reproduction_shows_bi_nothing_and_tells_nobody(
    live_airflow: LiveAirflow, nights: dict[object, object], reproduced: dict[date, RepeatedNight]
) -> None:
    assert published_runs(live_airflow.settings) == nights
    assert [post for post in live_airflow.posts if post["dag_id"] == BACKFILL_DAG] == []


def test_unpaused_backfill_starts_nothing_by_itself(
    live_airflow: LiveAirflow, reproduced: dict[date, RepeatedNight]
) -> None:
    first, last = cut_off_of(date(2020, 1, 1)), cut_off_of(date(2030, 1, 1))
    kinds = {run["run_type"] for run in live_airflow.client.dag_runs(BACKFILL_DAG, first, last)}
    assert "scheduled" not in kinds


def test_second_repetition_of_a_date_is_refused_and_goes_on_when_cleared(
    live_airflow: LiveAirflow, reproduced: dict[date, RepeatedNight]
) -> None:
    settings, client = live_airflow.settings, live_airflow.client
    other = open_repetition(settings, "reproduce", SECOND_DAY)
    [refused] = repeat_nights(settings, SECOND_DAY, SECOND_DAY, REPRODUCE)
    assert refused.state == "failed"
    assert other.run_id in str(refused.failure)
    discard_run(settings, other.run_id)
    client.clear_run(BACKFILL_DAG, refused.dag_run_id, only_failed=True)
    assert client.wait_for_run(BACKFILL_DAG, refused.dag_run_id, seconds=420) == "success"
    assert [post for post in live_airflow.posts if post["dag_id"] == BACKFILL_DAG] == []


def test_restated_night_is_published_where_it_is_asked_for(
    live_airflow: LiveAirflow, reproduced: dict[date, RepeatedNight]
) -> None:
    settings = live_airflow.settings
    late = settings.home / "late.csv"
    delivered = settings.inbox / SECOND_DAY.isoformat() / "customers.csv"
    late.write_text(delivered.read_text().replace("Month-to-month", "Two year"))
    known_at = cut_off_of(THIRD_DAY) + timedelta(hours=1)
    land_file(settings, late, "customers", as_of_date=SECOND_DAY, known_at=known_at)
    params: dict[str, object] = {
        "run_kind": "restate",
        "known_as_of": known_at.isoformat(),
        "publish": True,
        "reason": "late contracts",
    }
    [restated] = repeat_nights(settings, SECOND_DAY, SECOND_DAY, params)
    assert restated.state == "success", restated
    assert published_runs(settings)[SECOND_DAY] == restated.run_id
    assert read_run(settings, str(restated.run_id)).known_as_of == known_at
    comparison = read_comparison(settings, str(restated.run_id))
    assert "fct_churn_score" in comparison.differing_marts
    assert comparison.rows
