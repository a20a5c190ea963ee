"""An explainable boosting machine that keeps only plain arrays of what it has learned."""

import warnings
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.special import expit  # type: ignore[import-untyped]
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

FloatArray = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]

MISSING_CODE = 0
# As many as histogram boosting has; tables of pairs then stay within a processor's cache.
_MOST_BINS = 256
_MOST_PAIR_BINS = 32


class ExplainableBoosting(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Additive functions of single columns and of a few pairs, found by cyclic boosting.

    Fitting is interpret-core's ``ExplainableBoostingClassifier`` (Nori et al. 2019, arXiv:1909.09223) on one
    thread. What stays are cut points, term scores and the intercept, from which it predicts itself: an
    artifact needs no reviewed type of interpret, and scoring does not import it.

    Parameters
    ----------
    interactions : int
        Number of pairs of columns that get a function of their own.
    outer_bags : int
        Number of models on resampled rows whose mean is kept.
    max_rounds : int
        Most rounds of boosting; a bag stops earlier where its held-out rows no longer gain.
    seed : int
        What bags and first cut points are drawn from.

    Attributes
    ----------
    cuts_, pair_cuts_ : list of float arrays
        Ascending cut points of each column in its own term and in pairs. A value has the bin
        ``1 + number of cuts <= value``, a missing one has bin 0.
    term_columns_ : list of list of int
        The one or two columns of each term.
    term_scores_ : list of float arrays
        Log-odds of each bin, or of each pair of bins.
    intercept_ : float
        Log-odds where all terms are zero.
    classes_ : array of shape (2,)
    """

    def __init__(
        self, interactions: int = 10, outer_bags: int = 4, max_rounds: int = 2000, seed: int = 0
    ) -> None:
        self.interactions = interactions
        self.outer_bags = outer_bags
        self.max_rounds = max_rounds
        self.seed = seed

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803
        """Learn the terms.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Numbers; NaN is missing.
        y : array of shape (n_samples,)
            Two classes.
        """
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_all_finite="allow-nan")  # noqa: N806
        check_classification_targets(y)
        if type_of_target(y) != "binary":
            raise ValueError(f"Only binary classification is supported, found {type_of_target(y)} targets.")
        self.classes_, churned = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("Expected two classes in y, found only one class.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice on plots of missing values and on small data
            self._keep(self._machine(X.shape[1]).fit(X, churned))
        return self

    def _machine(self, column_count: int) -> Any:
        from interpret.glassbox import ExplainableBoostingClassifier  # type: ignore[import-untyped]

        return ExplainableBoostingClassifier(
            feature_types=["continuous"] * column_count,
            interactions=min(self.interactions, column_count * (column_count - 1) // 2),
            outer_bags=self.outer_bags,
            max_rounds=self.max_rounds,
            max_bins=_MOST_BINS,
            max_interaction_bins=_MOST_PAIR_BINS,
            random_state=self.seed,
            n_jobs=1,
        )

    def _keep(self, machine: Any) -> None:
        self.cuts_ = [np.array(levels[0], dtype=np.float64) for levels in machine.bins_]
        self.pair_cuts_ = [np.array(levels[-1], dtype=np.float64) for levels in machine.bins_]
        self.term_columns_ = [[int(column) for column in term] for term in machine.term_features_]
        # The last bin of every dimension is for unseen categories, which numbers do not have.
        self.term_scores_ = [
            np.array(scores[(slice(-1),) * scores.ndim], dtype=np.float64) for scores in machine.term_scores_
        ]
        self.intercept_ = float(np.ravel(machine.intercept_)[0])

    def decision_function(self, X: Any) -> FloatArray:  # noqa: N803
        """Return the log-odds of the second class, of shape (n_samples,)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False)  # noqa: N806
        own = [bins(X[:, column], cuts) for column, cuts in enumerate(self.cuts_)]
        paired = [bins(X[:, column], cuts) for column, cuts in enumerate(self.pair_cuts_)]
        log_odds = np.full(len(X), self.intercept_)
        for columns, scores in zip(self.term_columns_, self.term_scores_, strict=True):
            codes = own if len(columns) == 1 else paired
            log_odds += scores[tuple(codes[column] for column in columns)]
        return log_odds

    def predict_proba(self, X: Any) -> FloatArray:  # noqa: N803
        """Return the probabilities of both classes, of shape (n_samples, 2)."""
        second = expit(self.decision_function(X))
        return np.column_stack([1 - second, second])

    def predict(self, X: Any) -> npt.NDArray[Any]:  # noqa: N803
        """Return the more probable class of each row."""
        likely_second = (self.decision_function(X) > 0).astype(int)
        classes: npt.NDArray[Any] = self.classes_[likely_second]
        return classes

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.classifier_tags.multi_class = False
        return tags


def bins(values: FloatArray, cuts: FloatArray) -> Codes:
    """Return the bin of each value: 1 + number of cuts at or below it, 0 where it is missing."""
    found = np.searchsorted(cuts, values, side="right") + 1
    found[np.isnan(values)] = MISSING_CODE
    return found
