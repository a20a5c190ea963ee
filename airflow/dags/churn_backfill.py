"""
### churn_backfill: a night that was, once more

- **Produces** a run of an old night beside the one that BI sees, and a comparison of their rows
  (`ops.run_comparisons`). `reproduce`: what that night knew; any difference fails. `restate`: what is known
  today, or at `known_as_of`; the difference is listed, and published only where `publish` is set.
- **Key**: the `run_id` that `open_run` mints; at most one repetition of a date is at work. The night's own
  champion scores it, so that only knowledge differs.
- **When**: triggered with a logical date, or by Airflow's own backfill; never by itself. `reproduce` skips
  the days of a backfill that have no published night.
- **A failure** leaves the published night in place and tells nobody: the row in `ops.pipeline_runs` is closed
  as `failed` with the task and its message. Clear the failed tasks and the same run goes on.
- **Rerun one day**: `churn-ml reproduce --as-of 2026-10-31` or `churn-ml restate --as-of 2026-10-31`.
"""

from datetime import UTC, datetime, timedelta

from airflow import sdk
from asked_nights import AskedNights
from measured_tasks import task
from rooms import DATASET, group
from shared_tasks import RUN, build, check, report
from task_defaults import defaults

from churn_ml.services.alerts import record_run_failure
from churn_ml.settings import load_settings

FINAL = ("SettingsError", "RepetitionError", "FeatureContractError", "ModelError", "PublishingError")
KINDS = {"reproduce": "reproduce: what the night knew", "restate": "restate: what is known today"}
RESTATE = "Only of restate"
PARAMS = {
    "run_kind": sdk.Param(
        "reproduce", type="string", enum=list(KINDS), values_display=KINDS, title="Whose knowledge",
        description_md="`reproduce` fails where a row differs from what was published; `restate` lists it."),
    "reason": sdk.Param(
        "backfill", type="string", minLength=1, maxLength=500, title="Why it runs",
        description="Kept with a publication, for whoever asks later."),
    "known_as_of": sdk.Param(
        None, type=["null", "string"], format="date-time", title="Cut-off", section=RESTATE,
        description="What it may know. Empty: all that has landed."),
    "publish": sdk.Param(
        False, type="boolean", title="Show the restated night to BI", section=RESTATE,
        description="It then takes the published night's place; otherwise the differences are only listed."),
}  # fmt: skip


def go_on(context):
    from churn_ml.warehouse.runs import resume_repetition

    resume_repetition(load_settings(), context["ti"].dag_id, context["ti"].run_id)


@sdk.dag(
    schedule=AskedNights("0 2 * * *", "UTC"),
    start_date=datetime(2020, 1, 1, 2, tzinfo=UTC),
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=8),
    doc_md=__doc__,
    description="A night that was, once more, compared with what was published",
    tags=["churn", DATASET],
    params=PARAMS,
    on_failure_callback=record_run_failure,
    default_args=defaults(*FINAL, pre_execute=go_on),
)
def churn_backfill():
    @task.short_circuit(pre_execute=None)
    def open_run(dag_run=None, params=None):
        """Mint the run that repeats the night; skip a day of a backfill that has no published night."""
        from churn_ml.services.airflow import mint_repetition

        return mint_repetition(load_settings(), dag_run, params)

    @task
    def score(run):
        """Let the champion of the repeated night score it again."""
        from churn_ml.scoring.night import score_night

        return {"rows": score_night(load_settings(), run).rows_scored}

    @task
    def compare(run):
        """Compare every mart with the published night's; a difference fails a reproduction."""
        from churn_ml.publishing.comparison import compare_run

        done = compare_run(load_settings(), run)
        return {"is_equal": done.is_equal, "differing_marts": list(done.differing_marts)}

    @sdk.task.run_if(lambda context: context["params"]["publish"])
    @task(pre_execute=go_on)
    def publish(run, params=None):
        """Show the restated night to BI in the place of the published one."""
        from churn_ml.publishing.publish import publish_run

        return publish_run(load_settings(), run, params["reason"]).headline()

    opened = open_run()
    with group("raw", "The deliveries of that night, checked again"):
        raw = check("raw")
    with group("features", "What was known of each customer, or is known today"):
        layers = [build(layer) for layer in ("staging", "intermediate", "features")]
        known = check("features")
    with group("scores", "The night's own champion scores"):
        scored = score(RUN)
    with group("marts", "Tiers and money, audited and compared with the published night"):
        marts = [build("marts"), check("marts"), compare(RUN)]
    with group("published", "Only where a restated night is published"):
        out = [publish(RUN), report(pre_execute=None)]
    sdk.chain(opened, raw, *layers, known, scored, *marts, *out)


churn_backfill()
