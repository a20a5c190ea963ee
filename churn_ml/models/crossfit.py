"""A model as its k fold pipelines: whoever trained it is predicted by the one that has not seen them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, logit  # type: ignore[import-untyped]
from sklearn.pipeline import Pipeline

from churn_ml.errors import ModelError
from churn_ml.models.calibration import CalibratedClassifier
from churn_ml.models.calibrators import clip_probabilities

NOT_TRAINED_ON = -1
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Predictions:
    """What a model says of each row, all of shape (n_rows,) and between 1e-6 and 1 - 1e-6.

    Attributes
    ----------
    raw : float array
        What the fitted estimator gives.
    calibrated : float array
        The probability of churn.
    low, high : float array
        Its 90 % interval, ``low <= calibrated <= high``; NaN where nothing was calibrated.
    """

    raw: FloatArray
    calibrated: FloatArray
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True)
class CrossFittedModel:
    """The pipelines of a model; pipeline i was fitted on every fold but i.

    A model of dated rows is one pipeline, refit on all of them: nobody has a fold, it predicts everyone.
    """

    pipelines: Sequence[Pipeline]

    def predict(self, frame: pd.DataFrame, folds: npt.NDArray[np.integer]) -> Predictions:
        """Return what the model says of each row.

        Parameters
        ----------
        frame : DataFrame
            Rows of `FeatureContract.to_frame`.
        folds : integer array of shape (n_rows,)
            The fold of each training customer, `NOT_TRAINED_ON` for anyone else. A training
            customer takes what their fold's pipeline says, anyone else the mean of all in log-odds,
            so that the contributions of the pipelines average to those of the model.

        Raises
        ------
        ModelError
            If a fold has no pipeline.
        """
        present = self.check_folds(folds)
        if len(present) == 1:
            return self._predict_fold(frame, present[0])
        result = Predictions(*(np.empty(len(frame)) for _ in fields(Predictions)))
        for fold in present:
            rows = np.flatnonzero(folds == fold)
            part = self._predict_fold(frame.take(rows), fold)
            for field in fields(Predictions):
                getattr(result, field.name)[rows] = getattr(part, field.name)
        return result

    def check_folds(self, folds: npt.NDArray[np.integer]) -> list[int]:
        """Return the folds that occur, in order.

        Raises
        ------
        ModelError
            If one has no pipeline.
        """
        present: list[int] = np.unique(folds).tolist()
        if present and not NOT_TRAINED_ON <= present[0] <= present[-1] < len(self.pipelines):
            raise ModelError(
                f"Expected folds between 0 and {len(self.pipelines) - 1}, found {present}. "
                "The training customers of this model do not fit its artifact: train a new one."
            )
        return present

    def _predict_fold(self, frame: pd.DataFrame, fold: int) -> Predictions:
        if fold != NOT_TRAINED_ON:
            return _predict(self.pipelines[fold], frame)
        return mean_in_log_odds([_predict(pipeline, frame) for pipeline in self.pipelines])


def mean_in_log_odds(parts: Sequence[Predictions]) -> Predictions:
    """Return the mean of several pipelines' predictions of the same rows, taken in log-odds."""
    if len(parts) == 1:
        return parts[0]
    return Predictions(
        *(
            expit(sum(logit(getattr(part, field.name)) for part in parts) / len(parts))
            for field in fields(Predictions)
        )
    )


def predictions_of(pipeline: Pipeline, raw: FloatArray) -> Predictions:
    """Return what a pipeline makes of its own raw probabilities, of shape (n_rows,).

    One that is not calibrated says the raw probability, without an interval.
    """
    model = pipeline[-1]
    if isinstance(model, CalibratedClassifier):
        return Predictions(raw, *model.calibrator.calibrate_with_interval(raw))
    unknown = np.full(len(raw), np.nan)
    return Predictions(raw, raw, unknown, unknown)


def _predict(pipeline: Pipeline, frame: pd.DataFrame) -> Predictions:
    model = pipeline[-1]
    if isinstance(model, CalibratedClassifier):
        return predictions_of(pipeline, model.predict_raw(pipeline[:-1].transform(frame)))
    return predictions_of(pipeline, clip_probabilities(pipeline.predict_proba(frame)[:, 1]))
