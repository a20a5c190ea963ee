"""Who is predicted by which fold pipeline, and how several are averaged."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.pipeline import Pipeline

from churn_ml.errors import ModelError
from churn_ml.models.calibration import Calibrator, calibrated, fit_calibrator
from churn_ml.models.crossfit import NOT_TRAINED_ON, CrossFittedModel, Predictions

FIELDS = ("raw", "calibrated", "low", "high")


class Constant(ClassifierMixin, BaseEstimator):
    """A model that says the same of everyone."""

    def __init__(self, probability: float) -> None:
        self.probability = probability

    def fit(self, frame: pd.DataFrame, churned: np.ndarray) -> "Constant":
        del frame, churned
        return self

    def predict_proba(self, frame: pd.DataFrame) -> np.ndarray:
        return np.tile([1 - self.probability, self.probability], (len(frame), 1))

    def __sklearn_is_fitted__(self) -> bool:
        return True


def constant(probability: float) -> Pipeline:
    return Pipeline([("columns", "passthrough"), ("model", Constant(probability))])


def sigmoid() -> Calibrator:
    rng = np.random.default_rng(0)
    raw = rng.random(400)
    return fit_calibrator("sigmoid", raw, rng.random(400) < expit(0.5 * logit(raw) - 0.4), seed=1)


CALIBRATOR = sigmoid()
MODEL = CrossFittedModel([constant(p) for p in (0.2, 0.4, 0.9)])
CALIBRATED = CrossFittedModel([calibrated(constant(p), CALIBRATOR) for p in (0.2, 0.4, 0.9)])


def predict(model: CrossFittedModel, folds: list[int]) -> Predictions:
    return model.predict(pd.DataFrame({"x": range(len(folds))}), np.array(folds, dtype=int))


def mean_in_log_odds(probabilities: np.ndarray) -> float:
    return float(expit(np.mean(logit(probabilities))))


def test_training_customers_take_their_own_fold_and_others_the_mean_in_log_odds() -> None:
    mean = mean_in_log_odds(np.array([0.2, 0.4, 0.9]))
    found = predict(MODEL, [2, NOT_TRAINED_ON, 0, 1, NOT_TRAINED_ON])
    np.testing.assert_allclose(found.raw, [0.9, mean, 0.2, 0.4, mean], rtol=1e-14)
    assert mean != pytest.approx(0.5, abs=0.01), "the mean of probabilities would be another"


def test_calibrated_pipelines_are_averaged_after_calibration() -> None:
    each = CALIBRATOR.calibrate_with_interval(np.array([0.2, 0.4, 0.9]))
    own, everyone = predict(CALIBRATED, [0, 1, 2]), predict(CALIBRATED, [NOT_TRAINED_ON])
    for name, expected in zip(FIELDS[1:], each, strict=True):
        np.testing.assert_array_equal(getattr(own, name), expected)
        assert getattr(everyone, name) == pytest.approx([mean_in_log_odds(expected)], rel=1e-14)
    np.testing.assert_array_equal(own.raw, [0.2, 0.4, 0.9])
    for found in (own, everyone):
        assert np.all((found.low < found.calibrated) & (found.calibrated < found.high))


def test_what_was_not_calibrated_has_no_interval() -> None:
    found = predict(MODEL, [NOT_TRAINED_ON, 1])
    np.testing.assert_array_equal(found.raw, found.calibrated)
    assert np.isnan([found.low, found.high]).all()


def test_one_pipeline_is_taken_to_the_bit() -> None:
    alone = CrossFittedModel(CALIBRATED.pipelines[:1])
    for name in FIELDS:
        one, same = (getattr(predict(alone, [fold]), name) for fold in (NOT_TRAINED_ON, 0))
        assert one.tobytes() == same.tobytes()


@pytest.mark.parametrize("fold", [3, -2])
def test_a_fold_without_a_pipeline_is_refused(fold: int) -> None:
    with pytest.raises(ModelError, match="between 0 and 2"):
        predict(MODEL, [0, fold])


@pytest.mark.parametrize("model", [MODEL, CALIBRATED])
def test_nobody_gives_no_probability(model: CrossFittedModel) -> None:
    assert [len(getattr(predict(model, []), name)) for name in FIELDS] == [0, 0, 0, 0]
