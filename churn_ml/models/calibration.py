"""Calibration: from what a fitted model gives to the probability of churn, with an interval.

A calibrator is fitted on raw probabilities of rows that the model did not see, and refits nothing.
"""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit  # type: ignore[import-untyped]
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline

from churn_ml.errors import ModelError
from churn_ml.models.calibrators import (
    METHODS,
    FloatArray,
    Scores,
    State,
    clip_probabilities,
    method_of,
    venn_abers_pair,
)

CALIBRATION_TYPES = (
    "churn_ml.models.calibration.CalibratedClassifier",
    "churn_ml.models.calibration.Calibrator",
)
BoolArray = npt.NDArray[np.bool_]
Groups = npt.NDArray[Any] | None

_FOLDS = 5
_RESAMPLES = 50
_INTERVAL = (0.05, 0.95)
_GRID_SIZE = 200
# Log losses closer than this are equal: the simpler method is taken.
_LARGEST_BIAS = 0.05
_TIE = 1e-9
_NO_REWEIGHTING: Mapping[str, object] = {
    "class_weight": None,
    "scale_pos_weight": 1,
    "is_unbalance": False,
    "pos_bagging_fraction": 1,
    "neg_bagging_fraction": 1,
    "sampling_strategy": None,
}


class Calibrator(BaseEstimator):  # type: ignore[misc]
    """A map from raw to calibrated probability, with a 90 % interval.

    Parameters
    ----------
    method : {"none", "sigmoid", "beta", "isotonic", "venn_abers"}
        Formulae and sources stand in `churn_ml.models.calibrators`.
    seed : int
        What the resamples of the interval are drawn from.

    Attributes
    ----------
    state_ : dict of arrays
        What the map has learned.
    grid_, low_, high_ : arrays of shape (n_points,)
        How far the interval's ends lie from the probability in log-odds, at points of raw log-odds;
        empty for Venn-Abers, whose interval is its own pair, and where there were no rows.
    """

    def __init__(self, method: str = "none", seed: int = 0) -> None:
        self.method = method
        self.seed = seed

    def fit(self, raw: FloatArray, churned: BoolArray, groups: Groups = None) -> Self:
        """Fit the map and its interval.

        The interval spans the 5th to the 95th percentile of the map over 50 bootstrap resamples of
        rows, or of groups where given (Efron and Tibshirani 1993, chapter 13). For `none`, which
        learns nothing, it is how far a sigmoid fitted to resamples strays from one fitted to all.
        Venn-Abers states p0 and p1, between which the calibrated probability lies.

        Parameters
        ----------
        raw : float array of shape (n_rows,)
            Raw probabilities of rows that the model did not see. Only `none` can do without rows:
            its interval is then not known.
        churned : boolean array of shape (n_rows,)
        groups : array of shape (n_rows,), optional
            Rows of one group, such as a customer, are drawn together.

        Raises
        ------
        ModelError
            If the method is unknown, a value is no probability, or only one outcome is there.
        """
        method = method_of(self.method)
        self.grid_ = self.low_ = self.high_ = np.empty(0)
        raw, churned = _checked(raw), np.asarray(churned, dtype=bool)
        if self.method == "none" and len(raw) == 0:
            self.state_: State = {}
            return self
        _check_outcomes(churned)
        scores = Scores(raw, churned)
        self.state_ = method.fit(scores.tally())
        if self.method != "venn_abers":
            self._fit_interval(scores, len(raw), groups)
        return self

    def calibrate(self, raw: FloatArray) -> FloatArray:
        """Return calibrated probabilities of shape (n_rows,), between 1e-6 and 1 - 1e-6."""
        return self._calibrate(logit(clip_probabilities(_checked(raw))))

    def interval(self, raw: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the ends of the 90 % interval; NaN where no rows could tell it."""
        return self.calibrate_with_interval(raw)[1:]

    def calibrate_with_interval(self, raw: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return calibrated probabilities and both ends of their interval, each of shape (n_rows,)."""
        log_odds = logit(clip_probabilities(_checked(raw)))
        calibrated = self._calibrate(log_odds)
        if self.method == "venn_abers":
            p0, p1 = venn_abers_pair(self.state_, log_odds)
            low, high = clip_probabilities(p0), clip_probabilities(p1)
        elif len(self.grid_) == 0:
            low = high = np.full(len(calibrated), np.nan)
            return calibrated, low, high
        else:
            answer = logit(calibrated)
            low = clip_probabilities(expit(answer + np.interp(log_odds, self.grid_, self.low_)))
            high = clip_probabilities(expit(answer + np.interp(log_odds, self.grid_, self.high_)))
        return calibrated, np.minimum(low, calibrated), np.maximum(high, calibrated)

    def _calibrate(self, log_odds: FloatArray) -> FloatArray:
        return clip_probabilities(method_of(self.method).apply(self.state_, log_odds))

    def _fit_interval(self, scores: Scores, row_count: int, groups: Groups) -> None:
        method = method_of("sigmoid" if self.method == "none" else self.method)
        tally = scores.tally()
        self.grid_ = np.unique(np.quantile(tally.log_odds, np.linspace(0, 1, _GRID_SIZE)))

        def answer(state: State) -> FloatArray:
            log_odds: FloatArray = logit(clip_probabilities(method.apply(state, self.grid_)))
            return log_odds

        draws = _bootstrap_weights(row_count, groups, self.seed)
        answers = [answer(method.fit(scores.tally(weights))) for weights in draws]
        strays = np.quantile(np.stack(answers) - answer(method.fit(tally)), _INTERVAL, axis=0)
        self.low_, self.high_ = np.minimum(strays[0], 0), np.maximum(strays[1], 0)


class CalibratedClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A fitted classifier whose probabilities pass through a fitted calibrator.

    It is never fitted itself: on the classifier's own training rows a calibrator learns nothing true.
    """

    def __init__(self, estimator: Any, calibrator: Calibrator) -> None:
        self.estimator = estimator
        self.calibrator = calibrator

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """The classes of the classifier; the second is churn."""
        classes: npt.NDArray[Any] = self.estimator.classes_
        return classes

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Refuse."""
        del X, y
        raise ModelError(
            "Expected a calibrated model to be used as it is, found a call that fits it again. Fit the "
            "pipeline of Candidate.build and calibrate it on rows that it has not seen."
        )

    def predict_raw(self, X: Any) -> FloatArray:  # noqa: N803
        """Return the classifier's own probabilities of churn, between 1e-6 and 1 - 1e-6, shape (n,)."""
        return clip_probabilities(self.estimator.predict_proba(X)[:, 1])

    def predict_proba(self, X: Any) -> FloatArray:  # noqa: N803
        """Return calibrated probabilities of staying and of churn, shape (n, 2)."""
        churn = self.calibrator.calibrate(self.predict_raw(X))
        return np.column_stack([1 - churn, churn])

    def predict(self, X: Any) -> npt.NDArray[Any]:  # noqa: N803
        """Return the more probable class of each row."""
        labels: npt.NDArray[Any] = self.classes_[np.argmax(self.predict_proba(X), axis=1)]
        return labels

    def __sklearn_is_fitted__(self) -> bool:
        return True


def fit_calibrator(
    method: str, raw: FloatArray, churned: BoolArray, *, groups: Groups = None, seed: int
) -> Calibrator:
    """Return a fitted calibrator; see `Calibrator.fit`."""
    return Calibrator(method, seed).fit(raw, churned, groups)


def choose_calibrator(
    raw: FloatArray, churned: BoolArray, *, groups: Groups = None, seed: int
) -> tuple[Calibrator, dict[str, float]]:
    """Return the calibrator of the method with the lowest cross-validated log loss, fitted on all rows.

    Five folds, stratified by outcome; rows of one group stay together. A method whose sum of
    probabilities is not within a twentieth of those who churned is left out while another is there:
    Venn-Abers draws everyone towards a half, which overstates money where few leave. Of equal ones the
    simpler is taken: none, sigmoid, beta, isotonic, Venn-Abers.

    Returns
    -------
    tuple
        The calibrator, and each method's log loss in nats on rows that it was not fitted on.

    Raises
    ------
    ModelError
        If a value is no probability, or fewer than two rows (or groups) of either outcome are there.
    """
    raw, churned = _checked(raw), np.asarray(churned, dtype=bool)
    _check_outcomes(churned)
    folds = _folds(churned, groups, seed)
    losses, in_the_large = {}, []
    for method in METHODS:
        answers = np.empty(len(raw))
        for fold in range(int(folds.max()) + 1):
            rows = folds == fold
            state = method_of(method).fit(Scores(raw[~rows], churned[~rows]).tally())
            answers[rows] = method_of(method).apply(state, logit(clip_probabilities(raw[rows])))
        losses[method] = float(log_loss(churned, clip_probabilities(answers)))
        if abs(churned.sum() / answers.sum() - 1) <= _LARGEST_BIAS:
            in_the_large.append(method)
    eligible = in_the_large or METHODS
    least = min(losses[method] for method in eligible)
    chosen = next(method for method in eligible if losses[method] <= least + _TIE)
    return fit_calibrator(chosen, raw, churned, groups=groups, seed=seed), losses


def calibrated(pipeline: Pipeline, calibrator: Calibrator) -> Pipeline:
    """Return `pipeline` with its fitted last step calibrated; nothing is refitted or copied.

    Raises
    ------
    ModelError
        If the pipeline reweights its rows, see `refuse_reweighting`.
    """
    refuse_reweighting(pipeline)
    name, estimator = pipeline.steps[-1]
    return Pipeline([*pipeline.steps[:-1], (name, CalibratedClassifier(estimator, calibrator))])


def refuse_reweighting(pipeline: Pipeline) -> None:
    """Refuse class weights and resampling: they move every probability, and money with it.

    Raises
    ------
    ModelError
        The message names each parameter or step that was found.
    """
    found = []
    for name, value in pipeline.get_params(deep=True).items():
        parameter = name.rpartition("__")[2]
        if parameter in _NO_REWEIGHTING and value not in (None, _NO_REWEIGHTING[parameter]):
            found.append(f"{name}={value!r}")
        elif hasattr(value, "fit_resample"):
            found.append(f"{name} ({type(value).__name__}), which resamples")
    if found:
        raise ModelError(
            "Expected a model that gives probabilities of churn, found rows that are weighted or drawn by "
            f"their outcome: {', '.join(found)}. Leave it out and choose the threshold instead."
        )


def _checked(raw: FloatArray) -> FloatArray:
    raw = np.asarray(raw, dtype=np.float64)
    wrong = ~((raw >= 0) & (raw <= 1))
    if wrong.any():
        raise ModelError(
            f"Expected raw probabilities between 0 and 1, found {raw[wrong][0]} and {wrong.sum() - 1} "
            "others that are not. Leave out rows that were not predicted, or train another model."
        )
    return raw


def _check_outcomes(churned: BoolArray) -> None:
    if churned.all() or not churned.any():
        raise ModelError(
            f"Expected customers who churned and customers who stayed to calibrate on, found "
            f"{int(churned.sum())} who churned among {len(churned)}. Calibrate on more rows, or by none."
        )


def _folds(churned: BoolArray, groups: Groups, seed: int) -> npt.NDArray[np.intp]:
    """Return the fold of each row: units (rows or groups) dealt out in random order within outcomes."""
    unit_of_row = np.arange(len(churned)) if groups is None else np.unique(groups, return_inverse=True)[1]
    outcome_of_unit = np.bincount(unit_of_row, churned) > 0
    count = min(_FOLDS, int(outcome_of_unit.sum()), int((~outcome_of_unit).sum()))
    if count < 2:
        raise ModelError(
            f"Expected at least 2 {'rows' if groups is None else 'groups'} of either outcome to choose a "
            f"calibration by, found {int(outcome_of_unit.sum())} that churned among {len(outcome_of_unit)}. "
            "Calibrate on more rows."
        )
    random = np.random.default_rng(seed)
    fold_of_unit = np.empty(len(outcome_of_unit), dtype=np.intp)
    for outcome in (True, False):
        units = random.permutation(np.flatnonzero(outcome_of_unit == outcome))
        fold_of_unit[units] = np.arange(len(units)) % count
    return fold_of_unit[unit_of_row]


def _bootstrap_weights(row_count: int, groups: Groups, seed: int) -> list[FloatArray]:
    """Return how often each row is drawn, per resample, whole groups at a time."""
    unit_of_row = np.arange(row_count) if groups is None else np.unique(groups, return_inverse=True)[1]
    unit_count = int(unit_of_row.max()) + 1
    random = np.random.default_rng(seed)
    return [
        np.bincount(random.integers(unit_count, size=unit_count), minlength=unit_count)[unit_of_row].astype(
            np.float64
        )
        for _ in range(_RESAMPLES)
    ]
