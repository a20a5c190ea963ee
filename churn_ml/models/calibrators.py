"""Maps from raw to calibrated probability: sigmoid, beta, isotonic and Venn-Abers.

Each is fitted on a `Tally` of scores and outcomes and kept as plain arrays; each reads log-odds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, log_expit, logit  # type: ignore[import-untyped]
from sklearn.isotonic import isotonic_regression

from churn_ml.errors import ModelError

FloatArray = npt.NDArray[np.float64]
State = dict[str, FloatArray]

LEAST = 1e-6
_MOST_SCORES = 10_000
_STEPS = 100
_RIDGE = 1e-9


def clip_probabilities(probabilities: FloatArray) -> FloatArray:
    """Return `probabilities` kept between 1e-6 and 1 - 1e-6, so that their log-odds are finite."""
    return np.clip(np.asarray(probabilities, dtype=np.float64), LEAST, 1 - LEAST)


@dataclass(frozen=True)
class Tally:
    """Distinct scores in rising order, with how much weight they have and how much of it churned.

    All of shape (n_scores,). More than 10,000 distinct scores are put together by quantiles, each
    under its mean log-odds: what the maps lose by it is far below what the rows can tell.
    """

    log_odds: FloatArray
    churned: FloatArray
    total: FloatArray


class Scores:
    """Raw probabilities and outcomes, sorted once, to be tallied under any weights of the rows."""

    def __init__(self, raw: FloatArray, churned: npt.NDArray[np.bool_]) -> None:
        raw = clip_probabilities(raw)
        distinct, score_of_row = np.unique(raw, return_inverse=True)
        log_odds = logit(distinct)
        if len(distinct) > _MOST_SCORES:
            ranks = np.cumsum(np.bincount(score_of_row)) - 1
            group = np.unique(ranks * _MOST_SCORES // len(raw), return_inverse=True)[1]
            log_odds = np.bincount(group, log_odds) / np.bincount(group)
            score_of_row = group[score_of_row]
        self._log_odds, self._score_of_row = log_odds, score_of_row
        self._churned = np.asarray(churned, dtype=np.float64)

    def tally(self, weights: FloatArray | None = None) -> Tally:
        """Return the scores that have any weight; each row has weight 1 where none are given."""
        weights = np.ones(len(self._churned)) if weights is None else weights
        size = len(self._log_odds)
        total = np.bincount(self._score_of_row, weights, minlength=size).astype(np.float64)
        churned = np.bincount(self._score_of_row, weights * self._churned, minlength=size).astype(np.float64)
        present = total > 0
        return Tally(self._log_odds[present], churned[present], total[present])


@dataclass(frozen=True)
class Method:
    """How a map is fitted, and how its state answers log-odds of shape (n,) with probabilities."""

    fit: Callable[[Tally], State]
    apply: Callable[[Mapping[str, FloatArray], FloatArray], FloatArray]


def venn_abers_pair(state: Mapping[str, FloatArray], log_odds: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return Venn-Abers' two answers: were the customer one who stays (p0), one who churns (p1)."""
    p0 = state["p0"][np.searchsorted(state["p0_from"], log_odds, side="right")]
    p1 = state["p1"][np.searchsorted(state["p1_after"], log_odds, side="left")]
    return p0, p1


def _fit_none(tally: Tally) -> State:
    del tally
    return {}


def _apply_none(state: Mapping[str, FloatArray], log_odds: FloatArray) -> FloatArray:
    del state
    probabilities: FloatArray = expit(log_odds)
    return probabilities


def _fit_sigmoid(tally: Tally) -> State:
    """Fit ``logit(p) = slope x log-odds + intercept`` (Platt 1999, on log-odds instead of margins).

    The targets are smoothed as there: ``(N+ + 1) / (N+ + 2)`` and ``1 / (N- + 2)``. A slope below 0,
    which would turn the order of customers around, is held at 0.
    """
    churned, total = tally.churned.sum(), tally.total.sum()
    high, low = (churned + 1) / (churned + 2), 1 / (total - churned + 2)
    targets = tally.churned * high + (tally.total - tally.churned) * low
    coefficients = _fit_logistic(tally.log_odds[:, None], targets, tally.total)
    if coefficients[0] < 0:
        coefficients = np.array([0.0, logit(targets.sum() / total)])
    return {"slope": coefficients[:1], "intercept": coefficients[1:]}


def _apply_sigmoid(state: Mapping[str, FloatArray], log_odds: FloatArray) -> FloatArray:
    probabilities: FloatArray = expit(state["slope"] * log_odds + state["intercept"])
    return probabilities


def _fit_beta(tally: Tally) -> State:
    """Fit ``logit(p) = a ln(s) - b ln(1 - s) + c`` with a, b >= 0 (Kull, Silva Filho and Flach 2017).

    As there, a slope that comes out below 0 is left out and the others are fitted again.
    """
    columns = np.column_stack([log_expit(tally.log_odds), -log_expit(-tally.log_odds)])
    kept = [0, 1]
    while True:
        coefficients = _fit_logistic(columns[:, kept], tally.churned, tally.total)
        negative = [column for column, slope in zip(kept, coefficients, strict=False) if slope < 0]
        if not negative:
            break
        kept.remove(negative[0])
    slopes = np.zeros(2)
    slopes[kept] = coefficients[:-1]
    return {"slopes": slopes, "intercept": coefficients[-1:]}


def _apply_beta(state: Mapping[str, FloatArray], log_odds: FloatArray) -> FloatArray:
    a, b = state["slopes"]
    probabilities: FloatArray = expit(a * log_expit(log_odds) - b * log_expit(-log_odds) + state["intercept"])
    return probabilities


def _fit_isotonic(tally: Tally) -> State:
    """Fit the rising map of least squares (Zadrozny and Elkan 2002), straight between its corners."""
    values = isotonic_regression(tally.churned / tally.total, sample_weight=tally.total)
    differs = values[1:] != values[:-1]
    corner = np.r_[True, differs] | np.r_[differs, True]
    return {"log_odds": tally.log_odds[corner], "probabilities": values[corner]}


def _apply_isotonic(state: Mapping[str, FloatArray], log_odds: FloatArray) -> FloatArray:
    return np.interp(log_odds, state["log_odds"], state["probabilities"])


def _fit_venn_abers(tally: Tally) -> State:
    """Tabulate the inductive Venn-Abers predictor (Vovk, Petej and Fedorova 2015, algorithms 1 to 4).

    The isotonic map is fitted twice for each score, with the customer added as one who stays and as
    one who churns; between two scores either answer is a step.
    """
    p1 = _added_churner(tally.churned, tally.total)
    p0 = 1 - _added_churner((tally.total - tally.churned)[::-1], tally.total[::-1])[::-1]
    p0, p1 = np.r_[0.0, p0], np.r_[p1, 1.0]
    step_0, step_1 = np.diff(p0) != 0, np.diff(p1) != 0
    return {
        "p0_from": tally.log_odds[step_0],
        "p0": p0[np.r_[True, step_0]],
        "p1_after": tally.log_odds[step_1],
        "p1": p1[np.r_[True, step_1]],
    }


def _apply_venn_abers(state: Mapping[str, FloatArray], log_odds: FloatArray) -> FloatArray:
    """Return ``p1 / (1 - p0 + p1)``, the probability of least regret in log loss (as above, section 4)."""
    p0, p1 = venn_abers_pair(state, log_odds)
    probabilities: FloatArray = p1 / (1 - p0 + p1)
    return probabilities


METHODS: dict[str, Method] = {  # simplest first
    "none": Method(_fit_none, _apply_none),
    "sigmoid": Method(_fit_sigmoid, _apply_sigmoid),
    "beta": Method(_fit_beta, _apply_beta),
    "isotonic": Method(_fit_isotonic, _apply_isotonic),
    "venn_abers": Method(_fit_venn_abers, _apply_venn_abers),
}


def method_of(name: str) -> Method:
    """Return the method of that name.

    Raises
    ------
    ModelError
        If there is none.
    """
    if name not in METHODS:
        raise ModelError(f"Expected a method of calibration ({', '.join(METHODS)}), found {name!r}.")
    return METHODS[name]


def _fit_logistic(columns: FloatArray, churned: FloatArray, total: FloatArray) -> FloatArray:
    """Return slopes and intercept of greatest likelihood, by Newton's method.

    Columns are centred and a ridge of 1e-9 of the weight is added, so that a column that is constant
    or tells everything apart still has a finite slope (0 where it is constant).
    """
    weight = total.sum()
    centre = np.average(columns, axis=0, weights=total)
    design = np.column_stack([columns - centre, np.ones(len(columns))])
    ridge = np.full(design.shape[1], _RIDGE * weight)
    ridge[-1] = 0.0
    rate = np.clip(churned.sum() / weight, LEAST, 1 - LEAST)
    coefficients: FloatArray = np.r_[np.zeros(columns.shape[1]), logit(rate)]
    loss = _loss(design, churned, total, ridge, coefficients)
    for _ in range(_STEPS):
        expected = expit(design @ coefficients)
        gradient = design.T @ (churned - total * expected) - ridge * coefficients
        curvature = (design * (total * expected * (1 - expected))[:, None]).T @ design + np.diag(ridge)
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        coefficients, former, loss = _descend(design, churned, total, ridge, coefficients, step, loss)
        if former - loss <= 1e-13 * weight:
            break
    coefficients[-1] -= coefficients[:-1] @ centre
    return coefficients


def _descend(
    design: FloatArray,
    churned: FloatArray,
    total: FloatArray,
    ridge: FloatArray,
    coefficients: FloatArray,
    step: FloatArray,
    loss: float,
) -> tuple[FloatArray, float, float]:
    """Return the coefficients after `step`, halved until the loss does not rise, and both losses."""
    for _ in range(30):
        tried = coefficients + step
        found = _loss(design, churned, total, ridge, tried)
        if found <= loss:
            return tried, loss, found
        step = step / 2
    return coefficients, loss, loss


def _loss(
    design: FloatArray, churned: FloatArray, total: FloatArray, ridge: FloatArray, coefficients: FloatArray
) -> float:
    log_odds = design @ coefficients
    likelihood = churned @ log_expit(log_odds) + (total - churned) @ log_expit(-log_odds)
    return float(ridge @ coefficients**2 / 2 - likelihood)


def _added_churner(churned: FloatArray, total: FloatArray) -> FloatArray:
    """Return, for each score, the isotonic fit there once a churner of that score is added.

    In the diagram of cumulated weight and churners the added churner is a step of (1, 1) that comes
    first and is moved past one score after another; `corners` is the lower convex hull right of it.
    """
    x = np.r_[0.0, np.cumsum(total)] + 1
    y = np.r_[0.0, np.cumsum(churned)] + 1
    points = list(zip(x.tolist(), y.tolist(), strict=True))
    corners: list[tuple[float, float]] = []
    for point in reversed([(0.0, 0.0), *points]):
        _push(corners, point)
    result = np.empty(len(total))
    for i, (right, up) in enumerate(points[1:]):
        (x0, y0), (x1, y1) = corners[-1], corners[-2]
        result[i] = (y1 - y0) / (x1 - x0)
        # Past score i the step starts where the score ended: one to the left, one below.
        moved = (right - 1, up - 1)
        if (moved[1] - y0) * (x1 - x0) >= (y1 - y0) * (moved[0] - x0):
            continue
        corners.pop()
        _push(corners, moved)
    return result


def _push(corners: list[tuple[float, float]], point: tuple[float, float]) -> None:
    """Add a point left of all `corners` and drop those that no longer turn the hull upwards."""
    x, y = point
    while len(corners) > 1:
        (x0, y0), (x1, y1) = corners[-1], corners[-2]
        if (y0 - y) * (x1 - x0) < (y1 - y0) * (x0 - x):
            return corners.append(point)
        corners.pop()
    return corners.append(point)
