"""Who is predicted by which fold pipeline."""

import numpy as np
import pandas as pd
import pytest

from churn_ml.errors import ModelError
from churn_ml.models.crossfit import NOT_TRAINED_ON, CrossFittedModel


class Constant:
    """A pipeline that says the same of everyone."""

    def __init__(self, probability: float) -> None:
        self.probability = probability

    def predict_proba(self, frame: pd.DataFrame) -> np.ndarray:
        return np.tile([1 - self.probability, self.probability], (len(frame), 1))


MODEL = CrossFittedModel([Constant(0.2), Constant(0.4), Constant(0.9)])


def test_training_customers_take_their_own_fold_and_others_the_mean() -> None:
    frame = pd.DataFrame({"x": range(5)})
    folds = np.array([2, NOT_TRAINED_ON, 0, 1, NOT_TRAINED_ON])
    np.testing.assert_allclose(MODEL.predict(frame, folds), [0.9, 0.5, 0.2, 0.4, 0.5])


@pytest.mark.parametrize("fold", [3, -2])
def test_a_fold_without_a_pipeline_is_refused(fold: int) -> None:
    with pytest.raises(ModelError, match="between 0 and 2"):
        MODEL.predict(pd.DataFrame({"x": [1, 2]}), np.array([0, fold]))


def test_nobody_gives_no_probability() -> None:
    assert len(MODEL.predict(pd.DataFrame({"x": []}), np.array([], dtype=int))) == 0
