"""How near the model comes to the true churn probability, which only the simulation knows.

Run with ``python benchmarks/truth.py [--customers 20000]``. It simulates a subscription business, trains on
its first year, scores the month ends after it as nights, lets their label windows close, and sets
three things beside each other on the same customers: the model's out-of-time probability, the true
probability (Monte Carlo over the hidden hazard from the hidden state at the as-of date; the best
that anyone can reach), and what happened.
"""

import argparse
import tempfile
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from in_process import run_night, train_and_promote
from sklearn.metrics import log_loss, roc_auc_score

from churn_ml.landing.delivery import land_path
from churn_ml.publishing.outcomes import read_matured_nights
from churn_ml.services.postgres import remove_postgres, start_postgres
from churn_ml.settings import Settings
from churn_ml.simulation.business import continue_business, write_business
from churn_ml.simulation.truth import true_probabilities
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.provision import provision

START, TRAINED_TO = date(2025, 5, 1), date(2026, 5, 31)
NIGHTS = (date(2026, 6, 30), date(2026, 7, 31), date(2026, 8, 31))
CLOSED = NIGHTS[-1] + timedelta(days=50)
SEED = 11
_SCORES = """
    select scores.customer_id, scores.churn_probability, labels.churned
    from marts.fct_churn_score as scores
    inner join ops.published_runs as published using (run_id)
    inner join features.customer_labels as labels
        on scores.as_of_date = labels.as_of_date and scores.customer_id = labels.customer_id
    where scores.as_of_date = %s and scores.churn_probability is not null
        and labels.churned is not null
"""


def main() -> None:
    """Run everything on a server of its own and print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--sample", type=int, default=4000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="churn-truth-") as folder:
        home = Path(folder)
        settings = Settings(
            _env_file=None, home=home / "home", inbox_dir=home / "inbox", database_prefix="truth",
            dataset="subscriptions",
        )  # fmt: skip
        start_postgres(settings)
        try:
            provision(settings)
            compare(settings, home / "truth", arguments)
        finally:
            remove_postgres(settings)


def compare(settings: Settings, truth: Path, arguments: argparse.Namespace) -> None:
    """Train, score, wait for the outcomes, print model, truth and outcome."""
    write_business(
        settings.inbox, truth=truth, customers=arguments.customers, start=START, end=TRAINED_TO, seed=SEED,
        truth_dates=set(NIGHTS),
    )  # fmt: skip
    land_path(settings, settings.inbox, first_load=True)
    trained = train_and_promote(settings, TRAINED_TO)
    print(f"{trained.model_version}: {trained.family}")
    continue_business(settings.inbox, truth=truth, until=CLOSED)
    for day in (*NIGHTS, CLOSED):
        run_night(settings, day)
    rows = pd.concat([read_night(settings, truth, day, arguments) for day in NIGHTS])
    print_ranking(rows)
    print_deciles(rows)
    for night in read_matured_nights(settings):
        print(night)


def read_night(settings: Settings, truth: Path, day: date, arguments: argparse.Namespace) -> pd.DataFrame:
    """Return the night's scores and outcomes with the true probability of the sampled customers."""
    with connect(settings, Role.AUDITOR) as auditor:
        scores = pd.DataFrame(
            auditor.execute(_SCORES, [day]).fetchall(), columns=["customer_id", "model", "churned"]
        )
    true = true_probabilities(truth, as_of_date=day, customers=arguments.sample, draws=arguments.draws)
    # Treated customers stay in: the hidden hazard's future holds the business's own treatments too.
    return scores.merge(pd.DataFrame(vars(true)), on="customer_id").assign(as_of_date=day)


def print_ranking(rows: pd.DataFrame) -> None:
    """Print AUC and log loss of model and truth on the same customers."""
    churned = rows["churned"].astype(bool)
    rate = np.full(len(rows), churned.mean())
    print(f"{len(rows)} customers, {churned.sum()} churned")
    # A finite number of draws may give 0: half a draw is added to each side.
    true = (rows["true_churn_probability"] * rows["draws"] + 0.5) / (rows["draws"] + 1)
    for name, probabilities in {"model": rows["model"], "true hazard": true, "base rate": rate}.items():
        auc, loss = roc_auc_score(churned, probabilities), log_loss(churned, probabilities)
        print(f"{name:<12} AUC {auc:.4f}  log loss {loss:.4f}  observed/expected "
              f"{churned.sum() / np.sum(probabilities):.3f}")  # fmt: skip


def print_deciles(rows: pd.DataFrame) -> None:
    """Print the model's deciles: mean probability of the model, of the truth, and the churned share."""
    decile = pd.qcut(rows["model"].rank(method="first"), 10, labels=False) + 1
    table = (
        rows.assign(churned=rows["churned"].astype(float))
        .groupby(decile)[["model", "true_churn_probability", "churned"]]
        .mean()
    )
    print(table.rename_axis("decile").round(4).to_string())


if __name__ == "__main__":
    main()
