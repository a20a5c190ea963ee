"""Metrics against scikit-learn, closed forms and each other; intervals against simulated truth."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)

from churn_ml.errors import TrainingError
from churn_ml.training.metrics import (
    METRICS,
    evaluate,
    evaluate_repeats,
    fold_deviation,
    point_metrics,
    row_losses,
    row_profits,
)
from churn_ml.training.profit import DecisionParameters, acted_on
from churn_ml.training.ranking import RankedRows
from churn_ml.training.statistics import (
    CustomerBootstrap,
    auc_difference_interval,
    delong,
    mean_interval,
    percentile_interval,
)

DECISION = DecisionParameters(0.05, 0.15, 12, 0.60, 3.0, 30.0, 0.30, "USD")
Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


def rows(count: int = 2000, seed: int = 1, decimals: int | None = None) -> Rows:
    """Return outcomes, the probabilities they came from and monthly values, some unknown."""
    generator = np.random.default_rng(seed)
    probabilities = expit(generator.normal(-1.2, 1.1, count))
    if decimals is not None:
        probabilities = probabilities.round(decimals).clip(0.01, 0.99)
    values = generator.gamma(2, 30, count)
    values[::17] = np.nan
    return generator.random(count) < probabilities, probabilities, values


@pytest.mark.parametrize("decimals", [None, 1])
def test_metrics_are_those_of_scikit_learn(decimals: int | None) -> None:
    churned, p, values = rows(decimals=decimals)
    metrics = evaluate(churned, p, values, decision=DECISION, seed=1)
    acted = acted_on(p, values, DECISION)
    expected = {
        "log_loss": log_loss(churned, p),
        "brier": brier_score_loss(churned, p),
        "roc_auc": roc_auc_score(churned, p),
        "pr_auc": average_precision_score(churned, p),
        "precision": precision_score(churned, acted),
        "recall": recall_score(churned, acted),
        "f1": f1_score(churned, acted),
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert point_metrics(churned, p, values, decision=DECISION) == pytest.approx(
        {name: metrics[name] for name in METRICS}, abs=1e-12
    )


def test_metrics_by_hand() -> None:
    churned = np.array([True, False, True, False])
    p, values = np.array([0.8, 0.4, 0.5, 0.1]), np.array([10.0, 20.0, np.nan, 30.0])
    metrics = point_metrics(churned, p, values, decision=None)
    assert metrics["observed_expected_ratio"] == pytest.approx(2 / 1.8)
    assert metrics["observed_expected_money_ratio"] == pytest.approx(10 / (8 + 8 + 3))
    assert metrics["log_loss"] == pytest.approx(-np.log([0.8, 0.6, 0.5, 0.9]).mean())
    assert metrics["ece"] == pytest.approx((0.2 + 0.4 + 0.5 + 0.1) / 4)
    for name in ("precision", "recall", "f1", "expected_profit_amount"):
        assert metrics[name] is None


def test_ece_has_ten_bins_of_equal_size_and_keeps_ties_together() -> None:
    churned, p, values = rows(1000)
    order = np.argsort(p)
    by_hand = sum(abs((p - churned)[bin_].sum()) for bin_ in np.split(order, 10)) / 1000
    assert point_metrics(churned, p, values, decision=None)["ece"] == pytest.approx(by_hand)
    tied = np.full(1000, churned.mean())
    assert point_metrics(churned, tied, values, decision=None)["ece"] == pytest.approx(0, abs=1e-12)


def test_lift_of_the_top_tenth_by_hand_and_shared_among_ties() -> None:
    churned = np.zeros(100, bool)
    churned[:8] = churned[50:62] = True
    scores = np.arange(100, 0, -1) / 100
    assert RankedRows(churned, scores).counted().top_lift() == pytest.approx((8 / 10) / 0.2)
    assert RankedRows(churned, np.ones(100)).counted().top_lift() == pytest.approx(1)


def test_calibration_slope_and_intercept_are_the_likelihoods() -> None:
    churned, p, values = rows(5000)
    too_extreme = expit(2 * logit(p) + 0.4)
    metrics = point_metrics(churned, too_extreme, values, decision=None)
    fit = LogisticRegression(C=np.inf, tol=1e-10).fit(logit(too_extreme)[:, np.newaxis], churned)
    assert metrics["calibration_slope"] == pytest.approx(fit.coef_[0, 0], abs=1e-5)
    assert metrics["calibration_slope"] == pytest.approx(0.5, abs=0.05)
    shifted = point_metrics(churned, expit(logit(p) - 0.7), values, decision=None)
    assert shifted["calibration_intercept"] == pytest.approx(0.7, abs=0.12)
    at_estimate = expit(logit(p) - 0.7 + shifted["calibration_intercept"])
    assert at_estimate.sum() == pytest.approx(churned.sum())


def test_what_cannot_be_told_is_none() -> None:
    churned, _, _ = rows(200)
    metrics = evaluate(churned, np.full(200, 0.3), np.full(200, np.nan), decision=DECISION, seed=1)
    unknown = {name for name in METRICS if metrics[name] is None}
    # 0.3 is in the high tier: everyone is acted on, but no value is known and no slope has one probability.
    assert unknown == {"calibration_slope", "observed_expected_money_ratio", "expected_profit_amount"}
    assert all(metrics[f"{name}_low"] is None and metrics[f"{name}_high"] is None for name in unknown)
    assert set(metrics) == {f"{name}{end}" for name in METRICS for end in ("", "_low", "_high")}


def test_a_perfect_separation_has_no_slope_and_an_auc_of_one() -> None:
    churned = np.arange(100) < 40
    metrics = evaluate(churned, np.where(churned, 0.9, 0.1), np.ones(100), decision=None, seed=1)
    assert (metrics["roc_auc"], metrics["roc_auc_low"], metrics["roc_auc_high"]) == (1.0, 1.0, 1.0)
    assert metrics["calibration_slope"] is None


@pytest.mark.parametrize(
    ("churned", "p", "message"),
    [
        ([True, False], [0.2, np.nan], "found 1 others or none"),
        ([True, False], [0.2, 1.2], "found 1 others or none"),
        ([True, True], [0.2, 0.3], "found 2 churned of 2"),
        ([True, False], [0.2], r"found shapes \(1, 1\)"),
    ],
)
def test_rows_that_give_no_metric_are_refused(churned: list[bool], p: list[float], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        evaluate(np.array(churned), np.array(p), np.ones(len(churned)), decision=None, seed=1)


def test_customers_are_counted_or_refused() -> None:
    with pytest.raises(TrainingError, match="the customer of each of 3 rows, found 2"):
        CustomerBootstrap(3, np.array([1, 2]), seed=1)


def test_every_metric_lies_within_its_interval_and_repeats_to_the_digit() -> None:
    churned, p, values = rows()
    metrics = evaluate(churned, p, values, decision=DECISION, seed=1)
    for name in METRICS:
        assert metrics[f"{name}_low"] <= metrics[name] <= metrics[f"{name}_high"], name
    assert metrics == evaluate(churned, p, values, decision=DECISION, seed=1)
    assert metrics != evaluate(churned, p, values, decision=DECISION, seed=2)


def test_ece_that_chance_explains_has_an_interval_down_to_nothing() -> None:
    for seed in range(3):
        metrics = evaluate(*rows(1500, seed=seed), decision=None, seed=1)
        assert metrics["ece_low"] < 0.005 < metrics["ece"] <= metrics["ece_high"]


def test_repeats_are_averaged_and_move_together() -> None:
    churned, p, values = rows()
    same = evaluate_repeats(churned, np.stack([p, p]), values, decision=DECISION, seed=1)
    assert same == pytest.approx(evaluate(churned, p, values, decision=DECISION, seed=1), abs=1e-12)
    other = expit(logit(p) + np.random.default_rng(5).normal(0, 0.5, len(p)))
    both = evaluate_repeats(churned, np.stack([p, other]), values, decision=DECISION, seed=1)
    one, two = (point_metrics(churned, each, values, decision=DECISION) for each in (p, other))
    for name in METRICS:
        assert both[name] == pytest.approx((one[name] + two[name]) / 2, abs=1e-12)


def test_the_deviation_between_folds() -> None:
    folds = [{"roc_auc": 0.7, "log_loss": 0.4, "f1": None}, {"roc_auc": 0.8, "log_loss": 0.4, "f1": 0.1}]
    deviations = fold_deviation(folds)
    assert deviations["roc_auc_deviation"] == pytest.approx(0.1 / np.sqrt(2))
    assert deviations["log_loss_deviation"] == 0
    assert deviations["f1_deviation"] is None


def test_profit_is_the_mean_over_the_valued_of_what_the_decisions_earned() -> None:
    churned, p, values = rows()
    earned = row_profits(churned, p, values, DECISION)
    assert earned is not None
    metrics = point_metrics(churned, p, values, decision=DECISION)
    assert metrics["expected_profit_amount"] == pytest.approx(np.nanmean(earned))
    assert np.isnan(earned).sum() == np.isnan(values).sum()
    expected = np.maximum(p * (0.3 * (values * 7.2 - 30) - 3) - (1 - p) * 33, 0)
    assert np.nanmean(earned) == pytest.approx(np.nanmean(expected), rel=0.2)


def test_delong_is_the_covariance_of_all_pairs() -> None:
    generator = np.random.default_rng(2)
    churned = generator.random(60) < 0.4
    scores = np.stack([generator.normal(churned, 1), generator.normal(churned, 1).round(0)])
    aucs, covariance = delong(churned, scores)
    x, y = scores[:, churned, np.newaxis], scores[:, np.newaxis, ~churned]
    pairs = (x > y) + 0.5 * (x == y)
    slow = np.cov(pairs.mean(axis=2)) / churned.sum() + np.cov(pairs.mean(axis=1)) / (~churned).sum()
    np.testing.assert_allclose(aucs, [roc_auc_score(churned, one) for one in scores], atol=1e-12)
    np.testing.assert_allclose(covariance, slow, atol=1e-12)


def test_weights_count_as_repeated_rows_do() -> None:
    churned, p, _ = rows(300, decimals=1)
    weights = np.random.default_rng(4).integers(0, 4, 300)
    ranking = RankedRows(churned, p).counted(weights.astype(float))
    repeated = np.repeat(churned, weights), np.repeat(p, weights)
    assert ranking.roc_auc() == pytest.approx(roc_auc_score(*repeated), abs=1e-12)
    assert ranking.average_precision() == pytest.approx(average_precision_score(*repeated), abs=1e-12)


def test_sums_over_resamples_are_those_of_the_rows_drawn() -> None:
    values = np.random.default_rng(6).random((50, 3))
    for groups in (None, np.repeat(np.arange(10), 5)):
        bootstrap = CustomerBootstrap(50, groups, seed=3, resamples=13)
        by_weights = np.stack([weights @ values for weights in bootstrap.row_weights()])
        np.testing.assert_allclose(bootstrap.sums(values), by_weights)


def covered(low: float | None, truth: float, high: float | None) -> bool:
    return low is not None and high is not None and low <= truth <= high


def test_intervals_cover_the_truth_in_nine_of_ten_samples() -> None:
    truth = point_metrics(*rows(300_000, seed=99), decision=DECISION)
    names = [name for name in METRICS if name not in ("ece", "empc")]
    hits = dict.fromkeys(names, 0)
    samples = 100
    for seed in range(samples):
        metrics = evaluate(*rows(1000, seed=seed), decision=DECISION, seed=seed)
        for name in names:
            hits[name] += covered(metrics[f"{name}_low"], truth[name] or 0.0, metrics[f"{name}_high"])
    shares = {name: hits[name] / samples for name in names}
    # Of 100 samples a share has a standard error of 0.03.
    assert all(0.8 <= share <= 0.98 for share in shares.values()), shares
    assert np.mean(list(shares.values())) == pytest.approx(0.9, abs=0.03)


def test_several_rows_of_a_customer_are_no_independent_rows() -> None:
    samples, each = 200, 6
    hits = {"customers": 0, "rows": 0}
    for seed in range(samples):
        generator = np.random.default_rng(seed)
        values = np.repeat(generator.normal(0, 1, 100), each) + generator.normal(0, 0.3, 100 * each)
        customers = np.repeat(np.arange(100), each)
        for name, groups in {"customers": customers, "rows": None}.items():
            _, low, high = mean_interval(values, groups=groups, seed=seed, resamples=200)
            hits[name] += low <= 0 <= high
    assert hits["customers"] / samples == pytest.approx(0.9, abs=0.06)
    assert hits["rows"] / samples < 0.7


def test_paired_aucs_agree_between_delong_and_resampled_customers() -> None:
    generator = np.random.default_rng(8)
    churned, p, _ = rows(800)
    other = p + generator.normal(0, 0.1, 800)
    plain = auc_difference_interval(churned, p, other, seed=1)
    twice = auc_difference_interval(
        np.repeat(churned, 2),
        np.repeat(p, 2),
        np.repeat(other, 2),
        groups=np.repeat(np.arange(800), 2),
        seed=1,
    )
    assert plain[0] == pytest.approx(roc_auc_score(churned, p) - roc_auc_score(churned, other))
    assert plain == pytest.approx(twice, abs=0.003)


def test_losses_of_repeats_are_averaged_by_row() -> None:
    churned, p, values = rows(100)
    both = np.stack([p, p[::-1]])
    np.testing.assert_allclose(
        row_losses(churned, both), (row_losses(churned, p) + row_losses(churned, p[::-1])) / 2
    )
    earned = row_profits(churned, both, values, DECISION)
    assert earned is not None
    assert earned.shape == (100,)


def test_an_interval_of_nothing_is_not_told() -> None:
    assert np.isnan(percentile_interval(np.full(5, np.nan))).all()
