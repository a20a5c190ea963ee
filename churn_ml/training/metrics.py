"""What probabilities of rows a model had not seen are worth: each metric with its 90 % interval."""

from collections.abc import Mapping, Sequence

import numpy as np

from churn_ml.training.metric_rows import MetricRows, row_losses
from churn_ml.training.profit import BoolArray, DecisionParameters, FloatArray, acted_on, treatment_profits
from churn_ml.training.statistics import CustomerBootstrap, Groups, delong_interval, percentile_interval

__all__ = [
    "METRICS",
    "evaluate",
    "evaluate_repeats",
    "fold_deviation",
    "observed_expected_ratio",
    "point_metrics",
    "row_losses",
    "row_profits",
]

METRICS = (
    "log_loss", "brier", "roc_auc", "pr_auc", "precision", "recall", "f1", "top_decile_lift", "ece",
    "calibration_slope", "calibration_intercept", "observed_expected_ratio", "observed_expected_money_ratio",
    "expected_profit_amount", "empc",
)  # fmt: skip

Metrics = dict[str, float | None]


def evaluate(
    churned: BoolArray,
    probabilities: FloatArray,
    monthly_values: FloatArray,
    *,
    groups: Groups = None,
    decision: DecisionParameters | None,
    seed: int,
) -> Metrics:
    """Return every metric of `METRICS`, each with ``_low`` and ``_high``; None where it cannot be told.

    Parameters
    ----------
    churned : boolean array of shape (n,)
    probabilities : float array of shape (n,)
        Calibrated, of rows that the model had not seen.
    monthly_values : float array of shape (n,)
        NaN where the value is not known; such customers count in no money figure.
    groups : array of shape (n,), optional
        The customer of each row (codes are quicker than text); None where each row is another one.
    decision : DecisionParameters or None
        Who is acted on, and what it costs.
    seed : int
        Of the resamples.

    Returns
    -------
    dict
        - ``log_loss``: mean of ``-log p(outcome)`` in nats (Good 1952).
        - ``brier``: mean of ``(p - outcome)^2`` (Brier 1950).
        - ``roc_auc``: share of (churned, stayed) pairs in the right order (Hanley and McNeil 1982).
        - ``pr_auc``: average precision, by steps of recall (Davis and Goadrich 2006).
        - ``precision``, ``recall``, ``f1``: of the acting decision (`churn_ml.training.profit.acted_on`).
        - ``top_decile_lift``: churn rate of the highest tenth by p over that of all (Neslin et al. 2006).
        - ``ece``: sum over 10 bins of equal size, ties in one bin, of ``|churned - sum of p| / n``
          (Naeini et al. 2015). Chance alone makes it larger than 0.
        - ``calibration_slope``: b of ``log-odds(churned) = a + b log-odds(p)``, 1 is right, below it p is
          too extreme (Cox 1958); ``calibration_intercept``: a where b is held at 1, 0 is right.
        - ``observed_expected_ratio``: churned customers over the sum of p; below 1 p overstates.
        - ``observed_expected_money_ratio``: the same, each customer counting by their monthly value.
        - ``expected_profit_amount``: what the model's own decisions would have earned, mean per customer
          of known value, in the currency of `decision` (`churn_ml.training.profit.treatment_profits`).
        - ``empc``: expected maximum profit per customer with the parameters of Verbraken et al. 2013.

        Intervals are 90 %: for ``roc_auc`` by DeLong's variance where each customer has one row; for
        all else the 5th and 95th percentile of 200 resamples of customers; for ``ece`` these mirrored
        at the estimate (basic bootstrap: Davison and Hinkley 1997, section 5.2), since each resample adds
        to it what chance has added already, and never below the estimate itself. Slope and intercept
        move by one Newton step per resample (Moulton and Zeger 1991).

    Raises
    ------
    TrainingError
        If the arrays do not fit, a probability is not within 0 and 1, or all rows have one outcome.
    """
    return evaluate_repeats(
        churned, probabilities[np.newaxis], monthly_values, groups=groups, decision=decision, seed=seed
    )


def evaluate_repeats(
    churned: BoolArray,
    probabilities: FloatArray,
    monthly_values: FloatArray,
    *,
    groups: Groups = None,
    decision: DecisionParameters | None,
    seed: int,
) -> Metrics:
    """Return what `evaluate` does for a validation that was repeated over other folds.

    Each metric is the mean over the repeats, and so is it in each resample of customers, who are the
    same in all repeats: the interval tells what other customers would have given, the chance of the folds
    averaged out as far as the repeats go.

    Parameters
    ----------
    probabilities : float array of shape (repeats, n)
    """
    rows = MetricRows.of(churned, probabilities, monthly_values, decision)
    bootstrap = CustomerBootstrap(len(churned), groups, seed)
    point, samples = rows.point(), rows.resampled(bootstrap)
    metrics: Metrics = {}
    for name in METRICS:
        value = float(point[name][0])
        low, high = percentile_interval(samples[name])
        if name == "ece":
            low, high = max(2 * value - high, 0.0), max(2 * value - low, value)
        elif name == "roc_auc" and not bootstrap.has_repeated_customers:
            value, low, high = delong_interval(churned, probabilities)
        if not np.isfinite(value):
            low = high = float("nan")
        metrics |= {name: _told(value), f"{name}_low": _told(low), f"{name}_high": _told(high)}
    return metrics


def point_metrics(
    churned: BoolArray,
    probabilities: FloatArray,
    monthly_values: FloatArray,
    *,
    decision: DecisionParameters | None,
) -> Metrics:
    """Return the metrics of `evaluate` without intervals: for one fold, or one trial of a search."""
    point = MetricRows.of(churned, probabilities[np.newaxis], monthly_values, decision).point()
    return {name: _told(float(point[name][0])) for name in METRICS}


def fold_deviation(by_fold: Sequence[Mapping[str, float | None]]) -> Metrics:
    """Return ``<metric>_deviation``: the standard deviation (n - 1) over folds; None where one lacks it."""
    deviations: Metrics = {}
    for name in METRICS:
        values = [fold.get(name) for fold in by_fold]
        known = [value for value in values if value is not None]
        complete = len(known) == len(values) and len(known) > 1
        deviations[f"{name}_deviation"] = float(np.std(known, ddof=1)) if complete else None
    return deviations


def row_profits(
    churned: BoolArray,
    probabilities: FloatArray,
    monthly_values: FloatArray,
    decision: DecisionParameters | None,
) -> FloatArray | None:
    """Return what the model's decision earned with each customer; None where no profit can be told.

    NaN where the value is not known; the mean over repeats where (repeats, n) is given.
    """
    profits = treatment_profits(monthly_values, decision)
    acted = acted_on(probabilities, monthly_values, decision)
    if profits is None or acted is None:
        return None
    realised = profits.realised(churned, acted)
    return realised if realised.ndim == 1 else realised.mean(axis=0)


def observed_expected_ratio(churned: BoolArray, probabilities: FloatArray) -> float:
    """Return churned customers over expected ones; 1 is calibrated in the large, below it overstates."""
    return float(churned.sum() / probabilities.sum())


def _told(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
