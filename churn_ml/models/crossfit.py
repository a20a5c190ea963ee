"""A model as its k fold pipelines: whoever trained it is predicted by the one that has not seen them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline

from churn_ml.errors import ModelError

NOT_TRAINED_ON = -1
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CrossFittedModel:
    """The pipelines of a model; pipeline i was fitted on every fold but i.

    A model of dated rows is one pipeline, refit on all of them: nobody has a fold, it predicts everyone.
    """

    pipelines: Sequence[Pipeline]

    def predict(self, frame: pd.DataFrame, folds: npt.NDArray[np.integer]) -> FloatArray:
        """Return churn probabilities of shape (n_rows,).

        Parameters
        ----------
        frame : DataFrame
            Rows of `FeatureContract.to_frame`.
        folds : integer array of shape (n_rows,)
            The fold of each training customer, `NOT_TRAINED_ON` for anyone else. A training
            customer takes the probability of their fold's pipeline, anyone else the mean of all.

        Raises
        ------
        ModelError
            If a fold has no pipeline.
        """
        present = np.unique(folds)
        if len(present) and not NOT_TRAINED_ON <= present[0] <= present[-1] < len(self.pipelines):
            raise ModelError(
                f"Expected folds between 0 and {len(self.pipelines) - 1}, found {present.tolist()}. "
                "The training customers of this model do not fit its artifact: train a new one."
            )
        if len(present) == 1:
            return self._predict_fold(frame, int(present[0]))
        probabilities = np.empty(len(frame))
        for fold in present:
            rows = np.flatnonzero(folds == fold)
            probabilities[rows] = self._predict_fold(frame.take(rows), int(fold))
        return probabilities

    def _predict_fold(self, frame: pd.DataFrame, fold: int) -> FloatArray:
        if fold != NOT_TRAINED_ON:
            return _churned(self.pipelines[fold], frame)
        total = np.zeros(len(frame))
        for pipeline in self.pipelines:
            total += _churned(pipeline, frame)
        return total / len(self.pipelines)


def _churned(pipeline: Pipeline, frame: pd.DataFrame) -> FloatArray:
    probabilities: FloatArray = pipeline.predict_proba(frame)[:, 1]
    return probabilities
