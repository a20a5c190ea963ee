"""How far probabilities are from calibrated, as a logistic regression on their log-odds (Cox 1958)."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit  # type: ignore[import-untyped]

from churn_ml.training.profit import BoolArray, FloatArray

_MOST_STEPS = 50
_TOLERANCE = 1e-10
# Below it the probabilities are one constant for all that matters, and no slope can be told.
_LEAST_DEVIATION = 0.01


@dataclass(frozen=True)
class Recalibration:
    """Maximum-likelihood estimates, and of each row the residual and variance there, both (n,)."""

    intercept: float
    slope: float
    residuals: FloatArray
    variances: FloatArray


def fit_recalibration(churned: BoolArray, log_odds: FloatArray) -> Recalibration:
    """Fit ``log-odds(churned) = intercept + slope x log_odds``; NaN where no finite estimate exists."""
    unknown = np.full(len(log_odds), np.nan)
    nothing = Recalibration(float("nan"), float("nan"), unknown, unknown)
    if np.std(log_odds) < _LEAST_DEVIATION:
        return nothing
    design = np.stack([np.ones_like(log_odds), log_odds], axis=1)
    found = _newton(churned, design, np.zeros_like(log_odds), np.array([0.0, 1.0]))
    if found is None:
        return nothing
    estimate, fitted = found
    return Recalibration(float(estimate[0]), float(estimate[1]), churned - fitted, fitted * (1 - fitted))


def fit_intercept(churned: BoolArray, log_odds: FloatArray) -> Recalibration:
    """Fit ``log-odds(churned) = intercept + log_odds``."""
    found = _newton(churned, np.ones((len(log_odds), 1)), log_odds, np.zeros(1))
    unknown = np.full(len(log_odds), np.nan)
    if found is None:
        return Recalibration(float("nan"), 1.0, unknown, unknown)
    estimate, fitted = found
    return Recalibration(float(estimate[0]), 1.0, churned - fitted, fitted * (1 - fitted))


def _newton(
    churned: BoolArray, design: FloatArray, offset: FloatArray, estimate: FloatArray
) -> tuple[FloatArray, FloatArray] | None:
    """Return the estimate and the fitted probabilities; None where the steps do not come to rest."""
    loss = _loss(churned, design @ estimate + offset)
    for _ in range(_MOST_STEPS):
        fitted = expit(design @ estimate + offset)
        information = (design * (fitted * (1 - fitted))[:, np.newaxis]).T @ design
        try:
            step = np.linalg.solve(information, design.T @ (churned - fitted))
        except np.linalg.LinAlgError:
            return None
        if np.abs(step).max() < _TOLERANCE:
            return estimate, fitted
        estimate, loss = _descend(churned, design, offset, estimate, step, loss)
    return None


def _descend(
    churned: BoolArray,
    design: FloatArray,
    offset: FloatArray,
    estimate: FloatArray,
    step: FloatArray,
    loss: float,
) -> tuple[FloatArray, float]:
    """Go the Newton step, or as much of it as lowers the loss."""
    for _ in range(_MOST_STEPS):
        moved = estimate + step
        lower = _loss(churned, design @ moved + offset)
        if lower <= loss:
            return moved, lower
        step = step / 2
    return estimate, loss


def _loss(churned: BoolArray, log_odds: FloatArray) -> float:
    return float(np.logaddexp(0, np.where(churned, -log_odds, log_odds)).sum())
