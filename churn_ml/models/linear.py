"""Logistic regression on splines."""

from dataclasses import dataclass, replace
from typing import ClassVar

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from churn_ml.features import preprocessing
from churn_ml.features.contract import FeatureContract
from churn_ml.models.calibration import CALIBRATION_TYPES
from churn_ml.models.parameters import ParameterSource


@dataclass(frozen=True)
class SplineLogistic:
    """Logistic regression on cubic splines and indicators: additive, calibrated by its own loss."""

    family: ClassVar[str] = "spline_logistic"
    trusted_types: ClassVar[tuple[str, ...]] = (
        *CALIBRATION_TYPES,
        *preprocessing.SPLINE_TYPES,
    )
    libraries: ClassVar[tuple[str, ...]] = ()
    validation_repeats: ClassVar[int] = 3
    is_additive: ClassVar[bool] = True
    knot_count: int = 5
    inverse_penalty: float = 3.0

    def build(self, contract: FeatureContract, seed: int) -> Pipeline:
        """Return an unfitted pipeline; `seed` is not needed, the solver draws nothing."""
        del seed
        model = LogisticRegression(C=self.inverse_penalty, max_iter=2000)
        return Pipeline(
            [("columns", preprocessing.spline_columns(contract, self.knot_count)), ("model", model)]
        )

    def suggest(self, trial: ParameterSource) -> "SplineLogistic":
        """Return a copy with suggested parameters."""
        return replace(
            self,
            knot_count=trial.suggest_int("knot_count", 3, 9),
            inverse_penalty=trial.suggest_float("inverse_penalty", 0.03, 30.0, log=True),
        )
