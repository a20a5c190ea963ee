"""Boosted trees on ordinal codes, by three libraries.

Native categories are left out on purpose: explainers and exporters read them wrongly.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline

from churn_ml.features import preprocessing
from churn_ml.features.contract import FeatureContract
from churn_ml.models.calibration import CALIBRATION_TYPES
from churn_ml.models.parameters import ParameterSource

_CODE_TYPES = (*CALIBRATION_TYPES, *preprocessing.CODE_TYPES)
_HISTOGRAM_TYPES = (*_CODE_TYPES, "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor")


@dataclass(frozen=True)
class GradientBoosting:
    """scikit-learn's histogram gradient boosting with shallow trees."""

    family: ClassVar[str] = "gradient_boosting"
    trusted_types: ClassVar[tuple[str, ...]] = _HISTOGRAM_TYPES
    libraries: ClassVar[tuple[str, ...]] = ()
    validation_repeats: ClassVar[int] = 3
    is_additive: ClassVar[bool] = False
    tree_count: int = 200
    depth: int = 3
    learning_rate: float = 0.05
    least_leaf: int = 40
    penalty: float = 5.0
    feature_share: float = 0.5

    def build(self, contract: FeatureContract, seed: int) -> Pipeline:
        """Return an unfitted pipeline whose booster draws from `seed`."""
        model = HistGradientBoostingClassifier(
            max_iter=self.tree_count,
            max_depth=self.depth,
            learning_rate=self.learning_rate,
            min_samples_leaf=self.least_leaf,
            l2_regularization=self.penalty,
            max_features=self.feature_share,
            early_stopping=False,
            random_state=seed,
        )
        return Pipeline([("columns", preprocessing.code_columns(contract)), ("model", model)])

    def suggest(self, trial: ParameterSource) -> "GradientBoosting":
        """Return a copy with suggested parameters."""
        return replace(
            self,
            tree_count=trial.suggest_int("tree_count", 80, 400, log=True),
            depth=trial.suggest_int("depth", 2, 5),
            learning_rate=trial.suggest_float("learning_rate", 0.02, 0.15, log=True),
            least_leaf=trial.suggest_int("least_leaf", 10, 120, log=True),
            penalty=trial.suggest_float("penalty", 0.1, 30.0, log=True),
            feature_share=trial.suggest_float("feature_share", 0.2, 1.0),
        )


@dataclass(frozen=True)
class PairwiseBoosting:
    """Histogram gradient boosting whose every tree reads at most two columns: additive up to pairs."""

    family: ClassVar[str] = "pairwise_boosting"
    trusted_types: ClassVar[tuple[str, ...]] = _HISTOGRAM_TYPES
    libraries: ClassVar[tuple[str, ...]] = ()
    validation_repeats: ClassVar[int] = 3
    is_additive: ClassVar[bool] = True
    tree_count: int = 200
    most_leaves: int = 10
    learning_rate: float = 0.06
    least_leaf: int = 40
    penalty: float = 5.0
    feature_share: float = 0.5

    def build(self, contract: FeatureContract, seed: int) -> Pipeline:
        """Return an unfitted pipeline whose booster draws from `seed`."""
        model = HistGradientBoostingClassifier(
            max_iter=self.tree_count,
            max_leaf_nodes=self.most_leaves,
            learning_rate=self.learning_rate,
            min_samples_leaf=self.least_leaf,
            l2_regularization=self.penalty,
            max_features=self.feature_share,
            interaction_cst="pairwise",
            early_stopping=False,
            random_state=seed,
        )
        return Pipeline([("columns", preprocessing.code_columns(contract)), ("model", model)])

    def suggest(self, trial: ParameterSource) -> "PairwiseBoosting":
        """Return a copy with suggested parameters."""
        return replace(
            self,
            tree_count=trial.suggest_int("tree_count", 80, 300, log=True),
            most_leaves=trial.suggest_int("most_leaves", 3, 16, log=True),
            learning_rate=trial.suggest_float("learning_rate", 0.02, 0.15, log=True),
            least_leaf=trial.suggest_int("least_leaf", 10, 120, log=True),
            penalty=trial.suggest_float("penalty", 0.1, 30.0, log=True),
            feature_share=trial.suggest_float("feature_share", 0.2, 1.0),
        )


@dataclass(frozen=True)
class Lightgbm:
    """LightGBM with shallow trees, kept as the library's own text."""

    family: ClassVar[str] = "lightgbm"
    trusted_types: ClassVar[tuple[str, ...]] = (
        *_CODE_TYPES,
        "churn_ml.models.text_boosters.LightgbmClassifier",
    )
    libraries: ClassVar[tuple[str, ...]] = ("lightgbm",)
    validation_repeats: ClassVar[int] = 3
    is_additive: ClassVar[bool] = False
    tree_count: int = 150
    most_leaves: int = 6
    learning_rate: float = 0.06
    least_leaf: int = 40
    penalty: float = 5.0
    feature_share: float = 0.5

    def build(self, contract: FeatureContract, seed: int) -> Pipeline:
        """Return an unfitted pipeline whose booster draws from `seed`."""
        from churn_ml.models.text_boosters import LightgbmClassifier

        model = LightgbmClassifier(
            tree_count=self.tree_count,
            most_leaves=self.most_leaves,
            learning_rate=self.learning_rate,
            least_leaf=self.least_leaf,
            penalty=self.penalty,
            feature_share=self.feature_share,
            seed=seed,
        )
        return Pipeline([("columns", preprocessing.code_columns(contract)), ("model", model)])

    def suggest(self, trial: ParameterSource) -> "Lightgbm":
        """Return a copy with suggested parameters."""
        return replace(
            self,
            tree_count=trial.suggest_int("tree_count", 80, 400, log=True),
            most_leaves=trial.suggest_int("most_leaves", 3, 24, log=True),
            learning_rate=trial.suggest_float("learning_rate", 0.02, 0.15, log=True),
            least_leaf=trial.suggest_int("least_leaf", 10, 120, log=True),
            penalty=trial.suggest_float("penalty", 0.1, 30.0, log=True),
            feature_share=trial.suggest_float("feature_share", 0.2, 1.0),
        )


@dataclass(frozen=True)
class Xgboost:
    """XGBoost with shallow trees, kept as the library's own JSON."""

    family: ClassVar[str] = "xgboost"
    trusted_types: ClassVar[tuple[str, ...]] = (
        *_CODE_TYPES,
        "churn_ml.models.text_boosters.XgboostClassifier",
    )
    libraries: ClassVar[tuple[str, ...]] = ("xgboost-cpu",)
    validation_repeats: ClassVar[int] = 3
    is_additive: ClassVar[bool] = False
    tree_count: int = 150
    depth: int = 3
    learning_rate: float = 0.06
    least_leaf_weight: float = 5.0
    penalty: float = 5.0
    feature_share: float = 0.5

    def build(self, contract: FeatureContract, seed: int) -> Pipeline:
        """Return an unfitted pipeline whose booster draws from `seed`."""
        from churn_ml.models.text_boosters import XgboostClassifier

        model = XgboostClassifier(
            tree_count=self.tree_count,
            depth=self.depth,
            learning_rate=self.learning_rate,
            least_leaf_weight=self.least_leaf_weight,
            penalty=self.penalty,
            feature_share=self.feature_share,
            seed=seed,
        )
        return Pipeline([("columns", preprocessing.code_columns(contract)), ("model", model)])

    def suggest(self, trial: ParameterSource) -> "Xgboost":
        """Return a copy with suggested parameters."""
        return replace(
            self,
            tree_count=trial.suggest_int("tree_count", 80, 400, log=True),
            depth=trial.suggest_int("depth", 2, 5),
            learning_rate=trial.suggest_float("learning_rate", 0.02, 0.15, log=True),
            least_leaf_weight=trial.suggest_float("least_leaf_weight", 1.0, 30.0, log=True),
            penalty=trial.suggest_float("penalty", 0.1, 30.0, log=True),
            feature_share=trial.suggest_float("feature_share", 0.2, 1.0),
        )


@dataclass(frozen=True)
class Explainable:
    """Explainable boosting: one function per column and a few pairs, boosted in turn, kept as tables."""

    family: ClassVar[str] = "explainable_boosting"
    trusted_types: ClassVar[tuple[str, ...]] = (
        *_CODE_TYPES,
        "churn_ml.models.explainable.ExplainableBoosting",
    )
    libraries: ClassVar[tuple[str, ...]] = ()
    validation_repeats: ClassVar[int] = 1
    is_additive: ClassVar[bool] = True
    interactions: int = 10
    outer_bags: int = 4
    max_rounds: int = 2000

    def build(self, contract: FeatureContract, seed: int) -> Pipeline:
        """Return an unfitted pipeline whose bags are drawn from `seed`."""
        from churn_ml.models.explainable import ExplainableBoosting

        model = ExplainableBoosting(
            interactions=self.interactions,
            outer_bags=self.outer_bags,
            max_rounds=self.max_rounds,
            seed=seed,
        )
        return Pipeline([("columns", preprocessing.code_columns(contract)), ("model", model)])

    def suggest(self, trial: ParameterSource) -> "Explainable":
        """Return a copy with a suggested number of pairs."""
        return replace(self, interactions=trial.suggest_int("interactions", 0, 20))
