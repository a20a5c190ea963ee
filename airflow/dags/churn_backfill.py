"""
### churn_backfill: a night that was, once more

**Produces** a run of an old night beside the one that BI sees, and a comparison of their rows
(`ops.run_comparisons`). `reproduce`: what that night knew; any difference fails. `restate`: what is known
today, or at `known_as_of`; the difference is listed, and published only where `publish` is set.
**Key**: the `run_id` that `open_run` mints; at most one repetition of a date is at work. The night's own
champion scores it, so that only knowledge differs.
**When**: triggered with a logical date, or by Airflow's own backfill; never by itself. `reproduce` skips
the days of a backfill that have no published night.

**A failure** leaves the published night in place and tells nobody: the row in `ops.pipeline_runs` is closed
as `failed` with the task and its message. Clear the failed tasks and the same run goes on.

**Rerun one day**: `churn-ml reproduce --as-of 2026-10-31` or `churn-ml restate --as-of 2026-10-31`.
"""

from datetime import UTC, datetime, timedelta
from os import environ

from airflow import sdk
from asked_nights import AskedNights
from measured_tasks import task

from churn_ml.services.alerts import record_run_failure, record_task_failure
from churn_ml.settings import load_settings

FINAL = ["SettingsError", "RepetitionError", "FeatureContractError", "ModelError", "PublishingError"]
NO_RETRY = sdk.RetryRule([f"churn_ml.errors.{name}" for name in FINAL], sdk.RetryAction.FAIL)
PARAMS = {
    "run_kind": sdk.Param("reproduce", type="string", enum=["reproduce", "restate"], title="Whose knowledge"),
    "known_as_of": sdk.Param(None, type=["null", "string"], format="date-time", title="Cut-off of restate"),
    "publish": sdk.Param(False, type="boolean", title="Show the restated night to BI"),
    "reason": sdk.Param("backfill", type="string", minLength=1, title="Why it runs"),
}


def go_on(context):
    from churn_ml.warehouse.runs import resume_repetition

    resume_repetition(load_settings(), context["ti"].dag_id, context["ti"].run_id)


DEFAULTS = {
    "owner": "churn", "on_failure_callback": record_task_failure, "execution_timeout": timedelta(hours=2),
    "retries": 2, "retry_delay": timedelta(seconds=20), "retry_exponential_backoff": 2, "pre_execute": go_on,
    "max_retry_delay": timedelta(minutes=10), "retry_policy": sdk.ExceptionRetryPolicy([NO_RETRY]),
}  # fmt: skip


@sdk.dag(
    schedule=AskedNights("0 2 * * *", "UTC"),
    start_date=datetime(2020, 1, 1, 2, tzinfo=UTC),
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=8),
    doc_md=__doc__,
    tags=["churn", environ.get("CHURN_DATASET", "subscriptions")],
    params=PARAMS,
    on_failure_callback=record_run_failure,
    default_args=DEFAULTS,
)
def churn_backfill():
    @task.short_circuit(pre_execute=None)
    def open_run(dag_run=None, params=None):
        from churn_ml.services.airflow import mint_repetition

        return mint_repetition(load_settings(), dag_run, params)

    @task(retries=0)
    def gate(name, run):
        from churn_ml.quality.gates import run_gate

        return run_gate(load_settings(), run, name).headline()

    @task
    def dbt(layer, run, ti=None):
        from churn_ml.services.dbt import build_layer

        return {"rows": build_layer(load_settings(), run, layer, try_number=ti.try_number).rows}

    @task
    def score(run):
        from churn_ml.scoring.night import score_night

        return {"rows": score_night(load_settings(), run).rows_scored}

    @task
    def compare(run):
        from churn_ml.publishing.comparison import compare_run

        done = compare_run(load_settings(), run)
        return {"is_equal": done.is_equal, "differing_marts": list(done.differing_marts)}

    @sdk.task.run_if(lambda context: context["params"]["publish"])
    @task(pre_execute=go_on)
    def publish(run, params=None):
        from churn_ml.publishing.publish import publish_run

        return publish_run(load_settings(), run, params["reason"]).headline()

    def build(layer):
        return dbt.override(task_id=f"dbt_{layer}")(layer, run)

    def check(name):
        return gate.override(task_id=f"gate_{name}")(name, run)

    run = open_run()
    features = [check("raw"), build("staging"), build("intermediate"), build("features"), check("features")]
    sdk.chain(run, *features, score(run), build("marts"), check("marts"), compare(run), publish(run))


churn_backfill()
