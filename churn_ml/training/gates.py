"""The gates of a model; `GATES` describes each, those of `leakage` included.

Each is a function of what was observed and returns what it found; the caller decides what follows.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2  # type: ignore[import-untyped]

from churn_ml.errors import TrainingError
from churn_ml.models.registration import GateResult
from churn_ml.training.gate_catalogue import (
    CALIBRATION_HIGH,
    CALIBRATION_LOW,
    GATES,
    GOLDEN_TOLERANCE,
    LEAST_GAIN_NATS,
    STABLE_AUC_DEVIATION,
    STABLE_LOSS_DEVIATION,
    gate_result,
    is_blocking,
    not_applicable,
)
from churn_ml.training.group_gates import fairness_gates, segment_gates
from churn_ml.training.metrics import observed_expected_ratio, row_losses, row_profits
from churn_ml.training.profit import BoolArray, DecisionParameters, FloatArray, acted_on, treatment_profits
from churn_ml.training.statistics import (
    STANDARD_ERRORS_OF_INTERVAL,
    CustomerBootstrap,
    Groups,
    auc_difference_interval,
    delong,
    mean_interval,
    percentile_interval,
)

__all__ = [
    "GATES",
    "calibration_gate",
    "champion_gates",
    "fairness_gates",
    "golden_rows_gate",
    "is_blocking",
    "log_loss_gate",
    "profit_gate",
    "segment_gates",
    "stability_gates",
    "too_little_data_gates",
]

_CHANCE_SHARE = 0.95
_NO_MONEY = "the dataset declares no value or no costs, so no profit can be told"
_ONE_OF_AN_OUTCOME = "one customer of an outcome only, so no interval of the AUC can be told"
_NO_CHAMPION = "no champion is deployed to compare with"


def too_little_data_gates(
    *,
    row_count: int,
    churned_count: int,
    least_rows: int,
    least_of_each_outcome: int,
    date_count: int | None = None,
    least_dates: int | None = None,
) -> list[GateResult]:
    """Return whether there was enough to learn from: rows, each outcome and, for dated rows, dates.

    Parameters
    ----------
    date_count, least_dates : int, optional
        As-of dates with known labels; both None for a snapshot.
    """
    counts = {
        "rows": (row_count, least_rows),
        "churned": (churned_count, least_of_each_outcome),
        "stayed": (row_count - churned_count, least_of_each_outcome),
    }
    if date_count is not None and least_dates is not None:
        counts["as_of_dates"] = (date_count, least_dates)
    return [
        gate_result("too_little_data", found, least, subject=name, detail=f"{found} of at least {least}")
        for name, (found, least) in counts.items()
    ]


def calibration_gate(
    churned: BoolArray,
    probabilities: FloatArray,
    *,
    standard_errors: float = 0.0,
    groups: Groups = None,
    seed: int = 0,
) -> GateResult:
    """Return whether churned customers are within a tenth of those expected, over everyone.

    Expected revenue loss is a sum of probabilities times money, so a model off by more than that
    is off by as much in money, however well it ranks.

    Parameters
    ----------
    standard_errors : float
        Widens the limits by so many standard errors of the ratio under the model itself,
        ``sqrt(sum p (1 - p)) / sum p``: where few leave, a true model misses a tenth by chance.
    """
    chance = float(np.sqrt((probabilities * (1 - probabilities)).sum()) / probabilities.sum())
    slack = standard_errors * chance
    bootstrap = CustomerBootstrap(len(churned), groups, seed)
    sums = bootstrap.sums(np.stack([churned, probabilities], axis=1))
    return gate_result(
        "calibration_overall",
        observed_expected_ratio(churned, probabilities),
        round(CALIBRATION_LOW - slack, 4),
        round(CALIBRATION_HIGH + slack, 4),
        interval=percentile_interval(sums[:, 0] / sums[:, 1]),
    )


def log_loss_gate(
    churned: BoolArray,
    probabilities: FloatArray,
    base_probabilities: FloatArray,
    *,
    groups: Groups = None,
    seed: int = 0,
) -> GateResult:
    """Return whether the log loss is significantly below that of the constant rate.

    Parameters
    ----------
    base_probabilities : float array of shape (n,)
        The churn rate of the rows that each row's pipeline had learned from.
    """
    gain = row_losses(churned, probabilities) - row_losses(churned, base_probabilities)
    observed, low, high = mean_interval(gain, groups=groups, seed=seed)
    return gate_result(
        "log_loss",
        observed,
        high=min(observed - high, -LEAST_GAIN_NATS),
        interval=(low, high),
        detail=f"log loss {row_losses(churned, probabilities).mean():.4f}, "
        f"constant rate {row_losses(churned, base_probabilities).mean():.4f}",
    )


def champion_gates(
    churned: BoolArray,
    probabilities: FloatArray,
    champion_probabilities: FloatArray | None,
    monthly_values: FloatArray,
    decision: DecisionParameters | None,
    *,
    groups: Groups = None,
    seed: int = 0,
) -> list[GateResult]:
    """Return whether the model is significantly worse than the champion in log loss, AUC or profit.

    A limit is the smallest difference that the interval tells from none: a difference beyond it has an
    interval that leaves out 0. That of profit is at least what chance makes of true probabilities.

    Parameters
    ----------
    champion_probabilities : float array of shape (n,) or None
        The champion's for the same rows, neither model having learned from them; None where there is
        no champion.
    """
    names = ("log_loss_against_champion", "roc_auc_against_champion", "profit_against_champion")
    if champion_probabilities is None:
        return [not_applicable(name, _NO_CHAMPION) for name in names]
    loss = row_losses(churned, probabilities) - row_losses(churned, champion_probabilities)
    more, low, high = mean_interval(loss, groups=groups, seed=seed)
    auc = auc_difference_interval(churned, probabilities, champion_probabilities, groups=groups, seed=seed)
    results = [
        gate_result(names[0], more, high=more - low, interval=(low, high)),
        gate_result(names[1], auc[0], auc[0] - auc[2], interval=auc[1:])
        if np.isfinite(auc).all()
        else not_applicable(names[1], _ONE_OF_AN_OUTCOME),
    ]
    profits = treatment_profits(monthly_values, decision)
    own = row_profits(churned, probabilities, monthly_values, decision)
    former = row_profits(churned, champion_probabilities, monthly_values, decision)
    if profits is None or own is None or former is None:
        return [*results, not_applicable(names[2], _NO_MONEY)]
    gain, low, high = mean_interval(own - former, groups=groups, seed=seed)
    acted, acted_then = (
        np.asarray(acted_on(said, monthly_values, decision))
        for said in (probabilities, champion_probabilities)
    )
    chance = STANDARD_ERRORS_OF_INTERVAL * profits.chance(probabilities, acted != acted_then)
    return [*results, gate_result(names[2], gain, min(gain - high, -chance), interval=(low, high))]


def profit_gate(
    churned: BoolArray,
    probabilities: FloatArray,
    monthly_values: FloatArray,
    decision: DecisionParameters | None,
    *,
    standard_errors: float = 0.0,
    groups: Groups = None,
    seed: int = 0,
) -> GateResult:
    """Return whether the model's decisions earn at least what treating nobody, or everybody, does.

    Parameters
    ----------
    standard_errors : float
        Lowers the limit by so many standard errors of the difference: where few leave, one customer who
        stays or goes decides.
    """
    profits = treatment_profits(monthly_values, decision)
    own = row_profits(churned, probabilities, monthly_values, decision)
    if profits is None or own is None:
        return not_applicable("profit", _NO_MONEY)
    everybody = profits.realised(churned, np.ones(len(churned), bool))
    treats_all = float(np.nanmean(everybody)) > 0
    gain, low, high = mean_interval(own - everybody if treats_all else own, groups=groups, seed=seed)
    acted = acted_on(probabilities, monthly_values, decision)
    chance = profits.chance(probabilities, np.asarray(acted) != treats_all)
    error = max((high - low) / (2 * STANDARD_ERRORS_OF_INTERVAL), chance)
    return gate_result(
        "profit",
        gain,
        -standard_errors * error if standard_errors else 0.0,
        interval=(low, high),
        detail=f"model {np.nanmean(own):.4f}, nobody 0, everybody {np.nanmean(everybody):.4f} per customer",
    )


def stability_gates(
    churned: BoolArray, probabilities: FloatArray, folds: npt.NDArray[Any]
) -> list[GateResult]:
    """Return whether the folds agree on AUC and on log loss over that of the fold's own churn rate.

    Of k folds with standard errors s the standard deviation stays, at 95 %, below
    ``mean(s^2)^0.5 x (chi2(0.95, k - 1) / (k - 1))^0.5`` by chance alone; the limit is the root of the
    sum of squares of that and of what is allowed.

    Parameters
    ----------
    folds : array of shape (n,)
        The fold that each row was validated in.
    """
    aucs, ratios = [], []
    names = np.unique(folds)
    for name in names:
        rows = folds == name
        aucs.append(_auc(churned[rows], probabilities[rows]))
        ratios.append(_loss_ratio(churned[rows], probabilities[rows]))
    allowed = {"roc_auc": (aucs, STABLE_AUC_DEVIATION), "log_loss": (ratios, STABLE_LOSS_DEVIATION)}
    if len(names) < 2:
        return [
            not_applicable("stability", "one fold, nothing to compare", subject=subject)
            for subject in allowed
        ]
    return [_deviation_gate(subject, *found) for subject, found in allowed.items()]


def golden_rows_gate(expected: FloatArray, found: FloatArray) -> GateResult:
    """Return whether the stored artifact predicts the golden rows as the model in memory did.

    Raises
    ------
    TrainingError
        If there are no golden rows, or not as many predictions.
    """
    if expected.shape != found.shape or not expected.size:
        raise TrainingError(
            f"Expected as many predictions as golden rows, found shapes {found.shape} and {expected.shape}. "
            "Give the artifact the golden rows of its own training."
        )
    differences = np.abs(expected - found)
    # Two probabilities differ by 1 at most: one that is missing differs by as much.
    worst = float(np.where(np.isnan(differences), 1.0, differences).max())
    return gate_result("golden_rows", worst, high=GOLDEN_TOLERANCE, detail=f"{expected.size} rows")


def _auc(churned: BoolArray, probabilities: FloatArray) -> tuple[float, float]:
    """Return AUC and its variance; of one customer of an outcome the most it can be, ``1 / 4``.

    That is the bound ``AUC (1 - AUC) / fewest`` (Birnbaum and Klose 1957) at its greatest.
    """
    aucs, covariance = delong(churned, probabilities[np.newaxis])
    variance = float(covariance[0, 0])
    return float(aucs[0]), variance if np.isfinite(variance) else 0.25


def _loss_ratio(churned: BoolArray, probabilities: FloatArray) -> tuple[float, float]:
    """Return log loss over that of the rows' own rate, and its variance (ratio of means, delta method)."""
    losses = row_losses(churned, probabilities)
    own = row_losses(churned, np.full(len(churned), churned.mean()))
    ratio = float(losses.mean() / own.mean())
    return ratio, float(np.var(losses - ratio * own, ddof=1) / len(own) / own.mean() ** 2)


def _deviation_gate(subject: str, found: list[tuple[float, float]], allowed: float) -> GateResult:
    values = np.array([value for value, _ in found])
    freedom = len(found) - 1
    chance = float(np.mean([variance for _, variance in found])) * chi2.ppf(_CHANCE_SHARE, freedom) / freedom
    return gate_result(
        "stability",
        float(np.std(values, ddof=1)),
        high=round(float(np.sqrt(allowed**2 + chance)), 4),
        subject=subject,
        detail="by fold: " + ", ".join(f"{value:.4f}" for value in values),
    )
