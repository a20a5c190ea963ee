"""
### churn_nightly: one night of one dataset

- **Produces** a score for every eligible customer and the marts that BI reads, published in one step, then a
  report of the night (the tab *Report* of the run).
- **Key**: the `run_id` that `open_run` mints; BI sees one published run per as-of date. Challenger and shadow
  models score in runs of their own, which are never published; one that fails only warns.
- **When**: 02:00 UTC where `CHURN_SCHEDULES=on`, else when triggered. It starts paused: promote a champion,
  then unpause. The cut-off is the end of the data interval, the as-of date the day before it; a snapshot
  dataset scores its newest snapshot up to that date.
- **A failure** stops every task behind it; BI keeps the last good night, or this one where only `report`
  failed. The row in `ops.pipeline_runs` is closed as `failed` with the message; `CHURN_WEBHOOK_URL` is told
  once. What a retry cannot mend is not retried. Green with skipped tasks means `unchanged`: that snapshot is
  published already.
- **Rerun one day**: `churn-ml night --as-of 2026-10-31`, or clear `open_run` and all behind it: a new run
  takes the former one's place. Once the cause is mended, clearing the failed tasks lets the same run go on.

| room | tasks | what stands there afterwards |
|---|---|---|
| raw | `land`, `settle`, `gate_raw` | what was delivered, checked |
| features | `dbt_staging` to `gate_features` | what is known of each customer at the cut-off |
| scores | `score`, `score_challengers` | a probability and three reasons per customer |
| marts | `dbt_marts`, `gate_marts` | tiers and money, audited, seen by nobody yet |
| published | `publish`, `report` | the night that BI sees, and its report |
"""

import os
from datetime import UTC, datetime, timedelta

from airflow import sdk
from links import report_address
from measured_tasks import task
from rooms import ASSETS, DATASET, group, tell
from shared_tasks import RUN, build, check, open_run, report
from task_defaults import defaults

from churn_ml.services.alerts import report_failure
from churn_ml.settings import load_settings

SCHEDULED = os.environ.get("CHURN_SCHEDULES") == "on"
FINAL = ("SettingsError", "LandingError", "FeatureContractError", "ModelError", "PublishingError")
REASON = sdk.Param(
    "nightly run", type="string", minLength=1, maxLength=500, title="Why it is published",
    description="Kept with the publication, for whoever asks later.")  # fmt: skip


@sdk.dag(
    schedule=sdk.CronDataIntervalTimetable("0 2 * * *", "UTC") if SCHEDULED else None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC), dagrun_timeout=timedelta(hours=8), params={"reason": REASON},
    catchup=False, is_paused_upon_creation=True, max_active_runs=1, doc_md=__doc__, tags=["churn", DATASET],
    description="Deliveries to the night that BI sees", on_failure_callback=report_failure,
    default_args=defaults(*FINAL))  # fmt: skip
def churn_nightly():
    @task(outlets=[ASSETS["raw"]])
    def land(run, outlet_events=None):
        """Stream each new file and table row into `raw`; malformed lines go to `ops.quarantine`."""
        from churn_ml.landing.delivery import land_inbox

        summary = land_inbox(load_settings(), run)
        tell(outlet_events, "raw", run, rows=summary.rows_landed, quarantined=summary.rows_quarantined)
        return {"rows_in": summary.rows_landed + summary.rows_quarantined, "rows_out": summary.rows_landed}

    @task.short_circuit(retries=0)
    def settle(run):
        """Choose the snapshot to score; skip the night where that one is published already."""
        from churn_ml.landing.snapshots import settle_night

        return settle_night(load_settings(), run)

    @task(inlets=[ASSETS["features"], ASSETS["ml"]], outlets=[ASSETS["scores"]])
    def score(run, outlet_events=None):
        """Let the champion at the cut-off score every eligible customer, streamed, with reasons."""
        from churn_ml.scoring.night import score_night

        summary = score_night(load_settings(), run)
        tell(outlet_events, "scores", run, rows=summary.rows_scored, model_version=summary.model_version)
        return {"rows": summary.rows_scored, "peak_memory_mb": summary.peak_memory_mb}

    @task(inlets=[ASSETS["features"], ASSETS["ml"]])
    def score_challengers(run):
        """Let challenger and shadow models score beside, in runs that are never published."""
        from churn_ml.scoring.challengers import score_challengers

        return {beside.run_id: beside.failure for beside in score_challengers(load_settings(), run)}

    @task(inlets=[ASSETS["marts"]], outlets=[ASSETS["published"]])
    def publish(run, params=None, dag_run=None, outlet_events=None):
        """Show the audited night to BI, in one row; its asset event holds the night's summary."""
        from churn_ml.publishing.publish import publish_run
        from churn_ml.publishing.summary import summarise_night

        published = publish_run(load_settings(), run, params["reason"])
        summary = summarise_night(load_settings(), run)
        tell(outlet_events, "published", run, **summary.headline(), report=report_address(dag_run))
        return published.headline()

    opened = open_run("night")
    with group("raw", "Deliveries land and are checked"):
        raw = [land(RUN), settle(RUN), check("raw")]
    with group("features", "What is known of each customer at the cut-off"):
        known = [build("staging"), build("intermediate"),
                 build("features", inlets=[ASSETS["raw"]], outlets=[ASSETS["features"]]),
                 check("features")]  # fmt: skip
    with group("scores", "The champion scores; challengers beside it"):
        scored, beside = score(RUN), score_challengers(RUN)
    with group("marts", "Tiers and money, audited before anybody sees them"):
        marts = build("marts", inlets=[ASSETS["scores"]], outlets=[ASSETS["marts"]])
        audited = check("marts")
    with group("published", "The night that BI sees, and its report"):
        out = [publish(RUN), report()]
    sdk.chain(opened, *raw, *known, scored, marts, audited, *out)
    sdk.chain(scored, beside)


churn_nightly()
