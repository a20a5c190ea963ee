"""Additive models as lookup tables give the probabilities of the libraries."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline
from small_models import CONTRACT, SMALL, customers, fitted, odd_customers

from churn_ml.models.additive_grid import CategoryCoding, CutCoding, columns_of
from churn_ml.models.additive_tables import AdditiveTables, tables_of, tables_of_all
from churn_ml.models.calibration import calibrated, fit_calibrator
from churn_ml.models.candidates import candidate_of
from churn_ml.models.explainable import ExplainableBoosting
from churn_ml.models.lookup_tables import Pair, Tables, mean_of, without_main_effects

DOUBLE, SINGLE = 1e-12, 1e-6
ADDITIVE: list[tuple[str, dict[str, Any], float]] = [
    ("base_rate", {}, DOUBLE),
    ("one_rule", {}, DOUBLE),
    ("spline_logistic", {}, DOUBLE),
    ("spline_logistic", {"knot_count": 3}, DOUBLE),
    ("explainable_boosting", {}, DOUBLE),
    ("explainable_boosting", {"interactions": 0}, DOUBLE),
    ("pairwise_boosting", {}, DOUBLE),
    ("gradient_boosting", {"depth": 2}, DOUBLE),
    ("decision_tree", {"most_leaves": 4}, DOUBLE),
    ("lightgbm", {"most_leaves": 3}, DOUBLE),
    ("xgboost", {"depth": 2}, SINGLE),
]
IDS = [f"{family}-{'-'.join(map(str, parameters.values()))}" for family, parameters, _ in ADDITIVE]


def tables(family: str, **parameters: Any) -> tuple[Pipeline, AdditiveTables]:
    pipeline = fitted(family, **parameters)
    found = tables_of(pipeline, CONTRACT)
    assert found is not None
    return pipeline, found


def cuts_of(found: AdditiveTables) -> dict[str, np.ndarray]:
    codings = zip(found.grid.columns, found.grid.codings, strict=True)
    return {column.name: coding.cuts for column, coding in codings if isinstance(coding, CutCoding)}


@pytest.mark.parametrize(("family", "parameters", "tolerance"), ADDITIVE, ids=IDS)
def test_tables_predict_as_the_library(family: str, parameters: dict[str, Any], tolerance: float) -> None:
    pipeline, found = tables(family, **parameters)
    for frame in (customers()[0], odd_customers(cuts_of(found)), customers()[0].iloc[:1]):
        expected = pipeline.predict_proba(frame)[:, 1]
        np.testing.assert_allclose(found.probabilities(found.encode(frame)), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("family", "parameters", "tolerance"), ADDITIVE, ids=IDS)
def test_a_row_does_not_depend_on_the_rows_beside_it(
    family: str, parameters: dict[str, Any], tolerance: float
) -> None:
    _, found = tables(family, **parameters)
    frame = odd_customers(cuts_of(found))
    whole = found.probabilities(found.encode(frame))
    parts = [found.probabilities(found.encode(frame.iloc[first : first + 7])) for first in range(0, 70, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), whole[:70])


@pytest.mark.parametrize("family", ["lightgbm", "xgboost", "pairwise_boosting", "explainable_boosting"])
def test_missing_values_go_where_the_library_sends_them_although_none_were_seen(family: str) -> None:
    """LightGBM reads them as zero then, which lies above every cut of a negative column."""
    frame, churned = customers()
    is_known = frame["tenure_months"].notna()
    seen = frame[is_known].assign(tenure_months=lambda rows: rows["tenure_months"] - 40)
    small = {"lightgbm": {"most_leaves": 3}, "xgboost": {"depth": 2}}.get(family, {})
    pipeline = candidate_of(family, SMALL[family] | small).build(CONTRACT, 1).fit(seen, churned[is_known])
    found = tables_of(pipeline, CONTRACT)
    assert found is not None
    rows = seen.iloc[:100].assign(tenure_months=np.nan)
    expected = pipeline.predict_proba(rows)[:, 1]
    np.testing.assert_allclose(
        found.probabilities(found.encode(rows)),
        expected,
        rtol=0,
        atol=SINGLE if family == "xgboost" else DOUBLE,
    )


def test_explainable_boosting_predicts_as_interpret_does(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, keep = [], ExplainableBoosting._keep
    monkeypatch.setattr(
        ExplainableBoosting, "_keep", lambda self, machine: (kept.append(machine), keep(self, machine))
    )
    frame, churned = customers()
    pipeline = candidate_of("explainable_boosting", SMALL["explainable_boosting"]).build(CONTRACT, 1)
    pipeline.fit(frame, churned)
    found = tables_of(pipeline, CONTRACT)
    assert found is not None
    rows = odd_customers(cuts_of(found))
    expected = kept[0].predict_proba(pipeline[0].transform(rows))[:, 1]
    np.testing.assert_allclose(pipeline.predict_proba(rows)[:, 1], expected, rtol=0, atol=DOUBLE)
    np.testing.assert_allclose(found.probabilities(found.encode(rows)), expected, rtol=0, atol=DOUBLE)


@pytest.mark.parametrize(
    "family", ["gradient_boosting", "lightgbm", "xgboost", "random_forest", "decision_tree", "stack"]
)
def test_models_of_deeper_interactions_have_no_tables(family: str) -> None:
    assert tables_of(fitted(family), CONTRACT) is None


def test_calibrated_pipelines_have_the_tables_of_their_classifier() -> None:
    pipeline, found = tables("spline_logistic")
    frame, churned = customers()
    raw = pipeline.predict_proba(frame)[:, 1]
    wrapped = tables_of(calibrated(pipeline, fit_calibrator("sigmoid", raw, churned, seed=1)), CONTRACT)
    assert wrapped is not None
    np.testing.assert_array_equal(
        wrapped.log_odds(wrapped.encode(frame)), found.log_odds(found.encode(frame))
    )


def test_pipelines_of_one_model_share_their_codes() -> None:
    pipelines = [fitted("pairwise_boosting", seed=seed) for seed in (1, 2)]
    found = tables_of_all(pipelines, columns_of(CONTRACT))
    assert found is not None
    encoded = found[0].encode(customers()[0])
    for pipeline, one in zip(pipelines, found, strict=True):
        expected = pipeline.predict_proba(customers()[0])[:, 1]
        np.testing.assert_allclose(one.probabilities(encoded), expected, rtol=0, atol=DOUBLE)
    mean = mean_of([one.at(encoded) for one in found]).log_odds(encoded.codes)
    np.testing.assert_allclose(
        mean, np.mean([one.log_odds(encoded) for one in found], axis=0), rtol=0, atol=DOUBLE
    )


def test_a_boosted_model_has_pairs_and_a_spline_model_has_none() -> None:
    for family, has_pairs in {"pairwise_boosting": True, "explainable_boosting": True,
                              "spline_logistic": False, "one_rule": False}.items():  # fmt: skip
        _, found = tables(family)
        assert bool(found.at(found.encode(customers()[0])).pairs) == has_pairs


def test_codes_of_numbers_tell_missing_from_below_and_on_a_cut() -> None:
    coding = CutCoding(np.array([1.0, 2.0]))
    codes, values = coding.encode(pd.Series([np.nan, 0.5, 1.0, np.nextafter(2, 0), 2.0, np.inf]))
    assert codes.tolist() == [0, 1, 2, 2, 3, 3]
    assert coding.encode(values)[0].tolist() == [0, 1, 2, 3]


def test_codes_of_categories_tell_missing_from_unknown() -> None:
    coding = CategoryCoding(("a", "b"))
    codes, values = coding.encode(pd.Series(pd.Categorical(["b", None, "never", "", "a"])))
    assert codes.tolist() == [2, 0, 3, 3, 1]
    assert coding.encode(values)[0].tolist() == [0, 1, 2, 3]


def test_main_effects_move_out_of_pairs_without_changing_the_model() -> None:
    rng = np.random.default_rng(1)
    pair = Pair(0, 1, rng.normal(size=(4, 3)))
    model = Tables(0.3, (rng.normal(size=4), rng.normal(size=3)), (pair,))
    shares = [np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.5, 0.25, 0.25])]
    pure = without_main_effects(model, shares)
    codes = np.array([rng.integers(0, 4, 50), rng.integers(0, 3, 50)])
    np.testing.assert_allclose(pure.log_odds(codes), model.log_odds(codes), rtol=0, atol=DOUBLE)
    [cleaned] = pure.pairs
    np.testing.assert_allclose(cleaned.scores @ shares[1], 0, atol=DOUBLE)
    np.testing.assert_allclose(shares[0] @ cleaned.scores, 0, atol=DOUBLE)
