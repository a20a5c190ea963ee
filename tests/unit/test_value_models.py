"""Months retained: pseudo-observations against brute force and truth, and the families that learn them."""

import zipfile
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.linear_model import LinearRegression
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_limits

from churn_ml.errors import ModelError, TrainingError
from churn_ml.features.contract import FeatureColumn, FeatureContract
from churn_ml.models.value_models import (
    TRUSTED_TYPES,
    VALUE_CANDIDATES,
    RestrictedRegressor,
    ValueCandidate,
    value_candidate_of,
)
from churn_ml.training.survival import BoolArray, FloatArray, pseudo_observations, restricted_mean

HORIZON = 12.0
CONTRACT = FeatureContract(
    (
        FeatureColumn("sessions_28d", "integer", None, None),
        FeatureColumn("contract", "text", None, None),
        FeatureColumn("has_discount", "boolean", None, None),
    )
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with threadpool_limits(limits=1):
        yield


FAMILIES = pytest.mark.parametrize("candidate", VALUE_CANDIDATES, ids=lambda candidate: candidate.family)


def kaplan_meier_mean(times: FloatArray, is_censored: BoolArray, horizon: float) -> float:
    """The area under the Kaplan-Meier curve, one event time after another."""
    area, survival, since = 0.0, 1.0, 0.0
    for moment in np.unique(times[~is_censored & (times < horizon)]):
        area += survival * (moment - since)
        survival *= 1 - (~is_censored & (times == moment)).sum() / (times >= moment).sum()
        since = moment
    return area + survival * (horizon - since)


def leave_one_out(times: FloatArray, is_censored: BoolArray, horizon: float) -> list[float]:
    count, whole = len(times), kaplan_meier_mean(times, is_censored, horizon)
    return [
        count * whole
        - (count - 1) * kaplan_meier_mean(np.delete(times, row), np.delete(is_censored, row), horizon)
        for row in range(count)
    ]


@pytest.mark.parametrize("censored_share", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("horizon", [5.0, 12.0, 20.0])
@pytest.mark.parametrize("has_ties", [True, False])
def test_pseudo_observations_are_those_of_leaving_each_row_out(
    censored_share: float, horizon: float, has_ties: bool
) -> None:
    rng = np.random.default_rng(5)
    for count in (2, 3, 4, 7, 15, 30):
        times = rng.integers(1, 15, count).astype(float) if has_ties else rng.exponential(8, count) + 0.01
        is_censored = rng.random(count) < censored_share
        expected = leave_one_out(times, is_censored, horizon)
        np.testing.assert_allclose(pseudo_observations(times, is_censored, horizon), expected, atol=1e-9)
        np.testing.assert_allclose(
            restricted_mean(times, is_censored, horizon), kaplan_meier_mean(times, is_censored, horizon)
        )


def test_without_censoring_the_months_are_their_own_pseudo_observations() -> None:
    times = np.array([1.0, 3.0, 3.0, 7.5, 40.0])
    found = pseudo_observations(times, np.zeros(5, bool), HORIZON)
    np.testing.assert_allclose(found, [1.0, 3.0, 3.0, 7.5, 12.0])


def test_pseudo_observations_take_time_that_grows_with_the_rows() -> None:
    """A million rows: leaving each one out by itself would take days."""
    rng = np.random.default_rng(6)
    times, is_censored = rng.exponential(20, 1_000_000) + 1e-6, rng.random(1_000_000) < 0.5
    found = pseudo_observations(times, is_censored, HORIZON)
    assert found.mean() == pytest.approx(restricted_mean(times, is_censored, HORIZON), abs=1e-3)


@pytest.mark.parametrize("times", [[5.0], [5.0, 0.0], [5.0, float("nan")], []])
def test_times_that_cannot_be_are_refused(times: list[float]) -> None:
    with pytest.raises(TrainingError, match="positive times of following"):
        pseudo_observations(np.array(times), np.zeros(len(times), bool), HORIZON)


def business(count: int, seed: int) -> tuple[pd.DataFrame, FloatArray, FloatArray, BoolArray]:
    """Customers, their true restricted mean, and what is seen of them, two thirds censored."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "sessions_28d": np.where(rng.random(count) < 0.05, np.nan, rng.poisson(10, count)),
            "contract": rng.choice(["one_year", "month_to_month"], count),
            "has_discount": rng.choice([True, False, None], count),
        }
    )
    hazard = 0.10 * np.exp(-0.08 * (frame["sessions_28d"].fillna(10) - 10)).to_numpy()
    hazard *= np.where(frame["contract"] == "one_year", 0.3, 1.0)
    truth = (1 - np.exp(-hazard * HORIZON)) / hazard
    left, followed = rng.exponential(1 / hazard), rng.choice(np.arange(1.0, 13.0), count)
    return CONTRACT.to_frame(frame), truth, np.minimum(left, followed), left > followed


@FAMILIES
def test_family_learns_months_that_nobody_has_seen_yet(candidate: ValueCandidate) -> None:
    frame, _, times, is_censored = business(12_000, 1)
    months = pseudo_observations(times, is_censored, HORIZON)
    pipeline = candidate.build(CONTRACT, HORIZON, seed=3).fit(frame, months)
    unseen, truth, *_ = business(6_000, 2)
    found = pipeline.predict(unseen)
    assert found.mean() == pytest.approx(truth.mean(), rel=0.02)
    assert ((found >= 0) & (found <= HORIZON)).all()
    if candidate.family != "constant":
        assert np.sqrt(((found - truth) ** 2).mean()) < 0.4 * truth.std()


def test_months_seen_so_far_would_be_too_few() -> None:
    """What the pseudo-observations are for: the mean of the censored months is far off."""
    _, truth, times, is_censored = business(12_000, 1)
    months = pseudo_observations(times, is_censored, HORIZON)
    assert months.mean() == pytest.approx(truth.mean(), rel=0.02)
    assert times.mean() < 0.7 * truth.mean()
    assert times[~is_censored].mean() < 0.5 * truth.mean()


@FAMILIES
def test_same_seed_gives_the_same_months(candidate: ValueCandidate) -> None:
    frame, _, times, is_censored = business(2_000, 1)
    months = pseudo_observations(times, is_censored, HORIZON)
    first, second = (candidate.build(CONTRACT, HORIZON, 3).fit(frame, months) for _ in range(2))
    np.testing.assert_array_equal(first.predict(frame), second.predict(frame))


@FAMILIES
def test_single_rows_unseen_categories_and_missing_values_have_an_answer(candidate: ValueCandidate) -> None:
    frame, _, times, _ = business(2_000, 1)
    pipeline = candidate.build(CONTRACT, HORIZON, 3).fit(frame, times)
    strange = CONTRACT.to_frame(
        pd.DataFrame(
            {
                "sessions_28d": [np.nan, 10**6],
                "contract": ["for_life", None],
                "has_discount": [None, True],
            }
        )
    )
    found = pipeline.predict(strange)
    assert np.isfinite(found).all()
    assert ((found >= 0) & (found <= HORIZON)).all()
    np.testing.assert_allclose(pipeline.predict(frame.take([7])), pipeline.predict(frame)[[7]], rtol=1e-12)


@FAMILIES
def test_family_comes_back_from_bytes_by_reviewed_types_only(candidate: ValueCandidate) -> None:
    frame, _, times, _ = business(2_000, 1)
    pipeline = candidate.build(CONTRACT, HORIZON, 3).fit(frame, times)
    content = skops.io.dumps(pipeline, compression=zipfile.ZIP_DEFLATED)
    assert set(skops.io.get_untrusted_types(data=content)) <= set(candidate.trusted_types)
    assert set(candidate.trusted_types) <= set(TRUSTED_TYPES)
    again = skops.io.loads(content, trusted=list(candidate.trusted_types))
    np.testing.assert_array_equal(again.predict(frame), pipeline.predict(frame))


def test_every_reviewed_type_is_needed() -> None:
    frame, _, times, _ = business(2_000, 1)
    found: set[str] = set()
    for candidate in VALUE_CANDIDATES:
        pipeline = candidate.build(CONTRACT, HORIZON, 3).fit(frame, times)
        found |= set(skops.io.get_untrusted_types(data=skops.io.dumps(pipeline)))
    assert found == set(TRUSTED_TYPES)


def test_families_are_found_by_name() -> None:
    assert [value_candidate_of(item.family) for item in VALUE_CANDIDATES] == list(VALUE_CANDIDATES)
    with pytest.raises(ModelError, match=r"spline_ridge.*found 'deep_survival'"):
        value_candidate_of("deep_survival")


CLIPPED = "the targets of this check are negative as well, months are not"


@parametrize_with_checks(
    [RestrictedRegressor(LinearRegression(), 1e9)],
    expected_failed_checks=lambda _: {"check_regressors_train": CLIPPED},
)
def test_restricted_regressor_passes_the_checks_of_scikit_learn(estimator, check) -> None:
    check(estimator)


def test_answers_stay_within_the_horizon() -> None:
    x = np.arange(10.0)[:, None]
    found = RestrictedRegressor(LinearRegression(), 5.0).fit(x, 3 * x[:, 0] - 10).predict(x)
    assert (found.min(), found.max()) == (0.0, 5.0)
