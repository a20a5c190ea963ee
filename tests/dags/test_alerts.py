"""A failure closes the run's row and tells a real HTTP server; nothing it does can raise."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from webhook_receiver import receiver

from churn_ml.errors import LandingError
from churn_ml.services import alerts
from churn_ml.services.alerts import record_task_failure, report_failure
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import close_run, open_run

CUT_OFF = datetime(2026, 11, 1, 2, tzinfo=UTC)


@pytest.fixture
def deployment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The test's warehouse, told through the environment as Airflow's processes are."""
    monkeypatch.setenv("CHURN_HOME", str(settings.home))
    monkeypatch.setenv("CHURN_DATABASE_PREFIX", settings.database_prefix)
    monkeypatch.setenv("CHURN_DATASET", settings.dataset)
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://127.0.0.1:8080")
    monkeypatch.setattr(alerts, "_SECONDS_BETWEEN_TRIES", 0.01)
    return settings


def context(task_id: str = "land", dag_run_id: str = "manual__1") -> dict[str, Any]:
    return {
        "ti": SimpleNamespace(task_id=task_id, dag_id="churn_nightly", run_id=dag_run_id),
        "exception": LandingError("expected a file"),
        "reason": "task_failure",
    }


def open_night(settings: Settings, dag_run_id: str = "manual__1") -> str:
    return open_run(settings, "night", CUT_OFF, dag_id="churn_nightly", dag_run_id=dag_run_id).run_id


def read_row(settings: Settings, run_id: str) -> tuple[object, ...]:
    with connect(settings, Role.LOADER) as loader:
        row = loader.execute(
            "select status, failure from ops.pipeline_runs where run_id = %s", [run_id]
        ).fetchone()
    assert row is not None
    return row


def test_failing_task_closes_the_row_with_its_error(deployment: Settings) -> None:
    run_id = open_night(deployment)
    record_task_failure(context())
    assert read_row(deployment, run_id) == ("failed", "land: LandingError: expected a file")


def test_row_that_has_ended_is_left_alone(deployment: Settings) -> None:
    run_id = open_night(deployment)
    close_run(deployment, run_id, "succeeded")
    record_task_failure(context("publish"))
    assert read_row(deployment, run_id) == ("succeeded", None)


def test_run_that_was_cleared_and_fails_anew_tells_the_new_failure(deployment: Settings) -> None:
    run_id = open_night(deployment)
    record_task_failure(context("land"))
    record_task_failure(context("score"))
    assert read_row(deployment, run_id) == ("failed", "score: LandingError: expected a file")


def test_report_waits_for_the_account_of_the_new_failure(
    deployment: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_night(deployment)
    record_task_failure(context("land"))
    with receiver() as (address, received), ThreadPoolExecutor() as pool:
        monkeypatch.setenv("CHURN_WEBHOOK_URL", address)
        reporting = pool.submit(report_failure, context("score"))
        time.sleep(0.5)
        record_task_failure(context("score"))
        reporting.result()
    assert [post["message"] for post in received] == ["score: LandingError: expected a file"]


def test_published_run_whose_row_cannot_be_closed_is_told_all_the_same(
    deployment: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "_ACCOUNT_SECONDS", 0.0)
    run_id = open_night(deployment)
    with connect(deployment, Role.OWNER) as owner:
        owner.execute(
            "insert into ops.publications (action, as_of_date, run_id, reason, recorded_by)"
            " values ('publish', '2026-10-31', %s, 'test', 'test')",
            [run_id],
        )
    with receiver() as (address, received):
        monkeypatch.setenv("CHURN_WEBHOOK_URL", address)
        record_task_failure(context("publish"))
        report_failure(context("publish"))
    assert read_row(deployment, run_id)[0] == "running"
    assert [post["run_id"] for post in received] == [run_id]


def test_webhook_is_told_once_and_everything(deployment: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = open_night(deployment)
    record_task_failure(context())
    with receiver() as (address, received):
        monkeypatch.setenv("CHURN_WEBHOOK_URL", address)
        report_failure(context())
    assert received == [
        {
            "dataset": "telco",
            "dag_id": "churn_nightly",
            "dag_run_id": "manual__1",
            "run_id": run_id,
            "as_of_date": "2026-10-31",
            "failed_tasks": ["land"],
            "message": "land: LandingError: expected a file",
            "url": "http://127.0.0.1:8080/dags/churn_nightly/runs/manual__1",
        }
    ]


def test_run_without_a_task_account_is_closed_by_the_report(
    deployment: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "_ACCOUNT_SECONDS", 0.0)
    run_id = open_night(deployment)
    report_failure(
        {"dag": SimpleNamespace(dag_id="churn_nightly"), "run_id": "manual__1", "reason": "timed_out"}
    )
    assert read_row(deployment, run_id) == ("failed", "churn_nightly: timed_out")


def test_run_that_was_never_opened_is_told_too(deployment: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as (address, received):
        monkeypatch.setenv("CHURN_WEBHOOK_URL", address)
        report_failure(context("open_run", "manual__never"))
    assert [(post["run_id"], post["message"]) for post in received] == [(None, "open_run: task_failure")]


@pytest.mark.parametrize(("statuses", "posts"), [((500, 503), 3), ((500, 500, 500), 3), ((500,), 2)])
def test_webhook_is_tried_three_times(
    deployment: Settings, monkeypatch: pytest.MonkeyPatch, statuses: tuple[int, ...], posts: int
) -> None:
    with receiver(*statuses) as (address, received):
        monkeypatch.setenv("CHURN_WEBHOOK_URL", address)
        report_failure(context())
    assert len(received) == posts


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/hook?token=hidden", "ftp://x/hidden", "http://[hidden"]
)
def test_webhook_that_cannot_be_told_is_logged_without_its_address(
    deployment: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    address: str,
) -> None:
    monkeypatch.setenv("CHURN_WEBHOOK_URL", address)
    report_failure(context())
    assert caplog.text.count("the webhook did not take the message") == 3
    assert "hidden" not in caplog.text


def test_warehouse_that_is_down_does_not_stop_the_report(
    deployment: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHURN_WAREHOUSE_URL", "postgresql://nobody:wrong@127.0.0.1:9/postgres")
    record_task_failure(context())
    with receiver() as (address, received):
        monkeypatch.setenv("CHURN_WEBHOOK_URL", address)
        report_failure(context())
    assert [post["failed_tasks"] for post in received] == [["land"]]
