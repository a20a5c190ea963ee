"""Boosted trees on ordinal codes, by three libraries.

Native categories are left out on purpose: explainers and exporters read them wrongly.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline

from churn_ml.features import preprocessing
from churn_ml.features.contract import FeatureContract
from churn_ml.models.calibration import CALIBRATION_TYPES
from churn_ml.models.parameters import ParameterSource, Range

_CODE_TYPES = (*CALIBRATION_TYPES, *preprocessing.CODE_TYPES)
_HISTOGRAM_TYPES = (*_CODE_TYPES, "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor")
_HISTOGRAM_NAMES = {
    "tree_count": "max_iter",
    "depth": "max_depth",
    "most_leaves": "max_leaf_nodes",
    "learning_rate": "learning_rate",
    "least_leaf": "min_samples_leaf",
    "penalty": "l2_regularization",
    "feature_share": "max_features",
}


def histogram_settings(parameters: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return scikit-learn's names for the parameters of a histogram booster that draws from `seed`."""
    named = {_HISTOGRAM_NAMES[name]: value for name, value in parameters.items()}
    return named | {"early_stopping": False, "random_state": seed}


@dataclass(frozen=True)
class _Booster:
    """What these families share; a seeded search draws parameters in the order of `ranges`."""

    ranges: ClassVar[Mapping[str, Range]]

    def build(self, contract: FeatureContract, seed: int) -> Pipeline:
        """Return an unfitted pipeline whose booster draws from `seed`."""
        return Pipeline([("columns", preprocessing.code_columns(contract)), ("model", self._model(seed))])

    def suggest(self, trial: ParameterSource) -> Self:
        """Return a copy with suggested parameters."""
        found: dict[str, Any] = {name: one.suggest(trial, name) for name, one in self.ranges.items()}
        return replace(self, **found)

    def _model(self, seed: int) -> Any:
        raise NotImplementedError


@dataclass(frozen=True)
class GradientBoosting(_Booster):
    """scikit-learn's histogram gradient boosting with shallow trees."""

    family: ClassVar[str] = "gradient_boosting"
    trusted_types: ClassVar[tuple[str, ...]] = _HISTOGRAM_TYPES
    libraries: ClassVar[tuple[str, ...]] = ()
    validation_repeats: ClassVar[int] = 3
    is_additive: ClassVar[bool] = False
    ranges: ClassVar[Mapping[str, Range]] = {
        "tree_count": Range(80, 400, log=True),
        "depth": Range(2, 5),
        "learning_rate": Range(0.02, 0.15, log=True),
        "least_leaf": Range(10, 120, log=True),
        "penalty": Range(0.1, 30.0, log=True),
        "feature_share": Range(0.2, 1.0),
    }
    tree_count: int = 200
    depth: int = 3
    learning_rate: float = 0.05
    least_leaf: int = 40
    penalty: float = 5.0
    feature_share: float = 0.5

    def _model(self, seed: int) -> HistGradientBoostingClassifier:
        return HistGradientBoostingClassifier(**histogram_settings(asdict(self), seed))


@dataclass(frozen=True)
class PairwiseBoosting(_Booster):
    """Histogram gradient boosting whose every tree reads at most two columns: additive up to pairs."""

    family: ClassVar[str] = "pairwise_boosting"
    trusted_types: ClassVar[tuple[str, ...]] = _HISTOGRAM_TYPES
    libraries: ClassVar[tuple[str, ...]] = ()
    validation_repeats: ClassVar[int] = 3
    is_additive: ClassVar[bool] = True
    ranges: ClassVar[Mapping[str, Range]] = {
        "tree_count": Range(80, 300, log=True),
        "most_leaves": Range(3, 16, log=True),
        "learning_rate": Range(0.02, 0.15, log=True),
        "least_leaf": Range(10, 120, log=True),
        "penalty": Range(0.1, 30.0, log=True),
        "feature_share": Range(0.2, 1.0),
    }
    tree_count: int = 200
    most_leaves: int = 10
    learning_rate: float = 0.06
    least_leaf: int = 40
    penalty: float = 5.0
    feature_share: float = 0.5

    def _model(self, seed: int) -> HistGradientBoostingClassifier:
        settings = histogram_settings(asdict(self), seed)
        return HistGradientBoostingClassifier(**settings, interaction_cst="pairwise")


@dataclass(frozen=True)
class Lightgbm(_Booster):
    """LightGBM with shallow trees, kept as the library's own text."""

    family: ClassVar[str] = "lightgbm"
    trusted_types: ClassVar[tuple[str, ...]] = (
        *_CODE_TYPES,
        "churn_ml.models.text_boosters.LightgbmClassifier",
    )
    libraries: ClassVar[tuple[str, ...]] = ("lightgbm",)
    validation_repeats: ClassVar[int] = 3
    is_additive: ClassVar[bool] = False
    ranges: ClassVar[Mapping[str, Range]] = {
        "tree_count": Range(80, 400, log=True),
        "most_leaves": Range(3, 24, log=True),
        "learning_rate": Range(0.02, 0.15, log=True),
        "least_leaf": Range(10, 120, log=True),
        "penalty": Range(0.1, 30.0, log=True),
        "feature_share": Range(0.2, 1.0),
    }
    tree_count: int = 150
    most_leaves: int = 6
    learning_rate: float = 0.06
    least_leaf: int = 40
    penalty: float = 5.0
    feature_share: float = 0.5

    def _model(self, seed: int) -> Any:
        from churn_ml.models.text_boosters import LightgbmClassifier

        return LightgbmClassifier(**asdict(self), seed=seed)


@dataclass(frozen=True)
class Xgboost(_Booster):
    """XGBoost with shallow trees, kept as the library's own JSON."""

    family: ClassVar[str] = "xgboost"
    trusted_types: ClassVar[tuple[str, ...]] = (
        *_CODE_TYPES,
        "churn_ml.models.text_boosters.XgboostClassifier",
    )
    libraries: ClassVar[tuple[str, ...]] = ("xgboost-cpu",)
    validation_repeats: ClassVar[int] = 3
    is_additive: ClassVar[bool] = False
    ranges: ClassVar[Mapping[str, Range]] = {
        "tree_count": Range(80, 400, log=True),
        "depth": Range(2, 5),
        "learning_rate": Range(0.02, 0.15, log=True),
        "least_leaf_weight": Range(1.0, 30.0, log=True),
        "penalty": Range(0.1, 30.0, log=True),
        "feature_share": Range(0.2, 1.0),
    }
    tree_count: int = 150
    depth: int = 3
    learning_rate: float = 0.06
    least_leaf_weight: float = 5.0
    penalty: float = 5.0
    feature_share: float = 0.5

    def _model(self, seed: int) -> Any:
        from churn_ml.models.text_boosters import XgboostClassifier

        return XgboostClassifier(**asdict(self), seed=seed)


@dataclass(frozen=True)
class Explainable(_Booster):
    """Explainable boosting: one function per column and a few pairs, boosted in turn, kept as tables."""

    family: ClassVar[str] = "explainable_boosting"
    trusted_types: ClassVar[tuple[str, ...]] = (
        *_CODE_TYPES,
        "churn_ml.models.explainable.ExplainableBoosting",
    )
    libraries: ClassVar[tuple[str, ...]] = ()
    validation_repeats: ClassVar[int] = 1
    is_additive: ClassVar[bool] = True
    ranges: ClassVar[Mapping[str, Range]] = {"interactions": Range(0, 20)}
    interactions: int = 10
    outer_bags: int = 4
    max_rounds: int = 2000

    def _model(self, seed: int) -> Any:
        from churn_ml.models.explainable import ExplainableBoosting

        return ExplainableBoosting(**asdict(self), seed=seed)
