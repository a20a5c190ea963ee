"""The families of the second model: how many months a customer who does not leave now will stay.

Each builds an unfitted pipeline from the same feature contract as the candidates for churn. Its last
step is a `RestrictedRegressor`: an answer is a number of months within the horizon, whatever the
regressor says. Adding a family is a class and its name in `VALUE_CANDIDATES`. `trusted_types` lists
what its artifact may hold beyond what skops trusts itself; it grows only by review, as in `candidates`.
"""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils import Tags, column_or_1d, get_tags
from sklearn.utils.validation import check_is_fitted

from churn_ml.errors import ModelError
from churn_ml.features import preprocessing
from churn_ml.features.contract import FeatureContract
from churn_ml.models.boosters import histogram_settings

FloatArray = npt.NDArray[np.float64]

_OWN_TYPES = ("churn_ml.models.value_models.RestrictedRegressor",)
_TREE_TYPES = (*_OWN_TYPES, *preprocessing.INDICATOR_TYPES, "sklearn.tree._tree.Tree")


class RestrictedRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A regressor of months whose answers are clipped to ``[0, horizon_months]``.

    The restricted mean of a time of leaving lies within these limits; a regression on
    pseudo-observations, which themselves may not, can step over them.

    Parameters
    ----------
    regressor : scikit-learn regressor
        Cloned and fitted by `fit`; the fitted one is `regressor_`.
    horizon_months : float
    """

    def __init__(self, regressor: Any, horizon_months: float = 12.0) -> None:
        self.regressor = regressor
        self.horizon_months = horizon_months

    def fit(self, X: Any, y: FloatArray) -> Self:  # noqa: N803 - scikit-learn's own name
        """Fit a copy of the regressor on pseudo-observations `y` of shape (n_rows,), in months."""
        self.regressor_ = clone(self.regressor).fit(X, column_or_1d(y, warn=True))
        return self

    def predict(self, X: Any) -> FloatArray:  # noqa: N803
        """Return the expected months of each row, shape (n_rows,)."""
        check_is_fitted(self)
        months = np.asarray(self.regressor_.predict(X), np.float64)
        return np.clip(months, 0.0, self.horizon_months)

    @property
    def n_features_in_(self) -> int:
        """Number of columns that the regressor was fitted on."""
        return int(self.regressor_.n_features_in_)

    def __sklearn_tags__(self) -> Tags:
        """Return the tags of the regressor: what it reads is read."""
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.regressor).input_tags
        return tags


class ValueCandidate(Protocol):
    """One family of regressions; its fields are the hyperparameters.

    `libraries` are the distributions, besides those of every model, whose version decides a prediction.
    """

    family: ClassVar[str]
    trusted_types: ClassVar[tuple[str, ...]]
    libraries: ClassVar[tuple[str, ...]]

    def build(self, contract: FeatureContract, horizon_months: float, seed: int) -> Pipeline:
        """Return an unfitted pipeline for the columns of `contract`."""


@dataclass(frozen=True)
class Constant:
    """The mean of the training rows for everyone: what any other family has to beat."""

    family: ClassVar[str] = "constant"
    trusted_types: ClassVar[tuple[str, ...]] = _OWN_TYPES
    libraries: ClassVar[tuple[str, ...]] = ()

    def build(self, contract: FeatureContract, horizon_months: float, seed: int) -> Pipeline:
        """Return an unfitted pipeline; neither columns nor `seed` matter."""
        del contract, seed
        return _pipeline("passthrough", DummyRegressor(), horizon_months)


@dataclass(frozen=True)
class SplineRidge:
    """Ridge regression on cubic splines and indicators: additive."""

    family: ClassVar[str] = "spline_ridge"
    trusted_types: ClassVar[tuple[str, ...]] = (*_OWN_TYPES, *preprocessing.SPLINE_TYPES)
    libraries: ClassVar[tuple[str, ...]] = ()
    knot_count: int = 5
    penalty: float = 300.0

    def build(self, contract: FeatureContract, horizon_months: float, seed: int) -> Pipeline:
        """Return an unfitted pipeline; `seed` is not needed, the solution is in closed form."""
        del seed
        columns = preprocessing.spline_columns(contract, self.knot_count)
        return _pipeline(columns, Ridge(alpha=self.penalty), horizon_months)


@dataclass(frozen=True)
class RegressionTree:
    """One tree of few leaves that a person can read."""

    family: ClassVar[str] = "decision_tree"
    trusted_types: ClassVar[tuple[str, ...]] = _TREE_TYPES
    libraries: ClassVar[tuple[str, ...]] = ()
    leaf_count: int = 16
    least_leaf: int = 200

    def build(self, contract: FeatureContract, horizon_months: float, seed: int) -> Pipeline:
        """Return an unfitted pipeline; equal splits are taken in an order drawn from `seed`."""
        model = DecisionTreeRegressor(
            max_leaf_nodes=self.leaf_count, min_samples_leaf=self.least_leaf, random_state=seed
        )
        return _pipeline(preprocessing.indicator_columns(contract), model, horizon_months)


@dataclass(frozen=True)
class RegressionForest:
    """A forest with large leaves: pseudo-observations are noisy, only means of many say something."""

    family: ClassVar[str] = "random_forest"
    trusted_types: ClassVar[tuple[str, ...]] = _TREE_TYPES
    libraries: ClassVar[tuple[str, ...]] = ()
    tree_count: int = 60
    least_leaf: int = 50
    feature_share: float = 0.3
    row_share: float = 0.15

    def build(self, contract: FeatureContract, horizon_months: float, seed: int) -> Pipeline:
        """Return an unfitted pipeline whose forest draws from `seed`, in one thread."""
        model = RandomForestRegressor(
            n_estimators=self.tree_count,
            min_samples_leaf=self.least_leaf,
            max_features=self.feature_share,
            max_samples=self.row_share,
            random_state=seed,
            n_jobs=1,
        )
        return _pipeline(preprocessing.indicator_columns(contract), model, horizon_months)


@dataclass(frozen=True)
class RegressionBoosting:
    """Histogram gradient boosting of squared error with shallow trees on ordinal codes."""

    family: ClassVar[str] = "gradient_boosting"
    trusted_types: ClassVar[tuple[str, ...]] = (
        *_OWN_TYPES,
        *preprocessing.CODE_TYPES,
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    )
    libraries: ClassVar[tuple[str, ...]] = ()
    tree_count: int = 120
    depth: int = 2
    learning_rate: float = 0.06
    least_leaf: int = 100
    penalty: float = 20.0
    feature_share: float = 0.5

    def build(self, contract: FeatureContract, horizon_months: float, seed: int) -> Pipeline:
        """Return an unfitted pipeline whose booster draws from `seed`."""
        model = HistGradientBoostingRegressor(**histogram_settings(asdict(self), seed))
        return _pipeline(preprocessing.code_columns(contract), model, horizon_months)


VALUE_CANDIDATES: tuple[ValueCandidate, ...] = (
    Constant(),
    SplineRidge(),
    RegressionTree(),
    RegressionForest(),
    RegressionBoosting(),
)
TRUSTED_TYPES = tuple(dict.fromkeys(name for item in VALUE_CANDIDATES for name in item.trusted_types))


def value_candidate_of(family: str) -> ValueCandidate:
    """Return the candidate of `family`.

    Raises
    ------
    ModelError
        If no candidate has that name.
    """
    known = {candidate.family: candidate for candidate in VALUE_CANDIDATES}
    if family not in known:
        raise ModelError(
            f"Expected a value family of {', '.join(known)}, found {family!r}. Train a new model."
        )
    return known[family]


def _pipeline(columns: Any, regressor: Any, horizon_months: float) -> Pipeline:
    return Pipeline([("columns", columns), ("model", RestrictedRegressor(regressor, horizon_months))])
