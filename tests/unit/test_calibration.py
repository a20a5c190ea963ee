"""Calibration: the maps against their reference packages, the choice among them, and the intervals."""

import time

import numpy as np
import pytest
from betacal import BetaCalibration
from scipy.special import expit, logit
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline
from venn_abers import calc_p0p1, calc_probs

from churn_ml.errors import ModelError
from churn_ml.models import calibrators
from churn_ml.models.calibration import (
    CalibratedClassifier,
    Calibrator,
    calibrated,
    choose_calibrator,
    fit_calibrator,
    refuse_reweighting,
)
from churn_ml.models.calibrators import LEAST, METHODS

EVERY_METHOD = pytest.mark.parametrize("method", METHODS)


def scores(count: int, slope: float = 1.0, shift: float = 0.0, seed: int = 0):
    """Raw probabilities whose true log-odds are slope x their own + shift."""
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(-1, 1.3, count)
    return expit(log_odds), rng.random(count) < expit(slope * log_odds + shift)


def points() -> np.ndarray:
    return np.r_[0.0, LEAST, np.linspace(0.001, 0.999, 400), 1.0]


@EVERY_METHOD
def test_method_keeps_order_and_stays_away_from_0_and_1(method: str) -> None:
    calibrator = fit_calibrator(method, *scores(800), seed=1)
    found, low, high = calibrator.calibrate_with_interval(points())
    for values in (found, low, high):
        assert values.min() >= LEAST
        assert values.max() <= 1 - LEAST
    assert np.all(np.diff(found) >= 0)
    assert np.all((low <= found) & (found <= high))
    np.testing.assert_array_equal(calibrator.calibrate(points()), found)
    np.testing.assert_array_equal(calibrator.interval(points()), (low, high))


@pytest.mark.parametrize("method", ["sigmoid", "beta", "isotonic", "venn_abers"])
def test_method_repairs_probabilities_that_are_too_sure(method: str) -> None:
    raw, churned = scores(8000, slope=0.5, shift=0.3)
    fresh, truth = scores(8000, slope=0.5, shift=0.3, seed=1)
    found = fit_calibrator(method, raw, churned, seed=1).calibrate(fresh)
    best = expit(0.5 * logit(fresh) + 0.3)
    assert log_loss(truth, found) < log_loss(truth, fresh) - 0.02
    assert log_loss(truth, found) < log_loss(truth, best) + 0.006
    np.testing.assert_allclose(found, best, atol=0.15)


def test_none_leaves_the_raw_probability() -> None:
    found = fit_calibrator("none", *scores(300), seed=1).calibrate(points())
    np.testing.assert_allclose(found, points().clip(LEAST, 1 - LEAST), rtol=1e-12)


def test_sigmoid_is_platts_with_smoothed_targets() -> None:
    raw, churned = scores(60)
    smoothed = np.where(churned, (churned.sum() + 1) / (churned.sum() + 2), 1 / ((~churned).sum() + 2))
    twice = np.r_[logit(raw), logit(raw)][:, None]
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000)
    model.fit(twice, np.r_[np.ones(60), np.zeros(60)], sample_weight=np.r_[smoothed, 1 - smoothed])
    expected = model.predict_proba(logit(points()[1:-1])[:, None])[:, 1]
    found = fit_calibrator("sigmoid", raw, churned, seed=1).calibrate(points()[1:-1])
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(("slope", "shift"), [(0.6, 0.2), (1.4, -0.5), (1.0, 0.0)])
def test_beta_is_the_reference_packages(slope: float, shift: float) -> None:
    raw, churned = scores(3000, slope, shift)
    reference = BetaCalibration("abm").fit(raw, churned)
    expected = reference.predict(points()[1:-1])
    found = fit_calibrator("beta", raw, churned, seed=1).calibrate(points()[1:-1])
    # The package stops its solver early: what it finds is no more likely than what is found here.
    assert log_loss(churned, fit_calibrator("beta", raw, churned, seed=1).calibrate(raw)) <= log_loss(
        churned, reference.predict(raw)
    )
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_beta_leaves_out_a_slope_below_zero() -> None:
    rng = np.random.default_rng(3)
    raw = rng.random(4000)
    churned = rng.random(4000) < expit(1.5 * np.log(raw) + 0.7 * np.log1p(-raw) + 1)
    calibrator = fit_calibrator("beta", raw, churned, seed=1)
    assert calibrator.state_["slopes"][0] > 0
    assert calibrator.state_["slopes"][1] == 0
    expected = BetaCalibration("abm").fit(raw, churned).predict(points()[1:-1])
    np.testing.assert_allclose(calibrator.calibrate(points()[1:-1]), expected, atol=2e-4)


def test_isotonic_is_scikit_learns() -> None:
    raw, churned = scores(2000)
    raw = raw.round(3)
    reference = IsotonicRegression(out_of_bounds="clip").fit(logit(raw), churned)
    found = fit_calibrator("isotonic", raw, churned, seed=1).calibrate(points()[1:-1])
    expected = reference.predict(logit(points()[1:-1])).clip(LEAST, 1 - LEAST)
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize(("count", "digits", "seed"), [(2000, 2, 0), (300, 9, 1), (40, 1, 2), (7, 9, 3)])
def test_venn_abers_is_the_reference_packages(count: int, digits: int, seed: int) -> None:
    raw, churned = scores(count, slope=0.7, seed=seed)
    raw = raw.round(digits).clip(0.01, 0.99)
    asked = np.r_[points()[1:-1], raw]
    p0, p1, cuts = calc_p0p1(np.column_stack([1 - raw, raw]), churned.astype(int))
    expected, pair = calc_probs(p0, p1, cuts, np.column_stack([1 - asked, asked]))
    found, low, high = fit_calibrator("venn_abers", raw, churned, seed=1).calibrate_with_interval(asked)
    np.testing.assert_allclose(np.column_stack([low, high]), pair.clip(LEAST, 1 - LEAST), atol=1e-12)
    np.testing.assert_allclose(found, expected[:, 1].clip(LEAST, 1 - LEAST), atol=1e-12)


@EVERY_METHOD
@pytest.mark.parametrize("raw", [[0.3] * 40, [0.0] * 20 + [1.0] * 20, [1.0] * 20 + [0.0] * 20])
def test_method_survives_scores_that_are_constant_or_tell_everything(method: str, raw: list[float]) -> None:
    churned = np.arange(40) >= 20
    found, low, high = fit_calibrator(method, np.array(raw), churned, seed=1).calibrate_with_interval(
        np.array([0.0, 0.3, 1.0])
    )
    assert np.all((low <= found) & (found <= high) & (found > 0) & (found < 1))
    assert np.all(np.diff(found) >= 0)
    if len(set(raw)) == 1 and method in {"sigmoid", "beta", "isotonic"}:
        np.testing.assert_allclose(found, 0.5, atol=1e-6)


@pytest.mark.parametrize("method", ["none", "sigmoid", "beta"])
def test_interval_holds_the_truth_nine_times_in_ten(method: str) -> None:
    """Where the method can say the truth at all: coverage over repeated samples at a middling score."""
    slope, shift = (1.0, 0.0) if method == "none" else (0.7, 0.2)
    asked = np.array([0.1, 0.3, 0.6])
    truth = expit(slope * logit(asked) + shift)
    inside = []
    for seed in range(60):
        low, high = fit_calibrator(method, *scores(600, slope, shift, seed), seed=seed).interval(asked)
        inside.append((low <= truth) & (truth <= high))
    # `none` does not move with the sample, so that it holds the truth whenever it is true.
    assert 0.8 <= np.mean(inside) <= (1.0 if method == "none" else 0.93)


def test_interval_narrows_with_rows_and_widens_with_groups() -> None:
    def width(raw, churned, groups=None) -> float:
        calibrator = fit_calibrator("sigmoid", raw, churned, groups=groups, seed=1)
        return float(np.ptp(calibrator.interval(np.array([0.3])), axis=0)[0])

    raw, churned = scores(500)
    assert width(*scores(8000)) < 0.4 * width(raw, churned)
    # Each customer eight times: eight times the rows tell no more than one.
    eight = np.repeat(raw, 8), np.repeat(churned, 8)
    customers = np.repeat([f"c{i}" for i in range(500)], 8)
    assert width(*eight, customers) == pytest.approx(width(raw, churned), rel=0.3)
    assert width(*eight) < 0.5 * width(*eight, customers)


def test_none_without_rows_has_no_interval() -> None:
    calibrator = fit_calibrator("none", np.array([]), np.array([]), seed=1)
    found, low, high = calibrator.calibrate_with_interval(np.array([0.2]))
    assert found == pytest.approx([0.2])
    assert np.isnan(low).all()
    assert np.isnan(high).all()
    with pytest.raises(ModelError, match="found 0 who churned among 0"):
        fit_calibrator("sigmoid", np.array([]), np.array([]), seed=1)


def test_choice_is_the_lowest_log_loss_on_rows_that_were_not_fitted_on() -> None:
    raw, churned = scores(3000, slope=0.5)
    calibrator, losses = choose_calibrator(raw, churned, seed=1)
    assert list(losses) == ["none", "sigmoid", "beta", "isotonic", "venn_abers"]
    assert calibrator.method in {"sigmoid", "beta"}
    assert losses[calibrator.method] == min(losses.values())
    assert losses["none"] == pytest.approx(log_loss(churned, raw))
    # On its own rows isotonic always wins; it must not here.
    own = fit_calibrator("isotonic", raw, churned, seed=1).calibrate(raw)
    assert log_loss(churned, own) < losses[calibrator.method] < losses["isotonic"]


def test_choice_leaves_true_probabilities_alone() -> None:
    calibrator, _ = choose_calibrator(*scores(3000), seed=1)
    assert calibrator.method in {"none", "sigmoid", "beta"}
    rate = np.full(200, 0.25)
    calibrator, losses = choose_calibrator(rate, np.arange(200) % 4 == 0, seed=1)
    assert calibrator.method == "none"
    assert losses["none"] <= losses["sigmoid"]


def test_choice_keeps_the_rows_of_a_group_together() -> None:
    """Copies of a row on both sides would let isotonic learn the outcomes themselves."""
    rng = np.random.default_rng(0)
    raw, churned = np.repeat(rng.random(300), 10), np.repeat(rng.random(300) < 0.4, 10)
    customers = np.repeat(np.arange(300), 10)
    _, apart = choose_calibrator(raw, churned, seed=1)
    calibrator, together = choose_calibrator(raw, churned, groups=customers, seed=1)
    assert apart["isotonic"] < 0.66 < together["isotonic"]
    assert calibrator.method in {"sigmoid", "beta"}


def test_choice_and_intervals_follow_their_seed_alone() -> None:
    raw, churned = scores(500, slope=0.6)
    first, losses = choose_calibrator(raw, churned, seed=4)
    again, losses_again = choose_calibrator(raw, churned, seed=4)
    assert losses == losses_again
    np.testing.assert_array_equal(first.interval(points()), again.interval(points()))
    assert choose_calibrator(raw, churned, seed=5)[1] != losses


@pytest.mark.parametrize("outcome", [True, False])
def test_one_outcome_is_refused_with_the_numbers(outcome: bool) -> None:
    with pytest.raises(ModelError, match=f"found {10 * outcome} who churned among 10"):
        choose_calibrator(np.linspace(0.1, 0.9, 10), np.full(10, outcome), seed=1)
    with pytest.raises(ModelError, match=r"at least 2 rows .* found 1 that churned among 10"):
        choose_calibrator(np.linspace(0.1, 0.9, 10), np.arange(10) == 3, seed=1)


@pytest.mark.parametrize("wrong", [np.nan, 1.2, -0.1])
def test_what_is_no_probability_is_refused(wrong: float) -> None:
    raw, churned = scores(50)
    raw[7] = wrong
    with pytest.raises(ModelError, match=f"found {wrong} and 0 others"):
        choose_calibrator(raw, churned, seed=1)
    with pytest.raises(ModelError, match="between 0 and 1"):
        fit_calibrator("none", *scores(50), seed=1).calibrate(raw)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ModelError, match=r"\(none, sigmoid, beta, isotonic, venn_abers\), found 'magic'"):
        fit_calibrator("magic", *scores(50), seed=1)


@EVERY_METHOD
def test_many_distinct_scores_are_put_together_at_no_cost(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, churned = scores(8000, slope=0.7)
    asked = np.quantile(raw, np.linspace(0.001, 0.999, 500))
    apart = fit_calibrator(method, raw, churned, seed=1)
    monkeypatch.setattr(calibrators, "_MOST_SCORES", 2000)
    together = fit_calibrator(method, raw, churned, seed=1)
    difference = np.abs(together.calibrate(asked) - apart.calibrate(asked))
    assert difference.mean() < (3e-3 if method in {"isotonic", "venn_abers"} else 1e-4)


@EVERY_METHOD
def test_a_million_rows_are_calibrated_in_a_moment(method: str) -> None:
    calibrator = fit_calibrator(method, *scores(20_000), seed=1)
    raw, _ = scores(1_000_000, seed=2)
    started = time.process_time()
    calibrator.calibrate_with_interval(raw)
    assert time.process_time() - started < 3


def line(**parameters: object) -> Pipeline:
    raw, churned = scores(400)
    return Pipeline([("columns", "passthrough"), ("model", LogisticRegression(**parameters))]).fit(
        raw[:, None], churned
    )


def test_calibrated_pipeline_wraps_the_fitted_model_and_refits_nothing() -> None:
    pipeline, (raw, churned) = line(), scores(400)
    calibrator = fit_calibrator("sigmoid", *scores(500, slope=0.5), seed=1)
    wrapped = calibrated(pipeline, calibrator)
    model = wrapped[-1]
    assert isinstance(model, CalibratedClassifier)
    assert model.estimator is pipeline[-1]
    own = pipeline.predict_proba(raw[:, None])[:, 1]
    np.testing.assert_array_equal(model.predict_raw(raw[:, None]), own)
    both = wrapped.predict_proba(raw[:, None])
    np.testing.assert_array_equal(both[:, 1], calibrator.calibrate(own))
    np.testing.assert_array_equal(both.sum(axis=1), 1)
    np.testing.assert_array_equal(wrapped.predict(raw[:, None]), both[:, 1] > 0.5)
    np.testing.assert_array_equal(wrapped.classes_, [False, True])
    with pytest.raises(ModelError, match="found a call that fits it again"):
        wrapped.fit(raw[:, None], churned)


def test_raw_probabilities_are_kept_away_from_0_and_1() -> None:
    pipeline = Pipeline([("columns", "passthrough"), ("model", DummyClassifier(strategy="most_frequent"))])
    pipeline.fit(np.zeros((3, 1)), [False, False, True])
    wrapped = calibrated(pipeline, fit_calibrator("none", *scores(50), seed=1))
    np.testing.assert_array_equal(wrapped[-1].predict_raw(np.zeros((2, 1))), [LEAST, LEAST])


class Oversampler:
    """A step that draws rows by their outcome, as imbalanced-learn's do."""

    def fit_resample(self, X, y): ...  # noqa: N803
    def fit(self, X, y): ...  # noqa: N803
    def transform(self, X): ...  # noqa: N803
    def get_params(self, deep=True):
        del deep
        return {}


class Weighted(DummyClassifier):
    """A booster's own words for class weights."""

    def __init__(self, scale_pos_weight=1, is_unbalance=False) -> None:
        super().__init__()
        self.scale_pos_weight = scale_pos_weight
        self.is_unbalance = is_unbalance


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (LogisticRegression(class_weight="balanced"), "model__class_weight='balanced'"),
        (RandomForestClassifier(class_weight={0: 1, 1: 3}), "model__class_weight="),
        (Weighted(scale_pos_weight=2.5), r"model__scale_pos_weight=2\.5"),
        (Weighted(is_unbalance=True), "model__is_unbalance=True"),
        (
            Pipeline([("sampler", Oversampler()), ("inner", LogisticRegression())]),
            r"model__sampler \(Oversampler\), which resamples",
        ),
    ],
)
def test_weights_and_resampling_are_refused_by_name(model: object, message: str) -> None:
    pipeline = Pipeline([("columns", "passthrough"), ("model", model)])
    with pytest.raises(ModelError, match=message):
        refuse_reweighting(pipeline)
    with pytest.raises(ModelError, match="Expected a model that gives probabilities"):
        calibrated(pipeline, Calibrator())


@pytest.mark.parametrize("model", [LogisticRegression(), Weighted(), RandomForestClassifier()])
def test_models_without_weights_are_let_through(model: object) -> None:
    refuse_reweighting(Pipeline([("columns", "passthrough"), ("model", model)]))


def test_a_method_that_overstates_those_who_leave_is_not_chosen() -> None:
    rng = np.random.default_rng(7)
    log_odds = rng.normal(-3.2, 1.0, 1500)
    churned = rng.random(1500) < 1 / (1 + np.exp(-log_odds))
    raw = 1 / (1 + np.exp(-(log_odds * 1.6 + 2.2)))
    calibrator, losses = choose_calibrator(raw, churned, seed=1)
    assert min(losses, key=lambda method: losses[method]) == "venn_abers"
    assert calibrator.method == "sigmoid"
