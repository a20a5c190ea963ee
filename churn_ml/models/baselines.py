"""What every other family has to beat: one rate for everyone, and one question asked."""

from dataclasses import dataclass
from typing import ClassVar

from sklearn.dummy import DummyClassifier
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier

from churn_ml.features import preprocessing
from churn_ml.features.contract import FeatureContract
from churn_ml.models.calibration import CALIBRATION_TYPES
from churn_ml.models.parameters import ParameterSource


@dataclass(frozen=True)
class BaseRate:
    """The share of the training rows that churned, for everyone."""

    family: ClassVar[str] = "base_rate"
    trusted_types: ClassVar[tuple[str, ...]] = CALIBRATION_TYPES
    libraries: ClassVar[tuple[str, ...]] = ()
    validation_repeats: ClassVar[int] = 3
    is_additive: ClassVar[bool] = True

    def build(self, contract: FeatureContract, seed: int) -> Pipeline:
        """Return an unfitted pipeline that reads no column and draws nothing."""
        del contract, seed
        return Pipeline([("columns", "passthrough"), ("model", DummyClassifier(strategy="prior"))])

    def suggest(self, trial: ParameterSource) -> "BaseRate":
        """Return the same candidate: it has no parameters."""
        del trial
        return self


@dataclass(frozen=True)
class OneRule:
    """The one question that tells most: a number against a limit, or one category against the others."""

    family: ClassVar[str] = "one_rule"
    trusted_types: ClassVar[tuple[str, ...]] = (
        *CALIBRATION_TYPES,
        *preprocessing.INDICATOR_TYPES,
        "sklearn.tree._tree.Tree",
    )
    libraries: ClassVar[tuple[str, ...]] = ()
    validation_repeats: ClassVar[int] = 3
    is_additive: ClassVar[bool] = False

    def build(self, contract: FeatureContract, seed: int) -> Pipeline:
        """Return an unfitted pipeline; `seed` decides between questions that tell the same."""
        model = DecisionTreeClassifier(criterion="log_loss", max_depth=1, random_state=seed)
        return Pipeline([("columns", preprocessing.indicator_columns(contract)), ("model", model)])

    def suggest(self, trial: ParameterSource) -> "OneRule":
        """Return the same candidate: it has no parameters."""
        del trial
        return self
