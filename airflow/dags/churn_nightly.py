"""
### churn_nightly: one night of one dataset

**Produces** a score for every eligible customer and the marts that BI reads, published in one step.
**Key**: the `run_id` that `open_run` mints; BI sees one published run per as-of date. Challenger and shadow
models score in runs of their own, which are never published; one that fails only warns.
**When**: 02:00 UTC where `CHURN_SCHEDULES=on`, else when triggered. It starts paused: promote a champion,
then unpause. The cut-off is the end of the data interval, the as-of date the day before it; a snapshot
dataset scores its newest snapshot up to that date.
**A failure** stops every task behind it; BI keeps the last good night. The row in `ops.pipeline_runs` is
closed as `failed` with the message; `CHURN_WEBHOOK_URL` is told once. What a retry cannot mend is not
retried. Green with skipped tasks means `unchanged`: that snapshot is published already.
**Rerun one day**: `churn-ml night --as-of 2026-10-31`, or clear `open_run` and all behind it: a new run takes
the former one's place. Once the cause is mended, clearing the failed tasks lets the same run go on.
"""

import os
from datetime import UTC, datetime, timedelta

from airflow import sdk
from measured_tasks import task

from churn_ml.services.alerts import record_task_failure, report_failure
from churn_ml.settings import load_settings

DATASET = os.environ.get("CHURN_DATASET", "subscriptions")
SCHEDULED = os.environ.get("CHURN_SCHEDULES") == "on"
ROOMS = ("raw", "features", "scores", "marts")
ASSETS = {room: sdk.Asset(f"{DATASET}_{room}", f"churn://{DATASET}/{room}") for room in ROOMS}
FINAL = ["SettingsError", "LandingError", "FeatureContractError", "ModelError", "PublishingError"]
NO_RETRY = sdk.RetryRule([f"churn_ml.errors.{name}" for name in FINAL], sdk.RetryAction.FAIL)
DEFAULTS = {
    "owner": "churn", "on_failure_callback": record_task_failure, "execution_timeout": timedelta(hours=2),
    "retries": 2, "retry_delay": timedelta(seconds=20), "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(minutes=10), "retry_policy": sdk.ExceptionRetryPolicy([NO_RETRY]),
}  # fmt: skip


@sdk.dag(
    schedule=sdk.CronDataIntervalTimetable("0 2 * * *", "UTC") if SCHEDULED else None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC), dagrun_timeout=timedelta(hours=8),
    catchup=False, is_paused_upon_creation=True, max_active_runs=1, doc_md=__doc__, tags=["churn", DATASET],
    params={"reason": sdk.Param("nightly run", type="string", minLength=1, title="Why it is published")},
    on_failure_callback=report_failure, default_args=DEFAULTS)  # fmt: skip
def churn_nightly():  # noqa: C901 - each task counts as a branch
    @task
    def open_run(dag_run=None):
        from churn_ml.services.airflow import mint_run

        return mint_run(load_settings(), "night", dag_run)

    @task(outlets=[ASSETS["raw"]])
    def land(run, outlet_events=None):
        from churn_ml.landing.delivery import land_inbox

        summary = land_inbox(load_settings(), run)
        outlet_events[ASSETS["raw"]].extra = {"run_id": run, "rows": summary.rows_landed}
        return {"rows_in": summary.rows_landed + summary.rows_quarantined, "rows_out": summary.rows_landed}

    @task.short_circuit(retries=0)
    def settle(run):
        from churn_ml.landing.snapshots import settle_night

        return settle_night(load_settings(), run)

    @task(retries=0)
    def gate(name, run):
        from churn_ml.quality.gates import run_gate

        return run_gate(load_settings(), run, name).headline()

    @task
    def dbt(layer, run, ti=None, outlet_events=None):
        from churn_ml.services.dbt import build_layer

        summary = build_layer(load_settings(), run, layer, try_number=ti.try_number)
        if layer in ASSETS:
            outlet_events[ASSETS[layer]].extra = {"run_id": run, "rows": summary.rows}
        return {"rows": summary.rows}

    @task(outlets=[ASSETS["scores"]])
    def score(run, outlet_events=None):
        from churn_ml.scoring.night import score_night

        summary = score_night(load_settings(), run)
        outlet_events[ASSETS["scores"]].extra = {"run_id": run, "rows": summary.rows_scored}
        return {"rows": summary.rows_scored, "peak_memory_mb": summary.peak_memory_mb}

    @task
    def score_challengers(run):
        from churn_ml.scoring.challengers import score_challengers

        return {beside.run_id: beside.failure for beside in score_challengers(load_settings(), run)}

    @task
    def publish(run, params=None):
        from churn_ml.publishing.publish import publish_run

        return publish_run(load_settings(), run, params["reason"]).headline()

    def build(layer):
        outlets = [ASSETS[layer]] if layer in ASSETS else []
        return dbt.override(task_id=f"dbt_{layer}", outlets=outlets)(layer, run)

    def check(name):
        return gate.override(task_id=f"gate_{name}")(name, run)

    run = open_run()
    features = [check("raw"), build("staging"), build("intermediate"), build("features"), check("features")]
    scored = score(run)
    sdk.chain(land(run), settle(run), *features, scored, build("marts"), check("marts"), publish(run))
    sdk.chain(scored, score_challengers(run))


churn_nightly()
