"""Nights of the subscription business by hand: deliveries, given scores, nights that were shown before."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path

from subscription_deliveries import Row, cut_off_after, deliver_day
from telco_nights import rows
from untested import build_labels

from churn_ml.landing.delivery import land_path
from churn_ml.services.dated_nights import Night, plan_labels
from churn_ml.services.dbt import build_night
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect, connect_admin
from churn_ml.warehouse.runs import Run, open_run


def land(settings: Settings, inbox: Path, day: date, known_at: datetime, **entities: Sequence[Row]) -> None:
    land_path(settings, deliver_day(inbox, day, **entities), known_at=known_at)


def build_features(settings: Settings, run: Run, *, tested: bool = False) -> None:
    """Build the night's features, and the labels that are due, as a night does after its staging."""
    build_night(settings, run, Night(run.as_of_date, run.known_as_of))
    plan_and_label(settings, run, tested=tested)


def plan_and_label(settings: Settings, run: Run, *, tested: bool = False) -> None:
    with connect(settings, Role.TRANSFORMER) as warehouse:
        plan_labels(settings, warehouse, run)
    build_labels(settings, run, tested=tested)


def score(settings: Settings, run: Run, probabilities: Mapping[str, float] | None = None) -> None:
    """Score by hand everyone eligible, at 0.02 where nothing is given."""
    eligible = rows(
        settings,
        "select customer_id from features.customer_population"
        " where as_of_date = %s and known_as_of = %s and is_eligible",
        [run.as_of_date, run.known_as_of],
    )
    given = probabilities or {}
    with connect(settings, Role.SCORER) as scorer:
        scorer.execute("select ops.ensure_score_partition(%s)", [run.as_of_date])
        scorer.execute("select ops.choose_bases(%s)", [run.run_id])
        scorer.cursor().executemany(
            "insert into scores.customer_scores (as_of_date, run_id, customer_id, churn_probability_raw,"
            " churn_probability, churn_probability_low, churn_probability_high, model_version,"
            " is_out_of_fold, feature_row_sha256, scored_at)"
            " values (%s, %s, %s, %s, %s, %s, %s, 'model-1', false, md5(%s), clock_timestamp())",
            [
                [run.as_of_date, run.run_id, customer_id, p, p, 0.8 * p, 1.2 * p, customer_id]
                for customer_id in (str(one) for (one,) in eligible)
                for p in [given.get(customer_id, 0.02)]
            ],
        )


def convert(settings: Settings, customer_id: str, rate: str) -> None:
    """Let the customer's value at risk have been converted at `rate`."""
    with connect(settings, Role.TRANSFORMER) as transformer:
        transformer.execute(
            "update marts.fct_churn_score set exchange_rate = %(rate)s::numeric,"
            " value_at_risk_amount = value_at_risk_amount * %(rate)s::numeric,"
            " expected_revenue_loss_amount = expected_revenue_loss_amount * %(rate)s::numeric"
            " where customer_id = %(customer_id)s",
            {"rate": rate, "customer_id": customer_id},
        )


def show_before(settings: Settings, run: Run, former: Run, day: date, high: Sequence[str]) -> None:
    """Let `run` read one more recent night: `former` on another day, low but for the customers in `high`."""
    shown = open_run(settings, "night", cut_off_after(day))
    with connect_admin(settings, database=settings.warehouse_database) as admin:
        for mart in ("dim_scoring_run", "fct_churn_score"):
            admin.execute(
                f"insert into marts.{mart} select (jsonb_populate_record(former, jsonb_build_object("
                "'run_id', runs.run_id, 'scoring_run_key', runs.run_number,"
                " 'as_of_date', runs.as_of_date, 'known_as_of', runs.known_as_of))).*"
                f" from marts.{mart} as former, ops.pipeline_runs as runs"
                " where former.run_id = %s and runs.run_id = %s",
                [former.run_id, shown.run_id],
            )
        admin.execute(
            "update marts.fct_churn_score set risk_tier = case when customer_id = any(%s) then 'high'"
            " when risk_tier is not null then 'low' end where run_id = %s",
            [list(high), shown.run_id],
        )
        admin.execute(
            "insert into ops.run_bases values (%s, 'recent', %s, %s)", [run.run_id, day, shown.run_id]
        )
