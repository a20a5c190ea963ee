"""A campaign's reported effect against the true one, which only the simulation knows.

Run with ``python benchmarks/campaign.py [--customers 6000] [--lives 4] [--capacity 500] [--draws 100]``.

It simulates a subscription business, trains on its history and scores one night. From there the business
lives on several times, each on a copy of the warehouse: the arms are drawn by another seed, the night is
published, its assignments are exported and handed to the business, which goes on with draws of its own
until their label windows have closed, and a last night states what ``campaign_uplift`` reports.

The true effect is told for the very customers who were assigned: copies of each, from the hidden state at
the end of the as-of date, live through gap, horizon and grace once treated and once held out, with the
same draws. A 90 % interval should hold the mean of those effects in nine of ten lives; it is one for
customers like these, so that it may hold it a little more often.

The campaign and what treating costs are the benchmark's own: many are worth treating, and half of them are
held out, so that both arms are large.
"""

import argparse
import shutil
import tempfile
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
from in_process import FEATURE_LAYERS, run_night, train_and_promote

from churn_ml.errors import TrainingError
from churn_ml.landing.delivery import land_path
from churn_ml.models.deployments import promote
from churn_ml.publishing.assignments import write_assignments
from churn_ml.publishing.publish import publish_run
from churn_ml.quality.gates import run_gate
from churn_ml.scoring.night import score_night
from churn_ml.services.dbt import build_layer
from churn_ml.services.postgres import remove_postgres, start_postgres
from churn_ml.settings import Settings
from churn_ml.simulation.business import STATE_FILE, continue_business, step, write_business
from churn_ml.simulation.business_draws import key_of
from churn_ml.simulation.business_rows import Journal
from churn_ml.simulation.business_state import World, load_world, save_world
from churn_ml.simulation.treatments import TREATMENTS, WAREHOUSE, Assignments
from churn_ml.warehouse.connection import Role, connect, connect_admin
from churn_ml.warehouse.provision import provision
from churn_ml.warehouse.runs import night_cut_off, open_run
from churn_ml.warehouse.sql import SQL, Identifier

START, DAY = date(2025, 11, 1), date(2026, 7, 31)
CLOSED = DAY + timedelta(days=60)
SEED = 5
GAP, HORIZON, GRACE = 7, 30, 7
TREATMENT = "discount"
COPIES_AT_ONCE = 100_000
DECISIONS = (
    "dataset,label_definition,valid_from,valid_to,tier_medium_from,tier_high_from,value_horizon_months,"
    "margin_share,contact_cost_amount,offer_cost_amount,acceptance_share,currency,max_age_days\n"
    "subscriptions,subscriptions_30d,2015-01-01,,0.05,0.15,12,0.60,0.10,0.50,0.30,USD,2\n"
)
CAMPAIGNS = (
    "dataset,label_definition,campaign_id,treatment,valid_from,valid_to,budget_amount,capacity_count,"
    "holdout_share,cooldown_days,assignment_seed,least_arm_count,least_left_count,currency\n"
    "subscriptions,subscriptions_30d,measured,{treatment},2015-01-01,{ends},1000000.00,{capacity},"
    "0.50,90,0,50,10,USD\n"
)


@dataclass(frozen=True)
class Life:
    """What one life of the business gave: the report's row, and the truth of the same customers."""

    report: dict[str, float]
    verdict: str
    true_pts: float
    true_saved_customers: float
    true_saved_revenue: float


def main() -> None:
    """Run everything on a server of its own and print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--customers", type=int, default=6000)
    parser.add_argument("--lives", type=int, default=4)
    parser.add_argument("--capacity", type=int, default=500)
    parser.add_argument("--draws", type=int, default=100)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="churn-campaign-") as folder:
        home = Path(folder)
        settings = Settings(
            _env_file=None, home=home / "home", inbox_dir=home / "inbox", database_prefix="campaign",
            dataset="subscriptions", candidates="base_rate,spline_logistic", search_trials=1,
        )  # fmt: skip
        settings = settings.model_copy(
            update={"project_dir": copy_project(settings, home / "project", arguments.capacity)}
        )
        start_postgres(settings)
        try:
            provision(settings)
            measure(settings, home, arguments)
        finally:
            remove_postgres(settings)


def copy_project(settings: Settings, folder: Path, capacity: int) -> Path:
    """Copy what the project declares, with the benchmark's own costs and a campaign that ends with `DAY`."""
    for name in ("dbt_project", "datasets", "great_expectations"):
        shutil.copytree(settings.project_dir / name, folder / name)
    seeds = folder / "dbt_project" / "seeds"
    (seeds / "decision_parameters.csv").write_text(DECISIONS)
    ends = DAY + timedelta(days=1)
    (seeds / "campaign_parameters.csv").write_text(
        CAMPAIGNS.format(treatment=TREATMENT, ends=ends, capacity=capacity)
    )
    return folder


def measure(settings: Settings, home: Path, arguments: argparse.Namespace) -> None:
    """Score the night, let the business live on, print each life and how many intervals held the truth."""
    truth = home / "truth"
    write_business(
        settings.inbox, truth=truth, customers=arguments.customers, start=START, end=DAY, seed=SEED,
        truth_dates=set(),
    )  # fmt: skip
    land_path(settings, settings.inbox, first_load=True)
    train_anyhow(settings)
    run_id = open_run(settings, "night", night_cut_off(DAY)).run_id
    for layer in FEATURE_LAYERS:
        build_layer(settings, run_id, layer)
    run_gate(settings, run_id, "features")
    print(f"{score_night(settings, run_id).rows_scored} customers are scored on {DAY}", flush=True)
    effects = TrueEffects(truth / STATE_FILE, arguments.draws)
    lives = []
    for number in range(1, arguments.lives + 1):
        lives.append(live(settings, home / f"life-{number}", truth, run_id, number, effects))
        print_life(number, lives[-1])
    print_coverage(lives)


def train_anyhow(settings: Settings) -> None:
    """Train and promote; on few customers no model passes its gates, and the arms compare by any."""
    try:
        train_and_promote(settings, DAY)
    except TrainingError as error:
        with connect(settings, Role.TRAINER) as trainer:
            found = trainer.execute(
                "select model_version from ml.model_versions order by model_number desc limit 1"
            ).fetchone()
        if found is None:
            raise
        cut_off = night_cut_off(DAY) - timedelta(hours=1)
        promote(settings, found[0], cut_off, "benchmark", "benchmark", override_reason=str(error)[:200])


def live(
    template: Settings, folder: Path, truth: Path, run_id: str, number: int, effects: "TrueEffects"
) -> Life:
    """Publish the night with arms of their own, let the business go on with them, read the report."""
    settings = copy_warehouse(template, f"life{number}").model_copy(update={"inbox_dir": folder / "inbox"})
    with connect(settings, Role.TRANSFORMER) as transformer:
        transformer.execute("update features.campaign_parameters set assignment_seed = %s", [number])
    build_layer(settings, run_id, "marts")
    run_gate(settings, run_id, "marts")
    publish_run(settings, run_id, "benchmark")
    folder.mkdir(exist_ok=True)
    write_assignments(settings, DAY, folder / "assignments.csv")
    reseed(truth / STATE_FILE, folder / "truth" / STATE_FILE, number)
    continue_business(
        settings.inbox, truth=folder / "truth", until=CLOSED, assignments=folder / "assignments.csv"
    )
    run_night(settings, CLOSED)
    found = read_life(settings, effects)
    with connect_admin(template) as admin:
        admin.execute(SQL("drop database {}").format(Identifier(settings.warehouse_database)))
    shutil.rmtree(folder)
    return found


def copy_warehouse(template: Settings, prefix: str) -> Settings:
    """Copy the warehouse under another prefix, on the same server."""
    settings = template.model_copy(update={"database_prefix": prefix})
    with connect_admin(template) as admin:
        target = Identifier(settings.warehouse_database)
        admin.execute(
            SQL("create database {} template {} owner churn_owner").format(
                target, Identifier(template.warehouse_database)
            )
        )
        for role in Role:
            if role is not Role.AIRFLOW:
                admin.execute(
                    SQL("grant connect, temporary on database {} to {}").format(target, Identifier(role))
                )
    return settings


def reseed(path: Path, target: Path, number: int) -> None:
    """Write the state again with another seed of the draws to come; prices and faults keep theirs."""
    world, stored, declared = load_world(path)
    world.seed = key_of(world.seed, number) % 2**32
    save_world(target, world, stored, declared)


class TrueEffects:
    """By how much the treatment lowers each customer's chance to leave, by Monte Carlo from one state."""

    def __init__(self, state: Path, draws: int) -> None:
        self.world, _, _ = load_world(state)
        self.draws = draws
        self.known: dict[str, float] = {}

    def of(self, customer_ids: list[str]) -> npt.NDArray[np.float64]:
        """Return the share (0-1) of lives that the treatment saves, of shape (n_customers,)."""
        missing = [name for name in customer_ids if name not in self.known]
        at_once = max(1, COPIES_AT_ONCE // self.draws)
        for first in range(0, len(missing), at_once):
            names = missing[first : first + at_once]
            who = np.repeat([int(name[1:]) for name in names], self.draws)
            seed = key_of(self.world.seed, self.world.day, int(who[0])) % 2**32
            left = [count_leavers(self.world.copy_of(who, seed), held_out, self.draws)
                    for held_out in (True, False)]  # fmt: skip
            self.known |= dict(zip(names, ((left[0] - left[1]) / self.draws).tolist(), strict=True))
        return np.array([self.known[name] for name in customer_ids])


def count_leavers(copies: World, is_held_out: bool, draws: int) -> npt.NDArray[np.int64]:
    """Let the copies live through the label's days; return how many of each customer's left for good."""
    given, everyone = Journal(), np.arange(copies.size)
    given.add(
        "treatments", everyone, (copies.day + 1) * 86_400 + 7_200, treatment=TREATMENTS.index(TREATMENT),
        kind=WAREHOUSE, campaign=0, is_held_out=is_held_out, cost=0,
    )  # fmt: skip
    assignments, as_of = Assignments(given.rows("treatments")), copies.day
    ended = np.zeros(copies.size, np.int32)
    was_active = copies.customers.is_active.copy()
    for _ in range(GAP + HORIZON + GRACE):
        step(copies, Journal(is_recording=False), assignments)
        active = copies.customers.is_active
        ended[active & ~was_active & (copies.day - ended <= GRACE)] = 0
        ended[was_active & ~active & (ended == 0)] = copies.day
        was_active = active.copy()
    has_left = (ended > 0) & (ended - as_of - 1 < GAP + HORIZON)
    return np.asarray(has_left.reshape(-1, draws).sum(axis=1), np.int64)


def read_life(settings: Settings, effects: TrueEffects) -> Life:
    """Read the report of the last night, and the truth about the customers it speaks of."""
    with connect(settings, Role.READER) as reader:
        cursor = reader.execute(
            "select * from marts.campaign_uplift where as_of_date = %s and campaign_id = 'measured'", [CLOSED]
        )
        names = [column.name for column in cursor.description or ()]
        [row] = cursor.fetchall()
        assigned = reader.execute(
            "select customer_id, is_held_out, value_at_risk_amount::float"
            " from marts.fct_treatment_assignment where as_of_date = %s",
            [DAY],
        ).fetchall()
    report = dict(zip(names, row, strict=True))
    effect = effects.of([customer_id for customer_id, _, _ in assigned])
    treated = np.array([not held_out for _, held_out, _ in assigned])
    values = np.array([value for _, _, value in assigned])
    numbers = {name: float(value) for name, value in report.items()
               if name.endswith(("_count", "_pts", "_share", "_amount", "_low", "_high"))
               and value is not None}  # fmt: skip
    return Life(
        numbers,
        str(report["verdict"]),
        100 * float(effect.mean()),
        float(effect[treated].sum()),
        float((effect * values)[treated].sum()),
    )


def print_life(number: int, life: Life) -> None:
    """Print what was reported beside what is true."""
    report = life.report
    print(
        f"life {number}: {report['treated_count']:.0f} treated, {report['held_out_count']:.0f} held out;"
        f" left {report['treated_left_count']:.0f} and {report['held_out_left_count']:.0f};"
        f" uplift {interval(report, 'uplift_pts', 2)}, true {life.true_pts:.2f}: {life.verdict}"
    )
    if life.verdict != "too_small":
        print(
            f"        saved customers {interval(report, 'saved_customer_count', 1)},"
            f" true {life.true_saved_customers:.1f};"
            f" saved revenue {interval(report, 'saved_revenue_amount', 0)},"
            f" true {life.true_saved_revenue:.0f}",
            flush=True,
        )


def interval(report: dict[str, float], name: str, digits: int) -> str:
    """Write a figure with its interval."""
    low, high = report[f"{name}_low"], report[f"{name}_high"]
    return f"{report[name]:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def print_coverage(lives: list[Life]) -> None:
    """Print how many intervals hold the truth, and how far off the estimates are on average."""
    told = [life for life in lives if life.verdict != "too_small"]
    for name, true in (
        ("uplift_pts", [life.true_pts for life in lives]),
        ("saved_customer_count", [life.true_saved_customers for life in told]),
        ("saved_revenue_amount", [life.true_saved_revenue for life in told]),
    ):
        reports = [life.report for life in (lives if name == "uplift_pts" else told)]
        if not reports:
            continue
        held = sum(report[f"{name}_low"] <= value <= report[f"{name}_high"]
                   for report, value in zip(reports, true, strict=True))  # fmt: skip
        bias = np.mean([report[name] - value for report, value in zip(reports, true, strict=True)])
        print(f"{name:<22} {held} of {len(reports)} intervals hold the truth; mean error {bias:.2f}")


if __name__ == "__main__":
    main()
