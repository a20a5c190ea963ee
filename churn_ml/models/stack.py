"""A stack: what a spline model and a booster say, weighed by a logistic regression on their log-odds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, logit  # type: ignore[import-untyped]
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, check_array, check_consistent_length, get_tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from churn_ml.features.contract import FeatureContract
from churn_ml.models.boosters import GradientBoosting
from churn_ml.models.calibrators import clip_probabilities
from churn_ml.models.linear import SplineLogistic
from churn_ml.models.parameters import ParameterSource

FloatArray = npt.NDArray[np.float64]


class LogOddsStack(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Weigh classifiers by a logistic regression on their log-odds (Wolpert 1992; van der Laan 2007).

    The weights are fitted on inner out-of-fold rows, the classifiers then on all rows. The stack's
    log-odds are ``meta_.intercept_ + sum of meta_.coef_ x log-odds of each classifier``.

    Parameters
    ----------
    bases : list of (name, classifier)
    fold_count : int
        Inner folds, stratified by outcome.
    seed : int
        What the inner folds are drawn from.

    Attributes
    ----------
    classes_ : array of shape (2,)
    bases_ : list of fitted classifiers
        In the order of `bases`.
    meta_ : LogisticRegression
        Fitted on log-odds of shape (n_samples, n_bases).
    """

    def __init__(self, bases: Sequence[tuple[str, Any]] = (), fold_count: int = 5, seed: int = 0) -> None:
        self.bases = bases
        self.fold_count = fold_count
        self.seed = seed

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803
        """Fit on a frame or array of shape (n_samples, n_features) and labels of two classes."""
        X = self._checked(X, reset=True)  # noqa: N806
        y = column_or_1d(y, warn=True)
        check_consistent_length(X, y)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) != 2:
            found = f"{len(self.classes_)} class" + ("" if len(self.classes_) == 1 else "es")
            raise ValueError(f"Only binary classification is supported. Expected 2 classes, found {found}.")
        seen = np.full((len(y), len(self.bases)), np.nan)
        folds = StratifiedKFold(self.fold_count, shuffle=True, random_state=self.seed)
        for train, left_out in folds.split(np.zeros(len(y)), y):
            inner = self._fitted_bases(_safe_indexing(X, train), y[train])
            seen[left_out] = _log_odds(inner, _safe_indexing(X, left_out))
        self.meta_ = LogisticRegression(C=1.0).fit(seen, y)
        self.bases_ = self._fitted_bases(X, y)
        return self

    def decision_function(self, X: Any) -> FloatArray:  # noqa: N803
        """Return log-odds of the second class, shape (n_samples,)."""
        check_is_fitted(self)
        X = self._checked(X, reset=False)  # noqa: N806
        log_odds: FloatArray = _log_odds(self.bases_, X) @ self.meta_.coef_[0] + self.meta_.intercept_[0]
        return log_odds

    def predict_proba(self, X: Any) -> FloatArray:  # noqa: N803
        """Return probabilities of both classes, shape (n_samples, 2)."""
        second = expit(self.decision_function(X))
        return np.column_stack([1 - second, second])

    def predict(self, X: Any) -> npt.NDArray[Any]:  # noqa: N803
        """Return the more probable class of each row."""
        is_second = self.decision_function(X) > 0
        labels: npt.NDArray[Any] = self.classes_[is_second.astype(int)]
        return labels

    def _checked(self, X: Any, *, reset: bool) -> Any:  # noqa: N803
        if not isinstance(X, pd.DataFrame):
            X = check_array(X, ensure_all_finite="allow-nan")  # noqa: N806
        validate_data(self, X, reset=reset, skip_check_array=True)
        return X

    def _fitted_bases(self, X: Any, y: Any) -> list[Any]:  # noqa: N803
        return [clone(base).fit(X, y) for _, base in self.bases]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = all(get_tags(base).input_tags.allow_nan for _, base in self.bases)
        tags.classifier_tags.multi_class = False
        return tags


@dataclass(frozen=True)
class Stack:
    """Spline logistic and gradient boosting, each with its own columns, weighed in log-odds."""

    family: ClassVar[str] = "stack"
    trusted_types: ClassVar[tuple[str, ...]] = tuple(
        dict.fromkeys(
            (
                *SplineLogistic.trusted_types,
                *GradientBoosting.trusted_types,
                "churn_ml.models.stack.LogOddsStack",
            )
        )
    )
    libraries: ClassVar[tuple[str, ...]] = ()
    validation_repeats: ClassVar[int] = 1
    is_additive: ClassVar[bool] = False
    knot_count: int = SplineLogistic.knot_count
    inverse_penalty: float = SplineLogistic.inverse_penalty
    tree_count: int = GradientBoosting.tree_count
    depth: int = GradientBoosting.depth
    learning_rate: float = GradientBoosting.learning_rate
    least_leaf: int = GradientBoosting.least_leaf

    def build(self, contract: FeatureContract, seed: int) -> Pipeline:
        """Return an unfitted pipeline that hands the columns as they are to both."""
        linear = SplineLogistic(self.knot_count, self.inverse_penalty)
        trees = GradientBoosting(self.tree_count, self.depth, self.learning_rate, self.least_leaf)
        bases = [(item.family, item.build(contract, seed)) for item in (linear, trees)]
        return Pipeline([("columns", "passthrough"), ("model", LogOddsStack(bases, seed=seed))])

    def suggest(self, trial: ParameterSource) -> "Stack":
        """Return a copy with suggested parameters."""
        return replace(
            self,
            inverse_penalty=trial.suggest_float("inverse_penalty", 0.03, 30.0, log=True),
            tree_count=trial.suggest_int("tree_count", 80, 400, log=True),
            depth=trial.suggest_int("depth", 2, 4),
            learning_rate=trial.suggest_float("learning_rate", 0.02, 0.15, log=True),
        )


def _log_odds(bases: Sequence[Any], X: Any) -> FloatArray:  # noqa: N803
    return np.column_stack([logit(clip_probabilities(base.predict_proba(X)[:, 1])) for base in bases])
