"""Screens for leakage: a column that tells the outcome, and a pipeline that sees what it is tested on."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from churn_ml.models.registration import GateResult
from churn_ml.training.gate_catalogue import LEAK_AUC, gate_result, not_applicable
from churn_ml.training.profit import BoolArray, FloatArray
from churn_ml.training.ranking import RankedRows
from churn_ml.training.statistics import STANDARD_ERRORS_OF_INTERVAL, Groups, delong_interval

SHUFFLES = 3
# Two-sided 0.001: a blocking gate that an honest model fails once in ten trainings would be switched off.
_STANDARD_ERRORS = 3.29
_FOLDS = 5
_BANDS = 20

IntArray = npt.NDArray[np.intp]


def leakage_column_gates(
    frame: pd.DataFrame, churned: BoolArray, *, groups: Groups = None, seed: int = 0
) -> list[GateResult]:
    """Return, for each column, whether it alone ranks customers by outcome better than is credible.

    A number is ranked by itself, with its missing values last. Every column is also ranked by the churn
    rate of its category (of its twentieth, for a number; missing is one more) among other customers,
    which finds what no order tells. The greater AUC counts, turned to its better direction.

    Parameters
    ----------
    frame : DataFrame of n rows
        What the pipelines read (`FeatureContract.to_frame`): numbers and categories.
    groups : array of shape (n,), optional
        The customer of each row: their rows stay together.
    """
    customers = np.arange(len(frame)) if groups is None else pd.factorize(groups)[0]
    fold_of_customer = np.random.default_rng(seed).integers(0, _FOLDS, int(customers.max()) + 1)
    folds = fold_of_customer[customers]
    return [_column_gate(str(name), frame[name], churned, folds) for name in frame.columns]


def leakage_shuffled_gate(
    fit_predict: Callable[[BoolArray], FloatArray],
    churned: BoolArray,
    folds: npt.NDArray[Any],
    *,
    seed: int = 0,
    shuffles: int = SHUFFLES,
) -> GateResult:
    """Return whether a quick model learns nothing from shuffled labels, as it must.

    The AUC is taken within each fold and averaged, since over all folds together it is below 0.5 where
    nothing can be learned: a fold with more churners was learned from fewer.

    Parameters
    ----------
    fit_predict : callable
        Takes labels of shape (n,) and returns probabilities of shape (n,) from pipelines that were
        fitted on these labels of other rows; NaN where a row is not validated on.
    folds : array of shape (n,)
        The fold that each row is validated in.
    """
    generator = np.random.default_rng(seed)
    aucs, variances = [], []
    for _ in range(shuffles):
        labels = generator.permutation(churned)
        for auc, variance in _fold_aucs(labels, fit_predict(labels), folds):
            aucs.append(auc)
            variances.append(variance)
    if not aucs:
        return not_applicable("leakage_shuffled", "no fold had both outcomes")
    weights = 1 / np.array(variances)
    observed = float((np.array(aucs) * weights).sum() / weights.sum())
    error = float(1 / np.sqrt(weights.sum()))
    reach, own_reach = _STANDARD_ERRORS * error, STANDARD_ERRORS_OF_INTERVAL * error
    return gate_result(
        "leakage_shuffled",
        observed,
        round(0.5 - reach, 4),
        round(0.5 + reach, 4),
        interval=(observed - own_reach, observed + own_reach),
        detail=f"{shuffles} shuffles, {len(aucs)} folds in all",
    )


def _column_gate(name: str, column: "pd.Series[Any]", churned: BoolArray, folds: IntArray) -> GateResult:
    rankings = [_rates_elsewhere(_codes(column), churned, folds)]
    if pd.api.types.is_numeric_dtype(column):
        values = column.to_numpy(np.float64)
        greatest = np.nanmax(values, initial=0.0)
        rankings.append(np.where(np.isnan(values), greatest + 1, values))
    scores = [_turned(churned, ranking) for ranking in rankings]
    best = max(scores, key=lambda ranking: RankedRows(churned, ranking).counted().roc_auc())
    auc, low, high = delong_interval(churned, best[np.newaxis])
    return gate_result("leakage_column", auc, high=LEAK_AUC, subject=name, interval=(low, high))


def _turned(churned: BoolArray, scores: FloatArray) -> FloatArray:
    return scores if RankedRows(churned, scores).counted().roc_auc() >= 0.5 else -scores


def _codes(column: "pd.Series[Any]") -> IntArray:
    """Return the category of each row, or the twentieth its number is in; -1 becomes one of its own."""
    if pd.api.types.is_numeric_dtype(column):
        column = pd.Series(pd.qcut(column, _BANDS, labels=False, duplicates="drop"))
    codes = pd.factorize(column)[0]
    return np.where(codes < 0, codes.max() + 1, codes)


def _rates_elsewhere(codes: IntArray, churned: BoolArray, folds: IntArray) -> FloatArray:
    """Return the churn rate of each row's category in the other folds; the overall one where it has none."""
    rates = np.empty(len(codes))
    count = int(codes.max()) + 1
    for fold in range(_FOLDS):
        others = folds != fold
        seen = np.bincount(codes[others], minlength=count)
        left = np.bincount(codes[others], weights=churned[others], minlength=count)
        overall = churned[others].mean()
        # One row of the overall rate keeps a category of one customer from being certain.
        by_category = (left + overall) / (seen + 1)
        rates[~others] = by_category[codes[~others]]
    return rates


def _fold_aucs(
    labels: BoolArray, probabilities: FloatArray, folds: npt.NDArray[Any]
) -> list[tuple[float, float]]:
    """Return each fold's AUC and, of an AUC of chance, the variance ``(n + 1) / (12 churned stayed)``."""
    validated = ~np.isnan(probabilities)
    found = []
    for fold in np.unique(folds[validated]):
        rows = validated & (folds == fold)
        churned_count = int(labels[rows].sum())
        stayed_count = int(rows.sum()) - churned_count
        if churned_count and stayed_count:
            auc = RankedRows(labels[rows], probabilities[rows]).counted().roc_auc()
            found.append((auc, (churned_count + stayed_count + 1) / (12 * churned_count * stayed_count)))
    return found
