"""
### churn_maintenance: what the declared rules of retention remove

- **Produces** room: rows of runs that BI no longer sees, scores of challengers, features of old nights and
  results of old checks go, by the rules of `dbt_project/seeds/retention_rules.csv`. What is published stays,
  and so does what a published night was built on.
- **Key**: one row of `ops.prunings` per rule and relation that lost rows.
- **When**: 05:00 UTC where `CHURN_SCHEDULES=on`, else when triggered; it starts paused. Ages count up to the
  end of the data interval.
- **A failure** keeps what the failed rule would have removed; each rule is a transaction of its own, and
  `CHURN_WEBHOOK_URL` is told once.
- **Rerun one day**: `churn-ml prune --at 2026-10-31T05:00:00Z`, or clear `prune`: what is gone is not missed.
"""

import os
from datetime import UTC, datetime, timedelta

from airflow import sdk
from measured_tasks import task
from rooms import DATASET
from task_defaults import defaults

from churn_ml.services.alerts import report_failure
from churn_ml.settings import load_settings

SCHEDULED = os.environ.get("CHURN_SCHEDULES") == "on"
FINAL = ("SettingsError", "PublishingError")
DRY_RUN = sdk.Param(
    False, type="boolean", title="Count what would go, remove nothing",
    description="The counts stand in the task's log; `ops.prunings` gets no row.")  # fmt: skip


@sdk.dag(
    schedule=sdk.CronDataIntervalTimetable("0 5 * * *", "UTC") if SCHEDULED else None,
    start_date=datetime(2026, 1, 1, 5, tzinfo=UTC),
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=4),
    doc_md=__doc__,
    tags=["churn", DATASET],
    description="What the declared rules of retention remove",
    params={"dry_run": DRY_RUN},
    on_failure_callback=report_failure,
    default_args=defaults(*FINAL),
)
def churn_maintenance():
    @task
    def prune(data_interval_end=None, params=None):
        """Remove what each rule of `retention_rules.csv` names, a transaction each."""
        from churn_ml.publishing.pruning import prune

        pruned = prune(load_settings(), data_interval_end, is_dry_run=params["dry_run"])
        return {"rows": sum(part.row_count for part in pruned)}

    prune()


churn_maintenance()
