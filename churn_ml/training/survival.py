"""The restricted mean survival time, and its pseudo-observations, from censored times.

With S(t) the Kaplan-Meier estimate, the restricted mean is the integral of S from 0 to the horizon: the
expected time until leaving, cut at the horizon. Past the last moment at which anyone is followed, S
is carried forward as it is.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from churn_ml.errors import TrainingError

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


def restricted_mean(times: FloatArray, is_censored: BoolArray, horizon: float) -> float:
    """Return the restricted mean survival time, in the unit of `times` and `horizon`.

    Parameters
    ----------
    times : array of shape (n_rows,)
        When each row left, or was last known to be there.
    is_censored : boolean array of shape (n_rows,)
        Whether the row had not left by then. A row that leaves and one that is censored at the same
        time: the latter was still at risk.
    horizon : float
    """
    return float(_curve(*_restricted(times, is_censored, horizon), horizon).areas.sum())


def pseudo_observations(times: FloatArray, is_censored: BoolArray, horizon: float) -> FloatArray:
    """Return the jackknife pseudo-observations of the restricted mean, shape (n_rows,).

    ``n * theta - (n - 1) * theta_without_i``: where censoring depends neither on the time of leaving nor
    on the covariates, its expectation given the covariates is, in large samples, the restricted mean
    given them; so that least squares on it estimates that mean, and its squared error ranks models as
    that of the uncensored times would (Andersen, Hansen and Klein 2004; Andersen and Perme 2010). One
    may be negative, or above the horizon. Without censoring it is the restricted time itself.

    Leaving row i out changes the factors of the event times up to its own and no later ones: one pass
    over the sorted event times gives all of them, O(n log n).

    Raises
    ------
    TrainingError
        If there are fewer than two rows, or a time is no positive number.
    """
    ended_by, has_ended = _restricted(times, is_censored, horizon)
    row_count = len(ended_by)
    curve = _curve(ended_by, has_ended, horizon)
    earlier = np.searchsorted(curve.event_times, ended_by, side="left")  # event times before the row's own
    own = np.minimum(earlier, max(len(curve.event_times) - 1, 0))
    is_tied = earlier < len(curve.event_times)
    if len(curve.event_times):
        is_tied &= curve.event_times[own] == ended_by
    without, until = _without_one(curve)
    left_out = until[earlier] + without[earlier] * curve.remaining[earlier]
    rows = np.flatnonzero(is_tied)
    place = own[rows]
    others = curve.at_risk[place] - 1
    staying = others - (curve.ended[place] - has_ended[rows])
    factor = np.divide(staying, others, out=np.ones(len(rows)), where=others > 0)
    left_out[rows] = until[place + 1] + without[place] * factor * curve.remaining[place + 1]
    return row_count * float(curve.areas.sum()) - (row_count - 1) * left_out


@dataclass(frozen=True)
class _Curve:
    """The Kaplan-Meier estimate on [0, horizon], by its distinct event times.

    `areas[k]` is its integral from event time k - 1 to event time k (0 before the first, the horizon
    after the last); `remaining[k]` the restricted mean from event time k - 1 on, given survival until then.
    """

    event_times: FloatArray
    ended: npt.NDArray[np.int64]
    at_risk: npt.NDArray[np.int64]
    widths: FloatArray
    areas: FloatArray
    remaining: FloatArray


def _restricted(times: FloatArray, is_censored: BoolArray, horizon: float) -> tuple[FloatArray, BoolArray]:
    if len(times) < 2 or not (np.isfinite(times) & (times > 0)).all():
        raise TrainingError(
            f"Expected at least two rows with positive times of following, found {len(times)} rows, "
            f"{int((~(times > 0)).sum())} of them without. Check features.customer_retention."
        )
    return np.minimum(times, horizon), ~is_censored & (times < horizon)


def _curve(ended_by: FloatArray, has_ended: BoolArray, horizon: float) -> _Curve:
    event_times, ended = np.unique(ended_by[has_ended], return_counts=True)
    at_risk = len(ended_by) - np.searchsorted(np.sort(ended_by), event_times, side="left")
    survival = np.concatenate([[1.0], np.cumprod((at_risk - ended) / at_risk)])
    edges = np.concatenate([[0.0], event_times, [horizon]])
    widths = np.diff(edges)
    areas = survival * widths
    to_come = np.cumsum(areas[::-1])[::-1]
    # Where all have left, the rest is what one who was left out would have: their last factor is 1 or 0.
    remaining = np.divide(to_come, survival, out=horizon - edges[:-1], where=survival > 0)
    return _Curve(event_times, ended, at_risk, widths, areas, remaining)


def _without_one(curve: _Curve) -> tuple[FloatArray, FloatArray]:
    """Return the survival after each event time without one row that outlives it, and its integral.

    The first entry of both is of time 0.
    """
    others = curve.at_risk - 1
    factors = np.divide(others - curve.ended, others, out=np.zeros(len(others)), where=others > 0)
    without = np.concatenate([[1.0], np.cumprod(factors)])
    until = np.concatenate([[0.0], np.cumsum(without * curve.widths)])
    return without, until
