"""How sure a figure is: resamples of customers, and DeLong's variance of the AUC."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm, rankdata  # type: ignore[import-untyped]

from churn_ml.errors import TrainingError
from churn_ml.training.profit import BoolArray, FloatArray
from churn_ml.training.ranking import RankedRows

CONFIDENCE = 0.90
RESAMPLES = 200
PAIRED_RESAMPLES = 1000

_RESAMPLES_AT_ONCE = 10
_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
STANDARD_ERRORS_OF_INTERVAL = float(norm.ppf(_TAILS[1]))

Groups = npt.NDArray[Any] | None
Interval = tuple[float, float]


class CustomerBootstrap:
    """Seeded resamples of customers with replacement; a customer comes with all their rows.

    The rows of one customer are not independent, so customers are what is drawn (cluster bootstrap:
    Davison and Hinkley 1997, section 3.8; Field and Welsh 2007). Every pass gives the same resamples.

    Parameters
    ----------
    row_count : int
    groups : array of shape (row_count,) or None
        The customer of each row; None where every row is another customer.
    """

    def __init__(self, row_count: int, groups: Groups, seed: int, resamples: int = RESAMPLES) -> None:
        self.row_count = row_count
        self._seed = seed
        self._resamples = resamples
        self._customers: npt.NDArray[np.intp] | None = None
        self.customer_count = row_count
        if groups is not None:
            _check_groups(row_count, groups)
            customers, unique = pd.factorize(groups)
            self.customer_count = len(unique)
            self._customers = customers if len(unique) < row_count else None

    @property
    def has_repeated_customers(self) -> bool:
        """Whether a customer has several rows."""
        return self._customers is not None

    def customer_counts(self) -> Iterator[FloatArray]:
        """Yield how often each customer is drawn, one resample after another."""
        generator = np.random.default_rng(self._seed)
        count = self.customer_count
        for _ in range(self._resamples):
            drawn = generator.integers(0, count, count, dtype=np.int32)
            yield np.bincount(drawn, minlength=count).astype(np.float64)

    def row_weights(self) -> Iterator[FloatArray]:
        """Yield how often each row is drawn, one resample after another."""
        for counts in self.customer_counts():
            yield counts if self._customers is None else counts[self._customers]

    def sums(self, columns: FloatArray) -> FloatArray:
        """Return the sums of `columns`, (row_count, k), over the rows of each resample: (resamples, k)."""
        by_customer = self._by_customer(columns)
        chunks, counts = [], []
        for one in self.customer_counts():
            counts.append(one)
            if len(counts) == _RESAMPLES_AT_ONCE:
                chunks.append(np.array(counts) @ by_customer)
                counts = []
        if counts:
            chunks.append(np.array(counts) @ by_customer)
        return np.concatenate(chunks)

    def _by_customer(self, columns: FloatArray) -> FloatArray:
        if self._customers is None:
            return columns
        return np.stack(
            [
                np.bincount(self._customers, weights=column, minlength=self.customer_count)
                for column in columns.T
            ],
            axis=1,
        )


def percentile_interval(samples: FloatArray) -> Interval:
    """Return the 5th and 95th percentile of a statistic over resamples; NaN where none could be told."""
    known = samples[np.isfinite(samples)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, _TAILS)
    return float(low), float(high)


def mean_interval(
    values: FloatArray, *, groups: Groups = None, seed: int, resamples: int = PAIRED_RESAMPLES
) -> tuple[float, float, float]:
    """Return the mean of `values` over rows, NaN ones left out, with its interval: (mean, low, high).

    Of differences between two models on the same rows it is the paired comparison.
    """
    known = ~np.isnan(values)
    columns = np.stack([np.where(known, values, 0.0), known.astype(np.float64)], axis=1)
    sums = CustomerBootstrap(len(values), groups, seed, resamples).sums(columns)
    with np.errstate(invalid="ignore", divide="ignore"):
        low, high = percentile_interval(sums[:, 0] / sums[:, 1])
    return float(values[known].mean()), low, high


def delong(churned: BoolArray, scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the AUC of each of several scores of the same rows, and their covariance.

    DeLong, DeLong and Clarke-Pearson 1988, by midranks in O(n log n) (Sun and Xu 2014).

    Parameters
    ----------
    churned : boolean array of shape (n,)
        Of independent rows, some churned and some not.
    scores : float array of shape (k, n)

    Returns
    -------
    tuple of arrays of shapes (k,) and (k, k)

    Raises
    ------
    TrainingError
        If all rows have the same outcome.
    """
    churned_count = int(churned.sum())
    stayed_count = len(churned) - churned_count
    if not churned_count or not stayed_count:
        raise TrainingError(
            f"Expected rows that churned and rows that stayed to rank them, found {churned_count} and "
            f"{stayed_count}. Take a longer span of time or larger folds."
        )
    ranks = rankdata(scores, axis=1)
    above_stayed = (ranks[:, churned] - rankdata(scores[:, churned], axis=1)) / stayed_count
    below_churned = 1 - (ranks[:, ~churned] - rankdata(scores[:, ~churned], axis=1)) / churned_count
    return above_stayed.mean(axis=1), _covariance(above_stayed) + _covariance(below_churned)


def _covariance(components: FloatArray) -> FloatArray:
    """Return the covariance of the mean of `components`, (k, m), over its m rows."""
    count = components.shape[1]
    if count < 2:
        return np.full((len(components), len(components)), np.nan)
    covariance: FloatArray = np.atleast_2d(np.cov(components)) / count
    return covariance


def delong_interval(churned: BoolArray, scores: FloatArray) -> tuple[float, float, float]:
    """Return the mean AUC of `scores`, (k, n), of independent rows with its interval: (mean, low, high)."""
    aucs, covariance = delong(churned, scores)
    reach = STANDARD_ERRORS_OF_INTERVAL * float(np.sqrt(max(covariance.mean(), 0.0)))
    mean = float(aucs.mean())
    return mean, max(mean - reach, 0.0), min(mean + reach, 1.0)


def _check_groups(row_count: int, groups: npt.NDArray[Any]) -> None:
    if len(groups) != row_count:
        raise TrainingError(
            f"Expected the customer of each of {row_count} rows, found {len(groups)}. Give one per row."
        )


def auc_difference_interval(
    churned: BoolArray, scores: FloatArray, others: FloatArray, *, groups: Groups = None, seed: int
) -> tuple[float, float, float]:
    """Return the AUC of `scores` less that of `others` on the same rows, with its interval.

    By DeLong's covariance where each customer has one row, else by resamples of customers.
    """
    bootstrap = CustomerBootstrap(len(churned), groups, seed)
    aucs, covariance = delong(churned, np.stack([scores, others]))
    difference = float(aucs[0] - aucs[1])
    if not bootstrap.has_repeated_customers:
        variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
        reach = STANDARD_ERRORS_OF_INTERVAL * float(np.sqrt(max(variance, 0.0)))
        return difference, difference - reach, difference + reach
    ranked, other = RankedRows(churned, scores), RankedRows(churned, others)
    samples = [
        ranked.counted(weights).roc_auc() - other.counted(weights).roc_auc()
        for weights in bootstrap.row_weights()
    ]
    return difference, *percentile_interval(np.array(samples))
