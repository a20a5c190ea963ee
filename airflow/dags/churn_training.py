"""
### churn_training: one model, the best of several candidates, from what was known at a cut-off

**Produces** one row of `ml.model_versions`. Each family is searched in a task of its own (`ml.trials`).
**Key**: `model_version`, with the `run_id` that `open_run` mints. Promotion is an act of its own.
**When**: where `CHURN_SCHEDULES=on` by `CHURN_TRAINING_SCHEDULE`, else when triggered. It starts paused.
**A failure** leaves the champion in place; `ops.pipeline_runs` has the task and its message. A retry repeats
no finished trial, candidate or night of the panel. `select` fails where no candidate passes its gates.
**Rerun one day**: `churn-ml train --cut-off 2026-11-01T02:00:00Z`, or clear `open_run` and all behind it.
Green with skipped tasks means `unchanged`: the same rows gave a model before; `force` registers one again.
"""

import os
from datetime import UTC, datetime, timedelta

from airflow import sdk
from measured_tasks import task

from churn_ml.services.alerts import record_task_failure, report_failure
from churn_ml.settings import load_settings

DATASET = os.environ.get("CHURN_DATASET", "subscriptions")
TIMETABLES = {"weekly": sdk.CronDataIntervalTimetable("0 4 * * 0", "UTC"),
              "every_third_day": sdk.DeltaDataIntervalTimetable(timedelta(days=3))}  # fmt: skip
TIMETABLE = TIMETABLES[os.environ.get("CHURN_TRAINING_SCHEDULE", "weekly")]
FINAL = ["SettingsError", "LandingError", "FeatureContractError", "TrainingError", "ModelError"]
ROOMS = ("staging", "intermediate", "features")
MODELS = sdk.Asset(f"{DATASET}_ml", f"churn://{DATASET}/ml")
NO_RETRY = sdk.RetryRule([f"churn_ml.errors.{name}" for name in FINAL], sdk.RetryAction.FAIL)
DEFAULTS = {
    "owner": "churn", "on_failure_callback": record_task_failure, "execution_timeout": timedelta(hours=12),
    "retries": 2, "retry_delay": timedelta(seconds=20), "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(minutes=10), "retry_policy": sdk.ExceptionRetryPolicy([NO_RETRY]),
}  # fmt: skip


@sdk.dag(
    schedule=TIMETABLE if os.environ.get("CHURN_SCHEDULES") == "on" else None,
    start_date=datetime(2026, 1, 1, 4, tzinfo=UTC),
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=24),
    doc_md=__doc__,
    tags=["churn", DATASET],
    params={
        "reason": sdk.Param("scheduled training", type="string", minLength=1, title="Why it runs"),
        "seed": sdk.Param(20260101, type="integer", minimum=0, maximum=2**31 - 1, title="Seed of all draws"),
        "force": sdk.Param(False, type="boolean", title="Train although nothing has changed"),
        "trials": sdk.Param(None, type=["null", "integer"], minimum=1, title="Trials, if not as declared"),
        "seconds": sdk.Param(None, type=["null", "integer"], minimum=1, title="Seconds, if not as declared"),
        "candidates": sdk.Param(None, type=["null", "string"], title="Families, if not as declared"),
    },
    on_failure_callback=report_failure,
    default_args=DEFAULTS,
)
def churn_training():
    @task
    def open_run(dag_run=None):
        from churn_ml.services.airflow import mint_run

        return mint_run(load_settings(), "training", dag_run)

    @task(retries=0)
    def settle(run):
        from churn_ml.landing.snapshots import settle_night

        settle_night(load_settings(), run)

    @task(retries=0)
    def gate(name, run):
        from churn_ml.quality.gates import run_gate

        return run_gate(load_settings(), run, name).headline()

    @task
    def dbt(layer, run, ti=None):
        from churn_ml.services.dbt import build_layer

        return {"rows": build_layer(load_settings(), run, layer, try_number=ti.try_number).rows}

    @task
    def panel(run, ti=None):
        from churn_ml.services.panels import build_panel

        return {"rows": build_panel(load_settings(), run, try_number=ti.try_number).label_rows}

    @task.short_circuit
    def plan(run, params=None):
        from churn_ml.training.train import plan_parts

        return plan_parts(load_settings(), run, params)

    @task(max_active_tis_per_dagrun=2, map_index_template="{{ task.op_kwargs['family'] }}")
    def candidate(plan, family):
        from churn_ml.training.train import train_candidate

        return train_candidate(load_settings(), plan, family).summary()

    @task(outlets=[MODELS])
    def select(work, outlet_events=None):
        from churn_ml.training.train import select_model

        summary = select_model(load_settings(), work[0]["plan"])
        outlet_events[MODELS].extra = {"run_id": work[0]["plan"]["run_id"], "rows": summary.row_count}
        return summary.headline()

    run = open_run()
    built = [dbt.override(task_id=f"dbt_{room}")(room, run) for room in ROOMS]
    raw, done = (gate.override(task_id=f"gate_{name}")(name, run) for name in ("raw", "features"))
    work = plan(run)
    sdk.chain(settle(run), raw, *built, done, panel(run), work, candidate.expand_kwargs(work), select(work))


churn_training()
