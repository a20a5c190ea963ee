"""Contributions add up to the score, and mean what they say."""

from collections.abc import Callable
from itertools import combinations, product
from math import factorial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit
from small_models import CONTRACT, SMALL, customers, fitted, odd_customers, training_rows

from churn_ml.errors import ModelError
from churn_ml.models.calibration import calibrated, fit_calibrator
from churn_ml.models.candidates import candidate_of
from churn_ml.models.contributions import Explainer, Reference, build_reference
from churn_ml.models.crossfit import CrossFittedModel
from churn_ml.models.path_contributions import LeafContributions, XgboostContributions
from churn_ml.models.top_reasons import pick

# Log-odds: sums in double precision, a forest's logarithm, XGBoost's single precision.
TOLERANCE = dict.fromkeys(SMALL, 1e-9) | {"xgboost": 1e-5}
ADDITIVE = ["base_rate", "one_rule", "spline_logistic", "explainable_boosting", "pairwise_boosting"]
SEEDS = (1, 2)


def explained(family: str) -> tuple[CrossFittedModel, Explainer]:
    frame, churned = customers()
    pipelines = []
    for seed in SEEDS:
        pipeline = fitted(family, seed=seed)
        raw = pipeline.predict_proba(frame)[:, 1]
        pipelines.append(calibrated(pipeline, fit_calibrator("sigmoid", raw, churned, seed=seed)))
    model = CrossFittedModel(tuple(pipelines))
    reference = build_reference(pipelines, frame, [training_rows(seed) for seed in SEEDS])
    return model, Explainer(model, CONTRACT, reference)


@pytest.mark.parametrize("family", SMALL)
def test_contributions_add_up_to_the_raw_score(family: str) -> None:
    model, explainer = explained(family)
    frame = odd_customers({})
    folds = np.arange(len(frame)) % 3 - 1
    base, matrix = explainer.contributions(frame, folds)
    raw = model.predict(frame, folds).raw
    np.testing.assert_allclose(base + matrix.sum(axis=1), logit(raw), rtol=0, atol=TOLERANCE[family])


@pytest.mark.parametrize("family", SMALL)
def test_predictions_with_reasons_are_those_of_the_model(family: str) -> None:
    model, explainer = explained(family)
    frame = odd_customers({})
    folds = np.arange(len(frame)) % 3 - 1
    predictions, reasons = explainer.predict(frame, folds)
    expected = model.predict(frame, folds)
    for name in ("raw", "calibrated", "low", "high"):
        np.testing.assert_allclose(
            getattr(predictions, name), getattr(expected, name), rtol=0, atol=1e-12, err_msg=name
        )
    assert explainer.largest_difference(frame, folds) <= (1e-12 if explainer.is_precise else 1e-6)
    np.testing.assert_array_equal(reasons.contributions, explainer.top_reasons(frame, folds).contributions)


@pytest.mark.parametrize("family", ["xgboost", "gradient_boosting"])
def test_contributions_that_do_not_add_up_are_found(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (XgboostContributions, LeafContributions):
        monkeypatch.setattr(kind, "__call__", shifted(kind.__call__))
    frame, _ = customers()
    _, explainer = explained(family)
    assert explainer.largest_difference(frame, np.full(len(frame), -1)) > 1e-3


def shifted(call: Callable[..., Any]) -> Callable[..., Any]:
    def one_more(self: Any, frame: pd.DataFrame) -> tuple[Any, Any]:
        base, found = call(self, frame)
        return base, found + 0.1

    return one_more


@pytest.mark.parametrize("family", SMALL)
def test_top_reasons_are_the_largest_contributions(family: str) -> None:
    _, explainer = explained(family)
    frame, folds = odd_customers({}), np.full(len(odd_customers({})), -1)
    base, matrix = explainer.contributions(frame, folds)
    reasons = explainer.top_reasons(frame, folds, count=2)
    np.testing.assert_array_equal(reasons.base, base)
    sizes = -np.sort(-np.abs(matrix), axis=1)[:, :2]
    np.testing.assert_allclose(np.abs(reasons.contributions), sizes, rtol=1e-13)
    is_none = reasons.columns == -1
    assert ((reasons.contributions == 0) == is_none).all()
    rows, ranks = np.nonzero(~is_none)
    np.testing.assert_array_equal(
        matrix[rows, reasons.columns[rows, ranks]], reasons.contributions[rows, ranks]
    )


@pytest.mark.parametrize("family", ADDITIVE)
def test_contributions_of_the_training_rows_have_mean_zero(family: str) -> None:
    _, explainer = explained(family)
    rows = training_rows(SEEDS[0])
    _, matrix = explainer.contributions(customers()[0].take(rows), np.zeros(len(rows), dtype=int))
    np.testing.assert_allclose(matrix.mean(axis=0), 0, atol=1e-12)


@pytest.mark.parametrize("family", ["pairwise_boosting", "explainable_boosting"])
def test_a_category_that_one_fold_alone_has_moves_no_centre(family: str) -> None:
    frame, churned = customers()
    plan = frame["plan"].astype(object)
    plan.iloc[0] = "a first one"
    frame = frame.assign(plan=pd.Categorical(plan))
    fold = np.arange(len(frame)) % 2
    rows = [np.flatnonzero(fold != one) for one in range(2)]
    pipelines = [
        candidate_of(family, SMALL[family]).build(CONTRACT, 1).fit(frame.take(own), churned[own])
        for own in rows
    ]
    explainer = Explainer(CrossFittedModel(pipelines), CONTRACT, build_reference(pipelines, frame, rows))
    for one, own in enumerate(rows):
        _, matrix = explainer.contributions(frame.take(own), np.full(len(own), one))
        np.testing.assert_allclose(matrix.mean(axis=0), 0, atol=1e-12)


def test_the_mean_of_pipelines_is_explained_by_the_mean_of_their_contributions() -> None:
    for family in ("pairwise_boosting", "spline_logistic", "random_forest"):
        _, explainer = explained(family)
        frame = odd_customers({})
        of_all = explainer.contributions(frame, np.full(len(frame), -1))[1]
        of_each = [explainer.contributions(frame, np.full(len(frame), fold))[1] for fold in (0, 1)]
        np.testing.assert_allclose(of_all, np.mean(of_each, axis=0), rtol=0, atol=1e-12)


FEW = {
    "tenure_months": np.array([2.0, 10.0, 25.0]),
    "plan": np.array([0.5, 0.3, 0.2]),
    "is_paperless": np.array([0.0, 1.0]),
    "monthly_amount": np.array([20.0, 60.0, 100.0]),
    "region": np.array([0.6, 0.4]),
}
CATEGORIES = {"plan": ["basic", "family", "team"], "region": ["north", "south"]}


def background() -> tuple[pd.DataFrame, np.ndarray]:
    """Return every combination of the reference values `FEW` and its share."""
    levels = [
        [(value, share) for value, share in zip(CATEGORIES[name], values, strict=True)]
        if name in CATEGORIES
        else [(value, 1 / len(values)) for value in values]
        for name, values in FEW.items()
    ]
    combined = list(product(*levels))
    data = pd.DataFrame([[value for value, _ in row] for row in combined], columns=list(FEW))
    data["is_paperless"] = data["is_paperless"] == 1
    return CONTRACT.to_frame(data), np.array([np.prod([share for _, share in row]) for row in combined])


def shapley_values(log_odds: Callable[[pd.DataFrame], np.ndarray], row: pd.DataFrame) -> np.ndarray:
    """Return Shapley values by their definition: all coalitions, absent columns from the background."""
    frame, shares = background()
    count, worth = len(FEW), {}
    for size in range(count + 1):
        for coalition in combinations(range(count), size):
            mixed = frame.copy()
            for column in coalition:
                mixed[mixed.columns[column]] = row.iloc[[0] * len(mixed), column].array
            worth[coalition] = float(log_odds(mixed) @ shares)
    values = np.zeros(count)
    for coalition, without in worth.items():
        weight = factorial(len(coalition)) * factorial(count - len(coalition) - 1) / factorial(count) \
            if len(coalition) < count else 0  # fmt: skip
        for column in set(range(count)) - set(coalition):
            values[column] += weight * (worth[tuple(sorted((*coalition, column)))] - without)
    return values


@pytest.mark.parametrize("family", ["pairwise_boosting", "explainable_boosting", "spline_logistic"])
def test_contributions_of_additive_models_are_shapley_values(family: str) -> None:
    pipeline = fitted(family)
    folds = np.zeros(1, dtype=int)
    level = Explainer(CrossFittedModel((pipeline,)), CONTRACT, Reference(FEW, (np.zeros(len(FEW)),)))
    frame, shares = background()
    centres = level.contributions(frame, np.zeros(len(frame), dtype=int))[1].T @ shares
    explainer = Explainer(CrossFittedModel((pipeline,)), CONTRACT, Reference(FEW, (centres,)))
    for position in (11, 12, 40):
        row = customers()[0].iloc[[position]]
        expected = shapley_values(lambda rows: logit(pipeline.predict_proba(rows)[:, 1]), row)
        np.testing.assert_allclose(explainer.contributions(row, folds)[1][0], expected, rtol=0, atol=1e-10)


def test_path_contributions_of_one_tree_are_the_changes_of_its_means() -> None:
    pipeline = fitted("decision_tree")
    tree, frame = pipeline[-1].tree_, customers()[0].take(training_rows())
    explainer = Explainer(
        CrossFittedModel((pipeline,)), CONTRACT,
        build_reference([pipeline], customers()[0], [training_rows()]),
    )  # fmt: skip
    base, matrix = explainer.contributions(frame, np.zeros(len(frame), dtype=int))
    own = logit(np.clip(pipeline.predict_proba(frame)[:, 1], 1e-6, 1 - 1e-6))
    np.testing.assert_allclose(base, own.mean(), rtol=0, atol=1e-9)
    np.testing.assert_allclose(matrix.mean(axis=0), 0, rtol=0, atol=1e-9)
    names = pipeline[0].get_feature_names_out()
    used = {names[output].split("__")[1] for output in tree.feature[tree.feature >= 0]}
    unused = [
        position
        for position, name in enumerate(CONTRACT.names)
        if not any(output == name or output.startswith(f"{name}_") for output in used)
    ]
    assert (matrix[:, unused] == 0).all()
    assert "Shapley" in explainer.method


def test_the_method_says_what_contributions_are() -> None:
    words = {"base_rate": "none", "pairwise_boosting": "exact Shapley", "random_forest": "one factor per row",
             "xgboost": "approximate", "stack": "weighted sum"}  # fmt: skip
    for family, word in words.items():
        assert word in explained(family)[1].method


def test_reference_holds_quantiles_and_shares() -> None:
    frame, _ = customers()
    reference = build_reference([fitted("spline_logistic")], frame, [training_rows()])
    tenure = reference.quantiles["tenure_months"]
    known = frame["tenure_months"].dropna()
    assert len(tenure) == 101
    assert (tenure[0], tenure[-1]) == (known.min(), known.max())
    shares = frame["plan"].value_counts() / len(frame)
    np.testing.assert_allclose(reference.quantiles["plan"], shares[["basic", "family", "team"]])


def test_percentiles_are_mid_ranks() -> None:
    reference = Reference({"a": np.repeat([1.0, 5.0, 9.0], [20, 61, 20]), "b": np.zeros(0)}, ())
    found = reference.percentiles("a", np.array([0.0, 1.0, 3.0, 5.0, 9.0, 99.0, np.nan]))
    np.testing.assert_array_equal(found, [0, 10, 20, 50, 91, 100, np.nan])
    assert np.isnan(reference.percentiles("b", np.array([1.0]))).all()


def test_a_reference_of_another_model_is_refused() -> None:
    model, _ = explained("spline_logistic")
    with pytest.raises(ModelError, match="reference of 2 pipelines"):
        Explainer(model, CONTRACT, Reference({}, ()))


def test_a_fold_without_a_pipeline_is_refused() -> None:
    _, explainer = explained("spline_logistic")
    with pytest.raises(ModelError, match=r"folds between 0 and 1, found \[0, 2\]"):
        explainer.predict(customers()[0].iloc[:2], np.array([0, 2]))


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 40).flatmap(
        lambda columns: st.lists(
            st.lists(st.floats(-50, 50, allow_subnormal=False), min_size=columns, max_size=columns),
            min_size=1, max_size=20,
        )
    ),
    st.integers(1, 5),
)  # fmt: skip
def test_picked_contributions_are_the_largest(rows: list[list[float]], count: int) -> None:
    contributions = np.array(rows).T
    columns, found = pick(contributions.copy(), count)
    expected = -np.sort(-np.abs(contributions), axis=0)[:count]
    np.testing.assert_allclose(np.abs(found), expected, rtol=1e-13)
    for row in range(contributions.shape[1]):
        chosen = columns[:, row][columns[:, row] >= 0]
        assert len(set(chosen.tolist())) == len(chosen)
        assert (contributions[chosen, row] == found[columns[:, row] >= 0, row]).all()
    assert ((found == 0) == (columns == -1)).all()
