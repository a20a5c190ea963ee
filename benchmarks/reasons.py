"""What reasons cost: rows per second and core with the top three, against the plain prediction.

Run with ``python benchmarks/reasons.py [--rows 100000] [--families lightgbm,stack]`` with
CHURN_REAL_DATA_DIR naming the folder of ``telco_customer_churn.csv``. Each family is fitted on the
Telco file's 19 columns; rows are drawn from it again with noise on the amounts, so that numbers do not
repeat. One thread, processor time of the best of three. Per family:

- plain: ``predict_proba`` of the pipeline;
- reasons: `Explainer.predict` on the same rows, that is probabilities, interval and the top three;
- cost: reasons against plain, so 1 is a prediction for the price of a prediction;
- and for additive families codes (rows encoded), lookups (log-odds on codes) and top three
  (log-odds and top three on codes);
- the largest difference of a probability from the library's own.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from churn_ml.features.contract import FeatureColumn, FeatureContract
from churn_ml.models.additive_tables import AdditiveTables, tables_of
from churn_ml.models.calibrators import clip_probabilities
from churn_ml.models.candidates import FAMILIES, candidate_of
from churn_ml.models.contributions import Explainer, build_reference
from churn_ml.models.crossfit import NOT_TRAINED_ON, CrossFittedModel
from churn_ml.models.lookup_tables import blocks
from churn_ml.models.top_reasons import TopReasons

NUMBERS = {"tenure": "integer", "MonthlyCharges": "double precision", "TotalCharges": "double precision"}
NOT_FEATURES = ["customerID", "Churn"]


def main() -> None:
    """Fit and time each family and print a line of each."""
    arguments = parse_arguments()
    contract, frame, churned = read_telco(arguments.file)
    rows = draw_rows(frame, arguments.rows)
    print(
        f"{len(contract.names)} columns, {len(rows):,} rows; thousand rows per second and core\n"
        f"{'family':<22}{'plain':>8}{'reasons':>9}{'cost':>7}{'codes':>9}{'lookups':>9}{'top three':>11}"
        f"{'difference':>12}"
    )
    with threadpool_limits(limits=1):
        for family in arguments.families:
            print(measure(family, contract, frame, churned, rows), flush=True)


def read_telco(file: Path) -> tuple[FeatureContract, pd.DataFrame, np.ndarray]:
    """Return the 19 columns of the IBM file and who churned."""
    raw = pd.read_csv(file, dtype=str, keep_default_na=False)
    data = raw.drop(columns=NOT_FEATURES)
    for name in NUMBERS:
        data[name] = pd.to_numeric(data[name], errors="coerce")
    contract = FeatureContract(
        tuple(FeatureColumn(name, NUMBERS.get(name, "text"), None, None) for name in data.columns)
    )
    return contract, contract.to_frame(data), (raw["Churn"] == "Yes").to_numpy()


def draw_rows(frame: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return `count` rows drawn from `frame`, with noise on the amounts."""
    rng = np.random.default_rng(1)
    rows = frame.take(rng.integers(0, len(frame), count)).reset_index(drop=True)
    for name in ("MonthlyCharges", "TotalCharges"):
        rows[name] = (rows[name] * rng.normal(1, 0.05, count)).round(2)
    return rows


def measure(
    family: str, contract: FeatureContract, frame: pd.DataFrame, churned: np.ndarray, rows: pd.DataFrame
) -> str:
    """Return one line of the table."""
    pipeline = candidate_of(family).build(contract, 1).fit(frame, churned)
    explainer = Explainer(
        CrossFittedModel((pipeline,)), contract, build_reference([pipeline], frame, [np.arange(len(frame))])
    )
    nobody = np.full(len(rows), NOT_TRAINED_ON)
    plain = speed(lambda: pipeline.predict_proba(rows), len(rows))
    reasons = speed(lambda: explainer.predict(rows, nobody), len(rows))
    predictions, _ = explainer.predict(rows, nobody)
    own = clip_probabilities(pipeline.predict_proba(rows)[:, 1])
    difference = np.abs(predictions.raw - own).max()
    tables = tables_of(pipeline, contract)
    on_codes = [f"{value / 1000:,.0f}" for value in speeds_on_codes(tables, rows)] if tables else ["-"] * 3
    return (
        f"{family:<22}{plain / 1000:>8,.0f}{reasons / 1000:>9,.0f}{plain / reasons:>6.2f}x"
        f"{on_codes[0]:>9}{on_codes[1]:>9}{on_codes[2]:>11}{difference:>12.1e}"
    )


def speeds_on_codes(tables: AdditiveTables, rows: pd.DataFrame) -> list[float]:
    """Return rows per second of encoding, of log-odds, and of log-odds with the top three."""
    encoded = tables.encode(rows)
    found = tables.at(encoded)

    def top_three() -> None:
        reasons = TopReasons.empty(len(rows), 3)
        for block in blocks(len(rows)):
            reasons.fill(block, found.base, found.contributions(encoded.codes[:, block]))

    ways: list[Callable[[], Any]] = [
        lambda: tables.encode(rows),
        lambda: found.log_odds(encoded.codes),
        top_three,
    ]
    return [speed(way, len(rows)) for way in ways]


def speed(work: Callable[[], Any], row_count: int) -> float:
    """Return rows per second of processor time, the best of three."""
    seconds = []
    for _ in range(3):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return row_count / min(seconds)


def parse_arguments() -> argparse.Namespace:
    """Return the arguments, and the Telco file of CHURN_REAL_DATA_DIR as `file`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--families", default=",".join(FAMILIES))
    arguments = parser.parse_args()
    arguments.families = arguments.families.split(",")
    arguments.file = Path(os.environ.get("CHURN_REAL_DATA_DIR", "")) / "telco_customer_churn.csv"
    if not arguments.file.is_file():
        sys.exit(f"Expected telco_customer_churn.csv in CHURN_REAL_DATA_DIR, found no {arguments.file}.")
    return arguments


if __name__ == "__main__":
    main()
