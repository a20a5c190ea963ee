"""
### churn_maintenance: what the declared rules of retention remove

**Produces** room: rows of runs that BI no longer sees, scores of challengers, features of old nights and
results of old checks go, by the rules of `dbt_project/seeds/retention_rules.csv`. What is published stays,
and so does what a published night was built on.
**Key**: one row of `ops.prunings` per rule and relation that lost rows.
**When**: 05:00 UTC where `CHURN_SCHEDULES=on`, else when triggered; it starts paused. Ages count up to the
end of the data interval.
**A failure** keeps what the failed rule would have removed; each rule is a transaction of its own, and
`CHURN_WEBHOOK_URL` is told once.
**Rerun one day**: `churn-ml prune --at 2026-10-31T05:00:00Z`, or clear `prune`: what is gone is not missed.
"""

import os
from datetime import UTC, datetime, timedelta

from airflow import sdk
from measured_tasks import task

from churn_ml.services.alerts import record_task_failure, report_failure
from churn_ml.settings import load_settings

DATASET = os.environ.get("CHURN_DATASET", "subscriptions")
SCHEDULED = os.environ.get("CHURN_SCHEDULES") == "on"
FINAL = ["SettingsError", "PublishingError"]
NO_RETRY = sdk.RetryRule([f"churn_ml.errors.{name}" for name in FINAL], sdk.RetryAction.FAIL)
DEFAULTS = {
    "owner": "churn", "on_failure_callback": record_task_failure, "execution_timeout": timedelta(hours=2),
    "retries": 2, "retry_delay": timedelta(seconds=20), "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(minutes=10), "retry_policy": sdk.ExceptionRetryPolicy([NO_RETRY]),
}  # fmt: skip


@sdk.dag(
    schedule=sdk.CronDataIntervalTimetable("0 5 * * *", "UTC") if SCHEDULED else None,
    start_date=datetime(2026, 1, 1, 5, tzinfo=UTC),
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=4),
    doc_md=__doc__,
    tags=["churn", DATASET],
    params={"dry_run": sdk.Param(False, type="boolean", title="Count what would go, remove nothing")},
    on_failure_callback=report_failure,
    default_args=DEFAULTS,
)
def churn_maintenance():
    @task
    def prune(data_interval_end=None, params=None):
        from churn_ml.publishing.pruning import prune

        pruned = prune(load_settings(), data_interval_end, is_dry_run=params["dry_run"])
        return {"rows": sum(part.row_count for part in pruned)}

    prune()


churn_maintenance()
