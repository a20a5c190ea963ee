"""
### churn_training: one candidate model from what was known at a cut-off

**Produces** one row of `ml.model_versions`: the fitted pipelines, their feature contract, seed and metrics.
**Key**: `model_version`, with the `run_id` that `open_run` mints. Nothing is published or promoted:
`churn-ml model promote` is an act of its own, with a reason.
**When**: where `CHURN_SCHEDULES=on` weekly or every third day, by `CHURN_TRAINING_SCHEDULE`; otherwise when
triggered. It starts paused. Training knows what had landed by the end of the data interval.

**A failure** leaves the champion in place. The row in `ops.pipeline_runs` is closed as `failed` with the task
and its message; `CHURN_WEBHOOK_URL` is told once. A retry of `panel` builds the past nights still missing.

**Rerun one day**: `churn-ml train --cut-off 2026-11-01T02:00:00Z`, or clear `open_run` and everything behind
it. The same cut-off, seed and code give the same model under a new version.
"""

import os
from datetime import UTC, datetime, timedelta

from airflow import sdk

from churn_ml.services.alerts import record_task_failure, report_failure
from churn_ml.settings import load_settings

DATASET = os.environ.get("CHURN_DATASET", "subscriptions")
SCHEDULED = os.environ.get("CHURN_SCHEDULES") == "on"
TIMETABLES = {
    "weekly": sdk.CronDataIntervalTimetable("0 4 * * 0", "UTC"),
    "every_third_day": sdk.DeltaDataIntervalTimetable(timedelta(days=3)),
}
TIMETABLE = TIMETABLES[os.environ.get("CHURN_TRAINING_SCHEDULE", "weekly")]
FINAL = ["SettingsError", "LandingError", "FeatureContractError", "TrainingError", "ModelError"]
MODELS = sdk.Asset(f"{DATASET}_ml", f"churn://{DATASET}/ml")
NO_RETRY = sdk.RetryRule([f"churn_ml.errors.{name}" for name in FINAL], sdk.RetryAction.FAIL)
DEFAULTS = {
    "owner": "churn", "on_failure_callback": record_task_failure, "execution_timeout": timedelta(hours=12),
    "retries": 2, "retry_delay": timedelta(seconds=20), "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(minutes=10), "retry_policy": sdk.ExceptionRetryPolicy([NO_RETRY]),
}  # fmt: skip


@sdk.dag(
    schedule=TIMETABLE if SCHEDULED else None,
    start_date=datetime(2026, 1, 1, 4, tzinfo=UTC),
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=24),
    doc_md=__doc__,
    tags=["churn", DATASET],
    params={
        "reason": sdk.Param("scheduled training", type="string", minLength=1, title="Why it runs"),
        "seed": sdk.Param(20260101, type="integer", minimum=0, maximum=2**31 - 1, title="Seed of the folds"),
    },
    on_failure_callback=report_failure,
    default_args=DEFAULTS,
)
def churn_training():
    @sdk.task
    def open_run(dag_run=None):
        from churn_ml.services.airflow import mint_run

        return mint_run(load_settings(), "training", dag_run)

    @sdk.task(retries=0)
    def settle(run):
        from churn_ml.landing.snapshots import settle_night

        settle_night(load_settings(), run)

    @sdk.task(retries=0)
    def gate(name, run):
        from churn_ml.quality.gates import run_gate

        summary = run_gate(load_settings(), run, name)
        return {"checks": summary.checks, "failed_warning": list(summary.failed_warning)}

    @sdk.task
    def dbt(layer, run, ti=None):
        from churn_ml.services.dbt import build_layer

        build_layer(load_settings(), run, layer, try_number=ti.try_number)

    @sdk.task
    def panel(run, ti=None):
        from churn_ml.services.panels import build_panel

        build_panel(load_settings(), run, try_number=ti.try_number)

    @sdk.task(outlets=[MODELS])
    def train(run, params=None, outlet_events=None):
        from churn_ml.models.registry import version_of_run
        from churn_ml.training.train import train_model

        summary = train_model(load_settings(), run, seed=params["seed"])
        registered = version_of_run(load_settings(), run)
        outlet_events[MODELS].extra = {"run_id": run, "rows": registered.row_count}
        return {"model_version": summary.model_version, "family": summary.family, "metrics": summary.metrics}

    def build(layer):
        return dbt.override(task_id=f"dbt_{layer}")(layer, run)

    def check(name):
        return gate.override(task_id=f"gate_{name}")(name, run)

    run = open_run()
    features = [build("staging"), build("intermediate"), build("features"), check("features")]
    sdk.chain(settle(run), check("raw"), *features, panel(run), train(run))


churn_training()
