"""The screens for leakage find what tells the outcome, and nothing where nothing does."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from churn_ml.training.gates import is_blocking
from churn_ml.training.leakage import leakage_column_gates, leakage_shuffled_gate

COUNT = 4000
Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def rows() -> Rows:
    """Return outcomes, the probabilities they came from and monthly values."""
    generator = np.random.default_rng(11)
    probabilities = expit(generator.normal(-1.2, 1.2, COUNT))
    return generator.random(COUNT) < probabilities, probabilities, generator.gamma(4, 16, COUNT)


@pytest.fixture(scope="module")
def frame(rows: Rows) -> pd.DataFrame:
    churned, p, values = rows
    generator = np.random.default_rng(7)
    return pd.DataFrame(
        {
            "honest": logit(p),
            "value": values,
            "constant": 1.0,
            "empty": np.nan,
            "plan": pd.Categorical(generator.choice(["a", "b", None], COUNT)),
            "id": pd.Categorical([f"c{i}" for i in range(COUNT)]),
            "leak_number": -(churned + generator.normal(0, 0.3, COUNT)),
            "leak_category": pd.Categorical(np.where(churned, generator.choice(["x", "y"], COUNT), "z")),
            "leak_missing": np.where(churned, np.nan, generator.random(COUNT)),
            "leak_middle": np.where(churned, 0, generator.choice([-1.0, 1.0], COUNT))
            + generator.normal(0, 0.1, COUNT),
        }
    )


def test_a_column_that_tells_the_outcome_is_named(rows: Rows, frame: pd.DataFrame) -> None:
    results = leakage_column_gates(frame, rows[0], seed=1)
    assert [gate.subject for gate in results] == list(frame)
    assert {gate.subject for gate in results if is_blocking(gate)} == {
        "leak_number", "leak_category", "leak_missing", "leak_middle"
    }  # fmt: skip
    observed = {gate.subject: gate.observed for gate in results}
    assert 0.7 < observed["honest"] < 0.85
    assert all(0.5 <= auc <= 1 for auc in observed.values())
    assert observed["id"] < 0.56


def test_a_customer_does_not_tell_of_their_own_rows(rows: Rows) -> None:
    churned = np.repeat(rows[0][:500], 4)
    customers = np.repeat(np.arange(500), 4)
    frame = pd.DataFrame({"id": pd.Categorical(customers.astype(str))})
    [alone] = leakage_column_gates(frame, churned, seed=1)
    [together] = leakage_column_gates(frame, churned, groups=customers, seed=1)
    assert alone.verdict == "fail"
    assert together.verdict == "pass"


def test_shuffled_labels_teach_nothing_unless_the_validation_leaks(rows: Rows, frame: pd.DataFrame) -> None:
    churned, p, _ = rows
    inputs = np.stack([logit(p), np.random.default_rng(1).normal(0, 1, COUNT)], axis=1)
    folds = np.arange(COUNT) % 5

    def honest(labels: np.ndarray) -> np.ndarray:
        probabilities = np.full(COUNT, np.nan)
        for fold in range(4):  # the last one is not validated on
            model = LogisticRegression().fit(inputs[folds != fold], labels[folds != fold])
            probabilities[folds == fold] = model.predict_proba(inputs[folds == fold])[:, 1]
        return probabilities

    def leaking(labels: np.ndarray) -> np.ndarray:
        # The mean of the label in its own tenth was taken before the split.
        codes = np.argsort(np.argsort(inputs[:, 1])) // 20
        return (np.bincount(codes, labels) / 20)[codes]

    good = leakage_shuffled_gate(honest, churned, folds, seed=1)
    assert good.verdict == "pass"
    assert good.threshold_low < 0.5 < good.threshold_high
    assert "3 shuffles, 12 folds" in str(good.detail)
    assert leakage_shuffled_gate(leaking, churned, folds, seed=1).verdict == "fail"


def test_shuffled_labels_without_both_outcomes_are_not_applicable() -> None:
    churned = np.array([True, False])
    result = leakage_shuffled_gate(lambda _: np.full(2, 0.5), churned, np.arange(2), seed=1)
    assert result.verdict == "not_applicable"
