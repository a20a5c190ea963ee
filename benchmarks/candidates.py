"""Every candidate on the Telco and the bank file under one protocol, against a plain logistic regression.

Run with ``python benchmarks/candidates.py FILE [--columns shipped] [--families lightgbm,stack]``. Stratified
5-fold x 3 repeats (x 1 where the family says so), all figures out of fold: mean over the folds and
standard deviation between them. ``--columns all`` lets every column in, as published references do;
``--columns shipped`` leaves out what the product keeps out of its models. Each family has the parameters
that the dataset declares. Calibrators are chosen and fitted on the other folds' out-of-fold rows; ECE
is pooled over a repeat. Seconds are per 100,000 rows on one thread.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from churn_ml.declarations import parse_dataset
from churn_ml.features.contract import FeatureColumn, FeatureContract, Kind
from churn_ml.models.calibration import choose_calibrator
from churn_ml.models.candidates import FAMILIES, Candidate, candidate_of
from churn_ml.training.metrics import point_metrics

FOLDS, REPEATS, SEED = 5, 3, 20260101
PEER = "plain logistic"
DATASETS = Path(__file__).parents[1] / "datasets"
METRICS = {"AUC": "roc_auc", "PR-AUC": "pr_auc", "log loss": "log_loss", "Brier": "brier", "ECE": "ece",
           "lift": "top_decile_lift"}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """A file's columns: its outcome, what is no feature, what the product keeps out; and its dataset."""

    dataset: str
    outcome: str
    churned: object
    no_feature: tuple[str, ...]
    kept_out: tuple[str, ...]


SOURCES = (
    Source("telco", "Churn", "Yes", ("customerID",), ("gender", "SeniorCitizen", "TotalCharges")),
    Source("bank", "Exited", 1, ("RowNumber", "CustomerId", "Surname"), ("Gender", "Age")),
)


@dataclass(frozen=True)
class Figures:
    """One family: metrics per fold before and after calibration, and seconds per 100,000 rows."""

    raw: pd.DataFrame
    calibrated: pd.DataFrame
    methods: dict[str, int]
    fit_seconds: float
    predict_seconds: float


def main() -> None:
    """Measure the families and print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--columns", choices=["all", "shipped"], default="all")
    parser.add_argument("--families", default=",".join(FAMILIES))
    arguments = parser.parse_args()
    source, contract, frame, churned = read_file(arguments.file, arguments.columns)
    declared = parse_dataset(DATASETS / f"{source.dataset}.yml").candidates
    print(f"{arguments.file.name}, {arguments.columns} columns: {len(frame)} rows, "
          f"{len(contract.names)} features, {churned.mean():.2%} churned")  # fmt: skip
    header = [f"{name} (sd)" for name in METRICS]
    header += ["log loss, ECE before", "calibrators", "fit s", "predict s"]
    print("| family |", " | ".join(header), "|")
    print("|---|" + "---|" * len(header))
    with threadpool_limits(limits=1):
        for family in (PEER, *arguments.families.split(",")):
            candidate = None if family == PEER else candidate_of(family, declared[family])
            print(describe(family, measure(candidate, contract, frame, churned)), flush=True)


def read_file(path: Path, columns: str) -> tuple[Source, FeatureContract, pd.DataFrame, np.ndarray]:
    """Return whose file it is, the contract, the frame that pipelines read, and the outcome."""
    data = pd.read_csv(path, skipinitialspace=True, na_values=[" "])
    source = next(source for source in SOURCES if source.outcome in data)
    left_out = [source.outcome, *source.no_feature, *(source.kept_out if columns == "shipped" else ())]
    features = data.drop(columns=left_out)
    kinds = {
        name: "double precision" if pd.api.types.is_numeric_dtype(features[name]) else "text"
        for name in features
    }
    contract = FeatureContract(tuple(FeatureColumn(name, kind, None, None) for name, kind in kinds.items()))
    return source, contract, contract.to_frame(features), (data[source.outcome] == source.churned).to_numpy()


def measure(
    candidate: Candidate | None, contract: FeatureContract, frame: pd.DataFrame, churned: np.ndarray
) -> Figures:
    """Fit and predict each fold of each repeat (None: the peer), calibrated from the other folds."""
    repeats = candidate.validation_repeats if candidate else REPEATS
    raw_rows, calibrated_rows, methods = [], [], []
    fit_seconds = predict_seconds = 0.0
    for repeat in range(repeats):
        splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED + repeat)
        fold_of = np.empty(len(frame), int)
        raw = np.empty(len(frame))
        for fold, (learned, validated) in enumerate(splitter.split(frame, churned)):
            pipeline = build(candidate, contract)
            started = time.perf_counter()
            pipeline.fit(frame.take(learned), churned[learned])
            fitted = time.perf_counter()
            raw[validated] = np.clip(pipeline.predict_proba(frame.take(validated))[:, 1], 1e-6, 1 - 1e-6)
            predict_seconds += (time.perf_counter() - fitted) / len(validated)
            fit_seconds += (fitted - started) / len(learned)
            fold_of[validated] = fold
        calibrated = np.empty(len(frame))
        for fold in range(FOLDS):
            rows, others = fold_of == fold, fold_of != fold
            calibrator, _ = choose_calibrator(raw[others], churned[others], seed=SEED)
            methods.append(calibrator.method)
            calibrated[rows] = calibrator.calibrate(raw[rows])
        raw_rows += evaluate_folds(churned, raw, fold_of)
        calibrated_rows += evaluate_folds(churned, calibrated, fold_of)
    per_100k = 100_000 / (repeats * FOLDS)
    counts = {method: methods.count(method) for method in dict.fromkeys(methods)}
    return Figures(
        pd.DataFrame(raw_rows), pd.DataFrame(calibrated_rows), counts,
        fit_seconds * per_100k, predict_seconds * per_100k,
    )  # fmt: skip


def build(candidate: Candidate | None, contract: FeatureContract) -> Pipeline:
    """Return the unfitted pipeline of `candidate`, or the peer's."""
    if candidate is not None:
        return candidate.build(contract, SEED)
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), contract.names_of(Kind.CATEGORICAL)),
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), contract.names_of(Kind.NUMERIC)),
    )
    return make_pipeline(columns, LogisticRegression(max_iter=2000))


def evaluate_folds(
    churned: np.ndarray, probabilities: np.ndarray, fold_of: np.ndarray
) -> list[dict[str, float]]:
    """Return the metrics of each fold; ECE is the repeat's own, since a fold's is mostly noise."""
    pooled = evaluate(churned, probabilities)
    return [evaluate(churned[fold_of == fold], probabilities[fold_of == fold]) | {"ECE": pooled["ECE"]}
            for fold in range(FOLDS)]  # fmt: skip


def evaluate(churned: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return every metric of the rows given."""
    metrics = point_metrics(churned, probabilities, np.full(len(churned), np.nan), decision=None)
    return {name: metrics[key] for name, key in METRICS.items()}


def describe(family: str, figures: Figures) -> str:
    """Return the family's line of the table."""
    cells: Sequence[str] = [
        f"{figures.calibrated[name].mean():.4f} ({figures.calibrated[name].std():.4f})" for name in METRICS
    ]
    before = f"{figures.raw['log loss'].mean():.4f}, {figures.raw['ECE'].mean():.4f}"
    methods = ", ".join(f"{method} {count}" for method, count in figures.methods.items())
    seconds = [f"{figures.fit_seconds:.1f}", f"{figures.predict_seconds:.2f}"]
    return f"| {family} | " + " | ".join([*cells, before, methods, *seconds]) + " |"


if __name__ == "__main__":
    main()
