"""Expected against realised revenue loss, and how often the 90 % intervals hold.

Run with ``python benchmarks/expected_loss.py [--customers 20000] [--seeds 5] [--nights 6]``. For each
seed it simulates a subscription business, trains on its first year, publishes nights whose label windows
do not overlap, and lets the windows close. What the scores expected of the customers whose outcome is
known and whom no treatment changed is set beside what they took along, for whole nights and for
groups. The intervals are those of dbt_project/macros/loss_interval.sql.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from in_process import run_night, train_and_promote

from churn_ml.landing.delivery import land_path
from churn_ml.services.postgres import remove_postgres, start_postgres
from churn_ml.settings import Settings
from churn_ml.simulation.business import continue_business, write_business
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.provision import provision

START, TRAINED_TO = date(2025, 3, 1), date(2026, 3, 31)
# A window is 30 days long: nights 31 days apart have none in common.
NIGHT_SPACING = timedelta(days=31)
CLOSING = timedelta(days=50)
GROUPINGS = {
    "night": ["as_of_date"],
    "tier": ["as_of_date", "risk_tier"],
    "tier x segment": ["as_of_date", "risk_tier", "segment"],
    "tier x segment x region": ["as_of_date", "risk_tier", "segment", "region"],
}
# Of each night the newest labels. The outcome only, then with calibration: see loss_interval.sql.
_OUTCOMES = """
    with labels as (
        select distinct on (as_of_date, customer_id)
            as_of_date, customer_id, churned, value_lost_amount, treatment_status
        from features.customer_labels
        where churned is not null
        order by as_of_date, customer_id, known_as_of desc
    ),

    outcomes as (
        select scores.*, labels.churned, labels.value_lost_amount * scores.exchange_rate as lost_amount
        from marts.fct_churn_score as scores
        inner join ops.published_runs as published using (run_id)
        inner join labels
            on scores.as_of_date = labels.as_of_date and scores.customer_id = labels.customer_id
        where scores.churn_probability is not null and scores.value_at_risk_amount is not null
            and labels.treatment_status <> 'treated'
    )
"""


@dataclass(frozen=True)
class Calibration:
    """Which ends of a probability the interval reads: its own, or the probability itself."""

    name: str
    low: str
    high: str


CALIBRATIONS = (
    Calibration("outcome", "churn_probability", "churn_probability"),
    Calibration("outcome and calibration", "churn_probability_low", "churn_probability_high"),
)


def main() -> None:
    """Run every seed on one server and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--nights", type=int, default=6)
    parser.add_argument("--candidates", default="base_rate,spline_logistic,gradient_boosting")
    parser.add_argument("--trials", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="churn-loss-") as folder:
        first = seed_settings(Path(folder), 1, arguments)
        start_postgres(first)
        try:
            groups = [run_seed(Path(folder), seed, arguments) for seed in range(1, arguments.seeds + 1)]
        finally:
            remove_postgres(first)
    print_tables(pd.concat(groups, ignore_index=True))


def seed_settings(folder: Path, seed: int, arguments: argparse.Namespace) -> Settings:
    """Return the settings of one seed's warehouse; all are on one server."""
    return Settings(
        _env_file=None, home=folder / "home", inbox_dir=folder / f"inbox_{seed}",
        database_prefix=f"loss{seed}", dataset="subscriptions",
        candidates=arguments.candidates, search_trials=arguments.trials,
    )  # fmt: skip


def run_seed(folder: Path, seed: int, arguments: argparse.Namespace) -> pd.DataFrame:
    """Simulate, train, publish the nights, wait for the outcomes, and return every group's figures."""
    started = time.monotonic()
    settings, truth = seed_settings(folder, seed, arguments), folder / f"truth_{seed}"
    provision(settings)
    nights = [TRAINED_TO + NIGHT_SPACING * place for place in range(1, arguments.nights + 1)]
    closed = nights[-1] + CLOSING
    write_business(
        settings.inbox, truth=truth, customers=arguments.customers, start=START, end=TRAINED_TO, seed=seed,
        truth_dates=set(),
    )  # fmt: skip
    land_path(settings, settings.inbox, first_load=True)
    trained = train_and_promote(settings, TRAINED_TO)
    continue_business(settings.inbox, truth=truth, until=closed)
    for day in (*nights, closed):
        run_night(settings, day)
    seconds = time.monotonic() - started
    print(f"seed {seed}: {trained.model_version}, {trained.family}, {seconds:.0f} s", flush=True)
    return pd.concat(
        [
            read_groups(settings, grouping, calibration)
            for grouping in GROUPINGS
            for calibration in CALIBRATIONS
        ]
    ).assign(seed=seed)


def read_groups(settings: Settings, grouping: str, calibration: Calibration) -> pd.DataFrame:
    """Return expected loss, its interval and what was lost of each group."""
    statement = loss_statement(settings, GROUPINGS[grouping], calibration)
    with connect(settings, Role.AUDITOR) as auditor:
        rows = auditor.execute(statement).fetchall()  # type: ignore[call-overload]
    columns = ["as_of_date", "customers", "churned", "expected", "lost", "low", "high", "is_approximate"]
    found = pd.DataFrame(rows, columns=columns).assign(grouping=grouping, interval=calibration.name)
    amounts = ["expected", "lost", "low", "high"]
    found[amounts] = found[amounts].astype(float)
    return found.assign(is_inside=(found["lost"] >= found["low"]) & (found["lost"] <= found["high"]))


def loss_statement(settings: Settings, columns: list[str], calibration: Calibration) -> str:
    """Return the query of one grouping, by the macro that the marts use."""
    path = settings.project_dir / "dbt_project" / "macros" / "loss_interval.sql"
    macros: Any = jinja2.Environment(autoescape=False).from_string(path.read_text(encoding="utf-8")).module  # noqa: S701
    moments = macros.loss_moments(
        "churn_probability", calibration.low, calibration.high, "value_at_risk_amount"
    )
    low, high, is_approximate = (
        macros.loss_limit("low"), macros.loss_limit("high"), macros.is_loss_interval_approximate(),
    )  # fmt: skip
    return f"""{_OUTCOMES},

    grouped as (
        select {", ".join(columns)}, count(*) as customers, count(*) filter (where churned) as churned_count,
            sum(expected_revenue_loss_amount) as expected, sum(lost_amount) as lost, {moments}
        from outcomes
        group by {", ".join(columns)}
    )

    select as_of_date, customers, churned_count, expected, lost, {low}, {high}, {is_approximate}
    from grouped
    order by {", ".join(columns)}
    """


def print_tables(groups: pd.DataFrame) -> None:
    """Print realised against expected loss per month, and how often the intervals held."""
    both = groups["interval"] == CALIBRATIONS[-1].name
    nights = groups[both & (groups["grouping"] == "night")]
    columns = ["seed", "as_of_date", "customers", "churned", "expected", "low", "high", "lost", "is_inside"]
    table = nights[columns].assign(lost_to_expected=nights["lost"] / nights["expected"])
    print("\nRevenue loss per month")
    print(table.round({"lost_to_expected": 3}).to_string(index=False))
    total = nights["lost"].sum() / nights["expected"].sum()
    print(f"\nlost / expected over all: {total:.3f}\n\nShare of 90 % intervals that held")
    print(coverage(groups, ["interval", "grouping"]).to_string())
    print("\nThe same of the groups with both parts, by whether the mart marks them as approximate")
    print(coverage(groups[both], ["grouping", "is_approximate"]).to_string())


def coverage(groups: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Return the number of groups, their mean size, and the shares inside, below and above."""
    sides = groups.assign(below=groups["lost"] < groups["low"], above=groups["lost"] > groups["high"])
    return (
        sides.groupby(by, sort=False)
        .agg(groups=("lost", "size"), customers=("customers", "mean"), inside=("is_inside", "mean"),
             below=("below", "mean"), above=("above", "mean"))
        .round({"customers": 0, "inside": 3, "below": 3, "above": 3})
    )  # fmt: skip


if __name__ == "__main__":
    main()
