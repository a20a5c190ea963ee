"""Small fitted pipelines on columns with missing values, for tests of tables and contributions."""

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from churn_ml.features.contract import FeatureColumn, FeatureContract
from churn_ml.models.candidates import candidate_of

CONTRACT = FeatureContract(
    (
        FeatureColumn("tenure_months", "integer", None, None),
        FeatureColumn("plan", "text", None, None),
        FeatureColumn("is_paperless", "boolean", None, None),
        FeatureColumn("monthly_amount", "double precision", None, None),
        FeatureColumn("region", "text", None, None),
    )
)
SMALL: dict[str, dict[str, Any]] = {
    "base_rate": {},
    "one_rule": {},
    "spline_logistic": {},
    "decision_tree": {"least_leaf": 20},
    "random_forest": {"tree_count": 12},
    "gradient_boosting": {"tree_count": 25, "depth": 4},
    "lightgbm": {"tree_count": 25, "most_leaves": 8},
    "xgboost": {"tree_count": 25, "depth": 4},
    "explainable_boosting": {"interactions": 4, "max_rounds": 100},
    "pairwise_boosting": {"tree_count": 25},
    "stack": {"tree_count": 15, "depth": 3},
}


@cache
def customers(count: int = 700, seed: int = 3) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the frame of a contract and who churned; some values are missing."""
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({
        "tenure_months": rng.integers(0, 30, count).astype(float),
        "plan": rng.choice(["basic", "family", "team"], count),
        "is_paperless": rng.random(count) < 0.5,
        "monthly_amount": np.round(rng.gamma(3, 20, count), 1),
        "region": rng.choice(["north", "south"], count),
    })  # fmt: skip
    odds = 0.6 - 0.1 * data["tenure_months"] + 0.02 * data["monthly_amount"] * (data["plan"] != "team")
    churned = rng.random(count) < 1 / (1 + np.exp(-odds))
    data = data.astype({"is_paperless": object, "plan": object})
    for name in ["tenure_months", "plan", "is_paperless", "monthly_amount"]:
        data.loc[rng.random(count) < 0.05, name] = None
    return CONTRACT.to_frame(data), churned


@cache
def fitted(family: str, seed: int = 1, **parameters: Any) -> Pipeline:
    """Return a small pipeline of `family`, fitted on half of the customers by `seed`."""
    frame, churned = customers()
    rows = training_rows(seed)
    with threadpool_limits(limits=1):
        built = candidate_of(family, SMALL[family] | parameters).build(CONTRACT, seed)
        return built.fit(frame.take(rows), churned[rows])


def training_rows(seed: int = 1) -> np.ndarray:
    """Return the rows that `fitted` fits on."""
    return np.flatnonzero(np.arange(len(customers()[0])) % 2 == seed % 2)


def odd_customers(cuts: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return rows with exact cuts and their neighbours, missing values and unseen categories."""
    rng = np.random.default_rng(5)
    numbers = {}
    for name in ("tenure_months", "monthly_amount"):
        exact = np.concatenate([cuts.get(name, np.zeros(0)), [0.0, -1e9, 1e9, 12.0]])
        numbers[name] = np.concatenate([exact, np.nextafter(exact, np.inf), np.nextafter(exact, -np.inf)])
    count = max(500, *(len(values) for values in numbers.values()))
    frame = pd.DataFrame({
        "tenure_months": np.resize(np.append(numbers["tenure_months"], np.nan), count),
        "plan": rng.choice(["basic", "family", "team", "never seen", ""], count),
        "is_paperless": rng.choice([True, False, None], count),
        "monthly_amount": np.resize(np.append(numbers["monthly_amount"], np.nan), count),
        "region": rng.choice(["north", "south", "moon"], count),
    })  # fmt: skip
    frame = frame.astype({"plan": object, "region": object})
    frame.loc[rng.random(count) < 0.2, "plan"] = None
    frame.loc[rng.random(count) < 0.2, "region"] = None
    for name in ("tenure_months", "monthly_amount"):
        frame[name] = rng.permutation(frame[name])
    return CONTRACT.to_frame(frame)
