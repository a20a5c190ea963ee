"""
### churn_training: one model, the best of several candidates, from what was known at a cut-off

- **Produces** one row of `ml.model_versions`. Each family is searched in a task of its own (`ml.trials`).
- **Key**: `model_version`, with the `run_id` that `open_run` mints. Promotion is an act of its own.
- **When**: where `CHURN_SCHEDULES=on` by `CHURN_TRAINING_SCHEDULE`, else when triggered. It starts paused.
- **A failure** leaves the champion in place; `ops.pipeline_runs` has the task and its message. A retry
  repeats no finished trial, candidate or night of the panel. `select` fails where none passes its gates.
- **Rerun one day**: `churn-ml train --cut-off 2026-11-01T02:00:00Z`, or clear `open_run` and all behind it.
  Green with skipped tasks means `unchanged`: the same rows gave a model before; `force` registers one again.
"""

import os
from datetime import UTC, datetime, timedelta

from airflow import sdk
from measured_tasks import task
from rooms import ASSETS, DATASET, group, tell
from shared_tasks import RUN, build, check, open_run
from task_defaults import defaults

from churn_ml.services.alerts import report_failure
from churn_ml.settings import load_settings

TIMETABLES = {"weekly": sdk.CronDataIntervalTimetable("0 4 * * 0", "UTC"),
              "every_third_day": sdk.DeltaDataIntervalTimetable(timedelta(days=3))}  # fmt: skip
TIMETABLE = TIMETABLES[os.environ.get("CHURN_TRAINING_SCHEDULE", "weekly")]
FINAL = ("SettingsError", "LandingError", "FeatureContractError", "TrainingError", "ModelError")
BUDGET = "Instead of what the dataset declares"
PARAMS = {
    "reason": sdk.Param(
        "scheduled training", type="string", minLength=1, maxLength=500, title="Why it runs",
        description="Kept with the DAG run."),
    "seed": sdk.Param(
        20260101, type="integer", minimum=0, maximum=2**31 - 1, title="Seed of all draws",
        description="The same seed over the same rows gives the same model."),
    "force": sdk.Param(
        False, type="boolean", title="Train although nothing has changed",
        description="Without it, rows, configuration and code that gave a model before give none again."),
    "candidates": sdk.Param(
        None, type=["null", "string"], pattern="^[a-z][a-z0-9_]*(,[a-z][a-z0-9_]*)*$", title="Families",
        section=BUDGET, description_md="Names with commas between, such as `spline_logistic,stack`."),
    "trials": sdk.Param(
        None, type=["null", "integer"], minimum=1, title="Trials of each family", section=BUDGET,
        description="How many sets of parameters are tried."),
    "seconds": sdk.Param(
        None, type=["null", "integer"], minimum=1, title="Seconds of each family", section=BUDGET,
        description="When the search of a family ends at the latest."),
}  # fmt: skip


@sdk.dag(
    schedule=TIMETABLE if os.environ.get("CHURN_SCHEDULES") == "on" else None,
    start_date=datetime(2026, 1, 1, 4, tzinfo=UTC), dagrun_timeout=timedelta(hours=24), params=PARAMS,
    catchup=False, is_paused_upon_creation=True, max_active_runs=1, doc_md=__doc__, tags=["churn", DATASET],
    description="What was known at a cut-off to one registered model", on_failure_callback=report_failure,
    default_args=defaults(*FINAL, hours=12))  # fmt: skip
def churn_training():
    @task(retries=0)
    def settle(run):
        """Choose the newest snapshot to learn from; a dated dataset keeps its date."""
        from churn_ml.landing.snapshots import settle_night

        settle_night(load_settings(), run)

    @task
    def panel(run, ti=None):
        """Build each training date at its own night's cut-off, and the labels known by now."""
        from churn_ml.services.panels import build_panel

        return {"rows": build_panel(load_settings(), run, try_number=ti.try_number).label_rows}

    @task.short_circuit
    def plan(run, params=None):
        """Say which families are searched, how long and on which rows; skip where nothing changed."""
        from churn_ml.training.train import plan_parts

        return plan_parts(load_settings(), run, params)

    @task(max_active_tis_per_dagrun=2, map_index_template="{{ task.op_kwargs['family'] }}",
          doc_md="Search one family, validate it forward in time and judge it by its gates.")  # fmt: skip
    def candidate(plan, family):
        from churn_ml.training.train import train_candidate

        return train_candidate(load_settings(), plan, family).summary()

    @task(inlets=[ASSETS["features"]], outlets=[ASSETS["ml"]])
    def select(work, outlet_events=None):
        """Register the best family that passed its gates; promoting it is an act of its own."""
        from churn_ml.training.train import select_model

        run, summary = work[0]["plan"]["run_id"], select_model(load_settings(), work[0]["plan"])
        told = {"rows": summary.row_count, "model_version": summary.model_version, "family": summary.family}
        tell(outlet_events, "ml", run, **told)
        return summary.headline()

    opened = open_run("training")
    with group("raw", "What has landed, checked"):
        raw = [settle(RUN), check("raw")]
    with group("features", "What is known at the cut-off, and the panel of dated observations"):
        layers = [build(layer) for layer in ("staging", "intermediate", "features")]
        known = [*layers, check("features"), panel(RUN)]
    with group("models", "Families are searched and judged; the best is registered"):
        work = plan(RUN)
        judged = [candidate.expand_kwargs(work), select(work)]
    sdk.chain(opened, *raw, *known, work, *judged)


churn_training()
