"""The candidates: each family builds an unfitted scikit-learn pipeline from a feature contract.

Adding one is a class here and its name in `CANDIDATES` (snapshots) and `DATED_CANDIDATES`, with the
same family and types in both. `trusted_types` lists what its artifact may hold beyond what skops
trusts itself; it grows only by review of the type's own ``__reduce__``, ``__setstate__`` and
constructor.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from churn_ml.errors import ModelError
from churn_ml.features import preprocessing
from churn_ml.features.contract import FeatureContract


class Candidate(Protocol):
    """One family of models."""

    family: ClassVar[str]
    trusted_types: ClassVar[tuple[str, ...]]

    def build(self, contract: FeatureContract, seed: int) -> Pipeline:
        """Return an unfitted pipeline for the columns of `contract`."""


@dataclass(frozen=True)
class SplineLogistic:
    """Logistic regression on cubic splines and indicators: additive, calibrated by its own loss."""

    family: ClassVar[str] = "spline_logistic"
    trusted_types: ClassVar[tuple[str, ...]] = (
        *preprocessing.TRUSTED_TYPES,
        "numpy.dtype",
        "scipy._lib.array_api_compat.numpy._aliases.asarray",
        "scipy.interpolate._bsplines.BSpline",
    )
    knot_count: int = 5
    inverse_penalty: float = 3.0

    def build(self, contract: FeatureContract, seed: int) -> Pipeline:
        """Return an unfitted pipeline; `seed` is not needed, the solver draws nothing."""
        del seed
        model = LogisticRegression(C=self.inverse_penalty, max_iter=2000)
        return Pipeline(
            [("columns", preprocessing.spline_columns(contract, self.knot_count)), ("model", model)]
        )


@dataclass(frozen=True)
class RandomForest:
    """A forest with large leaves, so that its shares are probabilities and not votes."""

    family: ClassVar[str] = "random_forest"
    trusted_types: ClassVar[tuple[str, ...]] = (*preprocessing.TRUSTED_TYPES, "sklearn.tree._tree.Tree")
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
            random_state=seed,
        )
        return Pipeline([("columns", preprocessing.indicator_columns(contract)), ("model", model)])


@dataclass(frozen=True)
class GradientBoosting:
    """Histogram gradient boosting with shallow trees on ordinal codes.

    Native categories are left out on purpose: explainers and exporters read them wrongly.
    """

    family: ClassVar[str] = "gradient_boosting"
    trusted_types: ClassVar[tuple[str, ...]] = (
        *preprocessing.TRUSTED_TYPES,
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    )
    tree_count: int = 180
    depth: int = 2
    learning_rate: float = 0.08
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


CANDIDATES: tuple[Candidate, ...] = (SplineLogistic(), RandomForest(), GradientBoosting())
# Dated panels have many more rows and few who leave: stronger penalties, and trees on a share of the rows.
DATED_CANDIDATES: tuple[Candidate, ...] = (
    SplineLogistic(inverse_penalty=1.0),
    RandomForest(tree_count=120, least_leaf=40, row_share=0.3),
    GradientBoosting(),
)


def candidate_of(family: str) -> Candidate:
    """Return the candidate of `family`.

    Raises
    ------
    ModelError
        If no candidate has that name.
    """
    known = {candidate.family: candidate for candidate in CANDIDATES}
    if family not in known:
        raise ModelError(f"Expected a family of {', '.join(known)}, found {family!r}. Train a new model.")
    return known[family]
