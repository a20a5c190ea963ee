"""Rows per second of a night's scoring against the plain pandas way, on the same model.

Run with ``python benchmarks/scoring.py [--rows 1000000] [--plain-rows 1000000] [--family lightgbm]``. It
starts an embedded server of its own in a temporary folder, fills the feature tables with synthetic
customers, trains and promotes a model on 20,000 of them, and scores everyone twice, each in a process
of its own:

- streamed: `churn_ml.scoring.night.score_night`, with its checks, hashes, out-of-fold scores, intervals
  and the reasons of every score;
- plain: ``pandas.read_sql``, ``predict_proba`` of the same fold pipelines, ``DataFrame.to_sql``.

Imports are not counted; peak memory is the whole process's.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path

from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect, connect_admin, warehouse_url

CUT_OFF = datetime(2026, 11, 1, 2, tzinfo=UTC)
AS_OF_DATE = date(2026, 10, 31)
TRAINED_ON = 20_000
SERVICES = ["multiple_lines", "online_security", "online_backup", "device_protection", "tech_support",
            "streaming_tv", "streaming_movies"]  # fmt: skip
TEXTS = {
    "contract": ["month_to_month", "one_year", "two_year"],
    "payment_method": ["electronic_check", "mailed_check", "bank_transfer", "credit_card"],
    "internet_service": ["fiber_optic", "dsl", "none"],
    **{name: ["yes", "no", "no_internet_service"] for name in SERVICES},
}
BOOLEANS = ["has_partner", "has_dependents", "has_phone_service", "is_paperless_billing"]
TYPES = {
    "tenure_months": "integer",
    "monthly_charges_amount": "double precision",
    **dict.fromkeys(TEXTS, "text"),
    **dict.fromkeys(BOOLEANS, "boolean"),
}


def main() -> None:
    """Build the warehouse, run both ways, print both."""
    arguments = _parse_arguments()
    if arguments.child:
        settings = settings_of(arguments.home, arguments.family)
        run = {"streamed": score_streamed, "plain": score_plain}[arguments.child]
        print(json.dumps(run(settings, arguments.run_id, arguments.rows)))
        return
    from churn_ml.services.postgres import remove_postgres, start_postgres
    from churn_ml.warehouse.provision import provision

    with tempfile.TemporaryDirectory() as folder:
        settings = settings_of(Path(folder) / "home", arguments.family)
        start_postgres(settings)
        try:
            provision(settings)
            build_features(settings, arguments.rows)
            run_id, family = train_and_open_night(settings)
            streamed = _in_child(settings, "streamed", run_id, arguments.rows)
            plain = _in_child(settings, "plain", run_id, arguments.plain_rows)
            _print_result(family, streamed, plain, _largest_difference(settings))
        finally:
            remove_postgres(settings)


def settings_of(home: Path, family: str) -> Settings:
    """Return the settings of the benchmark's own server, where `family` alone competes."""
    return Settings(
        _env_file=None,
        home=home,
        database_prefix="bench",
        dataset="telco",
        candidates=family,
        search_trials=1,
    )


def build_features(settings: Settings, rows: int) -> None:
    """Fill the feature tables with `rows` synthetic customers; the first ones have an outcome."""
    started = time.monotonic()
    texts = ", ".join(
        f"(array{values})[1 + mod(hashtext('{name}' || i) & 1048575, {len(values)})] as {name}"
        for name, values in TEXTS.items()
    )
    booleans = ", ".join(f"hashtext('{name}' || i) & 1 = 1 as {name}" for name in BOOLEANS)
    key = f"'c' || lpad(i::text, 8, '0') as customer_id, date '{AS_OF_DATE}' as as_of_date, " \
          f"timestamptz '{CUT_OFF.isoformat()}' as known_as_of"  # fmt: skip
    with connect(settings, Role.TRANSFORMER) as transformer:
        transformer.execute(
            f"create table features.customer_features as select {key},"
            " (hashtext('t' || i) & 1048575) % 73 as tenure_months,"
            " 18 + ((hashtext('m' || i) & 1048575) % 10200) / 100.0::double precision"
            " as monthly_charges_amount,"
            f" {texts}, {booleans} from generate_series(1, {rows}) as i"
        )
        transformer.execute(
            "create table features.customer_population as select customer_id, as_of_date, known_as_of,"
            " true as is_active, true as is_eligible, null::text as exclusion_reason"
            " from features.customer_features"
        )
        transformer.execute(
            "create table features.customer_values as select customer_id, as_of_date, known_as_of,"
            " monthly_charges_amount::numeric(18, 2) as monthly_value_amount, 'USD' as currency,"
            " 'known' as value_status from features.customer_features"
        )
        transformer.execute(
            "create table features.customer_labels as select customer_id, as_of_date, known_as_of,"
            " 'telco_30d' as label_definition, (hashtext('y' || customer_id) & 1048575) / 1048575.0"
            " < 1 / (1 + exp(0.6 * ln(1 + tenure_months) - 0.8 * sin(monthly_charges_amount / 15)"
            " + case contract when 'month_to_month' then -1 else 0.5 end)) as churned"
            f" from features.customer_features order by customer_id limit {TRAINED_ON}"
        )
        contract = ", ".join(
            f"('{name}', '{data_type}', 'point', 'none', 'none', 'safe', false, {position})"
            for position, (name, data_type) in enumerate(TYPES.items())
        )
        transformer.execute(
            "create table features.feature_contract as select * from (values"
            f" {contract}) as rows"
            " (feature_name, data_type, feature_window, unit, sensitivity, leakage_class, is_actionable,"
            " position)"
        )
        transformer.execute(
            "create table features.customer_attributes as select customer_id, as_of_date, known_as_of,"
            " internet_service as segment, 'not_stated' as region, internet_service as plan, contract,"
            " case when tenure_months <= 24 then 'up_to_24_months' else 'over_24_months' end as tenure_group"
            " from features.customer_features"
        )
        transformer.execute(
            "create table features.decision_parameters as select 'telco' as dataset,"
            " 'telco_30d' as label_definition, date '2015-01-01' as valid_from, null::date as valid_to,"
            " 0.4 as tier_medium_from, 0.7 as tier_high_from, 12 as value_horizon_months,"
            " 0.6 as margin_share, 2.0 as contact_cost_amount, 40.0 as offer_cost_amount,"
            " 0.3 as acceptance_share, 'USD' as currency, 35 as max_age_days"
        )
    with connect_admin(settings, database=settings.warehouse_database) as admin:
        admin.execute("vacuum analyze")
    print(f"built {rows:,} customers in {time.monotonic() - started:.0f} s", file=sys.stderr)


def train_and_open_night(settings: Settings) -> tuple[str, str]:
    """Train and promote a model and return the run of a night and the model's family."""
    from churn_ml.models.deployments import promote
    from churn_ml.training.train import train_model
    from churn_ml.warehouse.runs import open_run

    trained = train_model(settings, open_run(settings, "training", CUT_OFF).run_id, seed=20260101)
    promote(settings, trained.model_version, CUT_OFF, "benchmark", "benchmark")
    return open_run(settings, "night", CUT_OFF).run_id, trained.family


def score_streamed(settings: Settings, run_id: str, rows: int) -> dict[str, float]:
    """Score the night as the project does."""
    from churn_ml.scoring.night import score_night

    summary = score_night(settings, run_id)
    if summary.rows_scored != rows:
        raise SystemExit(f"expected {rows} scores, found {summary.rows_scored}")
    return {"rows": rows, "seconds": summary.seconds, "peak_memory_mb": summary.peak_memory_mb}


def score_plain(settings: Settings, run_id: str, rows: int) -> dict[str, float]:
    """Score `rows` customers as a notebook does."""
    import pandas as pd
    from scipy.special import expit, logit
    from sqlalchemy import create_engine
    from threadpoolctl import threadpool_limits

    from churn_ml.measurement import peak_memory_mb
    from churn_ml.models.deployments import champion_at
    from churn_ml.models.registry import load_model

    started = time.monotonic()
    model = load_model(settings, champion_at(settings, CUT_OFF))
    engine = create_engine(warehouse_url(settings, Role.TRANSFORMER))
    frame = pd.read_sql(f"select * from features.customer_features limit {rows}", engine)
    features = frame[model.contract.names].astype(dict.fromkeys(BOOLEANS, float))
    with threadpool_limits(limits=1):  # as the streamed way, so that neither gains by the number of cores
        log_odds = [logit(pipeline.predict_proba(features)[:, 1]) for pipeline in model.model.pipelines]
        frame["churn_probability"] = expit(sum(log_odds) / len(log_odds))
    scores = frame[["customer_id", "as_of_date", "churn_probability"]].assign(
        run_id=run_id, model_version=model.model_version, scored_at=datetime.now(UTC)
    )
    scores.to_sql("plain_scores", engine, schema="marts", index=False, if_exists="replace")
    return {"rows": rows, "seconds": time.monotonic() - started, "peak_memory_mb": peak_memory_mb()}


def _in_child(settings: Settings, way: str, run_id: str, rows: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", way, "--home", str(settings.home), "--run-id", run_id,
               "--rows", str(rows), "--family", settings.candidates]  # fmt: skip
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return found


def _largest_difference(settings: Settings) -> float:
    with connect_admin(settings, database=settings.warehouse_database) as admin:
        row = admin.execute(
            "select max(abs(streamed.churn_probability - plain.churn_probability))"
            " from scores.customer_scores as streamed join marts.plain_scores as plain using (customer_id)"
            " where not streamed.is_out_of_fold"
        ).fetchone()
    return float(str(row[0])) if row else float("nan")


def _print_result(
    family: str, streamed: dict[str, float], plain: dict[str, float], difference: float
) -> None:
    print(f"model: {family}, mean of its fold pipelines")
    for name, found in {"streamed": streamed, "plain pandas": plain}.items():
        print(
            f"{name:<13} {found['rows']:>10,.0f} rows {found['seconds']:>7.1f} s"
            f" {found['rows'] / found['seconds']:>9,.0f} rows/s {found['peak_memory_mb']:>7,.0f} MB peak"
        )
    ratio = (streamed["rows"] / streamed["seconds"]) / (plain["rows"] / plain["seconds"])
    print(f"streamed is {ratio:.1f} times as fast; largest difference of a probability {difference:.1e}")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--plain-rows", type=int, default=None, help="default: as many as --rows")
    parser.add_argument("--family", default="spline_logistic", help="the model that scores")
    parser.add_argument("--child", choices=["streamed", "plain"], help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--run-id", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.plain_rows = arguments.plain_rows or arguments.rows
    return arguments


if __name__ == "__main__":
    main()
