"""One decision tree, and a forest of them."""

from dataclasses import dataclass, replace
from typing import ClassVar

from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier

from churn_ml.features import preprocessing
from churn_ml.features.contract import FeatureContract
from churn_ml.models.calibration import CALIBRATION_TYPES
from churn_ml.models.parameters import ParameterSource

_TREE_TYPES = (
    *CALIBRATION_TYPES,
    *preprocessing.INDICATOR_TYPES,
    "sklearn.tree._tree.Tree",
)


@dataclass(frozen=True)
class DecisionTree:
    """One tree with large leaves, small enough to be read."""

    family: ClassVar[str] = "decision_tree"
    trusted_types: ClassVar[tuple[str, ...]] = _TREE_TYPES
    libraries: ClassVar[tuple[str, ...]] = ()
    validation_repeats: ClassVar[int] = 3
    is_additive: ClassVar[bool] = False
    most_leaves: int = 24
    least_leaf: int = 60

    def build(self, contract: FeatureContract, seed: int) -> Pipeline:
        """Return an unfitted pipeline; `seed` decides between splits that tell the same."""
        model = DecisionTreeClassifier(
            criterion="log_loss",
            max_leaf_nodes=self.most_leaves,
            min_samples_leaf=self.least_leaf,
            random_state=seed,
        )
        return Pipeline([("columns", preprocessing.indicator_columns(contract)), ("model", model)])

    def suggest(self, trial: ParameterSource) -> "DecisionTree":
        """Return a copy with suggested parameters."""
        return replace(
            self,
            most_leaves=trial.suggest_int("most_leaves", 4, 64, log=True),
            least_leaf=trial.suggest_int("least_leaf", 20, 200, log=True),
        )


@dataclass(frozen=True)
class RandomForest:
    """A forest with large leaves, so that its shares are probabilities and not votes."""

    family: ClassVar[str] = "random_forest"
    trusted_types: ClassVar[tuple[str, ...]] = _TREE_TYPES
    libraries: ClassVar[tuple[str, ...]] = ()
    validation_repeats: ClassVar[int] = 3
    is_additive: ClassVar[bool] = False
    tree_count: int = 200
    least_leaf: int = 25
    feature_share: float = 0.3
    row_share: float | None = None

    def build(self, contract: FeatureContract, seed: int) -> Pipeline:
        """Return an unfitted pipeline whose forest draws from `seed`."""
        model = RandomForestClassifier(
            n_estimators=self.tree_count,
            min_samples_leaf=self.least_leaf,
            max_features=self.feature_share,
            max_samples=self.row_share,
            n_jobs=1,
            random_state=seed,
        )
        return Pipeline([("columns", preprocessing.indicator_columns(contract)), ("model", model)])

    def suggest(self, trial: ParameterSource) -> "RandomForest":
        """Return a copy with suggested parameters; the number of trees and the row share stay."""
        return replace(
            self,
            least_leaf=trial.suggest_int("least_leaf", 5, 60, log=True),
            feature_share=trial.suggest_float("feature_share", 0.1, 0.8),
        )
